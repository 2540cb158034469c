//! Memcached: the text protocol (confirmed by its answer) and the binary one, both framed where they come in datagrams.

use flow::{Protocol, Side, Transport};

use super::Opening;
use super::catalogue::{BOTH, Detector, Form, answer};
use super::cursor::Cursor;
use super::text::{digits, first_line, verb, word};
use crate::tls::Probe;

pub(crate) const DETECTOR: Detector = Detector {
    protocol: Protocol::Memcached,
    form: Form::Readable,
    carriers: BOTH,
    ports: &[11211],
    probe,
    sample: &[(Side::Client, b"set cart:7 0 300 5\r\nhello\r\n"), (Side::Server, b"STORED\r\n")],
};

fn probe(opening: &Opening<'_>) -> Probe {
    if opening.transport == Transport::Udp {
        let (client, server) = (Cursor::new(opening.client), Cursor::new(opening.server));
        let Some(client) = framed(client) else { return Probe::No };
        return match framed(server) {
            // A datagram is whole.
            Some(server) => answer(Some(messages(client, server, true) == Some(true))),
            None if opening.server.is_empty() && !opening.ended => Probe::More,
            None => answer(Some(stores_whole(client))),
        };
    }
    match opening.client.first() {
        None => Probe::More,
        Some(b'a'..=b'z') if opening.first == Side::Server => Probe::No,
        Some(0x80 | b'a'..=b'z') => answer(messages(opening.client, opening.server, opening.ended)),
        Some(_) => Probe::No,
    }
}

/// What follows a datagram's header: request number, which datagram of how many, two bytes of zero.
fn framed(mut cursor: Cursor<'_>) -> Option<&[u8]> {
    cursor.be16()?;
    let (number, of) = (cursor.be16()?, cursor.be16()?);
    (number < of && cursor.be16()? == 0).then(|| cursor.rest())
}

fn messages(client: &[u8], server: &[u8], ended: bool) -> Option<bool> {
    match client.first()? {
        0x80 => binary(&mut Cursor::new(client)),
        _ => text(client, server, ended),
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

fn text(client: &[u8], server: &[u8], ended: bool) -> Option<bool> {
    let asks = first_line(client, |line| {
        let (_, rest) = word(line);
        stores(line)
            || verb(line, &[b"get", b"gets", b"gat", b"gats", b"delete", b"incr", b"decr", b"touch"])
                && !rest.is_empty()
            || verb(line, &[b"mg", b"ms", b"md", b"ma", b"me"]) && !rest.is_empty()
            || verb(line, &[b"mn", b"stats", b"version", b"flush_all", b"verbosity"])
    })?;
    if !asks {
        return Some(false);
    }
    if server.is_empty() && ended {
        // A value may be long, and the client may want no answer.
        return Some(stores_whole(client));
    }
    let known = |line: &[u8]| ANSWERS.contains(&word(line).0) || line == b"OK" || digits(line);
    first_line(server, known)
}

fn stores_whole(client: &[u8]) -> bool {
    first_line(client, stores) == Some(true)
}

/// A storage command: key, flags, expiry, length.
fn stores(line: &[u8]) -> bool {
    let mut words = line.split(|&byte| byte == b' ').skip(1);
    let key = words.next().is_some_and(|key| !key.is_empty());
    verb(line, &[b"set", b"add", b"replace", b"append", b"prepend", b"cas"])
        && key
        && words.next().is_some_and(digits)
        && words.next().is_some_and(|expiry| digits(expiry.strip_prefix(b"-").unwrap_or(expiry)))
        && words.next().is_some_and(digits)
}

/// First words of answers; two letters for the meta commands.
const ANSWERS: [&[u8]; 21] = [
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
    b"HD",
    b"VA",
    b"EN",
    b"NF",
    b"NS",
    b"EX",
    b"MN",
    b"ME",
];
