//! SOCKS 4 and 5 (RFC 1928, RFC 1929): after the request was granted the connection carries another.

use flow::{Protocol, Upgrade};
use memchr::memchr;

use super::super::cursor::Cursor;
use super::super::{Opening, Read};
use super::{Known, Turn};

pub(super) const KNOWN: Known = Known { protocol: Protocol::Socks, upgrade: Upgrade::Socks5, turn };

fn turn(opening: &Opening<'_>, _: &mut Read) -> Turn {
    let mut client = Cursor::new(opening.client);
    let mut server = Cursor::new(opening.server);
    let (upgrade, granted) = match opening.client.first() {
        Some(4) => (Upgrade::Socks4, version4(&mut client, &mut server)),
        Some(_) | None => (Upgrade::Socks5, version5(&mut client, &mut server)),
    };
    // What comes where a request should is the rest of a dialogue whose beginning was not captured.
    let granted = match granted {
        None if !opening.from_start && upgrade == Upgrade::Socks5 => {
            (client, server) = (Cursor::new(opening.client), Cursor::new(opening.server));
            joined_late(&mut client, &mut server)
        }
        settled => settled,
    };
    let read = |whole: &[u8], cursor: &Cursor<'_>| whole.len().saturating_sub(cursor.rest().len());
    match granted {
        Some(true) => Turn::Tunnel {
            upgrade,
            client: read(opening.client, &client),
            server: read(opening.server, &server),
        },
        Some(false) => Turn::Past,
        None => Turn::Asked,
    }
}

fn version4(client: &mut Cursor<'_>, server: &mut Cursor<'_>) -> Option<bool> {
    client.take(4)?;
    let address = client.be32()?;
    skip_string(client)?;
    // An address 0.0.0.x says that a name follows (SOCKS 4A).
    if address != 0 && address < 256 {
        skip_string(client)?;
    }
    let answer = server.take(8)?;
    Some(answer.get(1) == Some(&90))
}

fn skip_string(cursor: &mut Cursor<'_>) -> Option<()> {
    let end = memchr(0, cursor.rest())?;
    cursor.take(end.saturating_add(1)).map(|_| ())
}

fn version5(client: &mut Cursor<'_>, server: &mut Cursor<'_>) -> Option<bool> {
    client.u8()?;
    let methods = usize::from(client.u8()?);
    client.take(methods)?;
    server.u8()?;
    match server.u8()? {
        0 => {}
        // Username and password (RFC 1929).
        2 => {
            client.u8()?;
            let name = usize::from(client.u8()?);
            client.take(name)?;
            let password = usize::from(client.u8()?);
            client.take(password)?;
            server.u8()?;
            if server.u8()? != 0 {
                return Some(false);
            }
        }
        _ => return Some(false),
    }
    // What is no request comes after bytes that were not captured.
    let (request, _command, _reserved) = (client.u8()?, client.u8()?, client.u8()?);
    if request != 5 || !address(client)? {
        return None;
    }
    server.u8()?;
    if server.u8()? != 0 {
        return Some(false);
    }
    server.u8()?;
    address(server)
}

/// The same from the request on, which one more byte tells from a greeting that is followed by one.
fn joined_late(client: &mut Cursor<'_>, server: &mut Cursor<'_>) -> Option<bool> {
    if client.take(3)? != [5, 1, 0] || client.rest().first()? == &5 || !address(client)? {
        return None;
    }
    if let [5, _, 5, ..] = server.rest() {
        server.take(2)?;
    }
    server.u8()?;
    if server.u8()? != 0 {
        return Some(false);
    }
    server.u8()?;
    address(server)
}

/// Steps over an address and port; false when its kind is unknown.
fn address(cursor: &mut Cursor<'_>) -> Option<bool> {
    let length = match cursor.u8()? {
        1 => 4,
        3 => usize::from(cursor.u8()?),
        4 => 16,
        _ => return Some(false),
    };
    cursor.take(length)?;
    cursor.be16()?;
    Some(true)
}
