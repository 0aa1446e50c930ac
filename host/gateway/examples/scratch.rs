//! scratch
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs, unreachable_pub, dead_code, unused)]
#[path = "../tests/gateway/host.rs"]
mod host;
use std::time::Duration;
#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let config = carillon_gateway::GatewayConfig { demo: true, ..Default::default() };
    let host = host::Host::with(config, Default::default()).await;
    println!("{} {}", host.addr, host.token("user-1", &[]));
    let rss = || {
        let s = std::fs::read_to_string("/proc/self/status").unwrap();
        s.lines().find(|l| l.starts_with("VmRSS")).unwrap().split_whitespace().nth(1).unwrap().parse::<u64>().unwrap()
    };
    let mut last = 0;
    let mut n = 0u32;
    loop {
        tokio::time::sleep(Duration::from_secs(2)).await;
        let c = host.gateway.connections();
        println!("connections {c} rss_kib {}", rss());
        n += 1;
        if std::env::args().nth(1).as_deref() == Some("notify") {
            host.notify_keyed("user:user-1", &format!("k{n}")).await;
        }
    }
}
