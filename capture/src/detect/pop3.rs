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

fn probe(opening: &Opening<'_>) -> Probe {
    if opening.server.is_empty() && !opening.client.is_empty() {
        return answer(first_line(opening.client, |text| verb(text, &[b"STLS", b"APOP", b"CAPA", b"UIDL"])));
    }
    if opening.first == Side::Client && opening.from_start {
        return Probe::No;
    }
    match opening.server.first() {
        Some(b'+') => answer(first_line(opening.server, |text| text.starts_with(b"+OK"))),
        Some(_) => Probe::No,
        None => Probe::More,
    }
}
