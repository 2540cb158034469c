//! What a packet costs from the file to the JSON of its flow.

#![expect(clippy::expect_used, reason = "a program that may stop")]

use bench::{Trace, conversations};
use capture::engine::{Engine, Limits};
use capture::source::file::Reader;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use flow::{Close, JsonWriter};

fn whole(criterion: &mut Criterion) {
    let conversations = conversations();
    let mut group = criterion.benchmark_group("whole");
    for flows in [1_000, 10_000] {
        let trace = Trace::of(&conversations, flows);
        let file = trace.pcap();
        group.throughput(Throughput::Elements(trace.len() as u64));
        group.bench_function(format!("{flows} flows"), |bencher| {
            bencher.iter(|| {
                let mut reader = Reader::new(file.as_slice()).expect("a capture");
                let mut engine = Engine::new(Limits::default());
                let mut written = 0;
                let (mut writer, mut line) = (JsonWriter::default(), Vec::new());
                let mut write = |engine: &mut Engine| {
                    while let Some(flow) = engine.poll() {
                        if flow.close != Close::Open {
                            line.clear();
                            writer.write(&flow, &mut line);
                            written += line.len();
                        }
                    }
                };
                while let Some(frame) = reader.next() {
                    engine.frame(&frame.expect("a whole capture"));
                    write(&mut engine);
                }
                engine.finish();
                write(&mut engine);
                written
            });
        });
    }
    group.finish();
}

criterion_group! {
    name = all;
    config = Criterion::default().sample_size(10);
    targets = whole
}
criterion_main!(all);
