//! Apache Dubbo, by its 16-byte header.

use flow::{Protocol, Side};

use super::Opening;
use super::catalogue::{Detector, Form, TCP, probe as ask};
use super::cursor::Cursor;
use crate::tls::Probe;

pub(crate) const DETECTOR: Detector = Detector {
    protocol: Protocol::Dubbo,
    form: Form::Readable,
    carriers: TCP,
    ports: &[20880],
    probe,
    sample: &[(
        Side::Client,
        b"\xda\xbb\xc2\x00\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x0a\x052.0.2\x04Echo",
    )],
};

fn probe(opening: &Opening<'_>) -> Probe {
    ask(if opening.server_only() { opening.server } else { opening.client }, header)
}

fn header(cursor: &mut Cursor<'_>) -> Option<bool> {
    if !cursor.magic(b"\xda\xbb")? {
        return Some(false);
    }
    cursor.u8()?;
    cursor.u8()?;
    cursor.be64()?;
    Some(cursor.be32()? < 1 << 26)
}
