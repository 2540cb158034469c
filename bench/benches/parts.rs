//! What each step costs by itself: reading a file, headers, the table of flows, handshakes, the JSON of a flow.

#![expect(clippy::expect_used, reason = "a program that may stop")]

use std::hint::black_box;

use bench::{Trace, conversations, conversations_of};
use capture::engine::{Engine, Frame, Limits};
use capture::internals::{self, Handshake};
use capture::source::file::Reader;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use flow::{Close, JsonWriter, Side, Timestamp};

/// Flows in the traffic.
const FLOWS: u32 = 2_000;

fn reader(criterion: &mut Criterion) {
    let trace = Trace::of(&conversations(), FLOWS);
    let file = trace.pcap();
    let mut group = criterion.benchmark_group("reader");
    group.throughput(Throughput::Elements(trace.len() as u64));
    group.bench_function("pcap", |bencher| {
        bencher.iter(|| {
            let mut reader = Reader::new(file.as_slice()).expect("a capture");
            let mut bytes = 0;
            while let Some(frame) = reader.next() {
                bytes += frame.expect("a whole capture").bytes.len();
            }
            bytes
        });
    });
    group.finish();
}

fn decode(criterion: &mut Criterion) {
    let trace = Trace::of(&conversations(), FLOWS);
    let mut group = criterion.benchmark_group("decode");
    group.throughput(Throughput::Elements(trace.len() as u64));
    group.bench_function("ethernet", |bencher| {
        bencher.iter(|| {
            let mut tunnels = 0;
            trace.frames().filter(|frame| internals::decode(frame, &mut tunnels).is_ok()).count()
        });
    });
    group.finish();
}

/// Packets of flows whose security is settled: what most packets of a long observation are.
fn table(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("table");
    for flows in [1_000, 50_000] {
        let trace = Trace::of(&conversations_of("lab/plain_h2c-prior-knowledge.pcap"), flows);
        let mut engine = Engine::new(Limits::default());
        let mut last = Timestamp::from_nanos(0);
        // Without the end of any connection, in which its last packets tell.
        let open =
            || trace.frames().filter(|frame| frame.bytes.get(47).is_some_and(|flags| flags & 0b101 == 0));
        for frame in open() {
            engine.frame(&frame);
            last = last.max(frame.at);
        }
        while engine.poll().is_some() {}
        let data: Vec<Frame<'_>> = open().filter(|frame| frame.bytes.len() > 100).collect();
        group.throughput(Throughput::Elements(data.len() as u64));
        group.bench_function(format!("{flows} settled flows"), |bencher| {
            bencher.iter(|| {
                for frame in &data {
                    last = Timestamp::from_nanos(last.as_nanos() + 1_000);
                    engine.frame(&Frame { at: last, ..*frame });
                }
                engine.poll().is_some()
            });
        });
    }
    group.finish();
}

/// Packets of flows that do not settle: a dialogue in which STARTTLS may still come, and bytes that nothing recognises.
fn waiting(criterion: &mut Criterion) {
    let mut dialogue = vec![(false, b"220 mx.example.org ESMTP ready\r\n".to_vec())];
    for number in 0..100 {
        dialogue.push((true, format!("NOOP number {number}\r\n").into_bytes()));
        dialogue.push((false, format!("250 2.0.0 Ok number {number}\r\n").into_bytes()));
    }
    let drops: Vec<_> = (0..200_u8).map(|number| (number % 3 == 0, vec![number ^ 0xa5, 1, number])).collect();
    let mut group = criterion.benchmark_group("waiting");
    for (name, said, port) in [("a dialogue", dialogue, 25), ("unrecognised", drops, 7_000)] {
        let trace = Trace::saying(&said, port, 100);
        group.throughput(Throughput::Elements(trace.len() as u64));
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let mut engine = Engine::new(Limits::default());
                for frame in trace.frames() {
                    engine.frame(&frame);
                }
                let settled = engine.poll();
                assert!(settled.is_none(), "{settled:?}");
                engine.coverage().flows
            });
        });
    }
    group.finish();
}

fn handshake(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("handshake");
    for (name, capture) in [
        ("TLS 1.2 with certificates", "wire/tls12-certificate.pcap"),
        ("TLS 1.3 with a client certificate", "wire/istio-mtls.pcap"),
    ] {
        let conversations = conversations_of(capture);
        let conversation = conversations.first().expect("a connection");
        let said: Vec<_> = conversation.said().collect();
        group.throughput(Throughput::Elements(1));
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let mut handshake = Handshake::in_stream();
                let mut sent = [0_u64; 2];
                for (packet, (opener, bytes)) in (0..).zip(&said) {
                    let (side, own, other) =
                        if *opener { (Side::Client, 0, 1) } else { (Side::Server, 1, 0) };
                    handshake.bytes(side, packet, Some(sent[other]), bytes);
                    sent[own] += bytes.len() as u64;
                    if handshake.settled() {
                        break;
                    }
                }
                handshake.conclude()
            });
        });
    }
    group.finish();
}

fn json(criterion: &mut Criterion) {
    let trace = Trace::of(&conversations_of("wire/tls12-certificate.pcap"), 1);
    let mut engine = Engine::new(Limits::default());
    for frame in trace.frames() {
        engine.frame(&frame);
    }
    engine.finish();
    let mut flows = std::iter::from_fn(|| engine.poll()).filter(|flow| flow.close != Close::Open);
    let flow = flows.next().expect("a flow");
    let mut group = criterion.benchmark_group("json");
    group.throughput(Throughput::Elements(1));
    let (mut writer, mut line) = (JsonWriter::default(), Vec::new());
    group.bench_function("a flow with both certificates", |bencher| {
        bencher.iter(|| {
            line.clear();
            writer.write(black_box(&flow), &mut line);
            line.len()
        });
    });
    group.finish();
}

criterion_group! {
    name = parts;
    config = Criterion::default().sample_size(20);
    targets = reader, decode, table, waiting, handshake, json
}
criterion_main!(parts);
