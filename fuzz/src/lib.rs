//! What each fuzz target does with its bytes, and what it demands of the outcome.
//!
//! Also compiled into `capture/tests/cases.rs`, which replays every case in `fuzz/cases/` without a fuzzer.

mod initial;

use std::sync::Arc;

use std::collections::BTreeMap;
use std::io::Read;
use std::sync::OnceLock;

use capture::engine::{Engine, Frame, Limits, LinkType};
use capture::internals::{self, Exchange, Handshake};
use capture::source::file::Reader;
use flow::{AuthWord, Class, ClientAuth, Close, Flow, FlowId, Security, Side, Timestamp, Transport};

/// Most bytes of frames that one input is allowed to unpack to: compression makes much out of little.
const UNPACKED: usize = 4 << 20;

/// About how many bytes of a direction an engine shows to detection.
const OPENING: usize = 16 * 1024;

/// Cuts an input into pieces: one byte that says what a piece is for, two of length, then so many bytes.
pub fn pieces(mut data: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    std::iter::from_fn(move || {
        let (&[kind, high, low], rest) = data.split_first_chunk()?;
        let length = usize::from(u16::from_be_bytes([high, low])).min(rest.len());
        let (piece, rest) = rest.split_at(length);
        data = rest;
        Some((kind, piece))
    })
}

/// Files of every form read to their end; how the bytes arrive makes no difference.
pub fn reader(data: &[u8]) {
    struct Dribble<'a>(&'a [u8], usize);

    impl Read for Dribble<'_> {
        fn read(&mut self, block: &mut [u8]) -> std::io::Result<usize> {
            self.1 = self.1 % 11 + 1;
            let length = self.1.min(self.0.len()).min(block.len());
            let (now, later) = self.0.split_at(length);
            block[..length].copy_from_slice(now);
            self.0 = later;
            Ok(length)
        }
    }

    let at_once = frames(data);
    let in_drops = frames(Dribble(data, 0));
    if data.starts_with(&[0x1f, 0x8b]) && at_once.1.is_some() {
        // A decompressor that fails keeps what it had unpacked of its last helping, so that damage shows earlier.
        assert!(in_drops.0.starts_with(&at_once.0), "{:?} after {:?}", at_once.1, at_once.0.last());
        return;
    }
    assert_eq!(at_once, in_drops);
}

type Framed = (Timestamp, LinkType, u32, Option<String>, u32, Vec<u8>);

fn frames(input: impl Read) -> (Vec<Framed>, Option<String>) {
    let mut reader = match Reader::new(input) {
        Ok(reader) => reader,
        Err(error) => return (Vec::new(), Some(error.to_string())),
    };
    let mut frames: Vec<Framed> = Vec::new();
    let mut unpacked = 0;
    while unpacked < UNPACKED {
        let Frame { at, link, interface, original_len, bytes } = match reader.next() {
            None => return (frames, None),
            Some(Err(error)) => {
                let error = error.to_string();
                assert!(reader.next().is_none(), "nothing follows an error");
                return (frames, Some(error));
            }
            Some(Ok(frame)) => frame,
        };
        let bytes = bytes.to_vec();
        unpacked += bytes.len() + 64;
        let name = reader.interface_name(interface).map(str::to_owned);
        frames.push((at, link, interface, name, original_len, bytes));
    }
    (frames, None)
}

fn link_types() -> &'static [LinkType] {
    static LINKS: OnceLock<Vec<LinkType>> = OnceLock::new();
    LINKS.get_or_init(internals::link_types)
}

/// The same frame after every link type.
pub fn decode(data: &[u8]) {
    let Some((&[more], bytes)) = data.split_first_chunk() else { return };
    for &link in link_types() {
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let original_len = length + u32::from(more);
        let frame = Frame { at: Timestamp::from_nanos(0), link, interface: 0, original_len, bytes };
        let mut tunnels = 0;
        if let Ok((on_wire, at_hand)) = internals::decode(&frame, &mut tunnels) {
            assert!(at_hand <= on_wire && at_hand <= bytes.len());
        }
        assert!(tunnels <= 32, "{tunnels} tunnels");
    }
}

