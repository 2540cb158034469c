//! TLS in a connection, from the byte of each stream at which it begins.

use flow::{Protocol, Upgrade};

use super::super::reassembly::Piece;
use super::super::side;
use crate::detect::upgrade::tds::Unwrapper;
use crate::key::{Both, Way};
use crate::prefetch::prefetch;
use crate::tls::{Handshake, Mark};

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
    pub(super) handshake: Handshake,
}

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

/// Returns the application protocol that a negotiated ALPN name stands for.
pub(super) fn of_alpn(name: &str) -> Option<Protocol> {
    match name {
        "h2" => Some(Protocol::Http2),
        "http/1.1" | "http/1.0" => Some(Protocol::Http1),
        "h3" => Some(Protocol::Http3),
        _ => None,
    }
}
