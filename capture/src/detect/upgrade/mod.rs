//! Where TLS begins inside a protocol that began without it. One file an upgrade, listed in [`UPGRADES`].
//!
//! Each is asked only about openings of its own protocol, so that it reads the exchange and recognises nothing. A hello
//! is demanded where TLS is claimed: a server's consent alone is not TLS.

mod dialogue;
mod ftp;
mod http_connect;
mod imap;
mod irc;
mod ldap;
mod mysql;
mod nats;
mod nntp;
mod pop3;
mod postgres;
pub(super) mod proxy;
mod rdp;
mod sieve;
mod smtp;
mod socks;
pub(crate) mod tds;
mod xmpp;

use flow::{Protocol, Upgrade};

use super::{Opening, Read};
use crate::tls::{self, Probe};

/// Reads the upgrade of one protocol.
#[derive(Debug)]
pub(crate) struct Known {
    /// The protocol that has it.
    pub(crate) protocol: Protocol,
    /// Its name.
    pub(crate) upgrade: Upgrade,
    /// Reads how far it came, from where it was read last.
    pub(crate) turn: fn(&Opening<'_>, &mut Read) -> Turn,
}

/// How far an upgrade came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    /// TLS may still begin.
    Possible,
    /// It, or a tunnel, was asked for; the answer, or what follows it, is not there yet.
    Asked,
    /// It was not asked for, and what matters (credentials, data) went in the clear.
    Past,
    /// It was asked for and refused.
    Refused,
    /// Another protection than TLS was agreed on.
    Foreign,
    /// TLS began at these offsets of the two streams.
    Begun {
        /// First byte of TLS in the client's stream.
        client: usize,
        /// First byte of TLS in the server's stream.
        server: usize,
    },
    /// TLS began at these offsets, wrapped in TDS packets.
    BegunInTds {
        /// First wrapping packet in the client's stream.
        client: usize,
        /// First wrapping packet in the server's stream.
        server: usize,
    },
    /// From these offsets on the connection is another one's tunnel.
    Tunnel {
        /// The wrapper.
        upgrade: Upgrade,
        /// First inner byte of the client's stream.
        client: usize,
        /// First inner byte of the server's stream.
        server: usize,
    },
}

impl Turn {
    /// Tells whether more of the exchange is waited for, or of what is inside it.
    pub(crate) const fn is_waiting(self) -> bool {
        matches!(self, Self::Possible | Self::Asked | Self::Tunnel { .. })
    }
}

/// Every upgrade. PROXY protocol headers stand before any protocol and are stripped apart.
pub(crate) const UPGRADES: &[Known] = &[
    http_connect::KNOWN,
    postgres::KNOWN,
    mysql::KNOWN,
    nats::KNOWN,
    smtp::KNOWN,
    imap::KNOWN,
    pop3::KNOWN,
    ftp::KNOWN,
    nntp::KNOWN,
    sieve::KNOWN,
    irc::KNOWN,
    ldap::KNOWN,
    xmpp::KNOWN,
    rdp::KNOWN,
    tds::KNOWN,
    socks::KNOWN,
];

/// Demands a hello where the server agreed to TLS.
fn begun(opening: &Opening<'_>, client: usize, server: usize) -> Turn {
    match tls::client_hello(opening.client.get(client..).unwrap_or(&[])) {
        Probe::Yes => Turn::Begun { client, server },
        Probe::More => Turn::Asked,
        Probe::No => Turn::Past,
    }
}
