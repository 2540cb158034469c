//! Oracle TNS, by its CONNECT packet.

use flow::{Protocol, Side};

use super::Opening;
use super::catalogue::{Detector, Form, TCP, probe as ask};
use super::cursor::Cursor;
use crate::tls::Probe;

pub(crate) const DETECTOR: Detector = Detector {
    protocol: Protocol::Oracle,
    form: Form::Readable,
    carriers: TCP,
    ports: &[1521],
    probe,
    sample: &[(
        Side::Client,
        b"\x00\x48\x00\x00\x01\x00\x00\x00\x01\x38\x01\x2c\x00\x00\x20\x00\x7f\xff\xc6\x0e\x00\x00\x01\x00\
          \x00\x0e\x00\x3a(DESCRIPTION=)",
    )],
};

fn probe(opening: &Opening<'_>) -> Probe {
    ask(opening.client, connect)
}

/// Length (a large one goes into the next field instead of a checksum), kind 1, version and the oldest one accepted.
fn connect(cursor: &mut Cursor<'_>) -> Option<bool> {
    let (length, checksum) = (cursor.be16()?, cursor.be16()?);
    if (length == 0) == (checksum == 0) || cursor.u8()? != 1 || cursor.u8()? > 0x20 || cursor.be16()? != 0 {
        return Some(false);
    }
    let (version, oldest) = (cursor.be16()?, cursor.be16()?);
    Some((0x0100..0x0200).contains(&version) && (0x0064..=version).contains(&oldest))
}
