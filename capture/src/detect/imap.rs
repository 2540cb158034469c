//! IMAP (RFC 9051): the server's untagged greeting, or a tagged command where it is missing.

use flow::{Protocol, Side};

use super::Opening;
use super::catalogue::{Detector, Form, TCP, answer};
use super::text::{digits, first_line, verb, word};
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
            // Replies of FTP and SMTP are numbers before words, too.
            let arguments = command.split(|&byte| byte == b' ').count().saturating_sub(1);
            let fits = match () {
                () if verb(command, &[b"CAPABILITY", b"STARTTLS", b"NOOP"]) => arguments == 0,
                () if verb(command, &[b"LOGIN"]) => arguments >= 2,
                () => verb(command, &[b"AUTHENTICATE", b"SELECT", b"ID"]) && arguments >= 1,
            };
            tagged && !digits(tag) && tag.iter().any(u8::is_ascii_digit) && fits
        });
        return answer(command.filter(|command| *command || !opening.awaits_greeting()));
    }
    match opening.server.first() {
        Some(b'*') => answer(first_line(opening.server, greets)),
        Some(_) => Probe::No,
        None => Probe::More,
    }
}
