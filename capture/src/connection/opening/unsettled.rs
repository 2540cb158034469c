//! What a packet of a connection that is not settled will touch, asked for before its turn.

use super::{Opening, Waiting};

/// An opening, in either of its forms.
#[derive(Clone, Copy)]
pub(crate) enum Unsettled<'a> {
    Opening(&'a Opening),
    Waiting(&'a Waiting),
}

impl Unsettled<'_> {
    /// Asks for what its next packet touches, as far as that is at hand.
    #[inline]
    pub(crate) fn prefetch(self) {
        match self {
            Self::Opening(opening) => opening.prefetch(),
            Self::Waiting(waiting) => waiting.prefetch(),
        }
    }

    /// Asks for what its next packet touches behind that.
    #[inline]
    pub(crate) fn prefetch_inside(self) {
        match self {
            Self::Opening(opening) => opening.prefetch_inside(),
            Self::Waiting(waiting) => waiting.prefetch_ends(),
        }
    }

    /// Asks for where what was heard last stands, and what comes next will.
    #[inline]
    pub(crate) fn prefetch_ends(self) {
        if let Self::Opening(opening) = self {
            opening.prefetch_ends();
        }
    }
}
