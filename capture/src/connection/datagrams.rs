//! A handshake that comes in datagrams: QUIC or DTLS, told by the first one.

use flow::{Security, Side};

use super::{Settled, side};
use crate::dtls::{self, Dtls, hello, is_dtls};
use crate::key::Way;
use crate::quic::{self, Id, Quic, is_quic_initial};
use crate::tls::{Ends, Memory, Probe};

/// The handshake of one UDP flow.
#[derive(Debug)]
pub(super) enum Datagrams {
    /// QUIC.
    Quic(Box<Quic>, Way),
    /// DTLS.
    Dtls(Box<Dtls>, Way),
}

/// Most ids remembered of connections that came before between the same ends.
const EARLIER: usize = 32;

/// What tells the first datagram of another connection between the same ends from all those of this one, and of those before it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Association {
    /// What this connection's own first datagrams are told by, and those of earlier ones: of QUIC the ids under whose keys they
    /// open, of DTLS the random value of their hello, which both hellos have (RFC 6347 section 4.2.1).
    ids: Vec<Id>,
    /// Whether one of them is this connection's own: else its first datagram may still come.
    begun: bool,
    /// Whether nothing makes it begin again: before the server's answer, Retry or a version negotiation may, of QUIC.
    answered: bool,
    /// The version of QUIC; absent for what is none.
    version: Option<u32>,
}

impl Association {
    /// Returns what tells a connection that comes after this one.
    pub(crate) fn next(mut self) -> Self {
        let most = self.ids.len().saturating_sub(EARLIER);
        self.ids.drain(..most);
        Self { ids: self.ids, ..Self::default() }
    }

    /// Adds what is known by now of the connection's own opening.
    pub(super) fn and(&self, own: Self) -> Self {
        Self { ids: self.ids.iter().cloned().chain(own.ids).collect(), ..own }
    }

    /// Tells whether a datagram opens another connection.
    pub(super) fn is_followed_by(&self, datagram: &[u8]) -> bool {
        if !self.begun {
            return false;
        }
        let unknown = |id: &[u8]| !self.ids.iter().any(|known| known == id);
        if let Some(opening) = quic::opened_by(datagram) {
            // After Retry a client sends a token, after a version negotiation another version (RFC 9000 sections 8.1.2 and 6.2).
            let again = opening.token || self.version != Some(opening.version);
            return unknown(opening.id) && (self.answered || !again);
        }
        dtls::client_random(datagram).is_some_and(|id| unknown(&id))
    }
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

    /// Begins a handshake with a datagram that is not the flow's first, if it holds a DTLS hello of either side, or the
    /// client's first of QUIC, which nobody else can have made.
    pub(super) fn begin_late(sender: Way, datagram: &[u8]) -> Option<Self> {
        if quic::opened_by(datagram).is_some() {
            return Some(Self::Quic(Box::default(), sender));
        }
        match hello(datagram)? {
            Side::Client => Some(Self::Dtls(Box::default(), sender)),
            Side::Server => Some(Self::Dtls(Box::default(), sender.other())),
        }
    }

    /// Returns what tells the first datagram of another connection from this one's.
    pub(super) fn association(&self) -> Association {
        match self {
            Self::Quic(quic, _) => Association {
                ids: quic.ids().to_vec(),
                begun: !quic.ids().is_empty(),
                answered: quic.is_answered(),
                version: quic.version(),
            },
            Self::Dtls(dtls, _) => Association {
                ids: dtls.random().map(|random| random.to_vec()).into_iter().collect(),
                begun: dtls.random().is_some(),
                answered: true,
                version: None,
            },
        }
    }

    /// Tells whether nothing of the client's was read: what came first was no first datagram.
    pub(super) fn is_blank(&self) -> bool {
        match self {
            Self::Quic(quic, _) => quic.ids().is_empty(),
            Self::Dtls(..) => false,
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
