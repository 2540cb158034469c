//! IKE (RFC 7296 section 3.1, RFC 2408 section 3.1): the fixed header, whose length is the datagram's.

use flow::{Protocol, Side};

use super::Opening;
use super::catalogue::{Detector, Form, UDP, answer};
use super::cursor::Cursor;
use crate::tls::Probe;

pub(crate) const DETECTOR: Detector = Detector {
    protocol: Protocol::Ike,
    form: Form::Encrypted,
    carriers: UDP,
    ports: &[500, 4500],
    probe,
    sample: &[(
        Side::Client,
        b"\x11\x22\x33\x44\x55\x66\x77\x88\0\0\0\0\0\0\0\0\x21\x20\x22\x08\x00\x00\x00\x00\x00\x00\x00\x1c",
    )],
};

fn probe(opening: &Opening<'_>) -> Probe {
    let bytes = if opening.client.is_empty() { opening.server } else { opening.client };
    // On the port that ESP shares, four zero bytes come first (RFC 3948 section 2.2).
    let marked = bytes.strip_prefix(&[0; 4]).and_then(header);
    answer(Some(header(bytes) == Some(true) || marked == Some(true)))
}

fn header(bytes: &[u8]) -> Option<bool> {
    let mut cursor = Cursor::new(bytes);
    let initiator = cursor.be64()?;
    cursor.be64()?;
    cursor.u8()?;
    let (version, exchange) = (cursor.u8()?, cursor.u8()?);
    cursor.u8()?;
    cursor.be32()?;
    let length = cursor.be32()?;
    Some(
        initiator != 0
            && matches!((version, exchange), (0x10, 0..=6 | 32..=34) | (0x20, 34..=43))
            && usize::try_from(length).ok()? == bytes.len(),
    )
}
