//! What a capture lacks makes a verdict weaker, never stronger: packets are taken away from real captures.

#![expect(clippy::expect_used, clippy::panic, reason = "a test may stop here")]

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;

use capture::engine::{Engine, Frame, Limits, LinkType};
use capture::source::file::Reader;
use flow::{Class, ClientAuth, Close, Endpoint, Flow, Security, Timestamp};

/// Each capture with the class of its flows by the client's port, as `testdata/wire/README.md` tells it.
const CAPTURES: [(&str, &[(u16, Class)]); 7] = [
    ("tls13-none", &[(52320, Class::Tls)]),
    ("tls13-declined-resumed", &[(37160, Class::Tls), (37168, Class::Tls)]),
    ("tls13-certificate-resumed", &[(33068, Class::Mtls), (33076, Class::Mtls)]),
    ("tls12-certificate", &[(55800, Class::Mtls)]),
    ("tls12-rejected", &[(56122, Class::Mtls)]),
    ("istio-mtls", &[(50126, Class::Mtls), (50142, Class::Mtls)]),
    ("postgres-declined", &[(56808, Class::Plaintext)]),
];

struct Packet {
    at: Timestamp,
    link: LinkType,
    bytes: Vec<u8>,
}

fn packets(name: &str) -> Vec<Packet> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../testdata/wire/{name}.pcap"));
    let mut reader = Reader::new(File::open(path).expect("the capture is there")).expect("a capture");
    let mut packets = Vec::new();
    while let Some(frame) = reader.next() {
        let frame = frame.expect("a whole capture");
        packets.push(Packet { at: frame.at, link: frame.link, bytes: frame.bytes.to_vec() });
    }
    packets
}

fn observe<'a>(packets: impl IntoIterator<Item = &'a Packet>) -> Vec<Flow> {
    let mut engine = Engine::new(Limits::default());
    for packet in packets {
        let original_len = u32::try_from(packet.bytes.len()).expect("a frame");
        engine.frame(&Frame {
            at: packet.at,
            link: packet.link,
            interface: 0,
            original_len,
            bytes: &packet.bytes,
        });
    }
    engine.finish();
    std::iter::from_fn(|| engine.poll()).filter(|flow| flow.close != Close::Open).collect()
}

/// A flow's ends in either order: without its opening, who the client is is not always known.
fn ends(flow: &Flow) -> (Endpoint, Endpoint) {
    (flow.client.min(flow.server), flow.client.max(flow.server))
}

/// Says what is wrong with a verdict on less than the whole capture; nothing if it is the same or weaker.
fn stronger(less: &Security, whole: &Security) -> Option<&'static str> {
    let proof = || less.evidence().proof > whole.evidence().proof;
    match (less, whole) {
        (Security::Unknown(_) | Security::Tls(_, ClientAuth::Hidden(_)), _) => None,
        (Security::Plaintext(_), Security::Plaintext(_))
        | (Security::Opaque(_), Security::Opaque(_))
        | (Security::Tls(_, ClientAuth::Proved(..)), Security::Tls(_, ClientAuth::Proved(..)))
        | (Security::Tls(_, ClientAuth::Refuted(..)), Security::Tls(_, ClientAuth::Refuted(..))) => {
            proof().then_some("the proof is stronger")
        }
        (Security::Tls(_, ClientAuth::Proved(..)), _) => Some("a certificate out of nothing"),
        (Security::Tls(_, ClientAuth::Refuted(..)), _) => Some("a certificate that was sent is denied"),
        (Security::Plaintext(_), _) => Some("plaintext out of nothing"),
        (Security::Opaque(_), _) => Some("opaque out of nothing"),
    }
}

fn check(what: &str, less: &[Flow], whole: &BTreeMap<(Endpoint, Endpoint), Security>) {
    for flow in less {
        let whole = whole.get(&ends(flow)).expect("no flow is invented");
        if let Some(wrong) = stronger(&flow.security, whole) {
            panic!("{what}: {wrong}: {:?}, and from the whole capture {whole:?}", flow.security);
        }
    }
}

fn whole(packets: &[Packet]) -> BTreeMap<(Endpoint, Endpoint), Security> {
    observe(packets).into_iter().map(|flow| (ends(&flow), flow.security)).collect()
}

#[test]
fn whole_captures_are_read_right() {
    for (name, truth) in CAPTURES {
        let flows = observe(&packets(name));
        let classes: Vec<_> = flows.iter().map(|flow| (flow.client.port, flow.security.class())).collect();
        for flow in truth {
            assert!(classes.contains(flow), "{name}: {flow:?} is not among {classes:?}");
        }
        assert_eq!(classes.len(), truth.len(), "{name}");
    }
}

#[test]
fn a_prefix_says_no_more_than_the_whole() {
    for (name, _) in CAPTURES {
        let packets = packets(name);
        let whole = whole(&packets);
        for end in 0..packets.len() {
            check(&format!("{name} up to packet {end}"), &observe(&packets[..end]), &whole);
        }
    }
}

#[test]
fn a_capture_that_begins_late_says_no_more_than_the_whole() {
    for (name, _) in CAPTURES {
        let packets = packets(name);
        let whole = whole(&packets);
        for start in 0..packets.len() {
            check(&format!("{name} from packet {start}"), &observe(&packets[start..]), &whole);
        }
    }
}

#[test]
fn lost_packets_say_no_more_than_the_whole() {
    for (name, _) in CAPTURES {
        let packets = packets(name);
        let whole = whole(&packets);
        for first in 0..packets.len() {
            for count in 1..=3 {
                let lost = first..first + count;
                let left = packets.iter().enumerate().filter(|(index, _)| !lost.contains(index));
                let flows = observe(left.map(|(_, packet)| packet));
                check(&format!("{name} without packets {lost:?}"), &flows, &whole);
            }
        }
    }
}

#[test]
fn repeated_packets_change_nothing() {
    for (name, _) in CAPTURES {
        let packets = packets(name);
        let twice = observe(packets.iter().flat_map(|packet| [packet, packet]));
        let once = whole(&packets);
        assert_eq!(twice.len(), once.len(), "{name}");
        for flow in twice {
            assert_eq!(Some(&flow.security), once.get(&ends(&flow)), "{name}");
        }
    }
}

/// Reverses every run of packets that one side sent in a row, as a path that reorders might.
fn flights_reversed(packets: &[Packet]) -> Vec<Packet> {
    // The source address of IPv4 on Ethernet.
    let sender = |packet: &Packet| packet.bytes[26..30].to_vec();
    packets
        .chunk_by(|a, b| sender(a) == sender(b))
        .flat_map(|flight| {
            flight.iter().zip(flight.iter().rev()).map(|(place, packet)| Packet {
                at: place.at,
                link: packet.link,
                bytes: packet.bytes.clone(),
            })
        })
        .collect()
}

#[test]
fn the_order_within_a_flight_changes_nothing() {
    for (name, _) in CAPTURES {
        let packets = packets(name);
        let once = whole(&packets);
        for flow in observe(&flights_reversed(&packets)) {
            assert_eq!(Some(&flow.security), once.get(&ends(&flow)), "{name}");
        }
    }
}
