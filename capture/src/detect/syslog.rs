//! Syslog (RFC 5424 section 6, RFC 3164 section 4), octet-counted over TCP or not (RFC 6587).

use flow::{Protocol, Side};

use super::Opening;
use super::catalogue::{BOTH, Detector, Form, probe as ask};
use super::cursor::Cursor;
use crate::tls::Probe;

pub(crate) const DETECTOR: Detector = Detector {
    protocol: Protocol::Syslog,
    form: Form::Readable,
    carriers: BOTH,
    ports: &[514],
    probe,
    sample: &[(Side::Client, b"<34>1 2026-01-05T10:00:00Z host app 12 - - hello\n")],
};

fn probe(opening: &Opening<'_>) -> Probe {
    ask(opening.client, |cursor| {
        if cursor.rest().first()?.is_ascii_digit() {
            // `LENGTH SP <PRI>`
            let mut seen = 0_u8;
            loop {
                match cursor.u8()? {
                    b'0'..=b'9' if seen < 5 => seen = seen.saturating_add(1),
                    b' ' => break,
                    _ => return Some(false),
                }
            }
        }
        message(cursor)
    })
}

/// `<PRI>` up to 191, then version 1 and a year, or a month's name, or a year at once, as rsyslog forwards (`RSYSLOG_ForwardFormat`).
fn message(cursor: &mut Cursor<'_>) -> Option<bool> {
    if cursor.u8()? != b'<' {
        return Some(false);
    }
    let mut priority = 0_u16;
    loop {
        match cursor.u8()? {
            digit @ b'0'..=b'9' if priority < 100 => {
                priority = priority.saturating_mul(10).saturating_add(u16::from(digit.saturating_sub(b'0')));
            }
            b'>' => break,
            _ => return Some(false),
        }
    }
    if priority > 191 {
        return Some(false);
    }
    let months: [&[u8]; 12] =
        [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];
    let next = cursor.take(3)?;
    if matches!(next, [b'1' | b'2', b'0'..=b'9', b'0'..=b'9']) {
        return Some(matches!(cursor.take(2)?, [b'0'..=b'9', b'-']));
    }
    Some(months.contains(&next) || matches!(next, [b'1', b' ', b'1' | b'2' | b'-']))
}
