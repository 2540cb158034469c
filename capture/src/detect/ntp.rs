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

/// Header alone, or with a message digest of 128 or 160 bits behind a key number.
const LENGTHS: [usize; 3] = [48, 68, 72];

fn probe(opening: &Opening<'_>) -> Probe {
    let bytes = if opening.client.is_empty() { opening.server } else { opening.client };
    answer(Some(LENGTHS.contains(&bytes.len()) && header(&mut Cursor::new(bytes)) == Some(true)))
}

fn header(cursor: &mut Cursor<'_>) -> Option<bool> {
    let first = cursor.u8()?;
    let (version, mode) = ((first >> 3) & 7, first & 7);
    let (stratum, poll, precision) = (cursor.u8()?, cursor.u8()?, cursor.u8()?);
    let (root_delay, dispersion) = (cursor.be32()?, cursor.be32()?);
    let small = |fixed_point: u32| fixed_point < 64 << 16;
    Some(
        (1..=4).contains(&version)
            && (1..=5).contains(&mode)
            && stratum <= 16
            && poll <= 17
            && (precision == 0 || precision >= 0xe0)
            && small(root_delay)
            && small(dispersion),
    )
}