/// Segments in any order, overlapping and cut, against the plainest model: of each byte the first copy counts.
pub fn reassembly(data: &[u8]) {
    let Some((&start, rest)) = data.split_first_chunk() else { return };
    let start = u32::from_be_bytes(start);
    let mut model: Vec<Option<Option<u8>>> = Vec::new();
    let mut segments = Vec::new();
    for (kind, piece) in pieces(rest) {
        let Some((&offset, bytes)) = piece.split_first_chunk() else { continue };
        let offset = i64::from(u16::from_be_bytes(offset)) - 64;
        let missing = if kind & 1 == 1 { usize::from(kind >> 1) } else { 0 };
        let sequence = i64::from(start) + offset;
        segments.push((u32::try_from(sequence.rem_euclid(1 << 32)).unwrap_or_default(), bytes, missing));
        let wire = bytes.iter().copied().map(Some).chain(std::iter::repeat_n(None, missing));
        for (at, byte) in wire.enumerate() {
            let Ok(at) = usize::try_from(offset + i64::try_from(at).unwrap_or(i64::MAX)) else { continue };
            if model.len() <= at {
                model.resize(at + 1, None);
            }
            model[at].get_or_insert(byte);
        }
    }
    let expected: Vec<Option<u8>> = model.into_iter().map_while(|byte| byte).collect();
    let (read, gap) = internals::reassemble(start, segments);
    if gap {
        assert!(expected.starts_with(&read), "{read:?} does not begin {expected:?}");
    } else {
        assert_eq!(read, expected);
    }
}

/// Both directions of a TLS stream in chunks, with cuts, gaps and ends.
pub fn handshake(data: &[u8]) {
    let mut handshake = Handshake::in_stream();
    let mut known = Known::default();
    let mut sent = [0_u64; 2];
    let mut ended = [false; 2];
    for (packet, (kind, bytes)) in (0..).zip(pieces(data)) {
        let (side, from, to) = if kind & 1 == 0 { (Side::Client, 0, 1) } else { (Side::Server, 1, 0) };
        if ended[from] {
            // Nothing follows a direction's end, and a reset ends both.
            continue;
        }
        let length = bytes.len() as u64;
        let acknowledged = (kind & 0x20 == 0).then_some(sent[to]);
        match kind >> 1 & 7 {
            5 => handshake.cut(side, length),
            6 => handshake.gap(side),
            // What is settled is settled against bytes; whoever asks whether it is ends no stream afterwards.
            7 if known.0.is_some() => {}
            7 => {
                let reset = kind & 0x10 != 0;
                ended[from] = true;
                ended[to] |= reset;
                handshake.close(side, reset, acknowledged.and_then(|count| u32::try_from(count).ok()));
            }
            _ => handshake.bytes(side, packet, acknowledged, bytes),
        }
        sent[from] += length;
        known.check(&mut handshake);
    }
}

/// Datagrams of both directions of QUIC: as they are, or as the frames of an Initial packet to be sealed.
pub fn quic(data: &[u8]) {
    let mut datagrams = (0_u8..=u8::MAX).cycle().zip(pieces(data)).map(|(number, (kind, bytes))| {
        let side = if kind & 1 == 0 { Side::Client } else { Side::Server };
        let sealed = if kind & 2 == 2 { initial::sealed(side, number, bytes) } else { None };
        (side, sealed.unwrap_or_else(|| bytes.to_vec()))
    });
    let Some((side, first)) = datagrams.next() else { return };
    let (handshake, _) = Handshake::in_quic(&first);
    feed(handshake, std::iter::once((side, first)).chain(datagrams));
}

