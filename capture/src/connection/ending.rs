//! How a connection ends, and what is reported of it then and before.

use flow::{Close, Flow, PerSide, Reason, Security, Transport};

use super::points::Points;
use super::table::Queue;
use super::{Conclude, Connection, Settled, State};
use crate::partition::Report;

impl Connection {
    /// Settles the opening of a connection that has fallen silent, if what it shows is enough; returns whether it is.
    /// Otherwise it waits on, in as little room as it can.
    pub(crate) fn rest(&mut self, conclude: &mut impl Conclude) -> bool {
        match &mut self.state {
            State::Opening(opening) if opening.may_rest() => self.settle(true, conclude),
            State::Opening(opening) => {
                opening.shrink();
                false
            }
            State::Waiting(_) | State::Silent | State::Settled(_) | State::Away(_) => false,
        }
    }

    /// Tells whether both sides, or a reset, have ended it. Two FINs do not while bytes before one of them are missing:
    /// those may still come.
    #[inline]
    pub(crate) fn closed(&self) -> bool {
        self.ended.by_reset()
            || (self.ended.by_both()
                && match &self.state {
                    State::Opening(opening) => opening.whole(),
                    State::Waiting(_) | State::Silent | State::Settled(_) | State::Away(_) => true,
                })
    }

    /// Returns the queue that it belongs to.
    #[inline]
    pub(crate) fn queue(&self) -> Queue {
        if self.closed() {
            return Queue::Closed;
        }
        match (&self.state, self.key.transport()) {
            (State::Silent, _) => Queue::Silent,
            (State::Opening(_) | State::Waiting(_) | State::Settled(_) | State::Away(_), Transport::Udp) => {
                Queue::Datagram
            }
            (State::Opening(_) | State::Waiting(_), Transport::Tcp) => Queue::Opening,
            (State::Settled(_) | State::Away(_), Transport::Tcp) => Queue::Open,
        }
    }

    /// Gives up the opening because the bound on held bytes was reached.
    pub(crate) fn give_up(&mut self, conclude: &mut impl Conclude) -> bool {
        self.wake();
        if let State::Opening(opening) = &mut self.state {
            opening.give_up();
        }
        self.settle(true, conclude)
    }

    /// Reports the connection at its end.
    pub(crate) fn finish(&mut self, otherwise: Close, conclude: &mut impl Conclude) -> Report {
        self.settle(true, conclude);
        let close = if self.ended.by_reset() {
            Close::Reset
        } else if self.ended.by_either() {
            Close::Fin
        } else {
            otherwise
        };
        self.report(close)
    }

    /// Reports the connection as it stands.
    pub(crate) fn report(&self, close: Close) -> Report {
        let settled = match &self.state {
            State::Settled(settled) => settled.clone(),
            State::Silent => {
                Settled { security: Security::Unknown(Reason::NoPayload), protocol: None, upgrade: None }
            }
            State::Opening(_) | State::Waiting(_) | State::Away(_) => {
                Settled { security: Security::Unknown(Reason::Incomplete), protocol: None, upgrade: None }
            }
        };
        let away = match self.state {
            State::Away(number) => Some(number),
            State::Silent | State::Opening(_) | State::Waiting(_) | State::Settled(_) => None,
        };
        let (client, server) = (self.halves.of(self.client), self.halves.of(self.client.other()));
        let rare = self.rare.as_deref();
        let flow = Flow {
            id: self.id(),
            start: self.start,
            end: self.end,
            transport: self.key.transport(),
            client: self.key.sender(self.client),
            server: self.key.sender(self.client.other()),
            tunnel: rare.map_or_else(Vec::new, |rare| rare.tunnels.to_vec()),
            seen_at: Vec::new(),
            security: settled.security,
            protocol: settled.protocol,
            upgrade: settled.upgrade,
            from_start: self.seen_from_start(),
            tcp_handshake: self.tcp_handshake(),
            close,
            packets: PerSide { client: client.packets, server: server.packets },
            bytes: PerSide { client: client.bytes, server: server.bytes },
        };
        let others = rare.map_or_else(Vec::new, |rare| rare.points.clone());
        Report { flow, points: Points::of(self.point, others), away }
    }
}
