//! Memcached: the text protocol (confirmed by its answer) and the binary one.

use flow::{Protocol, Side};

use super::Opening;
use super::catalogue::{Detector, Form, TCP, answer};
use super::cursor::Cursor;
use super::text::{digits, first_line, verb, word};
use crate::tls::Probe;

pub(crate) const DETECTOR: Detector = Detector {
    protocol: Protocol::Memcached,
    form: Form::Readable,
    carriers: TCP,
    ports: &[11211],
    probe,
    sample: &[(Side::Client, b"set cart:7 0 300 5\r\nhello\r\n"), (Side::Server, b"STORED\r\n")],
};

fn probe(opening: &Opening<'_>) -> Probe {
    match opening.client.first() {
        None => Probe::More,
        Some(0x80) => answer(binary(&mut Cursor::new(opening.client))),
        Some(b'a'..=b'z') if opening.first == Side::Client => answer(text(opening)),
        Some(_) => Probe::No,
    }
}

/// A request header: magic, operation, key length, extras, data type 0, bucket, total body length.
fn binary(cursor: &mut Cursor<'_>) -> Option<bool> {
    cursor.u8()?;
    let operation = cursor.u8()?;
    let key = u32::from(cursor.be16()?);
    let extras = u32::from(cursor.u8()?);
    let kind = cursor.u8()?;
    if operation > 0x48 || key > 250 || extras > 24 || kind != 0 {
        return Some(false);
    }
    cursor.be16()?;
    let body = cursor.be32()?;
    Some(body >= key.saturating_add(extras) && body < 1 << 24)
}

fn text(opening: &Opening<'_>) -> Option<bool> {
    let asks = first_line(opening.client, |line| {
        let (_, rest) = word(line);
        if verb(line, &[b"set", b"add", b"replace", b"append", b"prepend", b"cas"]) {
            let (key, numbers) = word(rest);
            return !key.is_empty() && digits(word(numbers).0);
        }
        verb(line, &[b"get", b"gets", b"gat", b"delete", b"incr", b"decr", b"touch"]) && !rest.is_empty()
            || verb(line, &[b"stats", b"version", b"flush_all", b"verbosity"])
    })?;
    if !asks {
        return Some(false);
    }
    let words: [&[u8]; 13] = [
        b"VALUE",
        b"END",
        b"STORED",
        b"NOT_STORED",
        b"EXISTS",
        b"NOT_FOUND",
        b"DELETED",
        b"TOUCHED",
        b"ERROR",
        b"CLIENT_ERROR",
        b"SERVER_ERROR",
        b"STAT",
        b"VERSION",
    ];
    let known = |line: &[u8]| words.contains(&word(line).0) || line == b"OK" || digits(line);
    first_line(opening.server, known)
}
