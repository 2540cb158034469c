//! LDAP StartTLS (RFC 4511 section 4.14): an extended request, granted by the result code success.

use flow::{Protocol, Upgrade};

use super::super::cursor::{Cursor, element};
use super::super::progress::Stage;
use super::super::text::find;
use super::super::{Opening, Read};
use super::{Known, Turn, begun};

pub(super) const KNOWN: Known = Known { protocol: Protocol::Ldap, upgrade: Upgrade::Ldap, turn };

/// The request's name.
const START_TLS: &[u8] = b"1.3.6.1.4.1.1466.20037";
/// Operations: bind request, extended request and response.
const BIND: u8 = 0x60;
const EXTENDED: u8 = 0x77;
const EXTENDED_RESPONSE: u8 = 0x78;

/// One whole LDAP message.
struct Message<'a> {
    number: &'a [u8],
    operation: u8,
    content: &'a [u8],
    length: usize,
}

/// Reads each message once; but the request that is to be answered stays the next one to be read.
fn turn(opening: &Opening<'_>, read: &mut Read) -> Turn {
    loop {
        let Some(request) = message(opening.client.get(read.client..).unwrap_or(&[])) else {
            return if opening.client.is_empty() && opening.ended { Turn::Past } else { Turn::Possible };
        };
        let Some(request) = request else { return Turn::Past };
        let asks = || request.operation == EXTENDED && find(request.content, START_TLS).is_some();
        let client = read.client.saturating_add(request.length);
        if read.stage == Stage::Asked || asks() {
            read.stage = Stage::Asked;
            return answered(opening, client, request.number, read);
        }
        if request.operation == BIND {
            return Turn::Past;
        }
        read.client = client;
    }
}

fn answered(opening: &Opening<'_>, client: usize, number: &[u8], read: &mut Read) -> Turn {
    loop {
        let response = match message(opening.server.get(read.server..).unwrap_or(&[])) {
            Some(Some(response)) => response,
            Some(None) => return Turn::Past,
            None if opening.ended && opening.server.is_empty() => return begun(opening, client, 0),
            None => return Turn::Asked,
        };
        let server = read.server.saturating_add(response.length);
        if response.number == number && response.operation == EXTENDED_RESPONSE {
            // The result code comes first: an enumerated value, zero for success.
            return match response.content {
                [0x0a, 1, 0, ..] => begun(opening, client, server),
                _ => Turn::Refused,
            };
        }
        read.server = server;
    }
}

/// Reads one message: `None` for more bytes, `Some(None)` for bytes that are none.
fn message(bytes: &[u8]) -> Option<Option<Message<'_>>> {
    let mut cursor = Cursor::new(bytes);
    let Some(sequence) = element(&mut cursor)? else { return Some(None) };
    if sequence.tag != 0x30 {
        return Some(None);
    }
    let mut inner = Cursor::new(cursor.take(sequence.length)?);
    let mut read = || {
        let number = element(&mut inner)??;
        let number = inner.take(number.length)?;
        let operation = element(&mut inner)??;
        let content = inner.take(operation.length)?;
        let length = sequence.header.saturating_add(sequence.length);
        Some(Message { number, operation: operation.tag, content, length })
    };
    Some(read())
}
