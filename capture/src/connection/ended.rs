//! What has ended a connection: FINs and resets.

use crate::key::Way;

/// What has ended a connection so far, as bits.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Ended(u8);

impl Ended {
    const FIN_UP: u8 = 1;
    const FIN_DOWN: u8 = 2;
    const RESET: u8 = 4;

    pub(super) const fn fin(&mut self, way: Way) {
        self.0 |= match way {
            Way::Up => Self::FIN_UP,
            Way::Down => Self::FIN_DOWN,
        };
    }

    /// Notes a reset, unless both sides had ended before it.
    pub(super) const fn reset(&mut self) {
        if !self.by_both() {
            self.0 |= Self::RESET;
        }
    }

    pub(super) const fn by_reset(self) -> bool {
        self.0 & Self::RESET != 0
    }

    pub(super) const fn by_either(self) -> bool {
        self.0 & (Self::FIN_UP | Self::FIN_DOWN) != 0
    }

    pub(super) const fn by_both(self) -> bool {
        self.0 & (Self::FIN_UP | Self::FIN_DOWN) == Self::FIN_UP | Self::FIN_DOWN
    }
}
