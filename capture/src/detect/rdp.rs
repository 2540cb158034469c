//! Remote desktop (MS-RDPBCGR section 2.2.1.1): an X.224 connection request with a cookie or a negotiation.

use flow::{Protocol, Side};

use super::Opening;
use super::catalogue::{Detector, Form, TCP, probe as ask};
use super::cursor::Cursor;
use crate::tls::Probe;

pub(crate) const DETECTOR: Detector = Detector {
    protocol: Protocol::Rdp,
    form: Form::Readable,
    carriers: TCP,
    ports: &[3389],
    probe,
    sample: &[(
        Side::Client,
        b"\x03\x00\x00\x13\x0e\xe0\x00\x00\x00\x00\x00\x01\x00\x08\x00\x00\x00\x00\x00",
    )],
};

fn probe(opening: &Opening<'_>) -> Probe {
    ask(opening.client, request)
}

fn request(cursor: &mut Cursor<'_>) -> Option<bool> {
    if !cursor.magic(b"\x03\x00")? {
        return Some(false);
    }
    let length = usize::from(cursor.be16()?);
    let indicator = usize::from(cursor.u8()?);
    if indicator.saturating_add(5) != length || cursor.u8()? != 0xe0 || cursor.be16()? != 0 {
        return Some(false);
    }
    cursor.take(3)?;
    let rest = cursor.take(length.saturating_sub(11))?;
    Some(rest.starts_with(b"Cookie: ") || negotiates(rest))
}

/// A negotiation request (section 2.2.1.1.1): kind 1, flags, length 8, wanted protocols.
pub(super) fn negotiates(bytes: &[u8]) -> bool {
    bytes.last_chunk::<8>().is_some_and(|tail| matches!(tail, [1, _, 8, 0, _, 0, 0, 0]))
        || bytes.first_chunk::<8>().is_some_and(|head| matches!(head, [1, _, 8, 0, _, 0, 0, 0]))
}
