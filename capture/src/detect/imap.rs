//! IMAP (RFC 9051): the server's untagged greeting, or a tagged command where it is missing.

use flow::{Protocol, Side};

use super::Opening;
use super::catalogue::{Detector, Form, TCP, answer};
use super::text::{first_line, verb, word};
use crate::tls::Probe;

pub(crate) const DETECTOR: Detector = Detector {
    protocol: Protocol::Imap,
    form: Form::Readable,
    carriers: TCP,
    ports: &[143],
    probe,
    sample: &[
        (Side::Server, b"* OK [CAPABILITY IMAP4rev1 STARTTLS] ready\r\n"),
        (Side::Client, b"a001 LOGIN user secret\r\n"),
    ],
};

fn probe(opening: &Opening<'_>) -> Probe {
    let greets = |text: &[u8]| {
        let greetings: [&[u8]; 3] = [b"* OK", b"* PREAUTH", b"* BYE"];
        greetings.iter().any(|greeting| text.starts_with(greeting))
    };
    if opening.server.is_empty() && !opening.client.is_empty() {
        let command = first_line(opening.client, |text| {
            let (tag, command) = word(text);
            let tagged = !tag.is_empty() && tag.len() <= 16 && tag.iter().all(u8::is_ascii_alphanumeric);
            tagged
                && tag.iter().any(u8::is_ascii_digit)
                && verb(
                    command,
                    &[b"LOGIN", b"CAPABILITY", b"STARTTLS", b"AUTHENTICATE", b"SELECT", b"NOOP", b"ID"],
                )
        });
        return answer(command.filter(|command| *command || !opening.awaits_greeting()));
    }
    match opening.server.first() {
        Some(b'*') => answer(first_line(opening.server, greets)),
        Some(_) => Probe::No,
        None => Probe::More,
    }
}
