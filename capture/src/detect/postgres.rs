//! PostgreSQL frontend/backend protocol 3, by the client's first message (Message Formats: StartupMessage, SSLRequest,
//! GSSENCRequest, CancelRequest).

use flow::{Protocol, Side};

use super::Opening;
use super::catalogue::{Detector, Form, TCP, answer};
use super::cursor::Cursor;
use crate::tls::{self, Probe};

pub(crate) const DETECTOR: Detector = Detector {
    protocol: Protocol::Postgres,
    form: Form::Readable,
    carriers: TCP,
    ports: &[5432, 6432],
    probe,
    sample: &[
        (Side::Client, b"\x00\x00\x00\x20\x00\x03\x00\x00user\0app\0database\0shop\0\0"),
        (Side::Server, b"R\x00\x00\x00\x0c\x00\x00\x00\x05\x01\x02\x03\x04"),
    ],
};

/// Code of an SSLRequest.
pub(super) const SSL_REQUEST: u32 = 80_877_103;
/// Code of a GSSENCRequest.
pub(super) const GSS_REQUEST: u32 = 80_877_104;
const CANCEL_REQUEST: u32 = 80_877_102;
/// Longest startup packet that the server reads.
const STARTUP: u32 = 10_000;

fn probe(opening: &Opening<'_>) -> Probe {
    if opening.server_only() {
        return answer(server_half(opening.server));
    }
    match answer(first_message(&mut Cursor::new(opening.client))) {
        Probe::No if !opening.from_start && messages(opening.client) && opening.client.len() > 5 => {
            Probe::Yes
        }
        settled @ (Probe::Yes | Probe::More | Probe::No) => settled,
    }
}

fn first_message(cursor: &mut Cursor<'_>) -> Option<bool> {
    let length = cursor.be32()?;
    if !(8..=STARTUP).contains(&length) {
        return Some(false);
    }
    Some(match cursor.be32()? {
        SSL_REQUEST | GSS_REQUEST => length == 8,
        CANCEL_REQUEST => length >= 16,
        version if version >> 16 == 3 && version & 0xffff <= 9 => {
            let name = cursor.take(4)?;
            length > 9 && name.iter().all(|byte| byte.is_ascii_graphic())
        }
        _ => false,
    })
}

/// The server's answers alone: one byte to an SSLRequest, then messages or TLS.
fn server_half(bytes: &[u8]) -> Option<bool> {
    let (&first, rest) = bytes.split_first()?;
    match first {
        b'S' if tls::server_answer(rest) == Probe::Yes => Some(true),
        b'N' | b'R' => Some(messages(rest) || messages(bytes)),
        _ => Some(false),
    }
}

/// Tells whether the bytes are a chain of at least two typed messages, the last one perhaps cut.
fn messages(bytes: &[u8]) -> bool {
    let mut cursor = Cursor::new(bytes);
    let mut whole = 0_u32;
    loop {
        if cursor.rest().is_empty() {
            return whole >= 2;
        }
        match message(&mut cursor) {
            Some(true) => whole = whole.saturating_add(1),
            Some(false) => return false,
            None => return whole >= 2,
        }
    }
}

fn message(cursor: &mut Cursor<'_>) -> Option<bool> {
    let kind = cursor.u8()?;
    if !b"123ABCDEFGHIKNPQRSTVWXZcdfnpst".contains(&kind) {
        return Some(false);
    }
    let length = cursor.be32()?;
    if !(4..1 << 24).contains(&length) {
        return Some(false);
    }
    cursor.take(usize::try_from(length).ok()?.saturating_sub(4))?;
    Some(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_messages() {
        let check = |bytes: &[u8], expected| {
            assert_eq!(first_message(&mut Cursor::new(bytes)), expected, "{bytes:x?}");
        };
        check(b"\0\0\0\x08\x04\xd2\x16\x2f", Some(true));
        check(b"\0\0\0\x08\x04\xd2\x16\x30", Some(true));
        check(b"\0\0\0\x09\x04\xd2\x16\x2f", Some(false));
        check(b"\0\0\0\x10\x04\xd2\x16\x2e", Some(true));
        check(b"\0\0\0\x20\0\x03\0\x02user", Some(true));
        check(b"\0\0\0\x20\0\x02\0\0user", Some(false));
        check(b"\0\0\0\x20\0\x03\0\0us", None);
    }
}
