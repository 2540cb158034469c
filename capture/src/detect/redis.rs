//! Redis serialization protocol (RESP): a client's command is an array of bulk strings.

use flow::{Protocol, Side};

use super::Opening;
use super::catalogue::{Detector, Form, TCP, answer};
use super::text::{Line, digits, first_line, line, line_of, verb, word};
use crate::tls::Probe;

pub(crate) const DETECTOR: Detector = Detector {
    protocol: Protocol::Redis,
    form: Form::Readable,
    carriers: TCP,
    ports: &[6379],
    probe,
    sample: &[(Side::Client, b"*2\r\n$3\r\nGET\r\n$4\r\ncart\r\n"), (Side::Server, b"$-1\r\n")],
};

fn probe(opening: &Opening<'_>) -> Probe {
    if opening.server_only() {
        return answer(bulk(opening.server));
    }
    match command(opening.client) {
        Some(false) if opening.first == Side::Client => answer(inline(opening)),
        settled => answer(settled),
    }
}

/// `*N CRLF $N CRLF`.
fn command(bytes: &[u8]) -> Option<bool> {
    let Some((b'*', array)) = bytes.split_first() else { return (!bytes.is_empty()).then_some(false) };
    match line(array) {
        Line::Whole(count, rest) if digits(count) && count.len() <= 7 => bulk(rest),
        Line::Open(count) if (count.is_empty() || digits(count)) && count.len() <= 7 => None,
        Line::Whole(..) | Line::Open(_) | Line::Never => Some(false),
    }
}

/// `$N CRLF`, where N is a length that a command's word can have.
fn bulk(bytes: &[u8]) -> Option<bool> {
    match bytes.split_first() {
        None => None,
        Some((b'$', length)) => match line(length) {
            Line::Whole(length, _) => Some(digits(length) && length.len() <= 9),
            Line::Open(length) if length.is_empty() || digits(length) => None,
            Line::Open(_) | Line::Never => Some(false),
        },
        Some(_) => Some(false),
    }
}

/// An inline command, as people and health checks type it; RESP's answer has to confirm it.
fn inline(opening: &Opening<'_>) -> Option<bool> {
    if !line_of(opening.client, INLINE, |text| verb(text, INLINE))? {
        return Some(false);
    }
    first_line(opening.server, |text| {
        let (kind, value) = text.split_at_checked(1).unwrap_or((text, &[]));
        let count = digits(value.strip_prefix(b"-").unwrap_or(value));
        match kind {
            b"+" => true,
            b"-" => word(value).0.iter().all(u8::is_ascii_uppercase) && !value.is_empty(),
            b"$" | b"*" | b":" | b"%" => count,
            _ => false,
        }
    })
}

/// Commands that are typed by hand.
const INLINE: &[&[u8]] = &[
    b"PING", b"ECHO", b"HELLO", b"AUTH", b"SELECT", b"INFO", b"CONFIG", b"CLIENT", b"CLUSTER", b"COMMAND",
    b"ROLE", b"TIME", b"DBSIZE", b"MONITOR", b"SLOWLOG", b"LATENCY", b"MEMORY", b"PSYNC", b"SYNC", b"SAVE",
    b"FLUSHDB", b"KEYS", b"SCAN", b"EXISTS", b"TYPE", b"TTL", b"EXPIRE", b"GET", b"SET", b"SETEX", b"MGET",
    b"MSET", b"DEL", b"INCR", b"DECR", b"STRLEN", b"HGET", b"HSET", b"HGETALL", b"LPUSH", b"RPUSH", b"LPOP",
    b"RPOP", b"LLEN", b"LRANGE", b"SADD", b"ZADD", b"ZRANGE", b"XADD", b"XREAD", b"PUBLISH", b"MULTI",
    b"EVAL",
];
