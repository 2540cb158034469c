//! Real captures go through what networks and capture points do to packets, in any combination: the verdicts stay or grow
//! weaker, none changes once settled, and every flow that spoke is reported once.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may stop here")]

mod recorded;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use capture::engine::LinkType;
use etherparse::{IpNumber, PacketBuilder};
use flow::{Close, Outcome, Proof, Security, Timestamp, Transport};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use recorded::{Dice, Packet, Pair, layout, observe, pair, stronger, testdata, verdict, whole};

/// What happens to packets on their way.
#[derive(Debug, Clone)]
enum Change {
    /// So many per cent come a second time, up to this many packets later.
    Repeat { percent: u64, later: usize, seed: u64 },
    /// Both copies of everything: at a second interface, where the hop limit is one lower.
    SecondPoint { behind: i64 },
    /// Segments of at least two bytes come in two parts, so many per cent of them.
    Split { percent: u64, seed: u64 },
    /// Adjacent segments of one direction come as one, as offloading does, up to this size.
    Join { at_most: usize },
    /// All of it inside an encapsulation.
    Wrap(Wrap),
    /// Packets change places with others, up to this many further on.
    Reorder { window: usize, seed: u64 },
    /// One direction of every connection comes later, in nanoseconds.
    Delay { by: i64, opener: bool },
    /// So many per cent are lost.
    Lose { percent: u64, seed: u64 },
    /// This share (of 256) of the capture is missing at its beginning or its end.
    Cut { from: u8, to: u8 },
    /// One direction of every connection is missing.
    OneWay { opener: bool },
    /// Frames are cut to this length.
    Snap(usize),
    /// Behind the segment at this share (of 256) of those with payload comes one that its receiver does not take.
    Stray { what: Stray, behind: u8 },
}

/// A segment that its receiver does not take.
#[derive(Debug, Clone, Copy)]
enum Stray {
    /// A SYN, or an answer to one, of a connection that does not come about.
    Syn,
    SynAck,
    /// Flags and payload so far from where the stream is.
    At(u8, u32, &'static [u8]),
    /// An acknowledgment of what is that far ahead.
    Acknowledges(u32),
}

#[derive(Debug, Clone, Copy)]
enum Wrap {
    Vlan,
    DoubleVlan,
    Vxlan,
    Geneve,
    Gre,
    IpInIp,
    Mpls,
}

impl Change {
    /// Tells whether every byte is still there, in its order: then the verdicts have to be the same.
    const fn keeps_all(&self) -> bool {
        match self {
            Self::Repeat { .. }
            | Self::SecondPoint { .. }
            | Self::Split { .. }
            | Self::Join { .. }
            | Self::Wrap(_) => true,
            // A reset that may have been taken: only what its sender says beyond it shows that it was not.
            Self::Stray { what: Stray::At(RST, by, _), .. } => *by >= 1 << 30,
            Self::Stray { .. } => true,
            Self::Reorder { .. }
            | Self::Delay { .. }
            | Self::Lose { .. }
            | Self::Cut { .. }
            | Self::OneWay { .. }
            | Self::Snap(_) => false,
        }
    }

