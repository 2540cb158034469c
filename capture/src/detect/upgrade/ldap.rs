//! LDAP StartTLS (RFC 4511 section 4.14): an extended request, granted by the result code success.

use flow::{Protocol, Upgrade};

use super::super::cursor::{Cursor, element};
use super::super::progress::Stage;
use super::super::text::find;
use super::super::{Opening, Read};
use super::{Known, Turn, begun};
use crate::tls::{self, Probe};

pub(super) const KNOWN: Known = Known { protocol: Protocol::Ldap, upgrade: Upgrade::Ldap, turn };

/// The request's name.
const START_TLS: &[u8] = b"1.3.6.1.4.1.1466.20037";
/// Operations: bind request and response, extended request and response.
const BIND: u8 = 0x60;
const BIND_RESPONSE: u8 = 0x61;
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
    if opening.server_only() {
        return granted(opening.server);
    }
    loop {
        let Some(request) = message(opening.client.get(read.client..).unwrap_or(&[])) else {
            return Turn::Possible;
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

/// Reads the server's half alone: which request it answers is not known, so any extended one that was granted may have begun
/// TLS until something in the clear follows.
fn granted(server: &[u8]) -> Turn {
    let (mut end, mut last_granted) = (0_usize, false);
    loop {
        let rest = server.get(end..).unwrap_or(&[]);
        if last_granted && tls::server_answer(rest) == Probe::Yes {
            return Turn::Begun { client: 0, server: end };
        }
        match message(rest) {
            Some(Some(response)) if response.operation == BIND_RESPONSE => return Turn::Past,
            Some(Some(response)) => {
                last_granted = response.operation == EXTENDED_RESPONSE && is_success(response.content);
                end = end.saturating_add(response.length);
            }
            // What follows may still be the grant.
            None => return Turn::Possible,
            Some(None) => return if last_granted { Turn::Possible } else { Turn::Past },
        }
    }
}

/// The result code comes first: an enumerated value, zero for success.
const fn is_success(response: &[u8]) -> bool {
    matches!(response, [0x0a, 1, 0, ..])
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
            return if is_success(response.content) { begun(opening, client, server) } else { Turn::Refused };
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
