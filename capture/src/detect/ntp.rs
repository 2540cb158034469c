//! NTP (RFC 5905 section 7.3): the fixed header of 48 bytes, its small fields within their bounds.

use flow::{Protocol, Side};

use super::Opening;
use super::catalogue::{Detector, Form, UDP, answer};
use super::cursor::Cursor;
use crate::tls::Probe;

pub(crate) const DETECTOR: Detector = Detector {
    protocol: Protocol::Ntp,
    form: Form::Readable,
    carriers: UDP,
    ports: &[123],
    probe,
    sample: &[(
        Side::Client,
        b"\x23\x00\x06\xec\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\xe9\x3a\x11\x22\x33\x44\x55\x66",
    )],
};

/// Longest packet that is read.
const LONGEST: usize = 1280;

fn probe(opening: &Opening<'_>) -> Probe {
    let (bytes, answers) =
        if opening.client.is_empty() { (opening.server, true) } else { (opening.client, false) };
    let mut cursor = Cursor::new(bytes);
    let is_whole = |cursor: &mut Cursor<'_>| {
        Some(
            header(cursor, answers)?
                && bytes.len() <= LONGEST
                && cursor.take(4 + 4 * 8).is_some()
                && trailer(cursor),
        )
    };
    answer(Some(is_whole(&mut cursor) == Some(true)))
}

/// What follows the reference and the four timestamps: extension fields (RFC 7822, NTS among them), then perhaps a key number, alone or with a
/// message digest of 128 or 160 bits.
fn trailer(cursor: &mut Cursor<'_>) -> bool {
    loop {
        if matches!(cursor.rest().len(), 0 | 4 | 20 | 24) {
            return true;
        }
        let field = |cursor: &mut Cursor<'_>| {
            let kind = cursor.be16()?;
            let length = usize::from(cursor.be16()?);
            let sound = kind != 0 && length >= 16 && length.is_multiple_of(4);
            cursor.take(length.saturating_sub(4)).map(|_| sound)
        };
        if field(cursor) != Some(true) {
            return false;
        }
    }
}

/// The small fields. A server's packet is none of a client.
fn header(cursor: &mut Cursor<'_>, answers: bool) -> Option<bool> {
    let first = cursor.u8()?;
    let (version, mode) = ((first >> 3) & 7, first & 7);
    let (stratum, poll, precision) = (cursor.u8()?, cursor.u8()?, cursor.u8()?);
    let (root_delay, dispersion) = (cursor.be32()?, cursor.be32()?);
    let small = |fixed_point: u32| fixed_point < 64 << 16;
    Some(
        (1..=4).contains(&version)
            && matches!((mode, answers), (1..=3 | 5, _) | (4, true))
            && stratum <= 16
            && poll <= 17
            // Clients that tell nothing of themselves say 32.
            && (matches!(precision, 0 | 32) || precision >= 0xe0)
            && small(root_delay)
            && small(dispersion),
    )
}
