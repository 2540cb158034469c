//! HTTP CONNECT (RFC 9110 section 9.3.6): after a 2xx answer the connection carries another.

use flow::{Protocol, Upgrade};

use super::super::cursor::Cursor;
use super::super::progress::Stage;
use super::super::text::{self, find, mentions, word};
use super::super::{Opening, Read, http1};
use super::{Known, Turn};
use crate::tls::{self, Probe};

pub(super) const KNOWN: Known = Known { protocol: Protocol::Http1, upgrade: Upgrade::HttpConnect, turn };

/// How many lines of a head are read: more than servers take.
const FIELDS: usize = 128;

/// How often a client may ask again after a refusal, as for credentials.
const ATTEMPTS: u8 = 4;

/// Reads each refused attempt once.
fn turn(opening: &Opening<'_>, read: &mut Read) -> Turn {
    if opening.client.is_empty() && read.stage == Stage::Begun {
        match carries_content(opening.server) {
            Some(true) => return Turn::Past,
            Some(false) => read.stage = Stage::Awaited,
            None => {}
        }
    }
    while read.server <= opening.server.len() {
        if read.rounds == ATTEMPTS {
            return Turn::Past;
        }
        let request = opening.client.get(read.client..).unwrap_or(&[]);
        match Cursor::new(request).magic(b"CONNECT ") {
            Some(true) => {}
            Some(false) => return Turn::Past,
            None => return Turn::Possible,
        }
        let Some(asked) = end_of_head(request) else { return Turn::Asked };
        let client = read.client.saturating_add(asked);
        let response = opening.server.get(read.server..).unwrap_or(&[]);
        if tls::server_answer(response) == Probe::Yes {
            // The answer was not captured, but what it allowed was.
            return tunnel(client, read.server);
        }
        let Some(answered) = end_of_head(response) else {
            // Only the client's side was captured: what follows the request is the tunnel.
            let unanswered = response.is_empty() && opening.ended && client < opening.client.len();
            return if unanswered { tunnel(client, read.server) } else { Turn::Asked };
        };
        let server = read.server.saturating_add(answered);
        if http1::status_line(response) != Some(true) {
            // In a connection joined late, what another wrapper or message left.
            return if opening.from_start { Turn::Past } else { Turn::Foreign };
        }
        if word(response).1.starts_with(b"2") {
            return tunnel(client, server);
        }
        let Some(body) = body(response.get(..answered).unwrap_or(&[])) else { return Turn::Past };
        (read.client, read.server) = (client, server.saturating_add(body));
        read.rounds = read.rounds.saturating_add(1);
    }
    // A refusal's body is still to come.
    Turn::Possible
}

/// Tells whether the first response is a success with content, which the answer to CONNECT does not have (RFC 9110
/// section 9.3.6); so that a request that was not captured opened no tunnel. Where the content shows it is no TLS
/// either, for the sake of a proxy that says otherwise. `None` while more may tell.
fn carries_content(server: &[u8]) -> Option<bool> {
    let head_end = end_of_head(server);
    let head = server.get(..head_end.unwrap_or(server.len())).unwrap_or(server);
    let content = server.get(head.len()..).unwrap_or(&[]);
    let answer = tls::server_answer(content);
    let carries = http1::status_line(head) == Some(true)
        && word(head).1.starts_with(b"2")
        && answer != Probe::Yes
        && text::lines(head).take(FIELDS).any(|(line, _)| {
            let (name, value) = line.split_at(line.iter().position(|&byte| byte == b':').unwrap_or(0));
            let length = value.iter().any(|&byte| matches!(byte, b'1'..=b'9'));
            name.eq_ignore_ascii_case(b"transfer-encoding")
                || name.eq_ignore_ascii_case(b"content-type")
                || (name.eq_ignore_ascii_case(b"content-length") && length)
        });
    (carries || (head_end.is_some() && answer != Probe::More)).then_some(carries)
}

const fn tunnel(client: usize, server: usize) -> Turn {
    Turn::Tunnel { upgrade: Upgrade::HttpConnect, client, server }
}

fn end_of_head(bytes: &[u8]) -> Option<usize> {
    find(bytes, b"\r\n\r\n").map(|at| at.saturating_add(4))
}

/// Returns the length of a refusal's body, where the head says it.
fn body(head: &[u8]) -> Option<usize> {
    if mentions(head, b"transfer-encoding:") {
        return None;
    }
    let Some(value) = text::lines(head).take(FIELDS).find_map(|(line, _)| {
        let (name, value) = line.split_at_checked(15)?;
        name.eq_ignore_ascii_case(b"content-length:").then_some(value)
    }) else {
        return Some(0);
    };
    let mut cursor = Cursor::new(value.trim_ascii());
    let mut length = 0_usize;
    while let Some(digit) = cursor.u8() {
        let digit = char::from(digit).to_digit(10)?;
        length = length.checked_mul(10)?.checked_add(usize::try_from(digit).ok()?)?;
    }
    Some(length)
}
