//! The bytes that detection looks at, kept until it settles.

use super::super::reassembly::{Origin, Piece};
use crate::detect::OPENING;
use crate::packet::Captured;
use crate::prefetch::{prefetch, prefetch_at};

/// For how many bytes there is room from the first on, so that a few small pieces do not move them again and again.
const FIRST: usize = 256;

/// For how many pieces there is room from the second on: where there are two, there mostly are many.
const FIRST_RUNS: usize = 16;

/// How many bytes tell whether a record begins: type and version (RFC 8446 section 5.1).
const RECORD: usize = 3;

/// In-order bytes of one direction, kept until detection settles.
#[derive(Debug, Default)]
#[repr(C)]
pub(super) struct Held {
    pub(super) bytes: Vec<u8>,
    pub(super) later: Vec<Run>,
    /// Whether no more is kept: the bound, or a cut, was reached.
    pub(super) full: bool,
    /// Whether the snap length cut bytes out.
    pub(super) cut: bool,
    /// Whether it begins like a TLS record.
    pub(super) in_records: bool,
    /// How many bytes followed the last piece on the wire only: no piece comes after such a one.
    missing: usize,
    /// Where they came from: mostly from one packet.
    pub(super) first: Option<Run>,
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
        let begun = self.bytes.len() >= RECORD;
        self.bytes.extend_from_slice(piece.payload.bytes);
        if !begun {
            self.in_records = matches!(self.bytes.as_slice(), [20..=23, 3, 0..=4, ..]);
        }
        match self.first {
            None => self.first = Some(Run::of(piece)),
            Some(_) => {
                if self.later.capacity() == 0 {
                    self.later.reserve(FIRST_RUNS);
                }
                self.later.push(Run::of(piece));
            }
        }
        let missing = piece.payload.missing;
        self.missing = missing;
        self.cut |= missing > 0;
        // A super-packet goes in whole, so the bound may be passed by one packet.
        self.full = self.bytes.len() >= OPENING || missing > 0;
    }

    /// Asks for itself.
    #[inline]
    pub(super) fn prefetch(&self) {
        prefetch(&self.bytes);
        prefetch(&self.first);
    }

    /// Asks for where the next bytes go.
    #[inline]
    pub(super) fn prefetch_end(&self) {
        prefetch_at(&self.bytes, self.bytes.len());
        prefetch_at(&self.later, self.later.len());
    }

    /// Keeps bytes in which no TLS begins as one piece of one packet, but for a tail of them that is another's.
    pub(super) fn in_one(bytes: Vec<u8>, origin: Origin, (tail, of_tail): (usize, Origin)) -> Self {
        let (before, after) = bytes.split_at_checked(bytes.len().saturating_sub(tail)).unwrap_or_default();
        let run = |bytes, origin| Run::of(&Piece { payload: Captured { bytes, missing: 0 }, origin });
        Self {
            first: (!before.is_empty()).then(|| run(before, origin)),
            later: if after.is_empty() { Vec::new() } else { vec![run(after, of_tail)] },
            bytes,
            ..Self::default()
        }
    }

    /// Returns the number of the latest packet that brought some of them; 0 without any.
    pub(super) fn latest(&self) -> u32 {
        self.first.iter().chain(&self.later).map(|run| run.packet).max().unwrap_or_default()
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
