//! Several handshakes in datagrams between the same ends: each is a flow of its own, and none says of another's certificate that
//! it sent it.

mod recorded;

use std::collections::BTreeSet;

use flow::{Class, Flow, Timestamp};
use recorded::{Fault, Packet, observe, testdata};

/// Each capture with the classes of its connections in the order in which they begin, as `testdata/one-socket/README.md` tells them.
const CAPTURES: [(&str, &[Class]); 3] = [
    ("quic", &[Class::Mtls, Class::Tls, Class::Mtls]),
    ("quic-woven", &[Class::Tls, Class::Mtls]),
    ("dtls", &[Class::Mtls, Class::Tls, Class::Mtls]),
];

fn packets(name: &str) -> Vec<Packet> {
    recorded::read(&testdata(&format!("one-socket/{name}.pcap")))
}

/// The flows in the order in which they begin.
fn flows<'a>(packets: impl IntoIterator<Item = &'a Packet>) -> Vec<Flow> {
    let mut flows = observe(packets);
    flows.sort_by_key(|flow| flow.start);
    flows
}

fn classes(flows: &[Flow]) -> Vec<Class> {
    flows.iter().map(|flow| flow.security.class()).collect()
}

#[test]
fn each_connection_is_a_flow() {
    for (name, truth) in CAPTURES {
        let packets = packets(name);
        let flows = flows(&packets);
        assert_eq!(classes(&flows), truth, "{name}");
        let counted: u64 = flows.iter().map(|flow| flow.packets.client + flow.packets.server).sum();
        assert_eq!(counted, packets.len() as u64, "{name}: no packet counts twice, none is lost");
    }
}

#[test]
fn connections_that_begin_at_the_same_moment_have_names_of_their_own() {
    for (name, truth) in CAPTURES {
        let mut packets = packets(name);
        let at = packets[0].at;
        packets.iter_mut().for_each(|packet| packet.at = at);
        let ids: BTreeSet<_> = observe(&packets).iter().map(|flow| flow.id).collect();
        assert_eq!(ids.len(), truth.len(), "{name}");
    }
}

#[test]
fn repetitions_begin_nothing() {
    for (name, truth) in CAPTURES {
        let packets = packets(name);
        // Every datagram again: at once, and all of them at the end, as a late copy of each.
        let twice = packets.iter().flat_map(|packet| [packet, packet]);
        assert_eq!(classes(&flows(twice)), truth, "{name}");
        let late = packets.iter().chain(&packets);
        assert_eq!(flows(late).len(), truth.len(), "{name}");
    }
}

#[test]
fn what_is_lost_gives_nobody_a_certificate() {
    for (name, truth) in CAPTURES {
        let packets = packets(name);
        let whole = flows(&packets);
        let begins: Vec<Timestamp> = whole.iter().map(|flow| flow.start).collect();
        let mut claims = 0;
        for (_, fault) in Fault::all(50) {
            for flow in flows(&fault.applied(&packets)) {
                // Whose opening is lost begins later, and before the next one does.
                let Some(place) = begins.iter().rposition(|begin| *begin <= flow.start) else { continue };
                if flow.security.class() == Class::Mtls {
                    assert_eq!(truth.get(place), Some(&Class::Mtls), "{name} after {fault:?}: {flow:?}");
                    claims += 1;
                }
            }
        }
        assert!(claims > 20, "{name}: {claims} certificates are still seen");
    }
}

#[test]
fn a_first_datagram_that_comes_second_still_tells_the_client() {
    let packets = packets("quic");
    // The server's answer was captured before what it answers.
    let swapped = [&packets[1], &packets[0]].into_iter().chain(&packets[2..]);
    let flows = flows(swapped);
    let clients: Vec<_> = flows.iter().map(|flow| flow.client).collect();
    assert_eq!(clients, [clients[0]; 3]);
    // Whose answer nobody could read is the first alone.
    assert_eq!(classes(&flows), [Class::Tls, Class::Tls, Class::Mtls]);
}