/// Datagrams of both directions of DTLS.
pub fn dtls(data: &[u8]) {
    let first = pieces(data).next().map_or(&[][..], |(_, bytes)| bytes);
    let (handshake, _) = Handshake::in_dtls(first);
    let side = |kind: u8| if kind & 1 == 0 { Side::Client } else { Side::Server };
    feed(handshake, pieces(data).map(|(kind, bytes)| (side(kind), bytes.to_vec())));
}

fn feed(mut handshake: Handshake, datagrams: impl Iterator<Item = (Side, Vec<u8>)>) {
    let mut known = Known::default();
    for (packet, (side, bytes)) in (0..).zip(datagrams) {
        handshake.bytes(side, packet, None, &bytes);
        known.check(&mut handshake);
    }
}

/// What a handshake came to when it settled.
#[derive(Default)]
struct Known(Option<(AuthWord, Security)>);

impl Known {
    /// Demands that what is settled stays as it is.
    fn check(&mut self, handshake: &mut Handshake) {
        let (session, client) = handshake.conclude();
        let settled = handshake.settled();
        match &self.0 {
            Some((word, before)) => {
                assert!(settled, "settled no more");
                let now = (client.word(), Security::Tls(Arc::new(session), client));
                assert_eq!((*word, before.class()), (now.0, now.1.class()), "{before:?} became {now:?}");
            }
            None if settled => {
                self.0 = Some((client.word(), Security::Tls(Arc::new(session), client)));
            }
            None => {}
        }
    }
}

/// A certificate, or what passes for one, as the leaf of a Certificate message.
pub fn leaf(data: &[u8]) {
    let length = |bytes: usize| u32::try_from(bytes).unwrap_or_default().to_be_bytes();
    let entry = [&length(data.len())[1..], data].concat();
    let body = [&length(entry.len())[1..], &entry].concat();
    let read = internals::leaf(&body);
    if let Some(certificate) = read {
        assert!(certificate.sans.len() <= 64 && certificate.chain == 1);
    }
    // And as the whole message, whatever its lengths say.
    let _ = internals::leaf(data);
}

/// Both directions of an exchange, so far: how each piece changes them.
fn exchange(data: &[u8], mut each: impl FnMut(&[u8], &[u8], Side, bool)) {
    let (mut client, mut server) = (Vec::new(), Vec::new());
    let mut first = None;
    for (kind, bytes) in pieces(data) {
        let side = if kind & 1 == 0 { Side::Client } else { Side::Server };
        first.get_or_insert(side);
        let stream = if side == Side::Client { &mut client } else { &mut server };
        stream.extend_from_slice(bytes);
        if stream.len() > OPENING {
            // An engine asks no more.
            break;
        }
        each(&client, &server, first.unwrap_or(side), false);
    }
    each(&client, &server, first.unwrap_or(Side::Client), true);
}

/// Every upgrade over an exchange, and the packets that one of them wraps TLS in.
pub fn upgrade(data: &[u8]) {
    let mut growing = Exchange::default();
    exchange(data, |client, server, first, ended| {
        let turns = growing.turns(client, server, first, ended);
        assert_eq!(turns, Exchange::default().turns(client, server, first, ended), "read anew");
        for (in_client, _) in turns.into_iter().filter_map(|(_, offsets)| offsets) {
            // Where the server's TLS begins may still have to come.
            assert!(in_client <= client.len(), "{in_client}");
        }
    });
    let whole: Vec<u8> = pieces(data).flat_map(|(_, bytes)| bytes).copied().collect();
    assert_eq!(
        internals::unwrap_tds([whole.as_slice()]),
        internals::unwrap_tds(pieces(data).map(|(_, bytes)| bytes))
    );
}

/// Detection over an exchange.
pub fn detection(data: &[u8]) {
    let Some((&[flags, high, low], rest)) = data.split_first_chunk() else { return };
    let transport = if flags & 1 == 0 { Transport::Tcp } else { Transport::Udp };
    let port = u16::from_be_bytes([high, low]);
    exchange(rest, |client, server, first, ended| {
        let found = internals::detect(client, server, first, transport, port, flags & 2 == 0, ended);
        assert!(found.is_none_or(|(in_client, _)| in_client <= client.len()), "{found:?}");
    });
}

