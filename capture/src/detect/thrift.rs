//! Apache Thrift: strict binary or compact messages, framed or not (Thrift binary and compact protocol encoding).

use flow::{Protocol, Side};

use super::Opening;
use super::catalogue::{Detector, Form, TCP, probe as ask};
use super::cursor::Cursor;
use crate::tls::Probe;

pub(crate) const DETECTOR: Detector = Detector {
    protocol: Protocol::Thrift,
    form: Form::Readable,
    carriers: TCP,
    ports: &[9090],
    probe,
    sample: &[(
        Side::Client,
        b"\x00\x00\x00\x16\x80\x01\x00\x01\x00\x00\x00\x05order\x00\x00\x00\x01\x08\x00\x01\x00\x00\x00\x07\x00",
    )],
};

/// Longest method name.
const METHOD: u32 = 128;

fn probe(opening: &Opening<'_>) -> Probe {
    let bytes = if opening.server_only() { opening.server } else { opening.client };
    match ask(bytes, message) {
        Probe::No => ask(bytes, framed),
        settled @ (Probe::Yes | Probe::More) => settled,
    }
}

fn framed(cursor: &mut Cursor<'_>) -> Option<bool> {
    if !(8..1 << 26).contains(&cursor.be32()?) {
        return Some(false);
    }
    message(cursor)
}

fn message(cursor: &mut Cursor<'_>) -> Option<bool> {
    match cursor.u8()? {
        0x80 => {
            let name = match (cursor.u8()?, cursor.u8()?, cursor.u8()?) {
                (1, 0, 1..=4) => cursor.be32()?,
                _ => return Some(false),
            };
            method(cursor, name)
        }
        0x82 => {
            if !matches!(cursor.u8()?, 0x21 | 0x41 | 0x61 | 0x81) {
                return Some(false);
            }
            for _ in 0..5 {
                if cursor.u8()? < 0x80 {
                    break;
                }
            }
            let name = u32::from(cursor.u8()?);
            method(cursor, name)
        }
        _ => Some(false),
    }
}

fn method(cursor: &mut Cursor<'_>, length: u32) -> Option<bool> {
    if !(1..=METHOD).contains(&length) {
        return Some(false);
    }
    let name = cursor.take(usize::try_from(length).ok()?)?;
    Some(name.iter().all(|&b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b':' | b'.' | b'-')))
}
