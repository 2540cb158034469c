//! STUN (RFC 8489 section 5): two zero bits, a length in words, the magic cookie.

use flow::{Protocol, Side};

use super::Opening;
use super::catalogue::{BOTH, Detector, Form, probe as ask};
use super::cursor::Cursor;
use crate::tls::Probe;

pub(crate) const DETECTOR: Detector = Detector {
    protocol: Protocol::Stun,
    form: Form::Readable,
    carriers: BOTH,
    ports: &[3478],
    probe,
    sample: &[(Side::Client, b"\x00\x01\x00\x00\x21\x12\xa4\x42abcdefghijkl")],
};

fn probe(opening: &Opening<'_>) -> Probe {
    let bytes = if opening.client.is_empty() && opening.ended { opening.server } else { opening.client };
    match ask(bytes, message) {
        // Over TCP, media gateways put two bytes of length before (RFC 4571).
        Probe::No => ask(bytes, |cursor| Some((20..2048).contains(&cursor.be16()?) && message(cursor)?)),
        settled @ (Probe::Yes | Probe::More) => settled,
    }
}

fn message(cursor: &mut Cursor<'_>) -> Option<bool> {
    if cursor.be16()? >= 0x4000 || cursor.be16()? % 4 != 0 {
        return Some(false);
    }
    cursor.magic(b"\x21\x12\xa4\x42")
}
