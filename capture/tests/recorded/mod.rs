//! Recorded packets, what may happen to them on the way to a capture, and what the engine makes of them.
//!
//! Only Ethernet frames with IPv4 or IPv6 right behind (or behind VLAN tags) are understood here: what the recordings hold.

#![allow(dead_code, reason = "each test file uses its part of this")]
#![allow(clippy::expect_used, clippy::panic, reason = "a test may stop here")]

pub(crate) mod labels;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::Range;
use std::path::{Path, PathBuf};

use capture::engine::{Engine, Frame, Limits, LinkType};
use capture::source::file::Reader;
use flow::{
    AuthWord, Class, ClientAuth, Close, Endpoint, Flow, FlowId, Presented, Proof, Security, Timestamp,
    Transport,
};

/// One captured frame that owns its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Packet {
    pub(crate) at: Timestamp,
    pub(crate) link: LinkType,
    pub(crate) interface: u32,
    pub(crate) original_len: u32,
    pub(crate) bytes: Vec<u8>,
}

/// Both ends of a flow, the smaller first: without its opening, who the client is is not always known.
pub(crate) type Pair = (Transport, Endpoint, Endpoint);

/// What a claim about a flow comes to.
pub(crate) type Verdict = (Class, Option<AuthWord>, Proof);

/// The path of something under `testdata/`.
pub(crate) fn testdata(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata").join(name)
}

/// Reads a whole capture.
pub(crate) fn read(path: &Path) -> Vec<Packet> {
    let file = File::open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut reader = Reader::new(file).expect("a capture");
    let mut packets = Vec::new();
    while let Some(frame) = reader.next() {
        let Frame { at, link, interface, original_len, bytes } = frame.expect("a whole capture");
        packets.push(Packet { at, link, interface, original_len, bytes: bytes.to_vec() });
    }
    packets
}

/// Every report that the engine makes of some packets, in order.
pub(crate) fn reports<'a>(packets: impl IntoIterator<Item = &'a Packet>) -> Vec<Flow> {
    let mut engine = Engine::new(Limits::default());
    let mut flows = Vec::new();
    for packet in packets {
        let Packet { at, link, interface, original_len, bytes } = packet;
        engine.frame(&Frame {
            at: *at,
            link: *link,
            interface: *interface,
            original_len: *original_len,
            bytes,
        });
        flows.extend(std::iter::from_fn(|| engine.poll()));
    }
    engine.finish();
    flows.extend(std::iter::from_fn(|| engine.poll()));
    flows
}

/// The flows as they stand in the end, after holding them against what was reported while they were open.
pub(crate) fn observe<'a>(packets: impl IntoIterator<Item = &'a Packet>) -> Vec<Flow> {
    let (open, ended): (Vec<_>, Vec<_>) =
        reports(packets).into_iter().partition(|flow| flow.close == Close::Open);
    let last: BTreeMap<FlowId, &Flow> = ended.iter().map(|flow| (flow.id, flow)).collect();
    assert_eq!(last.len(), ended.len(), "a flow is reported once at its end");
    let mut settled = BTreeSet::new();
    for flow in &open {
        assert!(settled.insert(flow.id), "{} settles twice", flow.id);
        let last = last.get(&flow.id).expect("what settled also ends");
        assert_eq!(verdict(&flow.security), verdict(&last.security), "a settled verdict changed: {flow:?}");
    }
    ended
}

/// The claim that a security makes.
pub(crate) fn verdict(security: &Security) -> Verdict {
    let word = match security {
        Security::Tls(_, client) => Some(client.word()),
        Security::Plaintext(_) | Security::Opaque(_) | Security::Unknown(_) => None,
    };
    (security.class(), word, security.evidence().proof)
}

/// The ends of a flow.
pub(crate) fn pair(flow: &Flow) -> Pair {
    (flow.transport, flow.client.min(flow.server), flow.client.max(flow.server))
}

/// The securities of a capture's flows by their ends.
pub(crate) fn whole(packets: &[Packet]) -> BTreeMap<Pair, Security> {
    let flows = observe(packets);
    let by_pair: BTreeMap<_, _> = flows.iter().map(|flow| (pair(flow), flow.security.clone())).collect();
    assert_eq!(by_pair.len(), flows.len(), "every flow of a recording has ports of its own");
    by_pair
}

/// Says what is wrong with a verdict on less than the whole capture; nothing if it is the same or weaker.
pub(crate) fn stronger(less: &Security, whole: &Security) -> Option<&'static str> {
    let proof = || less.evidence().proof > whole.evidence().proof;
    match (less, whole) {
        (Security::Unknown(_), _) | (Security::Tls(_, ClientAuth::Hidden(_)), Security::Tls(..)) => None,
        (Security::Tls(..), Security::Plaintext(_) | Security::Opaque(_) | Security::Unknown(_)) => {
            Some("TLS out of nothing")
        }
        (
            Security::Tls(_, ClientAuth::Proved(Presented::Rejected, _)),
            Security::Tls(_, ClientAuth::Proved(Presented::Sent, _)),
        ) => Some("a refusal out of nothing"),
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

/// Where the parts of a frame lie.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    pub(crate) six: bool,
    pub(crate) transport: Transport,
    pub(crate) source: Endpoint,
    pub(crate) destination: Endpoint,
    /// Where the IP header begins, where the transport header does, and where the payload lies on the wire.
    pub(crate) ip: usize,
    pub(crate) header: usize,
    pub(crate) payload: Range<usize>,
}

