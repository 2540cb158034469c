//! ManageSieve (RFC 5804 section 1.7): the server lists its capabilities as quoted strings.

use flow::{Protocol, Side};

use super::Opening;
use super::catalogue::{Detector, Form, TCP, probe as ask};

use crate::tls::Probe;

pub(crate) const DETECTOR: Detector = Detector {
    protocol: Protocol::Sieve,
    form: Form::Readable,
    carriers: TCP,
    ports: &[4190],
    probe,
    sample: &[(
        Side::Server,
        b"\"IMPLEMENTATION\" \"Example\"\r\n\"SASL\" \"PLAIN\"\r\n\"STARTTLS\"\r\nOK ready\r\n",
    )],
};

fn probe(opening: &Opening<'_>) -> Probe {
    ask(opening.server, |cursor| cursor.magic(b"\"IMPLEMENTATION\" \""))
}
