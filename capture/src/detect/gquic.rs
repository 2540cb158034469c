//! Google's QUIC before the IETF's: a version Q0.. in the clear.

use flow::{Protocol, Side};

use super::Opening;
use super::catalogue::{Detector, Form, UDP, answer};

use crate::tls::Probe;

pub(crate) const DETECTOR: Detector = Detector {
    protocol: Protocol::Gquic,
    form: Form::Encrypted,
    carriers: UDP,
    ports: &[443],
    probe,
    sample: &[(Side::Client, b"\x0d\x11\x22\x33\x44\x55\x66\x77\x88Q043\x01\xa0\x01\x02\x03\x04CHLO")],
};

fn probe(opening: &Opening<'_>) -> Probe {
    answer(Some(versioned(opening.client) || versioned(opening.server)))
}

fn versioned(bytes: &[u8]) -> bool {
    let is_version = |at: usize| {
        matches!(bytes.get(at..at.saturating_add(4)), Some([b'Q', b'0', b'0'..=b'9', b'0'..=b'9']))
    };
    match bytes.first() {
        // Public flags: version present, with or without a connection number of eight bytes.
        Some(flags) if flags & 0xc1 == 0x01 => is_version(if flags & 0x08 == 0 { 1 } else { 9 }),
        // Q046 and later have the invariant long header.
        Some(flags) if flags & 0xc0 == 0xc0 => is_version(1),
        Some(_) | None => false,
    }
}
