//! XMPP starttls (RFC 6120 section 5.4): `<starttls/>`, granted by `<proceed/>`.

use flow::{Protocol, Upgrade};

use super::super::Opening;
use super::super::text::find;
use super::{Known, Turn, begun};

pub(super) const KNOWN: Known = Known { protocol: Protocol::Xmpp, upgrade: Upgrade::Xmpp, turn };

fn turn(opening: &Opening<'_>) -> Turn {
    let end = |bytes: &[u8], tag: &[u8]| {
        let at = find(bytes, tag)?;
        let close = bytes.get(at..)?.iter().position(|&byte| byte == b'>')?;
        Some(at.saturating_add(close).saturating_add(1))
    };
    let Some(asked) = end(opening.client, b"<starttls") else {
        let words: [&[u8]; 4] = [b"<auth", b"<iq", b"<message", b"<presence"];
        let committed = words.iter().any(|word| find(opening.client, word).is_some());
        return if committed { Turn::Past } else { Turn::Possible };
    };
    // The element may be written with an end tag of its own.
    let rest = opening.client.get(asked..).unwrap_or(&[]);
    let own_end = if rest.starts_with(b"</starttls>") { 11 } else { 0 };
    let space =
        rest.get(own_end..).unwrap_or(&[]).iter().take_while(|byte| byte.is_ascii_whitespace()).count();
    let client = asked.saturating_add(own_end).saturating_add(space);
    if find(opening.server, b"<failure").is_some() {
        return Turn::Refused;
    }
    match end(opening.server, b"<proceed") {
        Some(server) => {
            let rest = opening.server.get(server..).unwrap_or(&[]);
            let own_end = if rest.starts_with(b"</proceed>") { 10 } else { 0 };
            begun(opening, client, server.saturating_add(own_end))
        }
        None if opening.ended => begun(opening, client, opening.server.len()),
        None => Turn::Asked,
    }
}
