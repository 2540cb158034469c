//! The bytes that detection looks at, kept until it settles.

use super::super::reassembly::{Origin, Piece};
use crate::detect::OPENING;
use crate::packet::Captured;

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
}

/// Where some held bytes came from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Run {
    length: usize,
    missing: usize,
    origin: Origin,
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
        self.bytes.extend_from_slice(piece.payload.bytes);
        let Captured { bytes, missing } = piece.payload;
        let run = Run { length: bytes.len(), missing, origin: piece.origin };
        match self.first {
            None => self.first = Some(run),
            Some(_) => self.later.push(run),
        }
        self.cut |= missing > 0;
        // A super-packet goes in whole, so the bound may be passed by one packet.
        self.full = self.bytes.len() >= OPENING || missing > 0;
    }

    /// Lists the pieces as they came.
    pub(super) fn pieces(&self) -> impl Iterator<Item = Piece<'_>> {
        let mut rest = self.bytes.as_slice();
        self.first.iter().chain(&self.later).map(move |run| {
            let (bytes, after) = rest.split_at_checked(run.length).unwrap_or((rest, &[]));
            rest = after;
            Piece { payload: Captured { bytes, missing: run.missing }, origin: run.origin }
        })
    }
}
