//! Generated traffic to measure the engine with: the conversations recorded in `testdata/` again and again, between
//! other addresses, many at a time. The same arguments give the same bytes everywhere.

#[path = "../../capture/tests/recorded/mod.rs"]
mod recorded;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::PathBuf;

use flow::{Endpoint, Timestamp, Transport};
use recorded::{Layout, Packet, Pair, layout};

/// How far apart two flows begin, in nanoseconds.
const APART: i64 = 250_000;

/// When the first flow begins: 2026-01-01, in nanoseconds.
const BEGIN: i64 = 1_767_225_600_000_000_000;

/// The first sequence number of each side, and the flags of TCP that are used.
const FIRST: u32 = 1_000;
const SYN: u8 = 2;
const ACK: u8 = 16;

/// Packets in the order of their capture.
#[derive(Debug, Clone, Default)]
pub struct Trace {
    packets: Vec<Packet>,
}

/// The recorded packets of one connection.
#[derive(Debug, Clone)]
pub struct Conversation {
    opener: Endpoint,
    packets: Vec<(Layout, Packet)>,
}

/// Reads every conversation over IPv4 in the captures of `testdata/`, `testdata/wire/` and `testdata/lab/`.
#[must_use]
pub fn conversations() -> Vec<Conversation> {
    let mut captures: Vec<PathBuf> = Vec::new();
    for folder in ["", "wire", "lab"] {
        for entry in std::fs::read_dir(recorded::testdata(folder)).into_iter().flatten().flatten() {
            captures.extend([entry.path(), entry.path().join("capture.pcap")]);
        }
    }
    captures.retain(|path| path.extension().is_some_and(|kind| kind == "pcap") && path.is_file());
    captures.sort();
    captures.iter().flat_map(|path| split(&recorded::read(path))).collect()
}

/// Reads the conversations of one capture in `testdata/`.
#[must_use]
pub fn conversations_of(capture: &str) -> Vec<Conversation> {
    split(&recorded::read(&recorded::testdata(capture)))
}

/// Takes a capture apart into its connections, in order of their first packets.
fn split(packets: &[Packet]) -> Vec<Conversation> {
    let mut places: BTreeMap<Pair, usize> = BTreeMap::new();
    let mut conversations: Vec<Conversation> = Vec::new();
    for packet in packets {
        let Some(layout) = layout(packet).filter(|layout| !layout.six && layout.ip == 14) else { continue };
        let place = *places.entry(layout.pair()).or_insert_with(|| {
            conversations.push(Conversation { opener: layout.source, packets: Vec::new() });
            conversations.len() - 1
        });
        conversations[place].packets.push((layout, packet.clone()));
    }
    conversations
}

impl Conversation {
    /// The bytes of each segment or datagram that has some, and whether the opener sent it.
    pub fn said(&self) -> impl Iterator<Item = (bool, &[u8])> {
        self.packets.iter().filter_map(|(layout, packet)| {
            let bytes = packet.bytes.get(layout.payload.clone()).filter(|bytes| !bytes.is_empty())?;
            Some((layout.source == self.opener, bytes))
        })
    }

    /// Tells whether it is TCP.
    #[must_use]
    pub fn is_tcp(&self) -> bool {
        self.packets.iter().all(|(layout, _)| layout.transport == Transport::Tcp)
    }

    /// The packets between other addresses, from another time on.
    fn again(
        &self,
        client: Ipv4Addr,
        server: Ipv4Addr,
        port: u16,
        begin: i64,
    ) -> impl Iterator<Item = Packet> {
        let first = self.packets.first().map_or(0, |(_, packet)| packet.at.as_nanos());
        self.packets.iter().map(move |(layout, packet)| {
            let mut bytes = packet.bytes.clone();
            let opens = layout.source == self.opener;
            let (source, destination) = if opens { (client, server) } else { (server, client) };
            let place = if opens { layout.header } else { layout.header + 2 };
            for (at, value) in [
                (layout.ip + 12, &source.octets()[..]),
                (layout.ip + 16, &destination.octets()),
                (place, &port.to_be_bytes()),
            ] {
                if let Some(there) = bytes.get_mut(at..at + value.len()) {
                    there.copy_from_slice(value);
                }
            }
            let at = Timestamp::from_nanos(begin + packet.at.as_nanos() - first);
            Packet { at, bytes, interface: 0, ..packet.clone() }
        })
    }
}

impl Trace {
    /// Lets so many flows happen, one after the other begun and all of them interleaved, by the given conversations in
    /// turn.
    #[must_use]
    pub fn of(conversations: &[Conversation], flows: u32) -> Self {
        let mut packets = Vec::new();
        for (number, conversation) in (0..flows).zip(conversations.iter().cycle()) {
            let [_, high, middle, low] = number.to_be_bytes();
            let client = Ipv4Addr::new(10, high, middle, low);
            let server = Ipv4Addr::new(172, 16 + (low & 15), 0, 1 + (middle & 63));
            let port = 1024 + u16::try_from(number % 60_000).unwrap_or_default();
            packets.extend(conversation.again(client, server, port, BEGIN + i64::from(number) * APART));
        }
        packets.sort_by_key(|packet| packet.at);
        Self { packets }
    }

