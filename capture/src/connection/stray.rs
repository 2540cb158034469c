//! Packets between the ends of a connection that are not its own: SYNs and first datagrams of the next one, and what fits nowhere.
//!
//! Between the same ends one connection may follow another. But a SYN by itself does not end one that is open: its receiver
//! answers with what it expects, and goes on (RFC 9293 section 3.10.7.4, RFC 5961 section 4.2). So it waits beside the
//! connection until another packet tells which of the two goes on.

use std::borrow::Cow;

use flow::Timestamp;

use super::datagrams::Association;
use super::{Connection, Context, State, Told, reassembly};
use crate::key::Way;
use crate::packet::{Header, Packet, Tcp};

/// How long a SYN waits to be answered after it was last sent, in nanoseconds. Whoever sends much passes by every sequence
/// number in time, also by that of a SYN that nobody answers.
const PATIENCE: i64 = 10_000_000_000;

/// Whose a packet is that comes between the ends of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Whose {
    Own,
    /// Perhaps the next one's: what follows tells.
    Perhaps,
    /// The next one's.
    Next,
}

impl Connection {
    /// Tells whose a packet is.
    pub(crate) fn whose(&self, packet: &Packet<'_>) -> Whose {
        if !packet.begins() {
            return if self.begun().is_some_and(|begun| begun.is_answered_by(packet)) {
                Whose::Next
            } else {
                Whose::Own
            };
        }
        if let Header::Udp { .. } = packet.header {
            return if self.is_followed_by(packet.payload.bytes) { Whose::Next } else { Whose::Own };
        }
        if !self.replaced_by(packet) {
            Whose::Own
        } else if self.silent()
            || self.ended.by_either()
            || self.ended.by_reset()
            // Its payload (RFC 7413) does not wait.
            || packet.payload.on_wire() > 0
        {
            Whose::Next
        } else {
            Whose::Perhaps
        }
    }

    /// Tells whether a datagram opens another connection between the same ends: clients of QUIC use a socket again and again.
    fn is_followed_by(&self, datagram: &[u8]) -> bool {
        self.association().is_some_and(|association| association.is_followed_by(datagram))
    }

    /// Returns what tells the first datagram of another connection; absent where what opened is no handshake in datagrams.
    fn association(&self) -> Option<Cow<'_, Association>> {
        let known = self.rare.as_ref().and_then(|rare| rare.association.as_ref());
        match &self.state {
            State::Opening(opening) => {
                let own = opening.association()?;
                Some(Cow::Owned(known.map_or_else(|| own.clone(), |known| known.and(own.clone()))))
            }
            State::Settled(_) | State::Away(_) => known.map(Cow::Borrowed),
            State::Silent | State::Waiting(_) => None,
        }
    }

    /// Remembers what tells a later connection from this one and those before it.
    pub(super) fn associate(&mut self) {
        if let Some(Cow::Owned(association)) = self.association() {
            self.rare.get_or_insert_default().association = Some(association);
        }
    }

    /// Begins a connection after this one.
    pub(crate) fn followed_by(&self, packet: &Packet<'_>, context: Context<'_>) -> Self {
        let mut next = Self::new(packet, context);
        if let Some(association) = self.association() {
            // Both may have begun at the same moment, by the clock of the capture.
            next.named = self.named.wrapping_add(1);
            next.rare.get_or_insert_default().association = Some(association.into_owned().next());
        }
        next
    }

    /// Tells whether a SYN waits beside it.
    #[inline]
    pub(crate) fn has_begun(&self) -> bool {
        self.begun().is_some()
    }

    #[inline]
    fn begun(&self) -> Option<&Self> {
        self.rare.as_ref()?.begun.as_deref()
    }

    /// Lets a SYN wait beside it; returns the connection that another one would have begun, of which nothing more came.
    pub(crate) fn hold(&mut self, packet: &Packet<'_>, context: Context<'_>) -> Option<Box<Self>> {
        let begun = &mut self.rare.get_or_insert_default().begun;
        let other = begun.take_if(|begun| begun.replaced_by(packet));
        begun.get_or_insert_with(|| Box::new(Self::new(packet, context))).count(packet, context);
        other
    }

    /// Takes the connection out that a SYN beside it began, if nobody has answered that for long.
    pub(crate) fn give_up_begun(&mut self, now: Timestamp) -> Option<Box<Self>> {
        self.rare.as_mut()?.begun.take_if(|begun| now.since(begun.end) > PATIENCE)
    }

    /// Takes the connection out that a SYN beside it began.
    pub(crate) fn take_begun(&mut self) -> Option<Box<Self>> {
        self.rare.as_mut()?.begun.take()
    }

    /// Tells whether a packet answers the SYN that began this, or is the first to follow it.
    fn is_answered_by(&self, packet: &Packet<'_>) -> bool {
        let Header::Tcp(tcp) = packet.header else { return false };
        let first = self.syns.of(self.client).wrapping_add(1);
        let number = if packet.way == self.client { Some(tcp.sequence) } else { tcp.acknowledgment() };
        number == Some(first)
    }

    /// Tells whether a SYN belongs to a later connection between the same ends.
    pub(crate) fn replaced_by(&self, packet: &Packet<'_>) -> bool {
        let way = packet.way;
        let Header::Tcp(tcp) = packet.header else { return false };
        let own = tcp.sequence.wrapping_add(1);
        let (told, syn) = (*self.told.of(way), *self.syns.of(way));
        match told {
            Told::Syn | Told::Answered => syn != tcp.sequence,
            // Without a SYN so far, this may be the connection's own, captured after the segment it precedes.
            Told::Nothing | Told::Guessed => match &self.state {
                State::Opening(opening) => !opening.may_begin_at(way, own),
                State::Waiting(waiting) => !waiting.may_begin_at(way, own),
                State::Settled(_) | State::Away(_) => {
                    told == Told::Nothing || !reassembly::may_precede(tcp.sequence, syn)
                }
                State::Silent => false,
            },
        }
    }

    /// Tells whether a SYN, a FIN or a RST stands where its receiver takes none, as far as that is known: it begins and ends
    /// nothing.
    pub(super) fn is_stray(&mut self, way: Way, tcp: &Tcp, length: usize) -> bool {
        self.wake();
        let State::Opening(opening) = &mut self.state else { return false };
        if tcp.syn() {
            return opening.is_stray_beginning(way, tcp.sequence.wrapping_add(1));
        }
        opening.is_stray_end(way, tcp.sequence.wrapping_add(u32::try_from(length).unwrap_or_default()))
    }

    /// Lets a connection go on that a reset had ended, once whoever sent that goes on beyond it: the reset was not taken.
    #[cold]
    pub(super) fn go_on(&mut self, way: Way, tcp: &Tcp, length: usize) {
        let end = tcp.sequence.wrapping_add(u32::try_from(length).unwrap_or_default());
        if self.ended.by_reset_of(way) && reassembly::after(end, self.reset_at) {
            self.ended.forget_resets();
            if let State::Opening(opening) = &mut self.state {
                opening.go_on(way);
            }
        }
    }
}
