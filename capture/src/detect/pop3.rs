//! POP3 (RFC 1939): the server's greeting begins with +OK.

use flow::{Protocol, Side};

use super::Opening;
use super::catalogue::{Detector, Form, TCP, answer};
use super::text::{first_line, verb};
use crate::tls::Probe;

pub(crate) const DETECTOR: Detector = Detector {
    protocol: Protocol::Pop3,
    form: Form::Readable,
    carriers: TCP,
    ports: &[110],
    probe,
    sample: &[
        (Side::Server, b"+OK POP3 server ready <1896.697170952@example.org>\r\n"),
        (Side::Client, b"USER app\r\n"),
    ],
};

/// What clients say in the course of a session.
const VERBS: [&[u8]; 13] = [
    b"USER", b"PASS", b"APOP", b"AUTH", b"STAT", b"LIST", b"UIDL", b"RETR", b"TOP", b"DELE", b"CAPA",
    b"STLS", b"RSET",
];

fn probe(opening: &Opening<'_>) -> Probe {
    if opening.server.is_empty() && !opening.client.is_empty() {
        return answer(first_line(opening.client, |text| verb(text, &[b"STLS", b"APOP", b"CAPA", b"UIDL"])));
    }
    if opening.first == Side::Client && opening.from_start {
        return Probe::No;
    }
    // Servers of Redis and of NATS say no more than that, and not at first.
    let bare = opening.server.starts_with(b"+OK\r\n") && (!opening.from_start || opening.client.is_empty());
    if bare {
        return match opening.client.is_empty() && !opening.ended {
            true => Probe::More,
            false => answer(first_line(opening.client, |text| verb(text, &VERBS))),
        };
    }
    match opening.server.first() {
        Some(b'+') => answer(first_line(opening.server, |text| text.starts_with(b"+OK"))),
        Some(_) => Probe::No,
        None => Probe::More,
    }
}
