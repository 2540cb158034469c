//! What has ended a connection: FINs and resets.

use crate::key::Way;

/// What has ended a connection so far, as bits.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Ended(u8);

impl Ended {
    const FIN_UP: u8 = 1;
    const FIN_DOWN: u8 = 2;
    const RESET_UP: u8 = 4;
    const RESET_DOWN: u8 = 8;

    pub(super) const fn fin(&mut self, way: Way) {
        self.0 |= match way {
            Way::Up => Self::FIN_UP,
            Way::Down => Self::FIN_DOWN,
        };
    }

    /// Notes a reset, unless both sides had ended before it.
    pub(super) const fn reset(&mut self, way: Way) {
        if !self.by_both() {
            self.0 |= Self::reset_of(way);
        }
    }

    const fn reset_of(way: Way) -> u8 {
        match way {
            Way::Up => Self::RESET_UP,
            Way::Down => Self::RESET_DOWN,
        }
    }

    pub(super) const fn by_reset(self) -> bool {
        self.0 & (Self::RESET_UP | Self::RESET_DOWN) != 0
    }

    pub(super) const fn by_reset_of(self, way: Way) -> bool {
        self.0 & Self::reset_of(way) != 0
    }

    pub(super) const fn forget_resets(&mut self) {
        self.0 &= !(Self::RESET_UP | Self::RESET_DOWN);
    }

    pub(super) const fn by_either(self) -> bool {
        self.0 & (Self::FIN_UP | Self::FIN_DOWN) != 0
    }

    pub(super) const fn by_both(self) -> bool {
        self.0 & (Self::FIN_UP | Self::FIN_DOWN) == Self::FIN_UP | Self::FIN_DOWN
    }
}