impl Layout {
    pub(crate) fn pair(&self) -> Pair {
        (self.transport, self.source.min(self.destination), self.source.max(self.destination))
    }
}

fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at.checked_add(2)?)?.try_into().ok()?))
}

/// Finds the parts of a frame; nothing if it is neither TCP nor UDP, or is cut within a header.
pub(crate) fn layout(packet: &Packet) -> Option<Layout> {
    let bytes = packet.bytes.as_slice();
    let mut kind = 12;
    while matches!(be16(bytes, kind)?, 0x8100 | 0x88a8) {
        kind += 4;
    }
    let ip = kind + 2;
    let (six, protocol, header, end) = match be16(bytes, kind)? {
        0x0800 => {
            let header = ip + usize::from(bytes.get(ip)? & 15) * 4;
            (false, *bytes.get(ip + 9)?, header, ip + usize::from(be16(bytes, ip + 2)?))
        }
        0x86dd => (true, *bytes.get(ip + 6)?, ip + 40, ip + 40 + usize::from(be16(bytes, ip + 4)?)),
        _ => return None,
    };
    let address = |skip: usize| -> Option<IpAddr> {
        if six {
            let octets: [u8; 16] = bytes.get(ip + 8 + skip * 16..)?.first_chunk().copied()?;
            Some(Ipv6Addr::from(octets).into())
        } else {
            let octets: [u8; 4] = bytes.get(ip + 12 + skip * 4..)?.first_chunk().copied()?;
            Some(Ipv4Addr::from(octets).into())
        }
    };
    let (transport, payload) = match protocol {
        6 => (Transport::Tcp, header + usize::from(bytes.get(header + 12)? >> 4) * 4),
        17 => (Transport::Udp, header + 8),
        _ => return None,
    };
    // The fixed part of the header has to be there.
    bytes.get(header..header + if transport == Transport::Tcp { 20 } else { 8 })?;
    let source = Endpoint { ip: address(0)?, port: be16(bytes, header)? };
    let destination = Endpoint { ip: address(1)?, port: be16(bytes, header + 2)? };
    Some(Layout { six, transport, source, destination, ip, header, payload: payload..end.max(payload) })
}

/// A small generator of numbers, the same everywhere (Steele, Lea and Flood, "Fast splittable pseudorandom number
/// generators").
#[derive(Debug, Clone)]
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Returns a number smaller than the bound, which is not 0.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.roll() % bound as u64).expect("smaller than the bound")
    }

    /// Tells whether something of this many per cent happens now.
    pub(crate) fn happens(&mut self, percent: u64) -> bool {
        self.roll() % 100 < percent
    }
}

/// What a capture may lack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// So many per cent of the packets, by this seed.
    Drop { percent: u64, seed: u64 },
    /// The first packets of the capture.
    Late(usize),
    /// The first packets of each connection.
    EachLate(usize),
    /// The packets towards whoever sent a connection's first packet, or those from there.
    OneWay { from_opener: bool },
    /// Half of every connection's ClientHello, which came in two segments; and the other side is captured later by so many
    /// nanoseconds.
    Hello { first: bool, by: i64 },
    /// The bytes of every frame beyond this length.
    Snap(usize),
    /// Nothing, but one direction is captured later by so many nanoseconds, and frames are cut to a length: two taps, or
    /// two queues, that are not in step.
    Behind { from_opener: bool, by: i64, snap: usize },
}

impl Fault {
    /// Every fault that is tried, with the name of its kind.
    pub(crate) fn all(seeds: u64) -> Vec<(&'static str, Self)> {
        let mut all = Vec::new();
        for seed in 0..seeds {
            all.extend(
                [("drop 1 %", 1), ("drop 5 %", 5), ("drop 20 %", 20)]
                    .map(|(name, percent)| (name, Self::Drop { percent, seed: seed * 7919 + percent })),
            );
        }
        for count in 1..=9 {
            all.push(("capture begins late", Self::Late(count)));
            all.push(("connections begin late", Self::EachLate(count)));
        }
        all.push(("opener's direction only", Self::OneWay { from_opener: true }));
        all.push(("other direction only", Self::OneWay { from_opener: false }));
        for first in [true, false] {
            all.push(("half of the hello", Self::Hello { first, by: 0 }));
            all.push(("half of the hello", Self::Hello { first, by: 1_000_000 }));
            all.push(("half of the hello", Self::Hello { first, by: 25_000_000 }));
        }
        all.extend(
            [("snap 54", 54), ("snap 96", 96), ("snap 128", 128), ("snap 256", 256)]
                .map(|(name, length)| (name, Self::Snap(length))),
        );
        for from_opener in [true, false] {
            for by in [100_000, 1_000_000, 5_000_000, 25_000_000, 100_000_000] {
                all.push(("one direction behind", Self::Behind { from_opener, by, snap: usize::MAX }));
                all.push(("behind, snap 256", Self::Behind { from_opener, by, snap: 256 }));
                all.push(("behind, snap 128", Self::Behind { from_opener, by, snap: 128 }));
            }
        }
        all
    }

