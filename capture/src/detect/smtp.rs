//! SMTP (RFC 5321): the greeting 220 is FTP's too, so the client's EHLO or the word SMTP decides.

use flow::{Protocol, Side};

use super::Opening;
use super::catalogue::{Detector, Form, TCP, answer};
use super::text::{code, first_line, line_of, mentions, verb};
use crate::tls::Probe;

pub(crate) const DETECTOR: Detector = Detector {
    protocol: Protocol::Smtp,
    form: Form::Readable,
    carriers: TCP,
    ports: &[25, 587, 2525],
    probe,
    sample: &[
        (Side::Server, b"220 mail.example.org ESMTP ready\r\n"),
        (Side::Client, b"EHLO shop.example.org\r\n"),
    ],
};

const VERBS: [&[u8]; 4] = [b"EHLO", b"HELO", b"LHLO", b"MAIL"];

fn probe(opening: &Opening<'_>) -> Probe {
    answer(exchange(opening))
}

fn exchange(opening: &Opening<'_>) -> Option<bool> {
    if opening.server.is_empty() {
        // The client speaks second; its words alone mean that the greeting was not captured.
        if opening.client.is_empty() {
            return None;
        }
        let asks = line_of(opening.client, &VERBS, |text| verb(text, &VERBS));
        return asks.filter(|asks| *asks || !opening.awaits_greeting());
    }
    if !line_of(opening.server, &[b"220", b"554"], |text| code(text, b"220") || code(text, b"554"))? {
        return Some(false);
    }
    if first_line(opening.server, |text| mentions(text, b"smtp")) == Some(true) {
        return Some(true);
    }
    first_line(opening.client, |text| verb(text, &VERBS))
}
