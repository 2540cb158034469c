//! Time as the frames tell it.

use flow::Timestamp;

/// How often time-outs are looked at, in nanoseconds.
const TICK: i64 = 1_000_000_000;

/// The time of the latest frame, and up to when time-outs need not be looked at.
#[derive(Debug)]
pub(crate) struct Clock {
    now: Timestamp,
    quiet: Timestamp,
}

impl Default for Clock {
    fn default() -> Self {
        let now = Timestamp::default();
        Self { now, quiet: quiet_after(now) }
    }
}

impl Clock {
    pub(crate) const fn now(&self) -> Timestamp {
        self.now
    }

    /// Lets time pass up to `now`, never back; returns the time if it is one to look at time-outs.
    #[inline]
    pub(crate) fn advance(&mut self, now: Timestamp) -> Option<Timestamp> {
        self.now = self.now.max(now);
        if self.now <= self.quiet {
            return None;
        }
        self.quiet = quiet_after(self.now);
        Some(self.now)
    }
}

const fn quiet_after(ticked: Timestamp) -> Timestamp {
    Timestamp::from_nanos(ticked.as_nanos().saturating_add(TICK.saturating_sub(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_outs_are_looked_at_once_a_second_and_time_never_goes_back() {
        let mut clock = Clock::default();
        let mut advance = |nanos| clock.advance(Timestamp::from_nanos(nanos)).map(Timestamp::as_nanos);
        assert_eq!([advance(TICK - 1), advance(TICK), advance(TICK)], [None, Some(TICK), None]);
        assert_eq!([advance(5), advance(2 * TICK - 1), advance(2 * TICK)], [None, None, Some(2 * TICK)]);
        // Nothing is later than the end of time, so it comes once.
        assert_eq!([advance(i64::MAX), advance(i64::MAX)], [Some(i64::MAX), None]);
    }
}