/// The whole engine over frames, with tight limits.
pub fn engine(data: &[u8]) {
    engine_within(data, || 0);
}

/// How many times an engine sees its input, each time from other ports.
const ROUNDS: u8 = 12;

/// What an engine with the limits below may hold, in bytes: eight handshakes, and the tables.
const MOST_HELD: usize = 2 << 20;

/// Like [`engine`], and holds the memory in use, as `live` tells it, to a bound.
pub fn engine_within(data: &[u8], live: impl Fn() -> usize) {
    let before = live();
    let limits = Limits {
        connections: 8,
        parts: 1,
        silent: 4,
        held_bytes: 16 * 1024,
        tcp_idle: 600,
        udp_idle: 60,
        silent_idle: 30,
        ..Limits::default()
    };
    let mut engine = Engine::new(limits);
    let mut reports = Reports::default();
    let mut at = 0_i64;
    let mut frames = 0_u64;
    let mut frame = Vec::new();
    for round in 0..ROUNDS {
        for (kind, bytes) in pieces(data) {
            at += 1000 << (kind >> 3);
            let links = link_types();
            let link = links[usize::from(kind & 7) % links.len()];
            frame.clear();
            frame.extend_from_slice(bytes);
            if link == LinkType::ETHERNET {
                // The low bytes of both ports, where IPv4 has no options: other connections of the same kind.
                for place in [35, 37] {
                    if let Some(byte) = frame.get_mut(place) {
                        *byte ^= round;
                    }
                }
            }
            let original_len = u32::try_from(frame.len()).unwrap_or(u32::MAX);
            let at = Timestamp::from_nanos(at);
            engine.frame(&Frame { at, link, interface: u32::from(round) & 1, original_len, bytes: &frame });
            frames += 1;
            while let Some(flow) = engine.poll() {
                reports.take(&flow);
            }
        }
        let held = live().saturating_sub(before).saturating_sub(reports.open.len() * 1024);
        assert!(held <= MOST_HELD, "{held} bytes in use");
    }
    engine.finish();
    while let Some(flow) = engine.poll() {
        reports.take(&flow);
    }
    assert!(reports.open.is_empty(), "what settled also ends: {:?}", reports.open);
    let coverage = engine.coverage();
    assert_eq!(coverage.packets, frames);
    assert_eq!(coverage.flows, reports.ended, "every flow that spoke is reported once at its end");
}

/// What the engine reported.
#[derive(Default)]
struct Reports {
    open: BTreeMap<FlowId, (Class, Option<AuthWord>)>,
    ended: u64,
}

impl Reports {
    fn take(&mut self, flow: &Flow) {
        let word = match &flow.security {
            Security::Tls(_, client) => Some(ClientAuth::word(client)),
            Security::Plaintext(_) | Security::Opaque(_) | Security::Unknown(_) => None,
        };
        let now = (flow.security.class(), word);
        if flow.close == Close::Open {
            assert!(self.open.insert(flow.id, now).is_none(), "a flow settles once");
        } else {
            self.ended += 1;
            if let Some(before) = self.open.remove(&flow.id) {
                assert_eq!(before, now, "a settled verdict changed");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_initial_is_opened() {
        let hello = [&[1, 0, 0, 41, 3, 3][..], &[7; 32], &[0, 0, 2, 0x13, 1, 1, 0]].concat();
        let frames = [&[6, 0, 45][..], &hello].concat();
        let datagram = initial::sealed(Side::Client, 0, &frames).unwrap();
        let (mut handshake, opens) = Handshake::in_quic(&datagram);
        assert!(opens);
        handshake.bytes(Side::Client, 0, None, &datagram);
        assert!(handshake.conclude().0.ja4.is_some());
    }
}
