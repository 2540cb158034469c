//! SOCKS 4 and 5 (RFC 1928), by the client's greeting and the server's answer to it.

use flow::{Protocol, Side};

use super::Opening;
use super::catalogue::{Detector, Form, TCP, answer};
use super::cursor::Cursor;
use crate::tls::Probe;

pub(crate) const DETECTOR: Detector = Detector {
    protocol: Protocol::Socks,
    form: Form::Readable,
    carriers: TCP,
    ports: &[1080],
    probe,
    sample: &[
        (Side::Client, b"\x05\x01\x00"),
        (Side::Server, b"\x05\x00"),
        (Side::Client, b"\x05\x01\x00\x01\x0a\x00\x00\x07\x1f\x90"),
        (Side::Server, b"\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00"),
    ],
};

/// Longest user name of a SOCKS 4 request.
const USER: usize = 256;

fn probe(opening: &Opening<'_>) -> Probe {
    answer(exchange(opening))
}

fn exchange(opening: &Opening<'_>) -> Option<bool> {
    let mut client = Cursor::new(opening.client);
    let mut server = Cursor::new(opening.server);
    match client.u8()? {
        5 => {
            let count = usize::from(client.u8()?);
            let methods = client.take(count)?;
            if count == 0 || count > 16 || !methods.iter().all(|method| matches!(method, 0..=9 | 0x80..=0xfe))
            {
                return Some(false);
            }
            if server.u8()? != 5 {
                return Some(false);
            }
            let chosen = server.u8()?;
            Some(chosen == 0xff || methods.contains(&chosen))
        }
        4 => {
            if !matches!(client.u8()?, 1 | 2) {
                return Some(false);
            }
            client.take(6)?;
            let user = client.rest();
            let user = user.get(..USER).unwrap_or(user);
            if !user.iter().take_while(|&&byte| byte != 0).all(|&byte| byte >= b' ') {
                return Some(false);
            }
            Some(server.u8()? == 0 && matches!(server.u8()?, 90..=93))
        }
        _ => Some(false),
    }
}
