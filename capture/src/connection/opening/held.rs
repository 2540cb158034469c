//! The bytes that detection looks at, kept until it settles.

use super::super::reassembly::{Origin, Piece};
use crate::detect::OPENING;
use crate::packet::Captured;

/// For how many bytes there is room from the first on, so that a few small pieces do not move them again and again.
const FIRST: usize = 256;

/// In-order bytes of one direction, kept until detection settles.
#[derive(Debug, Default)]
pub(super) struct Held {
    pub(super) bytes: Vec<u8>,
    /// Where they came from: mostly from one packet.
    pub(super) first: Option<Run>,
    pub(super) later: Vec<Run>,
    /// Whether no more is kept: the bound, or a cut, was reached.
    pub(super) full: bool,
    /// Whether the snap length cut bytes out.
    pub(super) cut: bool,
    /// How many bytes followed the last piece on the wire only: no piece comes after such a one.
    missing: usize,
}

/// Where some held bytes came from. Small, because where many small pieces come, there is one for each.
#[derive(Debug, Clone, Copy)]
pub(super) struct Run {
    length: u32,
    packet: u32,
    /// What the packet acknowledges, if it does.
    acknowledgment: u32,
    acknowledges: bool,
}

impl Run {
    fn of(piece: &Piece<'_>) -> Self {
        let Origin { packet, acknowledgment } = piece.origin;
        Self {
            // A piece is a packet's, or a part of it.
            length: u32::try_from(piece.payload.bytes.len()).unwrap_or(u32::MAX),
            packet,
            acknowledgment: acknowledgment.unwrap_or_default(),
            acknowledges: acknowledgment.is_some(),
        }
    }

    fn origin(&self) -> Origin {
        Origin { packet: self.packet, acknowledgment: self.acknowledges.then_some(self.acknowledgment) }
    }
}

impl Held {
    /// Returns how many bytes of memory it takes beside its own.
    pub(super) fn room(&self) -> usize {
        self.bytes.capacity().saturating_add(self.later.capacity().saturating_mul(size_of::<Run>()))
    }

    pub(super) fn keep(&mut self, piece: &Piece<'_>) {
        if self.full {
            return;
        }
        if self.bytes.capacity() == 0 {
            self.bytes.reserve(piece.payload.bytes.len().max(FIRST));
        }
        self.bytes.extend_from_slice(piece.payload.bytes);
        match self.first {
            None => self.first = Some(Run::of(piece)),
            Some(_) => self.later.push(Run::of(piece)),
        }
        let missing = piece.payload.missing;
        self.missing = missing;
        self.cut |= missing > 0;
        // A super-packet goes in whole, so the bound may be passed by one packet.
        self.full = self.bytes.len() >= OPENING || missing > 0;
    }

    /// Tells whether it begins like a TLS record.
    pub(super) fn begins_a_record(&self) -> bool {
        matches!(self.bytes.as_slice(), [20..=23, 3, 0..=4, ..])
    }

    /// Reads something of every line of memory that the next bytes touch.
    pub(super) fn touch(&self) -> u64 {
        let run = self.later.last().map_or(0, |run| run.packet);
        u64::from(self.bytes.last().copied().unwrap_or_default()) ^ u64::from(run)
    }

    /// Lists the pieces as they came.
    pub(super) fn pieces(&self) -> impl Iterator<Item = Piece<'_>> {
        let (mut rest, mut left) = (self.bytes.as_slice(), self.later.len());
        self.first.iter().chain(&self.later).map(move |run| {
            let (bytes, after) = rest.split_at_checked(run.length as usize).unwrap_or((rest, &[]));
            rest = after;
            let missing = if left == 0 { self.missing } else { 0 };
            left = left.saturating_sub(1);
            Piece { payload: Captured { bytes, missing }, origin: run.origin() }
        })
    }
}
