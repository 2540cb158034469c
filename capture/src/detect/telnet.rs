//! Telnet (RFC 854, RFC 855): options are negotiated first.

use flow::{Protocol, Side};

use super::Opening;
use super::catalogue::{Detector, Form, TCP, probe as ask};
use super::cursor::Cursor;
use crate::tls::Probe;

pub(crate) const DETECTOR: Detector = Detector {
    protocol: Protocol::Telnet,
    form: Form::Readable,
    carriers: TCP,
    ports: &[23],
    probe,
    sample: &[(Side::Server, b"\xff\xfd\x18\xff\xfd\x20\xff\xfd\x23\xff\xfd\x27")],
};

fn probe(opening: &Opening<'_>) -> Probe {
    let bytes = match opening.first {
        Side::Client => opening.client,
        Side::Server => opening.server,
    };
    ask(bytes, |cursor| Some(negotiation(cursor)? && negotiation(cursor)?))
}

/// IAC, then WILL, WONT, DO or DONT, then an option.
fn negotiation(cursor: &mut Cursor<'_>) -> Option<bool> {
    Some(
        cursor.u8()? == 0xff
            && matches!(cursor.u8()?, 0xfb..=0xfe)
            && matches!(cursor.u8()?, 0..=49 | 138..=140),
    )
}
