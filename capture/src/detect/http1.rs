//! HTTP/1.0 and 1.1 (RFC 9112), by request line or status line.

use flow::{Protocol, Side, Transport};
use memchr::{memchr, memrchr};

use super::Opening;
use super::catalogue::{Detector, Form, TCP, answer};
use super::text::{self, Line, find, mentions, word};
use crate::tls::Probe;

pub(crate) const DETECTOR: Detector = Detector {
    protocol: Protocol::Http1,
    form: Form::Readable,
    carriers: TCP,
    ports: &[80, 8080, 8000, 15000, 15014, 15021],
    probe,
    sample: &[
        (Side::Client, b"GET /reviews/1 HTTP/1.1\r\nHost: reviews:9080\r\nUser-Agent: curl/8.5.0\r\n\r\n"),
        (Side::Server, b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"),
    ],
};

/// Longest method of the IANA registry (`UPDATEREDIRECTREF`), with room for private ones.
const METHOD: usize = 24;
/// How many lines of a head are read: more than servers take.
const FIELDS: usize = 128;
/// Longest request line that is waited for.
const REQUEST_LINE: usize = 8 * 1024;

/// How an opening looks to HTTP/1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Exchange {
    /// It is none.
    Not,
    /// Too few bytes.
    Open,
    /// Requests and responses.
    Http,
    /// A request to become a WebSocket, and the server agreed.
    WebSocket,
}

/// Reads the first request and, where it asks to switch to WebSocket, the answer to it.
pub(super) fn exchange(opening: &Opening<'_>) -> Exchange {
    if opening.server_only() {
        return match status_line(opening.server) {
            // So servers of HTTP answer a ClientHello, too.
            Some(true) if word(opening.server).1.starts_with(b"400") => Exchange::Open,
            Some(true) => Exchange::Http,
            Some(false) => Exchange::Not,
            None => Exchange::Open,
        };
    }
    match request_line(opening.client) {
        Some(true) => {}
        Some(false) if !opening.from_start && joined_late(opening) => return Exchange::Http,
        Some(false) => return Exchange::Not,
        None if opening.ended && opening.client.len() >= text::LINE && plausible(opening.client) => {
            return Exchange::Http;
        }
        None => return Exchange::Open,
    }
    let Some(head) = head(opening.client) else {
        return if opening.ended { Exchange::Http } else { Exchange::Open };
    };
    if !asks_websocket(head) {
        return Exchange::Http;
    }
    match status_line(opening.server) {
        Some(true) if word(opening.server).1.starts_with(b"101") => Exchange::WebSocket,
        Some(_) => Exchange::Http,
        None if opening.ended => Exchange::Http,
        None => Exchange::Open,
    }
}

fn probe(opening: &Opening<'_>) -> Probe {
    answer(match exchange(opening) {
        Exchange::Not | Exchange::WebSocket => Some(false),
        Exchange::Open => None,
        Exchange::Http => Some(true),
    })
}

/// Tells whether the bytes begin with a request line of HTTP/1 (RFC 9112 section 3); `None` while it is not whole.
pub(super) fn request_line(bytes: &[u8]) -> Option<bool> {
    let window = bytes.get(..METHOD).unwrap_or(bytes);
    let Some(end) = window.iter().position(|&byte| byte == b' ') else {
        return (window.len() == METHOD || !window.iter().all(|&byte| in_method(byte))).then_some(false);
    };
    let (method, _) = window.split_at_checked(end)?;
    if method.is_empty() || !method.iter().all(|&byte| in_method(byte)) {
        return Some(false);
    }
    let seen = bytes.get(..REQUEST_LINE).unwrap_or(bytes);
    let end = memchr(b'\n', seen);
    let line = end.and_then(|end| seen.get(..end)).unwrap_or(seen);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if line.iter().fold(false, |any, byte| any | byte.is_ascii_control()) {
        return Some(false);
    }
    if end.is_none() {
        return (seen.len() == REQUEST_LINE).then_some(false);
    }
    let versioned = [&b" HTTP/1.1"[..], b" HTTP/1.0"].iter().find_map(|version| line.strip_suffix(*version));
    Some(versioned.is_some_and(|line| !word(line).1.is_empty()))
}