    /// Lets so many TCP connections to this port say the same, a segment each (whether the client sends it, and its bytes),
    /// all of them interleaved, after a SYN and its answer.
    #[must_use]
    pub fn saying(said: &[(bool, Vec<u8>)], port: u16, flows: u32) -> Self {
        let mut packets = Vec::new();
        let mut sent = [FIRST; 2];
        let opening = [(true, SYN, &[][..]), (false, SYN | ACK, &[])];
        let said = said.iter().map(|(by_client, bytes)| (*by_client, ACK, bytes.as_slice()));
        for (by_client, flags, bytes) in opening.into_iter().chain(said) {
            let (from, to) = if by_client { (0, 1) } else { (1, 0) };
            for number in 0..flows {
                let segment = segment(number, by_client, port, flags, [sent[from], sent[to]], bytes);
                let at =
                    Timestamp::from_nanos(BEGIN + i64::try_from(packets.len()).unwrap_or_default() * 1_000);
                let original_len = u32::try_from(segment.len()).unwrap_or(u32::MAX);
                let link = capture::engine::LinkType::ETHERNET;
                packets.push(Packet { at, link, interface: 0, original_len, bytes: segment });
            }
            sent[from] += u32::try_from(bytes.len()).unwrap_or_default() + u32::from(flags & SYN != 0);
        }
        Self { packets }
    }

    /// How many packets it has.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.packets.len()
    }

    /// Tells whether it has none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.packets.is_empty()
    }

    /// Its packets as an engine takes them.
    pub fn frames(&self) -> impl Iterator<Item = capture::engine::Frame<'_>> {
        self.packets.iter().map(|packet| capture::engine::Frame {
            at: packet.at,
            link: packet.link,
            interface: packet.interface,
            original_len: packet.original_len,
            bytes: &packet.bytes,
        })
    }

    /// The file that `tcpdump` would have written: pcap with microseconds.
    #[must_use]
    pub fn pcap(&self) -> Vec<u8> {
        let mut file = Vec::new();
        for field in [0xa1b2_c3d4_u32, 0x0004_0002, 0, 0, 262_144, 1] {
            file.extend_from_slice(&field.to_le_bytes());
        }
        for packet in &self.packets {
            let micros = packet.at.as_nanos() / 1000;
            let captured = u32::try_from(packet.bytes.len()).unwrap_or(u32::MAX);
            let [seconds, micros] =
                [micros / 1_000_000, micros % 1_000_000].map(|part| u32::try_from(part).unwrap_or_default());
            for field in [seconds, micros, captured, packet.original_len] {
                file.extend_from_slice(&field.to_le_bytes());
            }
            file.extend_from_slice(&packet.bytes);
        }
        file
    }
}

/// An Ethernet frame of IPv4 and TCP, without checksums, in the flow of this number.
fn segment(
    flow: u32,
    by_client: bool,
    port: u16,
    flags: u8,
    [sequence, acknowledgment]: [u32; 2],
    bytes: &[u8],
) -> Vec<u8> {
    let [_, high, middle, low] = flow.to_be_bytes();
    let client = (Ipv4Addr::new(10, high, middle, low), 40_000_u16);
    let server = (Ipv4Addr::new(172, 16, 0, 1), port);
    let (source, destination) = if by_client { (client, server) } else { (server, client) };
    let length = u16::try_from(40 + bytes.len()).unwrap_or(u16::MAX);

    let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0, 0x45, 0];
    frame.extend(length.to_be_bytes());
    frame.extend([0, 1, 0x40, 0, 64, 6, 0, 0]);
    frame.extend(source.0.octets());
    frame.extend(destination.0.octets());
    frame.extend(source.1.to_be_bytes());
    frame.extend(destination.1.to_be_bytes());
    frame.extend(sequence.to_be_bytes());
    frame.extend(acknowledgment.to_be_bytes());
    frame.extend([0x50, flags, 255, 255, 0, 0, 0, 0]);
    frame.extend_from_slice(bytes);
    frame
}

#[cfg(test)]
mod tests {
    use capture::engine::{Engine, Limits};
    use flow::Close;

    use super::*;

    #[test]
    fn every_flow_of_a_trace_is_a_flow_of_its_own() {
        let trace = Trace::of(&conversations(), 500);
        assert_eq!(trace.pcap(), Trace::of(&conversations(), 500).pcap());
        let mut engine = Engine::new(Limits::default());
        for frame in trace.frames() {
            engine.frame(&frame);
        }
        engine.finish();
        let flows: Vec<_> =
            std::iter::from_fn(|| engine.poll()).filter(|flow| flow.close != Close::Open).collect();
        let clients: std::collections::BTreeSet<_> = flows.iter().map(|flow| flow.client).collect();
        let coverage = engine.coverage();
        assert_eq!(flows.len() as u64 + coverage.empty, 500, "{:?}", coverage.skipped);
        assert_eq!(clients.len(), flows.len());
    }
}
