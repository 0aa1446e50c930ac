//! What reading one record costs, beside a bare parse into `serde_json::Value`.
#![allow(missing_docs, clippy::unwrap_used)]

use std::hint::black_box;

use carillon_events::{Kind, Subscription, decode};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use serde_json::Value;

/// The value of the first sample of a kind, in compact form.
fn sample(kind: &str) -> Vec<u8> {
    include_str!("../tests/data/events.jsonl")
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .find(|line| line["value"]["eventType"] == kind)
        .map(|line| serde_json::to_vec(&line["value"]).unwrap())
        .unwrap()
}

fn decoding(criterion: &mut Criterion) {
    for kind in ["booking.created", "waitlist.joined", "user.updated"] {
        let record = sample(kind);
        let mut group = criterion.benchmark_group(kind);
        group.throughput(Throughput::Bytes(record.len() as u64));
        group.bench_function("decode", |bencher| {
            bencher.iter(|| decode(black_box(&record)).unwrap());
        });
        group.bench_function("serde_json::Value", |bencher| {
            bencher.iter(|| serde_json::from_slice::<Value>(black_box(&record)).unwrap());
        });
        group.bench_function("content_hash", |bencher| {
            let event = decode(&record).unwrap();
            bencher.iter(|| black_box(&event).content_hash());
        });
        group.finish();
    }
}

fn names(criterion: &mut Criterion) {
    criterion.bench_function("Kind::parse", |bencher| {
        bencher.iter(|| Kind::parse(black_box("booking.checkedin")).unwrap());
    });
    let kind = Kind::parse("booking.created").unwrap();
    let subscription = Subscription::parse("booking.*").unwrap();
    criterion.bench_function("Subscription::matches", |bencher| {
        bencher.iter(|| black_box(&subscription).matches(black_box(&kind)));
    });
}

criterion_group!(benches, decoding, names);
criterion_main!(benches);
