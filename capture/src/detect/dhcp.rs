//! DHCP and BOOTP (RFC 2131 section 2): the magic cookie behind the fixed header.

use flow::{Protocol, Side};

use super::Opening;
use super::catalogue::{Detector, Form, UDP, probe as ask};
use super::cursor::Cursor;
use crate::tls::Probe;

pub(crate) const DETECTOR: Detector = Detector {
    protocol: Protocol::Dhcp,
    form: Form::Readable,
    carriers: UDP,
    ports: &[67, 68],
    probe,
    sample: &[(Side::Client, &DISCOVER)],
};

/// Octets before the magic cookie.
const FIXED: usize = 236;

/// A DHCPDISCOVER with nothing but its kind.
const DISCOVER: [u8; 244] = {
    let mut message = [0; 244];
    let (head, tail) = message.split_at_mut(FIXED);
    if let ([operation, hardware, length, ..], [a, b, c, d, option, one, kind, end]) = (head, tail) {
        (*operation, *hardware, *length) = (1, 1, 6);
        (*a, *b, *c, *d) = (0x63, 0x82, 0x53, 0x63);
        (*option, *one, *kind, *end) = (53, 1, 1, 255);
    }
    message
};

fn probe(opening: &Opening<'_>) -> Probe {
    ask(if opening.client.is_empty() { opening.server } else { opening.client }, message)
}

fn message(cursor: &mut Cursor<'_>) -> Option<bool> {
    let fixed = cursor.take(FIXED)?;
    Some(matches!(fixed, [1 | 2, _, 0..=16, ..]) && cursor.magic(b"\x63\x82\x53\x63")?)
}
