//! SMB over NetBIOS sessions or directly (MS-SMB, MS-SMB2), and the session request before it (RFC 1002 section 4.3.2).

use flow::{Protocol, Side};

use super::Opening;
use super::catalogue::{Detector, Form, TCP, probe as ask};
use super::cursor::Cursor;
use crate::tls::Probe;

pub(crate) const DETECTOR: Detector = Detector {
    protocol: Protocol::Smb,
    form: Form::Readable,
    carriers: TCP,
    ports: &[445, 139],
    probe,
    sample: &[(Side::Client, b"\x00\x00\x00\x24\xfeSMB\x40\x00\x00\x00\x00\x00\x00\x00\x00\x00\x1f\x00")],
};

fn probe(opening: &Opening<'_>) -> Probe {
    ask(if opening.server_only() { opening.server } else { opening.client }, message)
}

fn message(cursor: &mut Cursor<'_>) -> Option<bool> {
    match cursor.u8()? {
        0 => {
            cursor.be24()?;
            Some(matches!(cursor.u8()?, 0xfc..=0xff) && cursor.magic(b"SMB")?)
        }
        // Two encoded names of 32 letters from A to P each.
        0x81 => Some(
            cursor.be24()? == 68
                && cursor.u8()? == 32
                && cursor.take(32)?.iter().all(|b| (b'A'..=b'P').contains(b)),
        ),
        _ => Some(false),
    }
}