    /// What is left of a capture.
    pub(crate) fn applied(self, packets: &[Packet]) -> Vec<Packet> {
        match self {
            Self::Drop { percent, seed } => {
                // Other packets in each capture, too.
                let first = packets.first().map_or(0, |first| first.at.as_nanos().unsigned_abs());
                let mut dice = Dice(seed ^ first);
                packets.iter().filter(|_| !dice.happens(percent)).cloned().collect()
            }
            Self::Late(count) => packets.iter().skip(count).cloned().collect(),
            Self::EachLate(count) => {
                let mut seen: BTreeMap<Pair, usize> = BTreeMap::new();
                let kept = packets.iter().filter(|packet| {
                    let Some(layout) = layout(packet) else { return true };
                    let seen = seen.entry(layout.pair()).or_default();
                    *seen += 1;
                    *seen > count
                });
                kept.cloned().collect()
            }
            Self::OneWay { from_opener } => {
                let from_opener_is = openers(packets);
                let kept = packets.iter().zip(from_opener_is);
                kept.filter(|(_, opener)| opener.is_none_or(|opener| opener == from_opener))
                    .map(|(packet, _)| packet.clone())
                    .collect()
            }
            Self::Hello { first, by } => {
                let mut seen = BTreeSet::new();
                let left: Vec<_> =
                    packets.iter().map(|packet| without_half(packet, first, &mut seen)).collect();
                Self::Behind { from_opener: false, by, snap: usize::MAX }.applied(&left)
            }
            Self::Behind { from_opener, by, snap } => {
                let delayed = packets.iter().zip(openers(packets)).map(|(packet, opener)| {
                    let late = if opener == Some(from_opener) { by } else { 0 };
                    let at = Timestamp::from_nanos(packet.at.as_nanos() + late);
                    Packet { at, ..packet.clone() }
                });
                let mut delayed: Vec<_> = delayed.collect();
                delayed.sort_by_key(|packet| packet.at);
                Self::Snap(snap).applied(&delayed)
            }
            Self::Snap(length) => packets
                .iter()
                .map(|packet| Packet {
                    bytes: packet.bytes.iter().take(length).copied().collect(),
                    ..packet.clone()
                })
                .collect(),
        }
    }
}

/// Takes half of a connection's first hello out of the segment that holds it.
fn without_half(packet: &Packet, first: bool, seen: &mut BTreeSet<Pair>) -> Packet {
    let Some(layout) = layout(packet) else { return packet.clone() };
    let payload = layout.payload.clone();
    let begins = packet.bytes.get(payload.clone()).is_some_and(|it| matches!(it, [22, 3, _, _, _, 1, ..]));
    if layout.transport != Transport::Tcp || !begins || !seen.insert(layout.pair()) {
        return packet.clone();
    }
    let middle = payload.start + payload.len() / 2;
    let lost = if first { payload.start..middle } else { middle..payload.end };
    let mut bytes = packet.bytes.clone();
    if first {
        let sequence: [u8; 4] = bytes[layout.header + 4..][..4].try_into().expect("four bytes");
        let sequence =
            u32::from_be_bytes(sequence).wrapping_add(u32::try_from(lost.len()).expect("a segment"));
        bytes[layout.header + 4..][..4].copy_from_slice(&sequence.to_be_bytes());
    }
    let length = layout.ip + if layout.six { 4 } else { 2 };
    let left = be16(&bytes, length).expect("a length") - u16::try_from(lost.len()).expect("a segment");
    bytes[length..length + 2].copy_from_slice(&left.to_be_bytes());
    bytes.drain(lost);
    Packet { original_len: u32::try_from(bytes.len()).expect("a frame"), bytes, ..packet.clone() }
}

/// Tells of each packet whether it comes from whoever sent its connection's first; nothing of what is in no connection.
fn openers(packets: &[Packet]) -> Vec<Option<bool>> {
    let mut openers: BTreeMap<Pair, Endpoint> = BTreeMap::new();
    let from = packets.iter().map(|packet| {
        let layout = layout(packet)?;
        Some(*openers.entry(layout.pair()).or_insert(layout.source) == layout.source)
    });
    from.collect()
}
