//! FTP control connection (RFC 959): greeting 220, then a command that SMTP does not have.

use flow::{Protocol, Side};

use super::Opening;
use super::catalogue::{Detector, Form, TCP, answer};
use super::text::{code, first_line, line_of, mentions, verb};
use crate::tls::Probe;

pub(crate) const DETECTOR: Detector = Detector {
    protocol: Protocol::Ftp,
    form: Form::Readable,
    carriers: TCP,
    ports: &[21],
    probe,
    sample: &[(Side::Server, b"220 (vsFTPd 3.0.5)\r\n"), (Side::Client, b"USER anonymous\r\n")],
};

const VERBS: [&[u8]; 11] =
    [b"USER", b"FEAT", b"SYST", b"PASV", b"EPSV", b"TYPE", b"PWD", b"CWD", b"PORT", b"OPTS", b"HOST"];

fn probe(opening: &Opening<'_>) -> Probe {
    answer(exchange(opening))
}

fn exchange(opening: &Opening<'_>) -> Option<bool> {
    let asks = |text: &[u8]| {
        verb(text, &VERBS) || (verb(text, &[b"AUTH"]) && (mentions(text, b" tls") || mentions(text, b" ssl")))
    };
    if opening.server.is_empty() {
        return if opening.client.is_empty() || (opening.from_start && !opening.ended) {
            None
        } else {
            first_line(opening.client, |text| asks(text) && !text.contains(&b':'))
        };
    }
    // PASS is POP3's and IRC's too, whose servers do not answer in such codes.
    let late = |text: &[u8]| asks(text) || verb(text, &[b"PASS"]);
    if !opening.from_start && first_line(opening.client, late) == Some(true) {
        return first_line(opening.server, |text| {
            matches!(text, [b'1'..=b'5', b'0'..=b'5', b'0'..=b'9', b' ' | b'-', ..])
        });
    }
    if !line_of(opening.server, &[b"220"], |text| code(text, b"220"))? {
        return Some(false);
    }
    if first_line(opening.server, |text| mentions(text, b"ftp") && !mentions(text, b"smtp")) == Some(true) {
        return Some(true);
    }
    first_line(opening.client, asks)
}
