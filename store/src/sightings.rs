//! What to look for when a connection may have been seen by others.

use std::collections::HashMap;

use flow::FlowId;
use flow::merge::WINDOW;

/// Openings, and when flows with them begin.
pub(crate) struct Sightings {
    starts: HashMap<u64, Vec<i64>>,
}

impl Sightings {
    pub(crate) fn of(ids: &[FlowId]) -> Self {
        let mut starts: HashMap<u64, Vec<i64>> = HashMap::new();
        for [opening, start] in ids.iter().map(|id| id.halves()) {
            starts.entry(opening).or_default().push(start.cast_signed());
        }
        Self { starts }
    }

    /// Tells whether a flow of this name and start may be one of the connections.
    pub(crate) fn fit(&self, id: FlowId, start: i64) -> bool {
        let [opening, own] = id.halves();
        own.cast_signed() == start
            && self.starts.get(&opening).is_some_and(|starts| {
                starts.iter().any(|other| other.abs_diff(start) <= WINDOW.unsigned_abs())
            })
    }

    /// Returns from when to when (both included) they may begin, in nanoseconds: ascending, none touching the next.
    pub(crate) fn spans(&self) -> Vec<(i64, i64)> {
        let mut starts: Vec<i64> = self.starts.values().flatten().copied().collect();
        starts.sort_unstable();
        let mut spans: Vec<(i64, i64)> = Vec::new();
        for start in starts {
            let (from, to) = (start.saturating_sub(WINDOW), start.saturating_add(WINDOW));
            match spans.last_mut() {
                Some((_, end)) if *end >= from => *end = to,
                _ => spans.push((from, to)),
            }
        }
        spans
    }

    /// Returns the openings.
    #[cfg(feature = "clickhouse")]
    pub(crate) fn openings(&self) -> impl Iterator<Item = &u64> {
        self.starts.keys()
    }
}

#[cfg(test)]
mod tests {
    use flow::Timestamp;

    use super::*;

    #[test]
    fn near_starts_make_one_span() {
        let id = |start| FlowId::of_opening(1, Timestamp::from_nanos(start));
        let sightings = Sightings::of(&[id(7 * WINDOW), id(0), id(WINDOW)]);
        assert_eq!(sightings.spans(), [(-WINDOW, 2 * WINDOW), (6 * WINDOW, 8 * WINDOW)]);
        assert!(sightings.fit(id(2 * WINDOW), 2 * WINDOW) && !sightings.fit(id(3 * WINDOW), 3 * WINDOW));
        assert!(!sightings.fit(FlowId::of_opening(2, Timestamp::from_nanos(0)), 0));
    }
}
