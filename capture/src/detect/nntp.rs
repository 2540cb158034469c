//! NNTP (RFC 3977): greeting 200 or 201, and a command of its own.

use flow::{Protocol, Side};

use super::Opening;
use super::catalogue::{Detector, Form, TCP, answer};
use super::text::{code, first_line, line_of, mentions, verb};
use crate::tls::Probe;

pub(crate) const DETECTOR: Detector = Detector {
    protocol: Protocol::Nntp,
    form: Form::Readable,
    carriers: TCP,
    ports: &[119],
    probe,
    sample: &[
        (Side::Server, b"200 news.example.org InterNetNews NNRP server ready\r\n"),
        (Side::Client, b"MODE READER\r\n"),
    ],
};

fn probe(opening: &Opening<'_>) -> Probe {
    answer(exchange(opening))
}

fn exchange(opening: &Opening<'_>) -> Option<bool> {
    if !line_of(opening.server, &[b"200 ", b"201 "], |_| true)? {
        return Some(false);
    }
    if first_line(opening.server, |text| mentions(text, b"nntp") || mentions(text, b"news")) == Some(true) {
        return Some(true);
    }
    let verbs: [&[u8]; 9] = [
        b"MODE",
        b"CAPABILITIES",
        b"GROUP",
        b"ARTICLE",
        b"LIST",
        b"AUTHINFO",
        b"XOVER",
        b"STARTTLS",
        b"POST",
    ];
    Some(first_line(opening.client, |text| verb(text, &verbs))? && !code(opening.server, b"220"))
}
