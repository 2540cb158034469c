//! What a capture lacks makes a verdict weaker, never stronger: packets are taken away from real captures.

#![expect(clippy::expect_used, clippy::panic, reason = "a test may stop here")]

mod recorded;

use std::collections::BTreeMap;

use flow::{AuthWord, Class, Flow, Proof, Reason, Security};
use recorded::{Packet, Pair, observe, pair, stronger, testdata, whole};

/// Each capture with the class of its flows by the client's port, as `testdata/wire/README.md` tells it.
const CAPTURES: [(&str, &[(u16, Class)]); 11] = [
    ("tls13-none", &[(52320, Class::Tls)]),
    ("tls13-declined-resumed", &[(37160, Class::Tls), (37168, Class::Tls)]),
    ("tls13-certificate-resumed", &[(33068, Class::Mtls), (33076, Class::Mtls)]),
    ("tls12-certificate", &[(55800, Class::Mtls)]),
    ("tls12-null", &[(49854, Class::Mtls), (41474, Class::Tls)]),
    ("tls12-rejected", &[(56122, Class::Mtls)]),
    ("istio-mtls", &[(50126, Class::Mtls), (50142, Class::Mtls)]),
    ("postgres-declined", &[(56808, Class::Plaintext)]),
    ("socks-certificate", &[(32874, Class::Mtls)]),
    ("openvpn-tcp", &[(57558, Class::Opaque)]),
    ("redis-typed", &[(39622, Class::Plaintext)]),
];

fn packets(name: &str) -> Vec<Packet> {
    recorded::read(&testdata(&format!("wire/{name}.pcap")))
}

fn check(what: &str, less: &[Flow], whole: &BTreeMap<Pair, Security>) {
    for flow in less {
        let whole = whole.get(&pair(flow)).expect("no flow is invented");
        if let Some(wrong) = stronger(&flow.security, whole) {
            panic!("{what}: {wrong}: {:?}, and from the whole capture {whole:?}", flow.security);
        }
    }
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
fn a_suite_that_encrypts_nothing_is_told() {
    for flow in observe(&packets("tls12-null")) {
        assert_eq!(flow.security.evidence().reason, Some(Reason::NullCipher), "{flow:?}");
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

/// The hello may be lost, as long as what the client sent after the server's answer is all there; without its first packet nothing is
/// claimed.
#[test]
fn what_follows_a_lost_hello_tells_as_much() {
    // The packets of the hello, and the client's first one after the answer.
    let captures = [
        ("wire/tls13-none", 3..4, 9, AuthWord::Absent, Proof::Inferred),
        (
            "lab/openssl40-openssl40_tls13_cert-p256_nocompress",
            3..5,
            11,
            AuthWord::Certificate,
            Proof::Strong,
        ),
        ("lab/haskell-haskell_tls13_cert-p256", 3..4, 7, AuthWord::Certificate, Proof::Strong),
        ("lab/haskell-haskell_tls13_requested-empty", 3..4, 7, AuthWord::Declined, Proof::Inferred),
    ];
    for (name, hello, flight, word, proof) in captures {
        let packets = recorded::read(&testdata(&format!("{name}.pcap")));
        let answer = |left: &dyn Fn(usize) -> bool| {
            let left = packets.iter().enumerate().filter(|(index, _)| left(*index));
            let flows = observe(left.map(|(_, packet)| packet));
            let [Flow { security: security @ Security::Tls(session, client), .. }] = flows.as_slice() else {
                panic!("{name}: one flow of TLS, and not {flows:?}")
            };
            assert_eq!(session.sni, None, "{name}");
            (client.word(), security.evidence().proof, security.evidence().reason)
        };
        let late = answer(&|index| index >= hello.end);
        assert_eq!(late, (word, proof, Some(Reason::MidStream)), "{name} from the answer on");
        let lossy = answer(&|index| !hello.contains(&index));
        assert_eq!(lossy, (word, proof, Some(Reason::Gap)), "{name} without its hello");
        let hidden = answer(&|index| index >= hello.end && index != flight);
        assert_eq!(hidden.0, AuthWord::Unknown, "{name} without the first packet after the answer");
        let hidden = answer(&|index| !hello.contains(&index) && index != flight);
        assert_eq!(hidden.0, AuthWord::Unknown, "{name} without either");
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
            assert_eq!(Some(&flow.security), once.get(&pair(&flow)), "{name}");
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
            flight
                .iter()
                .zip(flight.iter().rev())
                .map(|(place, packet)| Packet { at: place.at, ..packet.clone() })
        })
        .collect()
}

#[test]
fn the_order_within_a_flight_changes_nothing() {
    for (name, _) in CAPTURES {
        let packets = packets(name);
        let once = whole(&packets);
        for flow in observe(&flights_reversed(&packets)) {
            assert_eq!(Some(&flow.security), once.get(&pair(&flow)), "{name}");
        }
    }
}
