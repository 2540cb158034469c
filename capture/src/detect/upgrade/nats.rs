//! NATS: after the server's INFO the client may begin TLS, unasked.

use flow::{Protocol, Upgrade};

use super::super::{Opening, Read, text};
use super::{Known, Turn};
use crate::tls::{self, Probe};

pub(super) const KNOWN: Known = Known { protocol: Protocol::Nats, upgrade: Upgrade::Nats, turn };

fn turn(opening: &Opening<'_>, _: &mut Read) -> Turn {
    match tls::client_hello(opening.client) {
        Probe::No => Turn::Past,
        Probe::More => Turn::Possible,
        Probe::Yes => match text::lines(opening.server).next() {
            Some((_, server)) => Turn::Begun { client: 0, server },
            None => Turn::Possible,
        },
    }
}
