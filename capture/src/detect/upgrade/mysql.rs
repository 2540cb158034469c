//! MySQL and MariaDB SSLRequest: the head of a handshake response, with CLIENT_SSL, instead of the whole.

use flow::{Protocol, Upgrade};

use super::super::cursor::Cursor;
use super::super::{Opening, Read};
use super::{Known, Turn, begun};
use crate::tls::{self, Probe};

pub(super) const KNOWN: Known = Known { protocol: Protocol::Mysql, upgrade: Upgrade::Mysql, turn };

/// Capability flag CLIENT_SSL.
const CLIENT_SSL: u32 = 0x0800;
/// Length of a packet header.
const HEADER: usize = 4;

fn turn(opening: &Opening<'_>, _: &mut Read) -> Turn {
    // A connection joined late shows commands, to which no upgrade belongs any more.
    let greeting = Cursor::new(opening.server).le24().and_then(|length| usize::try_from(length).ok());
    let server = match greeting {
        Some(length) => length.saturating_add(HEADER),
        None if opening.ended => 0,
        None => return Turn::Possible,
    };
    let mut client = Cursor::new(opening.client);
    let (Some(length), Some(sequence)) = (client.le24(), client.u8()) else { return Turn::Possible };
    let Some(flags) = client.le32() else { return Turn::Possible };
    let Ok(length) = usize::try_from(length) else { return Turn::Past };
    if tls::client_hello(opening.client) == Probe::Yes {
        // The request was not captured.
        return Turn::Begun { client: 0, server };
    }
    if !opening.from_start && greeting.is_some() && sequence > 1 {
        // Neither an answer to the greeting nor a command: what lies between was not captured.
        return Turn::Possible;
    }
    // The request is as long as the fields before the user name; more than that is a login in the clear.
    if sequence != 1 || length != 32 || flags & CLIENT_SSL == 0 {
        return Turn::Past;
    }
    begun(opening, length.saturating_add(HEADER), server)
}
