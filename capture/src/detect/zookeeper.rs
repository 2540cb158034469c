//! ZooKeeper, by the client's ConnectRequest or the health check 'ruok'.

use flow::{Protocol, Side};

use super::Opening;
use super::catalogue::{Detector, Form, TCP, probe as ask};
use super::cursor::Cursor;
use crate::tls::Probe;

pub(crate) const DETECTOR: Detector = Detector {
    protocol: Protocol::Zookeeper,
    form: Form::Readable,
    carriers: TCP,
    ports: &[2181],
    probe,
    sample: &[(
        Side::Client,
        b"\x00\x00\x00\x2d\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x75\x30\x00\x00\x00\x00\
          \x00\x00\x00\x00\x00\x00\x00\x10\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
    )],
};

/// Longest session timeout a client asks for: an hour.
const TIMEOUT: u32 = 3_600_000;

fn probe(opening: &Opening<'_>) -> Probe {
    if opening.client.starts_with(b"ruok") {
        return ask(opening.server, |cursor| cursor.magic(b"imok"));
    }
    ask(opening.client, connect)
}

/// Length, protocol version 0, last transaction seen, timeout, session, 16 bytes of password, perhaps "read only".
fn connect(cursor: &mut Cursor<'_>) -> Option<bool> {
    if !matches!(cursor.be32()?, 44 | 45) || cursor.be32()? != 0 {
        return Some(false);
    }
    cursor.be64()?;
    if !(1..=TIMEOUT).contains(&cursor.be32()?) {
        return Some(false);
    }
    cursor.be64()?;
    Some(cursor.be32()? == 16)
}
