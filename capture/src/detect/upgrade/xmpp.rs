//! XMPP starttls (RFC 6120 section 5.4): `<starttls/>`, granted by `<proceed/>`.

use flow::{Protocol, Upgrade};
use memchr::{memchr, memchr_iter};

use super::super::progress::Stage;
use super::super::{Opening, Read};
use super::{Known, Turn, begun};

pub(super) const KNOWN: Known = Known { protocol: Protocol::Xmpp, upgrade: Upgrade::Xmpp, turn };

/// How far before what is new an element may have begun of which the name is not whole.
const NAME: usize = 9;

fn turn(opening: &Opening<'_>, read: &mut Read) -> Turn {
    if read.stage == Stage::Begun {
        let commits: [&[u8]; 4] = [b"<auth", b"<iq", b"<message", b"<presence"];
        let fresh = opening.client.get(read.client.saturating_sub(NAME)..).unwrap_or(&[]);
        if !behind(opening.client, b"<starttls", (&mut read.client, &mut read.client_begun)) {
            return if tag(fresh, &commits).is_some() { Turn::Past } else { Turn::Possible };
        }
        read.stage = Stage::Asked;
    }
    let rest = opening.client.get(read.client..).unwrap_or(&[]);
    if read.stage == Stage::Asked {
        // The element may be written with an end tag of its own.
        let end_tag: &[u8] = b"</starttls>";
        if rest.starts_with(end_tag) {
            read.client = read.client.saturating_add(end_tag.len());
        }
        if rest.starts_with(end_tag) || !end_tag.starts_with(rest) {
            read.stage = Stage::Awaited;
        }
    }
    if read.stage == Stage::Awaited {
        let rest = opening.client.get(read.client..).unwrap_or(&[]);
        let space = rest.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
        read.client = read.client.saturating_add(space);
    }
    if tag(opening.server.get(read.server.saturating_sub(NAME)..).unwrap_or(&[]), &[b"<failure"]).is_some() {
        return Turn::Refused;
    }
    let (mut server, mut server_begun) = (read.server, read.server_begun);
    if behind(opening.server, b"<proceed", (&mut server, &mut server_begun)) {
        let rest = opening.server.get(server..).unwrap_or(&[]);
        let own_end = if rest.starts_with(b"</proceed>") { 10 } else { 0 };
        return begun(opening, read.client, server.saturating_add(own_end));
    }
    (read.server, read.server_begun) = (server, server_begun);
    if opening.ended { begun(opening, read.client, opening.server.len()) } else { Turn::Asked }
}

/// Reads on for the first tag of this name; returns whether it is whole, `read` then standing behind it. `begun` tells whether
/// it has begun.
fn behind(bytes: &[u8], name: &[u8], (read, begun): (&mut usize, &mut bool)) -> bool {
    if !*begun {
        let from = read.saturating_sub(NAME);
        match tag(bytes.get(from..).unwrap_or(&[]), &[name]) {
            Some(at) => (*read, *begun) = (from.saturating_add(at), true),
            None => *read = bytes.len(),
        }
    }
    let end = if *begun { memchr(b'>', bytes.get(*read..).unwrap_or(&[])) } else { None };
    *read = end.map_or(bytes.len(), |end| read.saturating_add(end).saturating_add(1));
    end.is_some()
}

/// Returns where the first tag of one of these names begins.
fn tag(bytes: &[u8], names: &[&[u8]]) -> Option<usize> {
    let named = |at: &usize| {
        let rest = bytes.get(*at..).unwrap_or(&[]);
        names.iter().any(|name| rest.starts_with(name))
    };
    memchr_iter(b'<', bytes).find(named)
}
