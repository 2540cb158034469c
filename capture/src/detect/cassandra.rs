//! Cassandra native protocol (CQL), by a STARTUP or OPTIONS frame (native protocol specification, section 2).

use flow::{Protocol, Side};

use super::Opening;
use super::catalogue::{Detector, Form, TCP, probe as ask};
use super::cursor::Cursor;
use crate::tls::Probe;

pub(crate) const DETECTOR: Detector = Detector {
    protocol: Protocol::Cassandra,
    form: Form::Readable,
    carriers: TCP,
    ports: &[9042],
    probe,
    sample: &[(
        Side::Client,
        b"\x04\x00\x00\x00\x01\x00\x00\x00\x16\x00\x01\x00\x0bCQL_VERSION\x00\x053.0.0",
    )],
};

fn probe(opening: &Opening<'_>) -> Probe {
    if opening.server_only() {
        return ask(opening.server, response);
    }
    ask(opening.client, request)
}

fn request(cursor: &mut Cursor<'_>) -> Option<bool> {
    let version = cursor.u8()?;
    if !(1..=6).contains(&version) || cursor.u8()? > 0x1f {
        return Some(false);
    }
    // Versions 1 and 2 number streams in one byte, later ones in two.
    cursor.take(if version < 3 { 1 } else { 2 })?;
    let operation = cursor.u8()?;
    let length = cursor.be32()?;
    match operation {
        5 => Some(length == 0),
        1 if (17..4096).contains(&length) => {
            let entries = cursor.be16()?;
            let name = usize::from(cursor.be16()?);
            if entries == 0 || entries > 16 || name > 32 {
                return Some(false);
            }
            Some(cursor.take(name)?.iter().all(|&b| b == b'_' || b.is_ascii_uppercase()))
        }
        _ => Some(false),
    }
}

/// SUPPORTED, READY, AUTHENTICATE or ERROR, which answer a first request.
fn response(cursor: &mut Cursor<'_>) -> Option<bool> {
    let version = cursor.u8()?;
    if !(0x83..=0x86).contains(&version) || cursor.u8()? > 0x1f {
        return Some(false);
    }
    cursor.be16()?;
    Some(matches!(cursor.u8()?, 0 | 2 | 3 | 6) && cursor.be32()? < 1 << 16)
}
