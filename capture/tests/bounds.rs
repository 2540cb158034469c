//! What reaches a bound is reported or counted: nothing is lost in silence.

#![expect(clippy::unwrap_used, reason = "a test may stop here")]

use std::fs::File;
use std::path::Path;

use capture::engine::{Engine, Frame, Limits, LinkType};
use capture::source::file::Reader;
use etherparse::PacketBuilder;
use flow::{Class, Close, Coverage, Flow, Reason, Security, Timestamp};

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// Shows the engine segments of several clients of one server, a second apart, as (client's port, whether it is the SYN, text).
fn observe(
    limits: Limits,
    segments: impl IntoIterator<Item = (u16, bool, Vec<u8>)>,
) -> (Vec<Flow>, Coverage) {
    let mut engine = Engine::new(limits);
    for (number, (port, syn, text)) in (1..).zip(segments) {
        let builder = PacketBuilder::ethernet2([0; 6], [1; 6]).ipv4([192, 0, 2, 1], [192, 0, 2, 2], 64);
        let tcp = builder.tcp(port, 8080, if syn { 999 } else { 1000 }, 1024);
        let tcp = if syn { tcp.syn() } else { tcp.ack(0) };
        let mut bytes = Vec::new();
        tcp.write(&mut bytes, &text).unwrap();
        let at = Timestamp::from_nanos(number * 1_000_000_000);
        let original_len = u32::try_from(bytes.len()).unwrap();
        engine.frame(&Frame { at, link: LinkType::ETHERNET, interface: 0, original_len, bytes: &bytes });
    }
    engine.finish();
    let flows = std::iter::from_fn(|| engine.poll()).filter(|flow| flow.close != Close::Open).collect();
    (flows, engine.coverage())
}

fn closes(flows: &[Flow]) -> Vec<(u16, Close)> {
    flows.iter().map(|flow| (flow.client.port, flow.close)).collect()
}

#[test]
fn a_full_table_reports_what_gives_way_and_counts_it() {
    let limits = Limits { parts: 1, connections: 2, ..Limits::default() };
    let requests = [1, 2, 3].map(|port| (port, false, REQUEST.to_vec()));
    let (flows, coverage) = observe(limits, requests);
    assert_eq!(closes(&flows), [(1, Close::Evicted), (2, Close::CaptureEnd), (3, Close::CaptureEnd)]);
    assert_eq!(coverage.skipped.get("table-full"), Some(&1));
    assert_eq!(coverage.flows, 3);
}

#[test]
fn a_flood_of_openings_costs_no_connection_that_speaks() {
    let limits = Limits { parts: 1, connections: 100, silent: 10, ..Limits::default() };
    let flood = (100..200).map(|port| (port, true, Vec::new()));
    let (flows, coverage) = observe(limits, [(1, false, REQUEST.to_vec())].into_iter().chain(flood));
    assert_eq!(closes(&flows), [(1, Close::CaptureEnd)]);
    assert_eq!(coverage.skipped.get("table-full"), Some(&90));
    assert_eq!(coverage.empty, 100);
}

#[test]
fn silence_ends_a_connection() {
    let limits = Limits { tcp_idle: 5, ..Limits::default() };
    let one = (1, false, REQUEST.to_vec());
    let others = (2..20).map(|_| (2, false, REQUEST.to_vec()));
    let (flows, coverage) = observe(limits, [one].into_iter().chain(others));
    assert_eq!(closes(&flows), [(1, Close::Idle), (2, Close::CaptureEnd)]);
    assert!(coverage.skipped.is_empty());
}

#[test]
fn the_bound_on_held_bytes_gives_up_openings_and_counts_them() {
    let limits = Limits { held_bytes: 64, ..Limits::default() };
    let noise = (1..=180_u32).map(|number| u8::try_from(number.wrapping_mul(0x9e37_79b1) >> 24).unwrap());
    let undecided = (1, false, noise.collect());
    let (flows, coverage) = observe(limits, [(1, true, Vec::new()), undecided]);
    assert_eq!(closes(&flows), [(1, Close::CaptureEnd)]);
    assert_eq!(coverage.skipped.get("held-bytes-full"), Some(&1));
    assert_eq!(flows[0].security, Security::Unknown(Reason::Bound));
}