    fn applied(&self, packets: &[Packet]) -> Vec<Packet> {
        match *self {
            Self::Repeat { percent, later, seed } => {
                let mut dice = Dice(seed);
                let mut placed: Vec<(usize, &Packet)> = packets.iter().enumerate().collect();
                for (place, packet) in packets.iter().enumerate() {
                    if dice.happens(percent) {
                        placed.push((place + dice.below(later) + 1, packet));
                    }
                }
                in_order_of_place(placed, packets)
            }
            Self::SecondPoint { behind } => {
                let second = packets.iter().map(|packet| forwarded(packet, behind));
                in_order_of_time(packets.iter().cloned().chain(second).collect())
            }
            Self::Split { percent, seed } => {
                let mut dice = Dice(seed);
                packets
                    .iter()
                    .flat_map(|packet| {
                        if dice.happens(percent) { split(packet, &mut dice) } else { vec![packet.clone()] }
                    })
                    .collect()
            }
            Self::Join { at_most } => join(packets, at_most),
            Self::Wrap(wrap) => packets.iter().map(|packet| wrapped(packet, wrap)).collect(),
            Self::Reorder { window, seed } => {
                let mut dice = Dice(seed);
                let placed =
                    packets.iter().enumerate().map(|(place, packet)| (place + dice.below(window), packet));
                in_order_of_place(placed.collect(), packets)
            }
            Self::Delay { by, opener } => {
                let mut openers = BTreeMap::new();
                let delayed = packets.iter().map(|packet| match layout(packet) {
                    Some(layout)
                        if (*openers.entry(layout.pair()).or_insert(layout.source) == layout.source)
                            == opener =>
                    {
                        Packet { at: later(packet.at, by), ..packet.clone() }
                    }
                    _ => packet.clone(),
                });
                in_order_of_time(delayed.collect())
            }
            Self::Lose { percent, seed } => recorded::Fault::Drop { percent, seed }.applied(packets),
            Self::Cut { from, to } => {
                let place = |share: u8| packets.len() * usize::from(share) / 256;
                packets.get(place(from)..packets.len() - place(to)).unwrap_or_default().to_vec()
            }
            Self::OneWay { opener } => recorded::Fault::OneWay { from_opener: opener }.applied(packets),
            Self::Snap(length) => recorded::Fault::Snap(length).applied(packets),
            Self::Stray { what, behind } => {
                let saying = packets.iter().filter(|packet| said(packet).is_some()).count();
                let chosen = saying * usize::from(behind) / 256;
                let mut seen = 0..;
                packets
                    .iter()
                    .flat_map(|packet| {
                        let here = said(packet).is_some() && seen.next() == Some(chosen);
                        [Some(packet.clone()), here.then(|| stray(packet, what))]
                    })
                    .flatten()
                    .collect()
            }
        }
    }
}

/// A segment beside a real one, of another packet.
fn stray(packet: &Packet, what: Stray) -> Packet {
    let (sequence, _, acknowledgment, payload) = said(packet).unwrap();
    let next = sequence.wrapping_add(u32::try_from(payload.len()).unwrap());
    let mut stray = match what {
        Stray::Syn => segment(packet, next.wrapping_add(0x5000_0000), b"", SYN),
        Stray::SynAck => segment(packet, next.wrapping_add(0x5000_0000), b"", SYN | ACK),
        Stray::At(flags, by, payload) => segment(packet, next.wrapping_add(by), payload, flags),
        Stray::Acknowledges(_) => segment(packet, next, b"", ACK),
    };
    let layout = layout(&stray).unwrap();
    if let Stray::Acknowledges(by) = what {
        let far = acknowledgment.wrapping_add(by);
        stray.bytes[layout.header + 8..layout.header + 12].copy_from_slice(&far.to_be_bytes());
    }
    if !layout.six {
        // The identification of IPv4, by which copies are told from others.
        stray.bytes[layout.ip + 4] ^= 0x55;
    }
    stray
}

fn later(at: Timestamp, by: i64) -> Timestamp {
    Timestamp::from_nanos(at.as_nanos() + by)
}

/// Puts packets where they belong; what is captured in this order is dated in this order.
fn in_order_of_place(mut placed: Vec<(usize, &Packet)>, original: &[Packet]) -> Vec<Packet> {
    placed.sort_by_key(|(place, _)| *place);
    let mut at = original.first().map_or_else(Timestamp::default, |first| first.at);
    let dated = placed.into_iter().map(|(place, packet)| {
        at = at.max(original.get(place).map_or(at, |there| there.at));
        Packet { at, ..packet.clone() }
    });
    dated.collect()
}

fn in_order_of_time(mut packets: Vec<Packet>) -> Vec<Packet> {
    packets.sort_by_key(|packet| packet.at);
    packets
}

/// The packet as a router would pass it on.
fn forwarded(packet: &Packet, behind: i64) -> Packet {
    let mut passed =
        Packet { at: later(packet.at, behind), interface: packet.interface + 1, ..packet.clone() };
    if let Some(layout) = layout(packet) {
        passed.bytes[..12].copy_from_slice(&[9; 12]);
        passed.bytes[layout.ip + if layout.six { 7 } else { 8 }] -= 1;
    }
    passed
}

/// The TCP segment with other bytes at another place of the stream.
fn segment(packet: &Packet, sequence: u32, payload: &[u8], flags: u8) -> Packet {
    let layout = layout(packet).unwrap();
    let mut bytes = packet.bytes[..layout.payload.start].to_vec();
    bytes.extend_from_slice(payload);
    let length = bytes.len() - layout.ip - if layout.six { 40 } else { 0 };
    let at = layout.ip + if layout.six { 4 } else { 2 };
    bytes[at..at + 2].copy_from_slice(&u16::try_from(length).unwrap().to_be_bytes());
    bytes[layout.header + 4..layout.header + 8].copy_from_slice(&sequence.to_be_bytes());
    bytes[layout.header + 13] = flags;
    Packet { original_len: u32::try_from(bytes.len()).unwrap(), bytes, ..packet.clone() }
}

/// What a segment says: its place in the stream, its flags, its acknowledgment and its payload; nothing if it is no
/// whole segment with payload.
fn said(packet: &Packet) -> Option<(u32, u8, u32, &[u8])> {
    let layout = layout(packet).filter(|layout| layout.transport == Transport::Tcp)?;
    let payload = packet.bytes.get(layout.payload).filter(|payload| !payload.is_empty())?;
    let word = |at: usize| u32::from_be_bytes(packet.bytes[at..at + 4].try_into().unwrap());
    Some((word(layout.header + 4), packet.bytes[layout.header + 13], word(layout.header + 8), payload))
}

const FIN: u8 = 1;
const SYN: u8 = 2;
const RST: u8 = 4;
const PSH: u8 = 8;
const ACK: u8 = 16;

fn split(packet: &Packet, dice: &mut Dice) -> Vec<Packet> {
    match said(packet) {
        Some((sequence, flags, _, payload)) if payload.len() >= 2 && flags & (SYN | RST) == 0 => {
            let at = 1 + dice.below(payload.len() - 1);
            let (first, second) = payload.split_at(at);
            let between = sequence.wrapping_add(u32::try_from(at).unwrap());
            vec![
                segment(packet, sequence, first, flags & !(FIN | PSH)),
                segment(packet, between, second, flags),
            ]
        }
        _ => vec![packet.clone()],
    }
}

fn join(packets: &[Packet], at_most: usize) -> Vec<Packet> {
    let mut joined: Vec<Packet> = Vec::new();
    for packet in packets {
        if let Some(last) = joined.last()
            && let (Some((sequence, flags, acknowledged, before)), Some((next, then, also, payload))) =
                (said(last), said(packet))
            && let (Some(from), Some(to)) = (layout(last), layout(packet))
            && (from.source, from.destination) == (to.source, to.destination)
            && sequence.wrapping_add(u32::try_from(before.len()).unwrap()) == next
            && acknowledged == also
            && (flags | then) & (SYN | RST) == 0
            && flags & FIN == 0
            && before.len() + payload.len() <= at_most
        {
            let whole = segment(last, sequence, &[before, payload].concat(), flags | then);
            joined.pop();
            joined.push(whole);
        } else {
            joined.push(packet.clone());
        }
    }
    joined
}

fn wrapped(packet: &Packet, wrap: Wrap) -> Packet {
    let Some(layout) = layout(packet) else { return packet.clone() };
    let (ethernet, inner) = packet.bytes.split_at(layout.ip);
    let kind = &ethernet[ethernet.len() - 2..];
    let outer = |protocol: u8, inner: &[u8]| {
        let mut bytes = Vec::new();
        PacketBuilder::ethernet2([3; 6], [4; 6])
            .ipv4([198, 51, 100, 1], [198, 51, 100, 2], 64)
            .write(&mut bytes, IpNumber(protocol), inner)
            .unwrap();
        bytes
    };
    let datagram = |port: u16, head: &[u8]| {
        let mut bytes = Vec::new();
        PacketBuilder::ethernet2([3; 6], [4; 6])
            .ipv4([198, 51, 100, 1], [198, 51, 100, 2], 64)
            .udp(50_000, port)
            .write(&mut bytes, &[head, &packet.bytes].concat())
            .unwrap();
        bytes
    };
    let bytes = match wrap {
        Wrap::Vlan => [&packet.bytes[..12], &[0x81, 0, 0, 12], &packet.bytes[12..]].concat(),
        Wrap::DoubleVlan => {
            [&packet.bytes[..12], &[0x88, 0xa8, 0, 3, 0x81, 0, 0, 12], &packet.bytes[12..]].concat()
        }
        Wrap::Vxlan => datagram(4789, &[8, 0, 0, 0, 0, 16, 0, 0]),
        Wrap::Geneve => datagram(6081, &[0, 0, 0x65, 0x58, 0, 0, 7, 0]),
        Wrap::Gre => outer(47, &[&[0, 0], kind, inner].concat()),
        Wrap::IpInIp => outer(if layout.six { 41 } else { 4 }, inner),
        Wrap::Mpls => [&packet.bytes[..12], &[0x88, 0x47, 0, 1, 0x11, 64], inner].concat(),
    };
    Packet { original_len: u32::try_from(bytes.len()).unwrap(), bytes, ..packet.clone() }
}

fn change() -> impl Strategy<Value = Change> {
    let seed = any::<u64>;
    prop_oneof![
        (5_u64..60, 1_usize..6, seed()).prop_map(|(percent, later, seed)| Change::Repeat {
            percent,
            later,
            seed
        }),
        (0_i64..200_000).prop_map(|behind| Change::SecondPoint { behind }),
        (10_u64..=100, seed()).prop_map(|(percent, seed)| Change::Split { percent, seed }),
        prop::sample::select(vec![1_500, 9_000, 60_000]).prop_map(|at_most| Change::Join { at_most }),
        (2_usize..6, seed()).prop_map(|(window, seed)| Change::Reorder { window, seed }),
        (0_i64..50_000_000, any::<bool>()).prop_map(|(by, opener)| Change::Delay { by, opener }),
        (1_u64..40, seed()).prop_map(|(percent, seed)| Change::Lose { percent, seed }),
        (0_u8..200, 0_u8..50).prop_map(|(from, to)| Change::Cut { from, to }),
        any::<bool>().prop_map(|opener| Change::OneWay { opener }),
        prop::sample::select(vec![54, 66, 96, 128, 256, 600]).prop_map(Change::Snap),
    ]
}

fn wrap() -> impl Strategy<Value = Change> {
    use Wrap::{DoubleVlan, Geneve, Gre, IpInIp, Mpls, Vlan, Vxlan};
    let all = vec![Vlan, DoubleVlan, Vxlan, Geneve, Gre, IpInIp, Mpls];
    prop::sample::select(all).prop_map(Change::Wrap)
}

/// Every capture of single stacks or whole meshes, but for those that no change here can be made to: cooked ones.
fn captures() -> Vec<Capture> {
    let mut paths = Vec::new();
    for folder in ["", "wire", "lab"] {
        for entry in std::fs::read_dir(testdata(folder)).unwrap() {
            let path = entry.unwrap().path();
            let inside = path.join("capture.pcap");
            if path.extension().is_some_and(|kind| kind == "pcap") {
                paths.push(path);
            } else if inside.exists() {
                paths.push(inside);
            }
        }
    }
    paths.sort();
    assert!(paths.len() >= 100, "the recordings are there");
    let read = |path: &PathBuf| {
        let packets = recorded::read(path);
        if packets.iter().any(|packet| packet.link != LinkType::ETHERNET) {
            return None;
        }
        let verdicts = whole(&packets);
        let name = path.strip_prefix(testdata("")).unwrap_or(path).display().to_string();
        Some(Capture { name, packets, verdicts })
    };
    paths.iter().filter_map(read).collect()
}

/// The ends of everything that has a payload byte.
fn speaking(packets: &[Packet]) -> BTreeSet<Pair> {
    packets
        .iter()
        .filter_map(layout)
        .filter(|layout| !layout.payload.is_empty())
        .map(|layout| layout.pair())
        .collect()
}

/// Tells the two cases in which less shows more.
fn excused(less: &Security, whole: &Security) -> bool {
    match (less, whole) {
        // A hello that the server answered in the clear: without the hello, only the plaintext is left.
        (Security::Plaintext(_), Security::Tls(session, _)) => {
            session.version.is_none() && session.outcome == Outcome::Failed
        }
        // A resumption rests on other connections too: which of them are known by then depends on their order.
        (Security::Tls(_, client), Security::Tls(_, known)) => {
            client.word() == known.word()
                && (less.evidence().proof, whole.evidence().proof) == (Proof::Linked, Proof::Inferred)
        }
        _ => false,
    }
}

/// A capture with the verdicts on all of it.
struct Capture {
    name: String,
    packets: Vec<Packet>,
    verdicts: BTreeMap<Pair, Security>,
}

impl Capture {
    /// Says what is wrong with the flows of this capture after changes; nothing if they are as they should be.
    fn wrong_after(&self, changes: &[Change], wrap: Option<&Change>) -> Option<String> {
        let changed = changes.iter().fold(self.packets.clone(), |packets, change| change.applied(&packets));
        let expected = speaking(&changed);
        let flows = match wrap {
            Some(wrap) => observe(&wrap.applied(&changed)),
            None => observe(&changed),
        };
        let reported: BTreeSet<_> = flows.iter().map(pair).collect();
        if let Some(lost) = expected.difference(&reported).next() {
            return Some(format!("{}: lost {lost:?}", self.name));
        }
        if let Some(invented) = reported.difference(&expected).next() {
            return Some(format!("{}: invented {invented:?}", self.name));
        }
        if flows.len() != reported.len() {
            let twice = flows
                .iter()
                .enumerate()
                .find(|(at, flow)| flows[..*at].iter().any(|other| pair(other) == pair(flow)));
            let port = twice.map_or(0, |(_, flow)| flow.client.port);
            return Some(format!("{}: port {port} is reported more than once", self.name));
        }
        let same = changes.iter().all(Change::keeps_all);
        flows.iter().find_map(|flow| {
            let whole = &self.verdicts[&pair(flow)];
            let wrong = if same && verdict(&flow.security) != verdict(whole) {
                "another verdict from the same bytes"
            } else {
                stronger(&flow.security, whole).filter(|_| !excused(&flow.security, whole))?
            };
            let claim = |security: &Security| (verdict(security), security.evidence().reason);
            Some(format!(
                "{}: port {}: {wrong}: {:?}, and from all of it {:?}",
                self.name,
                flow.client.port,
                claim(&flow.security),
                claim(whole)
            ))
        })
    }
}

/// Runs the property over captures and changes to them, the same ones every time.
fn check(cases: u32, changes: impl Strategy<Value = Vec<Change>>) {
    let captures = captures();
    let config = Config { cases, failure_persistence: None, max_shrink_iters: 400, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let outcome =
        runner.run(&(0..captures.len(), changes, prop::option::of(wrap())), |(index, changes, wrap)| {
            let wrong = captures[index].wrong_after(&changes, wrap.as_ref());
            prop_assert!(wrong.is_none(), "{}", wrong.unwrap_or_default());
            Ok(())
        });
    if let Err(error) = outcome {
        // Its text shows the smallest failing capture and changes.
        panic!("{error}");
    }
}

#[test]
fn what_loses_nothing_changes_no_verdict() {
    check(1_000, prop::collection::vec(change().prop_filter("keeps all", Change::keeps_all), 1..4));
}

#[test]
fn a_single_change_leaves_verdicts_the_same_or_weaker() {
    check(4_000, prop::collection::vec(change(), 1));
}

#[test]
fn changes_on_top_of_changes_leave_verdicts_the_same_or_weaker() {
    check(4_000, prop::collection::vec(change(), 2..5));
}

#[test]
fn what_its_receiver_does_not_take_changes_no_verdict() {
    use Stray::{Acknowledges, At, Syn, SynAck};
    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\n\r\n";
    // Beyond the largest window, and long received.
    let (ahead, behind) = (0x5000_0000, 100_000_u32.wrapping_neg());
    let kinds = vec![
        Syn,
        SynAck,
        Acknowledges(ahead),
        At(RST, ahead, b""),
        At(RST, behind, b""),
        // Within the window, but not where the receiver is: it asks, and goes on (RFC 5961 section 3.2).
        At(RST, 7, b""),
        At(FIN | ACK, ahead, b""),
        At(FIN | ACK, behind, b""),
        At(PSH | ACK, ahead, REQUEST),
        At(PSH | ACK, behind, REQUEST),
    ];
    let stray = (prop::sample::select(kinds), any::<u8>());
    check(3_000, stray.prop_map(|(what, behind)| vec![Change::Stray { what, behind }]));
}

#[test]
fn a_settled_verdict_is_there_before_the_end() {
    // What `observe` checks would hold for an engine that settles nothing before the end.
    let settled =
        captures().iter().flat_map(|capture| recorded::reports(&capture.packets)).collect::<Vec<_>>();
    let open = settled.iter().filter(|flow| flow.close == Close::Open).count();
    assert!(
        open * 2 > settled.len() - open,
        "{open} of {} flows settle while they are open",
        settled.len() - open
    );
}
