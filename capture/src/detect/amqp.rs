//! AMQP 0-9-1 and 1.0, by the protocol header (AMQP 0-9-1 section 4.2.2, AMQP 1.0 part 2 section 2.2).

use flow::{Protocol, Side};

use super::Opening;
use super::catalogue::{Detector, Form, TCP, probe as ask};
use super::cursor::Cursor;
use crate::tls::Probe;

pub(crate) const DETECTOR: Detector = Detector {
    protocol: Protocol::Amqp,
    form: Form::Readable,
    carriers: TCP,
    ports: &[5672],
    probe,
    sample: &[(Side::Client, b"AMQP\x00\x00\x09\x01")],
};

fn probe(opening: &Opening<'_>) -> Probe {
    // A server that does not like the client's version answers with its own header.
    ask(if opening.server_only() { opening.server } else { opening.client }, header)
}

fn header(cursor: &mut Cursor<'_>) -> Option<bool> {
    if !cursor.magic(b"AMQP")? {
        return Some(false);
    }
    Some(matches!(cursor.take(4)?, [0, 0, 9, 0 | 1] | [0 | 2 | 3, 1, 0, 0] | [1, 1, 0 | 8 | 9, _]))
}
