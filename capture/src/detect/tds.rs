//! Tabular Data Stream (MS-TDS sections 2.2.3, 2.2.6): a pre-login or login packet.

use flow::{Protocol, Side};

use super::Opening;
use super::catalogue::{Detector, Form, TCP, probe as ask};
use super::cursor::Cursor;
use crate::tls::Probe;

pub(crate) const DETECTOR: Detector = Detector {
    protocol: Protocol::Tds,
    form: Form::Readable,
    carriers: TCP,
    ports: &[1433],
    probe,
    sample: &[(
        Side::Client,
        b"\x12\x01\x00\x1a\x00\x00\x01\x00\x00\x00\x0b\x00\x06\x01\x00\x11\x00\x01\xff\x10\x00\x00\x00\x00\x00\x02",
    )],
};

/// Kind of a pre-login packet, which TLS handshakes are wrapped in as well.
pub(super) const PRELOGIN: u8 = 0x12;

fn probe(opening: &Opening<'_>) -> Probe {
    match ask(opening.client, packet) {
        Probe::No if !opening.from_start => ask(opening.client, batch),
        settled @ (Probe::Yes | Probe::More | Probe::No) => settled,
    }
}

fn packet(cursor: &mut Cursor<'_>) -> Option<bool> {
    let kind = cursor.u8()?;
    if !matches!(kind, 2 | 0x10 | PRELOGIN) || cursor.u8()? > 1 {
        return Some(false);
    }
    let length = u32::from(cursor.be16()?);
    cursor.be16()?;
    if !(9..=0x8000).contains(&length) || cursor.u8()? > 1 || cursor.u8()? != 0 {
        return Some(false);
    }
    match kind {
        // The first option is the version, six bytes long.
        PRELOGIN => Some(cursor.u8()? == 0 && (6..256).contains(&cursor.be16()?) && cursor.be16()? == 6),
        // LOGIN7 begins with its own length and the version of TDS, least significant byte first.
        0x10 => {
            let whole = cursor.le32()?;
            Some((94..1 << 17).contains(&whole) && matches!(cursor.le32()? >> 24, 0x70..=0x75 | 7 | 8))
        }
        // TDS 4.2 and 5.0 logins are 512 bytes or more and name the client's host.
        _ => {
            let host = cursor.take(30)?;
            let named = usize::from(cursor.u8()?);
            Some(
                length >= 128
                    && named <= 30
                    && host.get(..named)?.iter().all(u8::is_ascii_graphic)
                    && host.get(named..)?.iter().all(|&byte| byte == 0),
            )
        }
    }
}

/// A batch or call of a connection joined late: headers of 22 bytes, or text in two-byte characters at once.
fn batch(cursor: &mut Cursor<'_>) -> Option<bool> {
    let kind = cursor.u8()?;
    if !matches!(kind, 1 | 3) || cursor.u8()? > 9 || cursor.be16()? < 16 {
        return Some(false);
    }
    cursor.take(3)?;
    if cursor.u8()? != 0 {
        return Some(false);
    }
    let mut headers = *cursor;
    if (headers.le32()?, headers.le32()?) == (22, 18) {
        return Some(true);
    }
    // A call names its procedure, the length of the name before it.
    if kind == 3 && !(1..=128).contains(&cursor.le16()?) {
        return Some(false);
    }
    Some(matches!(cursor.take(6)?, [a, 0, b, 0, c, 0] if [a, b, c].iter().all(|byte| **byte >= b' ')))
}
