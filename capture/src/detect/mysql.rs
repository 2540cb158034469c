//! MySQL and MariaDB, by the server's greeting (HandshakeV10), the client's answer to it, or a first error packet.

use flow::{Protocol, Side};

use super::Opening;
use super::catalogue::{Detector, Form, TCP, answer, probe as ask};
use super::cursor::Cursor;
use crate::tls::Probe;

pub(crate) const DETECTOR: Detector = Detector {
    protocol: Protocol::Mysql,
    form: Form::Readable,
    carriers: TCP,
    ports: &[3306],
    probe,
    sample: &[
        (
            Side::Server,
            b"\x4a\x00\x00\x00\x0a8.0.36\0\x0b\x00\x00\x00abcdefgh\x00\xff\xff\xff\x02\x00\xff\xdf\x15\
              \x00\x00\x00\x00\x00\x00\x00\x00\x00\x00ijklmnopqrst\0caching_sha2_password\0",
        ),
        (
            Side::Client,
            b"\x27\x00\x00\x01\x05\xa6\x0f\x00\x00\x00\x00\x01\x2d\
              \0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0root\0\0\0",
        ),
    ],
};

/// Longest server version that is read.
const VERSION: usize = 64;
/// Capability flag CLIENT_PROTOCOL_41.
const PROTOCOL_41: u32 = 0x0200;

fn probe(opening: &Opening<'_>) -> Probe {
    if opening.server.is_empty() && (opening.ended || !opening.from_start) {
        return ask(opening.client, client_answer);
    }
    if opening.first == Side::Client && opening.from_start {
        return Probe::No;
    }
    match ask(opening.server, greeting) {
        Probe::No if !opening.from_start => {
            let login = || {
                let length = Cursor::new(opening.client).le24();
                // A user's name follows the fields that an SSLRequest has too.
                length.is_some_and(|length| length > 32)
                    && client_answer(&mut Cursor::new(opening.client)) == Some(true)
            };
            answer(Some(command(&mut Cursor::new(opening.client)) == Some(true) || login()))
        }
        settled @ (Probe::Yes | Probe::More | Probe::No) => settled,
    }
}

/// HandshakeV10: protocol version, server version, thread, salt, a zero byte; or ERR before any greeting.
fn greeting(cursor: &mut Cursor<'_>) -> Option<bool> {
    let length = usize::try_from(cursor.le24()?).ok()?;
    if cursor.u8()? != 0 || !(10..=512).contains(&length) {
        return Some(false);
    }
    match cursor.u8()? {
        10 => {}
        0xff => {
            let code = cursor.le16()?;
            let text = cursor.take(length.saturating_sub(3))?;
            return Some(
                (1000..=5000).contains(&code) && text.iter().all(|&b| b == b' ' || b.is_ascii_graphic()),
            );
        }
        _ => return Some(false),
    }
    let window = cursor.rest();
    let window = window.get(..VERSION).unwrap_or(window);
    match window.iter().position(|byte| !byte.is_ascii_graphic()) {
        Some(end) if end > 0 && window.get(end) == Some(&0) => {
            cursor.take(end)?;
            cursor.take(1 + 4 + 8)?;
            Some(cursor.u8()? == 0)
        }
        Some(_) => Some(false),
        None => (window.len() == VERSION).then_some(false),
    }
}

/// HandshakeResponse41 or SSLRequest: flags, largest packet, character set, 23 zero bytes.
fn client_answer(cursor: &mut Cursor<'_>) -> Option<bool> {
    let length = cursor.le24()?;
    if cursor.u8()? != 1 || !(32..=4096).contains(&length) {
        return Some(false);
    }
    let flags = cursor.le32()?;
    cursor.take(5)?;
    // MariaDB puts its extended capabilities into the last four of the 23 bytes.
    let filler = cursor.take(19)?;
    Some(flags & PROTOCOL_41 != 0 && filler.iter().all(|&byte| byte == 0))
}

/// A command of a connection joined late: a COM_QUERY whose text is SQL, whole.
fn command(cursor: &mut Cursor<'_>) -> Option<bool> {
    let length = usize::try_from(cursor.le24()?).ok()?;
    if cursor.u8()? != 0 || cursor.u8()? != 3 || !(8..=OPENING_QUERY).contains(&length) {
        return Some(false);
    }
    let text = cursor.take(length.saturating_sub(1))?;
    let verbs: [&[u8]; 12] = [
        b"SELECT",
        b"INSERT",
        b"UPDATE",
        b"DELETE",
        b"SET",
        b"SHOW",
        b"BEGIN",
        b"COMMIT",
        b"ROLLBACK",
        b"START",
        b"CREATE",
        b"USE",
    ];
    Some(super::text::verb(text, &verbs))
}

/// Longest query of a connection joined late that is looked at.
const OPENING_QUERY: usize = 8192;
