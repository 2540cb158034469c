//! Redis serialization protocol (RESP): a client's command is an array of bulk strings.

use flow::{Protocol, Side};

use super::Opening;
use super::catalogue::{Detector, Form, TCP, answer};
use super::text::{Line, digits, first_line, line, line_of, verb};
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

/// An inline command of a health check; RESP's answer has to confirm it.
fn inline(opening: &Opening<'_>) -> Option<bool> {
    let commands: [&[u8]; 4] = [b"PING", b"INFO", b"AUTH", b"SELECT"];
    if !line_of(opening.client, &commands, |text| verb(text, &commands))? {
        return Some(false);
    }
    let known: [&[u8]; 5] = [b"+PONG", b"+OK", b"$", b"-NOAUTH", b"-ERR"];
    first_line(opening.server, |text| known.iter().any(|answer| text.starts_with(answer)))
}
