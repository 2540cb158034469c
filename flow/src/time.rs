//! Time as the capture tells it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::digits;

/// Nanoseconds since the Unix epoch, UTC; written as RFC 3339 with nine fractional digits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// Takes nanoseconds since the Unix epoch.
    #[must_use]
    pub const fn from_nanos(nanos: i64) -> Self {
        Self(nanos)
    }

    /// Returns nanoseconds since the Unix epoch.
    #[must_use]
    pub const fn as_nanos(self) -> i64 {
        self.0
    }

    /// Returns how many nanoseconds lie between `earlier` and this; 0 if `earlier` is in fact later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> i64 {
        let span = self.0.saturating_sub(earlier.0);
        if span > 0 { span } else { 0 }
    }
}

/// How long a time is when written.
const WRITTEN: usize = "2026-01-31T23:59:59.123456789Z".len();

impl Timestamp {
    /// Returns the time as RFC 3339. By hand, because two are written for every flow.
    pub(crate) fn rfc3339(self) -> [u8; WRITTEN] {
        const DAY: u64 = 86_400;
        let (seconds, nanos) = (self.0.div_euclid(1_000_000_000), self.0.rem_euclid(1_000_000_000) as usize);
        // Counted from long before all that 64 bits of nanoseconds can tell, so that nothing below is negative.
        let seconds = seconds.cast_unsigned().wrapping_add(BEFORE * DAY);
        let (year, month, day) = civil((seconds / DAY) as u32);
        let second = (seconds % DAY) as usize;
        let mut text = *b"0000-00-00T00:00:00.000000000Z";
        let fields = [
            (0, year / 100),
            (2, year % 100),
            (5, month),
            (8, day),
            (11, second / 3_600),
            (14, second / 60 % 60),
            (17, second % 60),
            (20, nanos / 10_000_000),
            (22, nanos / 100_000 % 100),
            (24, nanos / 1_000 % 100),
            (26, nanos / 10 % 100),
        ];
        for (place, number) in fields {
            let [tens, ones] = digits::pair(number);
            text[place] = tens;
            text[place + 1] = ones;
        }
        text[28] = digits::pair(nanos % 10)[1];
        text
    }
}

/// How many days 1 March of the year 0 lies before the epoch.
const BEFORE: u64 = 719_468;

/// Returns year, month and day of a day counted from 1 March of the year 0, in the Gregorian calendar.
///
/// The year is taken to begin in March, so that the leap day comes last: months then have their lengths in a pattern of
/// five (153 days), and 146,097 days are 400 years.
const fn civil(days: u32) -> (usize, usize, usize) {
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = era * 400 + year_of_era + (month <= 2) as u32;
    (year as usize, month as usize, (of_year - (153 * from_march + 2) / 5 + 1) as usize)
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(std::str::from_utf8(&self.rfc3339()).unwrap_or_default())
    }
}

impl FromStr for Timestamp {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let time: jiff::Timestamp =
            text.parse().map_err(|error| format!("'{text}' is no RFC 3339 time: {error}"))?;
        i64::try_from(time.as_nanosecond()).map(Self).map_err(|_| format!("'{text}' is out of range"))
    }
}

impl Serialize for Timestamp {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(std::str::from_utf8(&self.rfc3339()).unwrap_or_default())
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        crate::text::parsed(deserializer)
    }
}

#[cfg(test)]
mod tests {
    use super::Timestamp;

    #[test]
    fn nine_digits_and_back() {
        for nanos in [0, 1, 1_700_000_000_123_456_789, -1] {
            let time = Timestamp::from_nanos(nanos);
            assert_eq!(time.to_string().parse(), Ok(time));
        }
        for day in (-100_000..100_000).step_by(13) {
            let nanos = day * 86_400_000_000_000 + 86_399_123_456_789;
            let expected = format!("{:.9}", jiff::Timestamp::from_nanosecond(i128::from(nanos)).unwrap());
            assert_eq!(Timestamp::from_nanos(nanos).to_string(), expected);
        }
        assert_eq!(Timestamp::from_nanos(i64::MIN).to_string(), "1677-09-21T00:12:43.145224192Z");
        assert_eq!(Timestamp::from_nanos(i64::MAX).to_string(), "2262-04-11T23:47:16.854775807Z");
        assert_eq!(Timestamp::from_nanos(1_000).to_string(), "1970-01-01T00:00:00.000001000Z");
    }
}
