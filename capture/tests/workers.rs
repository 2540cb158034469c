//! Several threads say what one says, in the same order.

#![expect(clippy::unwrap_used, reason = "a test may stop here")]

use std::fs;
use std::path::{Path, PathBuf};

use capture::engine::{Engine, Frame, Limits};
use capture::source::file::Reader;
use capture::workers::Workers;
use flow::{Coverage, Flow};

/// Every capture of the test data, in order of name.
fn captures() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "pcap") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// Reads all captures one after the other, as if they were one, in batches of this many frames.
fn read(most: usize, mut each: impl FnMut(Vec<Frame<'_>>)) {
    for path in captures() {
        let mut reader = Reader::new(fs::File::open(path).unwrap()).unwrap();
        while let Some(frames) = reader.batch(most) {
            each(frames.unwrap().collect());
        }
    }
}

fn alone(limits: &Limits) -> (Vec<Flow>, Coverage) {
    let mut engine = Engine::new(limits.clone());
    let mut flows = Vec::new();
    read(100, |frames| {
        engine.frames(frames);
        flows.extend(std::iter::from_fn(|| engine.poll()));
    });
    engine.finish();
    flows.extend(std::iter::from_fn(|| engine.poll()));
    (flows, engine.coverage())
}

fn together(limits: &Limits, threads: usize) -> (Vec<Flow>, Coverage) {
    let mut workers = Workers::new(limits, threads);
    let mut flows = Vec::new();
    read(777, |frames| {
        workers.frames(frames);
        flows.extend(std::iter::from_fn(|| workers.poll()));
    });
    workers.finish();
    flows.extend(std::iter::from_fn(|| workers.poll()));
    (flows, workers.coverage())
}

#[expect(clippy::panic, reason = "a test may stop here")]
fn check(limits: &Limits) {
    let (expected, coverage) = alone(limits);
    assert!(expected.len() > 200, "{} flows", expected.len());
    for threads in [1, 2, 3, 16] {
        let (flows, covered) = together(limits, threads);
        for (number, (flow, expected)) in flows.iter().zip(&expected).enumerate() {
            if flow != expected {
                panic!("{threads} threads, report {number}:\n{flow:?}\n{expected:?}");
            }
        }
        assert_eq!(flows.len(), expected.len(), "{threads} threads");
        assert_eq!(covered, coverage, "{threads} threads");
    }
}

#[test]
fn at_the_end_of_flows() {
    check(&Limits { report_settled: false, ..Limits::default() });
}

#[test]
fn when_flows_settle_and_when_they_end_with_and_without_payload() {
    check(&Limits { report_empty: true, ..Limits::default() });
}

#[test]
fn when_bounds_are_reached_and_connections_time_out() {
    check(&Limits {
        connections: 24,
        silent: 8,
        held_bytes: 16 * 1024,
        parts: 4,
        tcp_idle: 1,
        udp_idle: 1,
        silent_idle: 1,
        ..Limits::default()
    });
}

#[test]
fn an_observation_that_is_given_up_ends_its_threads() {
    let mut workers = Workers::new(&Limits::default(), 2);
    read(500, |frames| workers.frames(frames));
    workers.finish();
    assert!(workers.poll().is_some());
}
