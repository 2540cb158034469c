//! NATS: after the server's INFO the client may begin TLS, unasked.

use flow::{Protocol, Upgrade};

use super::super::{Opening, text};
use super::{Known, Turn};
use crate::tls::{self, Probe};

pub(super) const KNOWN: Known = Known { protocol: Protocol::Nats, upgrade: Upgrade::Nats, turn };

fn turn(opening: &Opening<'_>) -> Turn {
    let info = text::lines(opening.server).next().map(|(_, end)| end);
    match (tls::client_hello(opening.client), info) {
        (Probe::Yes, Some(server)) => Turn::Begun { client: 0, server },
        (Probe::No, _) => Turn::Past,
        (Probe::Yes | Probe::More, _) => Turn::Possible,
    }
}