#[test]
fn two_fins_end_no_connection_while_bytes_before_them_are_missing() {
    let mut engine = Engine::new(Limits::default());
    let mut at = 0;
    let mut send = |client: bool, sequence: u32, fin: bool, text: &[u8]| {
        let (from, to, ports) = if client {
            ([192, 0, 2, 1], [192, 0, 2, 2], (1, 8080))
        } else {
            ([192, 0, 2, 2], [192, 0, 2, 1], (8080, 1))
        };
        let tcp =
            PacketBuilder::ethernet2([0; 6], [1; 6]).ipv4(from, to, 64).tcp(ports.0, ports.1, sequence, 1024);
        let tcp = if sequence.is_multiple_of(1000) { tcp.syn() } else { tcp };
        let tcp = if client && sequence.is_multiple_of(1000) { tcp } else { tcp.ack(0) };
        let mut bytes = Vec::new();
        if fin { tcp.fin() } else { tcp }.write(&mut bytes, text).unwrap();
        at += 20_000_000_000;
        let original_len = u32::try_from(bytes.len()).unwrap();
        let at = Timestamp::from_nanos(at);
        engine.frame(&Frame { at, link: LinkType::ETHERNET, interface: 0, original_len, bytes: &bytes });
    };
    send(true, 1000, false, b"");
    send(false, 5000, false, b"");
    send(true, 1005, true, b"/ HTTP/1.1\r\nHost: a\r\n\r\n");
    send(false, 5001, true, b"");
    // Twenty seconds later, what was lost comes again.
    send(true, 1001, false, b"GET ");
    engine.finish();
    let flows: Vec<Flow> =
        std::iter::from_fn(|| engine.poll()).filter(|flow| flow.close != Close::Open).collect();
    assert_eq!(closes(&flows), [(1, Close::Fin)]);
    assert_eq!(flows[0].security.class(), Class::Plaintext);
}

/// The frames of a capture in `testdata/wire` up to the first FIN.
fn frames_before_the_end(name: &str) -> Vec<(Timestamp, LinkType, Vec<u8>)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata/wire").join(name);
    let mut reader = Reader::new(File::open(path).unwrap()).unwrap();
    let mut frames = Vec::new();
    while let Some(frame) = reader.next() {
        let frame = frame.unwrap();
        let sliced = etherparse::SlicedPacket::from_ethernet(frame.bytes).unwrap();
        if matches!(sliced.transport, Some(etherparse::TransportSlice::Tcp(tcp)) if tcp.fin()) {
            break;
        }
        frames.push((frame.at, frame.link, frame.bytes.to_vec()));
    }
    frames
}

#[test]
fn a_connection_that_falls_silent_after_its_handshake_is_settled_before_it_ends() {
    for (name, settles) in
        [("tls13-none.pcap", true), ("istio-mtls.pcap", true), ("tls12-certificate.pcap", true)]
    {
        let mut engine = Engine::new(Limits::default());
        let mut latest = Timestamp::default();
        for (at, link, bytes) in &frames_before_the_end(name) {
            let original_len = u32::try_from(bytes.len()).unwrap();
            engine.frame(&Frame { at: *at, link: *link, interface: 0, original_len, bytes });
            latest = latest.max(*at);
        }
        engine.advance(Timestamp::from_nanos(latest.as_nanos() + 10_000_000_000));
        let flows: Vec<Flow> = std::iter::from_fn(|| engine.poll()).collect();
        let settled = flows.iter().any(|flow| flow.close == Close::Open);
        assert_eq!(settled, settles, "{name}: {flows:?}");
        engine.finish();
        let last = std::iter::from_fn(|| engine.poll()).find(|flow| flow.id == flows[0].id).unwrap();
        assert_eq!(last.security, flows[0].security, "{name}: a settled verdict stays");
    }
}

#[test]
fn remembered_sessions_have_a_bound_and_what_is_forgotten_is_counted() {
    let forgotten = |limits: Limits| {
        let mut engine = Engine::new(limits);
        for name in ["python-python_tls12_cert-p256_resumed.pcap", "stunnel-stunnel_tls12_none_resumed.pcap"]
        {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata/lab").join(name);
            let mut reader = Reader::new(File::open(path).unwrap()).unwrap();
            while let Some(frame) = reader.next() {
                engine.frame(&frame.unwrap());
            }
        }
        engine.finish();
        engine.coverage().skipped.get("sessions-forgotten").copied()
    };
    assert_eq!(forgotten(Limits::default()), None);
    assert!(forgotten(Limits { sessions: 1, ..Limits::default() }) > Some(0));
}
