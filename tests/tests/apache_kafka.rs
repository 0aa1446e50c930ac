//! The harness itself: Apache Kafka as the tests use it.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use carillon_tests::kafka::{Kafka, Record};

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_broker_still_holds_its_records() {
    let started = std::time::Instant::now();
    let mut kafka = Kafka::start().await.unwrap();
    println!("Apache Kafka answered after {:.1?}", started.elapsed());
    kafka.create_topic("things", 3).await.unwrap();
    kafka.create_topic("things", 3).await.unwrap();
    let record = |n: i32| Record::new("things", &format!("key-{}", n % 7), format!("value-{n}"));
    kafka.produce((0..100).map(record).collect()).await.unwrap();
    kafka.stop().unwrap();
    kafka.restart().await.unwrap();
    kafka.kill().unwrap();
    kafka.restart().await.unwrap();

    let read = kafka.read_all("things").await.unwrap();

    assert_eq!(read.len(), 100);
    assert_eq!(kafka.ends("things").await.unwrap().iter().sum::<i64>(), 100);
    for key in 0..7 {
        let key = format!("key-{key}").into_bytes();
        let of_key: Vec<_> = read
            .iter()
            .filter(|r| r.key.as_deref() == Some(&key))
            .collect();
        assert!(
            of_key
                .windows(2)
                .all(|two| two[0].position.0 == two[1].position.0)
        );
    }
}
