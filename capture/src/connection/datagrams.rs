//! A handshake that comes in datagrams: QUIC or DTLS, told by the first one.

use flow::{Security, Side};

use super::{Settled, side};
use crate::dtls::{Dtls, hello, is_dtls};
use crate::key::Way;
use crate::quic::{Quic, is_quic_initial};
use crate::tls::{Ends, Memory, Probe};

/// The handshake of one UDP flow.
#[derive(Debug)]
pub(super) enum Datagrams {
    /// QUIC.
    Quic(Box<Quic>, Way),
    /// DTLS.
    Dtls(Box<Dtls>, Way),
}

impl Datagrams {
    /// Begins a handshake if a flow's first datagram, which its client sent, opens one.
    pub(super) fn begin(client: Way, first: &[u8]) -> Option<Self> {
        if is_quic_initial(first) == Probe::Yes {
            Some(Self::Quic(Box::default(), client))
        } else if is_dtls(first) == Probe::Yes {
            Some(Self::Dtls(Box::default(), client))
        } else {
            None
        }
    }

    /// Begins a handshake with a datagram that is not the flow's first, if it holds a DTLS hello of either side.
    pub(super) fn begin_late(sender: Way, datagram: &[u8]) -> Option<Self> {
        match hello(datagram)? {
            Side::Client => Some(Self::Dtls(Box::default(), sender)),
            Side::Server => Some(Self::Dtls(Box::default(), sender.other())),
        }
    }

    /// Which way the client sends.
    pub(super) const fn client(&self) -> Way {
        match self {
            Self::Quic(_, client) | Self::Dtls(_, client) => *client,
        }
    }

    pub(super) fn datagram(&mut self, way: Way, bytes: &[u8]) {
        match self {
            Self::Quic(quic, client) => quic.datagram(side(*client, way), bytes),
            Self::Dtls(dtls, client) => dtls.datagram(side(*client, way), bytes),
        }
    }

    pub(super) const fn settled(&self) -> bool {
        match self {
            Self::Quic(quic, _) => quic.settled(),
            Self::Dtls(dtls, _) => dtls.settled(),
        }
    }

    pub(super) fn conclude(&self, ends: Ends, memory: &mut Memory) -> Settled {
        let conclusion = match self {
            Self::Quic(quic, _) => {
                let conclusion = quic.conclude(ends, &memory.sessions);
                quic.remember(ends, &mut memory.sessions);
                conclusion
            }
            Self::Dtls(dtls, _) => {
                let conclusion = dtls.conclude(ends, memory);
                dtls.remember(ends, memory);
                conclusion
            }
        };
        let security = Security::Tls(conclusion.session, conclusion.client);
        Settled { security, protocol: None, upgrade: None }
    }
}
