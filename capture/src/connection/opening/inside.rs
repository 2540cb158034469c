//! TLS in a connection, from the byte of each stream at which it begins.

use std::mem::offset_of;

use flow::{ClientAuth, Protocol, Reason, Security, Side, Upgrade};

use super::super::reassembly::Piece;
use super::super::{Settled, side};
use super::Opening;
use crate::detect::upgrade::tds::Unwrapper;
use crate::key::{Both, Way};
use crate::prefetch::{leave_out_no_line, prefetch};
use crate::tls::{Ends, Handshake, Mark, Memory};

/// How long a hello may be that is stepped over, in bytes, with early data after it.
const LONGEST_HELLO: u64 = 1 << 17;

/// TLS found, and where. In front, in this order, what every packet touches.
#[derive(Debug)]
#[repr(C)]
pub(super) struct Tls {
    /// How many bytes of each stream have come, TLS or not.
    pub(super) position: Both<u64>,
    /// First byte of TLS in each stream.
    pub(super) start: Both<usize>,
    /// Takes TDS packets off the handshake inside them.
    pub(super) unwrap: Option<Box<Both<Unwrapper>>>,
    /// Which way the client sends.
    pub(super) client: Way,
    pub(super) gap_told: Both<bool>,
    pub(super) close_told: Both<bool>,
    pub(super) upgrade: Option<Upgrade>,
    pub(super) protocol: Option<Protocol>,
    /// What the first of the server's packets acknowledges in which TLS begins, by its number; absent without one.
    answered_at: Option<u32>,
    /// Whether the client's bytes are read from there on, its hello before that not being whole.
    after_hello: bool,
    pub(super) handshake: Handshake,
}

const _: () = assert!(leave_out_no_line(&[0, offset_of!(Tls, handshake)]), "what bytes touch is asked for");

impl Tls {
    /// Asks for what the next bytes touch.
    #[inline]
    pub(super) fn prefetch(&self) {
        prefetch(&self.position);
        self.handshake.prefetch();
    }

    /// Feeds the next bytes of a stream, less what came before TLS began.
    pub(super) fn feed(&mut self, way: Way, other: Option<u32>, piece: &Piece<'_>) {
        let position = *self.position.of(way);
        let length = piece.payload.on_wire();
        *self.position.of_mut(way) = position.saturating_add(length as u64);
        let before =
            usize::try_from((*self.start.of(way) as u64).saturating_sub(position)).unwrap_or(usize::MAX);
        let Ok(payload) = piece.payload.skip(before) else { return };
        let mark = Mark {
            packet: piece.origin.packet,
            acknowledged: self.acknowledged(way, other, piece.origin.acknowledgment),
        };
        let side = side(self.client, way);
        if side == Side::Server && payload.on_wire() > 0 && self.answered_at.is_none() {
            self.answered_at = piece.origin.acknowledgment;
        }
        if let Some(unwrap) = &mut self.unwrap {
            let mut rest = payload.bytes;
            while let Some(inner) = unwrap.of_mut(way).next(&mut rest) {
                self.handshake.bytes(side, mark, inner);
            }
            if payload.missing > 0 {
                self.handshake.gap(side);
            }
            return;
        }
        if !payload.bytes.is_empty() {
            self.handshake.bytes(side, mark, payload.bytes);
        }
        if payload.missing > 0 {
            self.handshake.cut(side, payload.missing as u64);
        }
        if side == Side::Server
            && let Some(end) = self.hello_ends(other)
            && *self.position.of(way.other()) == end
        {
            self.go_on_after_hello(end);
        }
    }

    /// Returns where the client's hello ends that the server answered, if it was not read; given where the client's stream starts.
    fn hello_ends(&self, start: Option<u32>) -> Option<u64> {
        let lacks = !self.after_hello && self.handshake.answers_another_hello();
        let end = u64::from(self.answered_at?.wrapping_sub(start?));
        let hello = end.checked_sub(*self.start.of(self.client) as u64)?;
        (lacks && (1..LONGEST_HELLO).contains(&hello)).then_some(end)
    }

    fn go_on_after_hello(&mut self, end: u64) {
        self.after_hello = true;
        // What was told of was missing before; what is missing from here on is another gap.
        *self.gap_told.of_mut(self.client) = false;
        *self.position.of_mut(self.client) = end;
        self.handshake.begin_client_at(end.saturating_sub(*self.start.of(self.client) as u64));
    }

    /// Translates an acknowledgment number into bytes of the other side's TLS stream, which has to be a part of its
    /// bytes: inside TDS it cannot be placed.
    pub(super) fn acknowledged(
        &self,
        way: Way,
        other: Option<u32>,
        acknowledgment: Option<u32>,
    ) -> Option<u32> {
        if self.unwrap.is_some() {
            return None;
        }
        let into_stream = acknowledgment?.wrapping_sub(other?).cast_signed();
        let start = i64::try_from(*self.start.of(way.other())).ok()?;
        // What is acknowledged before TLS begins is none of its bytes.
        Some(u32::try_from(i64::from(into_stream).saturating_sub(start)).unwrap_or(0))
    }
}

