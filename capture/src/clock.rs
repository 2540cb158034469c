//! Time as the frames tell it.

use flow::Timestamp;

/// How often time-outs are looked at, in nanoseconds.
const TICK: i64 = 1_000_000_000;

/// The time of the latest frame, and when time-outs were last looked at.
#[derive(Debug, Default)]
pub(crate) struct Clock {
    now: Timestamp,
    ticked: Timestamp,
}

impl Clock {
    pub(crate) const fn now(&self) -> Timestamp {
        self.now
    }

    /// Lets time pass up to `now`, never back; returns the time if it is one to look at time-outs.
    #[inline]
    pub(crate) fn advance(&mut self, now: Timestamp) -> Option<Timestamp> {
        self.now = self.now.max(now);
        if self.now.since(self.ticked) < TICK {
            return None;
        }
        self.ticked = self.now;
        Some(self.now)
    }
}
