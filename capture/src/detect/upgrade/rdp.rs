//! RDP security negotiation (MS-RDPBCGR section 2.2.1.2): the connection confirm names the protocol.

use flow::{Protocol, Upgrade};

use super::super::cursor::Cursor;
use super::super::{Opening, Read};
use super::{Known, Turn, begun};

pub(super) const KNOWN: Known = Known { protocol: Protocol::Rdp, upgrade: Upgrade::Rdp, turn };

/// Octets of the TPKT and X.224 headers before the negotiation.
const HEADERS: usize = 11;

fn turn(opening: &Opening<'_>, _: &mut Read) -> Turn {
    let (Some(client), Some(server)) = (length(opening.client), length(opening.server)) else {
        return Turn::Possible;
    };
    let asked = opening.client.get(HEADERS..client).is_some_and(super::super::rdp::negotiates);
    let Some(confirm) = opening.server.get(..server) else { return Turn::Possible };
    match confirm.get(HEADERS..) {
        // Zero is RDP's own security, chosen although more was offered.
        Some([2, _, 8, 0, 0, 0, 0, 0]) if asked => Turn::Refused,
        Some([2, _, 8, 0, 0, 0, 0, 0]) => Turn::Past,
        Some([2, _, 8, 0, ..]) => begun(opening, client, server),
        Some([3, ..]) => Turn::Refused,
        Some(_) | None if asked => Turn::Refused,
        Some(_) | None => Turn::Past,
    }
}

/// Returns the length of the first TPKT packet.
fn length(bytes: &[u8]) -> Option<usize> {
    let mut cursor = Cursor::new(bytes);
    cursor.be16()?;
    cursor.be16().map(usize::from)
}
