//! OpenVPN (OpenVPN wire protocol): a hard reset from the client, over UDP or with a length before it over TCP.

use flow::{Protocol, Side, Transport};

use super::Opening;
use super::catalogue::{BOTH, Detector, Form, answer};
use super::cursor::Cursor;
use crate::tls::Probe;

pub(crate) const DETECTOR: Detector = Detector {
    protocol: Protocol::Openvpn,
    form: Form::Encrypted,
    carriers: BOTH,
    ports: &[1194],
    probe,
    sample: &[
        (Side::Client, b"\x00\x0e\x38\x1a\x2b\x3c\x4d\x5e\x6f\x70\x81\x00\x00\x00\x00\x00"),
        (Side::Server, b"\x00\x1a\x40\x92\xa3\xb4\xc5\xd6\xe7\xf8\x09\x01\x00\x00\x00\x00\x1a\x2b\x3c\x4d\x5e\x6f\x70\x81\x00\x00\x00\x00"),
    ],
};

/// P_CONTROL_HARD_RESET_CLIENT_V2 and _V3, key 0.
const CLIENT_RESET: [u8; 2] = [7 << 3, 10 << 3];
/// P_CONTROL_HARD_RESET_SERVER_V2, key 0.
const SERVER_RESET: u8 = 8 << 3;
/// Opcode, session, no acknowledgements, packet 0: the shortest reset.
const SHORTEST: usize = 14;
/// The longest, with a message authentication code of 512 bits and a wrapped client key.
const LONGEST: usize = 1200;

fn probe(opening: &Opening<'_>) -> Probe {
    answer(exchange(opening))
}

fn exchange(opening: &Opening<'_>) -> Option<bool> {
    if opening.client.is_empty() && opening.transport == Transport::Udp {
        return Some(answers(opening.server));
    }
    if !opening.from_start && opening.transport == Transport::Tcp {
        return joined_late(opening);
    }
    let client = reset(opening.client, opening.transport, &CLIENT_RESET)?;
    if client.len() < SHORTEST {
        return Some(false);
    }
    if opening.server.is_empty() {
        // Nothing acknowledged, first packet: five zero bytes end a reset that is not encrypted. Of others (tls-crypt) the answer tells.
        let plain = client.ends_with(&[0; 5]);
        let alone = opening.ended || plain && opening.transport == Transport::Udp;
        return alone.then_some(plain);
    }
    let server = reset(opening.server, opening.transport, &[SERVER_RESET])?;
    Some(server.len() >= SHORTEST)
}

/// Returns the first packet of a direction; empty when it is no reset of one of these kinds, or its length none that a
/// reset has.
fn reset<'a>(bytes: &'a [u8], transport: Transport, kinds: &[u8]) -> Option<&'a [u8]> {
    let mut cursor = Cursor::new(bytes);
    let length = match transport {
        Transport::Udp => bytes.len(),
        Transport::Tcp => usize::from(cursor.be16()?),
    };
    if transport == Transport::Tcp && !(SHORTEST..=LONGEST).contains(&length) {
        return Some(&[]);
    }
    match cursor.rest().first() {
        Some(kind) if kinds.contains(kind) => cursor.take(length),
        Some(_) => Some(&[]),
        None if transport == Transport::Udp => Some(&[]),
        None => None,
    }
}

/// A server's reset that acknowledges the client's first packet, both numbered zero, as it stands at the end of what is not encrypted.
fn answers(datagram: &[u8]) -> bool {
    let end = datagram.last_chunk::<17>();
    datagram.first() == Some(&SERVER_RESET)
        && datagram.len() >= 26
        && matches!(end, Some([1, 0, 0, 0, 0, _, _, _, _, _, _, _, _, 0, 0, 0, 0]))
}

/// Control packets of one session, of which the first ones may be missing: TLS stands inside them, yet is not what the connection is.
fn joined_late(opening: &Opening<'_>) -> Option<bool> {
    match [opening.client, opening.server].map(|bytes| control(&mut Cursor::new(bytes), opening.ended)) {
        [Some(true), _] | [_, Some(true)] => Some(true),
        [Some(false), _] | [_, Some(false)] => Some(false),
        [None, None] => None,
    }
}

/// Two packets of one session; or one, where nothing else comes.
fn control(cursor: &mut Cursor<'_>, ended: bool) -> Option<bool> {
    let mut session = None;
    for _ in 0..2 {
        if ended && session.is_some() && cursor.rest().is_empty() {
            return Some(true);
        }
        let length = usize::from(cursor.be16()?);
        let kind = *cursor.rest().first()?;
        if !(SHORTEST..=LONGEST_CONTROL).contains(&length) || !CONTROL.contains(&kind) {
            return Some(false);
        }
        let of = cursor.take(length)?.get(1..9);
        if *session.get_or_insert(of) != of {
            return Some(false);
        }
    }
    Some(true)
}

/// P_CONTROL_V1, P_ACK_V1, and the resets before them, under the first key.
const CONTROL: [u8; 5] = [4 << 3, 5 << 3, 7 << 3, 8 << 3, 10 << 3];
/// Longest control packet.
const LONGEST_CONTROL: usize = 2048;