impl Opening {
    /// Goes on as TLS that begins at these offsets, with what is held.
    pub(super) fn begin_tls(
        &mut self,
        client: Way,
        start: Both<usize>,
        unwrap: Option<Box<Both<Unwrapper>>>,
        upgrade: Option<Upgrade>,
        protocol: Option<Protocol>,
    ) {
        let mut tls = Box::new(Tls {
            handshake: Handshake::default(),
            client,
            start,
            position: Both::default(),
            unwrap,
            upgrade,
            protocol,
            answered_at: None,
            after_hello: false,
            gap_told: Both::default(),
            close_told: Both::default(),
        });
        let held = std::mem::take(&mut self.held);
        let start = Both { up: self.streams.up.start, down: self.streams.down.start };
        if held.of(client.other()).first.is_none() {
            for piece in held.of(client).pieces() {
                tls.feed(client, *start.of(client.other()), &piece);
            }
        } else {
            // Both directions as their bytes became readable: causality is judged by it, and neither stream is reordered.
            let mut pieces = Vec::new();
            for way in [Way::Up, Way::Down] {
                // A piece that overtook those before it in the stream waits for them.
                let mut latest = 0;
                for piece in held.of(way).pieces() {
                    latest = piece.origin.packet.max(latest);
                    pieces.push((latest, way, piece));
                }
            }
            pieces.sort_by_key(|(packet, ..)| *packet);
            for (_, way, piece) in pieces {
                tls.feed(way, *start.of(way.other()), &piece);
            }
        }
        for way in [Way::Up, Way::Down] {
            if held.of(way).full && !held.of(way).cut && self.streams.of(way).begun() {
                // What came after the bound was not kept.
                let kept = held.of(way).bytes.len() as u64;
                if self.streams.of(way).position() > kept {
                    self.streams.of_mut(way).gap = true;
                }
            }
            if held.of(way).cut {
                let kept = held
                    .of(way)
                    .pieces()
                    .fold(0_u64, |sum, piece| sum.saturating_add(piece.payload.on_wire() as u64));
                if self.streams.of(way).position() > kept {
                    self.streams.of_mut(way).gap = true;
                }
            }
        }
        self.tls = Some(tls);
    }

    /// Tells the handshake if the client's bytes begin where the server had them when it answered: then all is there that the client
    /// sent after that, whatever is missing before.
    pub(super) fn tell_beginning(&mut self) {
        let Self { streams, tls: Some(tls), late, told, .. } = self else { return };
        let begins = streams.of(tls.client).start;
        let at_answer =
            *tls.start.of(tls.client) == 0 && tls.answered_at.is_some() && tls.answered_at == begins;
        if at_answer || tls.after_hello {
            let lost = *late || *told.of(tls.client);
            tls.handshake.follows_the_answer(if lost { Reason::Gap } else { Reason::MidStream });
        }
    }

    /// Steps over a hole in the client's hello that will not fill, to where the server had all of it when it answered.
    pub(super) fn step_over_hello(&mut self) {
        let Self { streams, tls: Some(tls), .. } = self else { return };
        let client = tls.client;
        let other = streams.of(client.other()).start;
        let stream = streams.of_mut(client);
        let Some(end) = tls.hello_ends(stream.start) else { return };
        if stream.position() < end && stream.has_hole() {
            tls.go_on_after_hello(end);
            stream.go_on_at(end, &mut |piece| tls.feed(client, other, &piece));
        }
    }

    /// Concludes what the handshake says; called once.
    pub(crate) fn conclude(&self, ends: Ends, memory: &mut Memory) -> Settled {
        if let Some(datagrams) = &self.datagrams {
            return datagrams.conclude(ends, memory);
        }
        let Some(tls) = &self.tls else {
            return Settled {
                security: Security::Unknown(Reason::Incomplete),
                protocol: None,
                upgrade: None,
            };
        };
        let mut conclusion = tls.handshake.settle(ends, memory);
        if self.late && conclusion.client == ClientAuth::Hidden(Reason::MidStream) {
            // The capture did not begin late: it lost the opening.
            conclusion.client = ClientAuth::Hidden(Reason::Gap);
        }
        if let ClientAuth::Hidden(reason) = conclusion.client {
            conclusion.client = ClientAuth::Hidden(self.or_the_bound(reason));
        }
        let protocol = tls.protocol.or_else(|| conclusion.session.alpn.as_deref().and_then(of_alpn));
        Settled {
            security: Security::Tls(conclusion.session, conclusion.client),
            protocol,
            upgrade: tls.upgrade,
        }
    }
}

/// Returns the application protocol that a negotiated ALPN name stands for.
fn of_alpn(name: &str) -> Option<Protocol> {
    match name {
        "h2" => Some(Protocol::Http2),
        "http/1.1" | "http/1.0" => Some(Protocol::Http1),
        "h3" => Some(Protocol::Http3),
        _ => None,
    }
}