/// A character of a token (RFC 9110 section 5.6.2), which a method is: clients send `patch`, too.
const fn in_method(byte: u8) -> bool {
    byte.is_ascii_graphic()
        && !matches!(
            byte,
            b'"' | b'(' | b')' | b',' | b'/' | b':' | b';' | b'<'..=b'@' | b'['..=b']' | b'{' | b'}'
        )
}

/// Tells whether an unfinished request line is one all the same: a known method and a target.
fn plausible(bytes: &[u8]) -> bool {
    let (method, target) = word(bytes);
    let known: [&[u8]; 7] = [b"GET", b"POST", b"PUT", b"HEAD", b"DELETE", b"PATCH", b"OPTIONS"];
    known.contains(&method) && matches!(target.first(), Some(b'/' | b'h'))
}

/// Tells whether the bytes begin with a status line (RFC 9112 section 4).
pub(super) fn status_line(bytes: &[u8]) -> Option<bool> {
    let mut cursor = super::cursor::Cursor::new(bytes);
    if !cursor.magic(b"HTTP/1.")? {
        return Some(false);
    }
    let rest = cursor.take(5)?;
    Some(matches!(rest, [b'0' | b'1', b' ', b'1'..=b'9', b'0'..=b'9', b'0'..=b'9']))
}

/// Tells whether a connection that was joined inside a message shows the next request, or a response's head.
fn joined_late(opening: &Opening<'_>) -> bool {
    opening.transport == Transport::Tcp
        && (status_line(opening.server) == Some(true)
            || text::lines(opening.client).any(|(_, end)| {
                opening.client.get(end..).is_some_and(|rest| request_line(rest) == Some(true))
            }))
}

/// Returns the message head, without the empty line; `None` while it is not whole.
pub(super) fn head(bytes: &[u8]) -> Option<&[u8]> {
    let end = find(bytes, b"\r\n\r\n").or_else(|| find(bytes, b"\n\n"))?;
    bytes.get(..end)
}

fn asks_websocket(head: &[u8]) -> bool {
    text::lines(head).map(|(line, _)| line).chain(last_line(head)).take(FIELDS).any(|line| {
        line.get(..8).is_some_and(|name| name.eq_ignore_ascii_case(b"upgrade:"))
            && mentions(line, b"websocket")
    })
}

/// The last header line has no ending, as the head ends before its empty line.
fn last_line(head: &[u8]) -> Option<&[u8]> {
    let begin = memrchr(b'\n', head).map_or(0, |end| end.saturating_add(1));
    match text::line(head.get(begin..)?) {
        Line::Whole(line, _) | Line::Open(line) => Some(line),
        Line::Never => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_lines() {
        let check = |line: &[u8], expected| assert_eq!(request_line(line), expected, "{line:?}");
        check(b"", None);
        check(b"GE", None);
        check(b"GET / HTTP/1.1\r\n", Some(true));
        check(b"VERSION-CONTROL /a HTTP/1.0\n", Some(true));
        check(b"GET /\r\n", Some(false));
        check(b"OPTIONS rtsp://h/ RTSP/1.0\r\n", Some(false));
        check(b"patch / HTTP/1.1\r\n", Some(true));
        check(b"g(t / HTTP/1.1\r\n", Some(false));
        check(b"PRI * HTTP/2.0\r\n", Some(false));
        check(b"\x16\x03\x01", Some(false));
        check(b"GET /\x00", Some(false));
    }

    #[test]
    fn status_lines() {
        let check = |line: &[u8], expected| assert_eq!(status_line(line), expected, "{line:?}");
        check(b"HTTP/1", None);
        check(b"HTTP/1.1 200 OK\r\n", Some(true));
        check(b"HTTP/1.0 404", Some(true));
        check(b"HTTP/2.0 200", Some(false));
        check(b"HTTP/1.1 abc", Some(false));
    }
}
