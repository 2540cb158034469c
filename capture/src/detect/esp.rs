//! ESP in UDP (RFC 3948 section 2.1). It has no mark of its own: both directions have to look like it.

use flow::{Protocol, Side};

use super::Opening;
use super::catalogue::{Detector, Form, UDP, answer};
use super::cursor::Cursor;
use super::entropy;
use crate::tls::Probe;

pub(crate) const DETECTOR: Detector = Detector {
    protocol: Protocol::Esp,
    form: Form::Encrypted,
    carriers: UDP,
    ports: &[4500],
    probe,
    sample: &[(Side::Client, &PACKET), (Side::Server, &PACKET)],
};

/// An ESP packet: index, sequence number, and bytes that no rule explains.
const PACKET: [u8; 88] = {
    let mut packet = [0; 88];
    let mut rest: &mut [u8] = &mut packet;
    let mut state = 7_u32;
    while let Some((byte, after)) = rest.split_first_mut() {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        [*byte, _, _, _] = state.to_be_bytes();
        rest = after;
    }
    let [first, _, _, _, a, b, c, d, ..] = &mut packet;
    *first = 0xc4;
    (*a, *b, *c, *d) = (0, 0, 0, 1);
    packet
};

/// Fewest bytes whose entropy can be judged, header included.
const FEWEST: usize = 72;
/// First packets of a direction have low sequence numbers.
const SEQUENCE: u32 = 1 << 16;

fn probe(opening: &Opening<'_>) -> Probe {
    if opening.client.is_empty() || opening.server.is_empty() {
        return if opening.ended { Probe::No } else { Probe::More };
    }
    answer(Some(packet(opening.client) == Some(true) && packet(opening.server) == Some(true)))
}

fn packet(bytes: &[u8]) -> Option<bool> {
    let mut cursor = Cursor::new(bytes);
    let index = cursor.be32()?;
    let sequence = cursor.be32()?;
    Some(
        index > 255
            && (1..SEQUENCE).contains(&sequence)
            && bytes.len() >= FEWEST
            && bytes.len().is_multiple_of(4)
            && !entropy::readable(cursor.rest()),
    )
}
