//! SIP (RFC 3261 section 7): a request line or status line of version 2.0.

use flow::{Protocol, Side};

use super::Opening;
use super::catalogue::{BOTH, Detector, Form, answer};
use super::text::first_line;
use crate::tls::Probe;

pub(crate) const DETECTOR: Detector = Detector {
    protocol: Protocol::Sip,
    form: Form::Readable,
    carriers: BOTH,
    ports: &[5060],
    probe,
    sample: &[(Side::Client, b"OPTIONS sip:bob@example.org SIP/2.0\r\nVia: SIP/2.0/UDP host\r\n\r\n")],
};

fn probe(opening: &Opening<'_>) -> Probe {
    let request = |text: &[u8]| text.ends_with(b" SIP/2.0");
    let response = |text: &[u8]| text.starts_with(b"SIP/2.0 ");
    if opening.client.is_empty() {
        return if opening.ended { answer(first_line(opening.server, response)) } else { Probe::More };
    }
    if !opening.client.first().is_some_and(u8::is_ascii_uppercase) {
        return Probe::No;
    }
    // Either end of a trunk sends requests, so that a response may be the first thing seen.
    answer(first_line(opening.client, |text| request(text) || (!opening.from_start && response(text))))
}
