//! What to look for when a connection may have been seen by others, or on the other side of an address translation.

use std::collections::HashMap;

use analyzer::report::Judged;
use flow::merge::{ALIKE, WINDOW};
use flow::{Flow, FlowId, TcpHandshake, Timestamp};

/// How many flows are returned for one opening, or one handshake, at most: one more than are taken for one connection, which tells that there are
/// too many.
pub const MOST: usize = ALIKE + 1;

/// What tells a connection from others, whoever saw it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sought {
    /// Its opening ([`Flow::opening`]), between the same ends.
    pub opening: Option<u64>,
    /// Its handshake, whatever the ends.
    pub tcp_handshake: Option<TcpHandshake>,
    /// When it began.
    pub start: Timestamp,
}

impl From<&Flow> for Sought {
    fn from(flow: &Flow) -> Self {
        Self { opening: flow.opening(), tcp_handshake: flow.tcp_handshake, start: flow.start }
    }
}

/// A report of a flow that another program may have recorded as well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contested {
    /// The report.
    pub judged: Judged,
    /// How often it is there: once, if all is well; less than that where it was taken out too often.
    pub times: i64,
    /// By what the store knows this report of the flow again.
    pub version: u64,
}

/// What is there of each flow, so that it can be told whether it still is.
#[derive(Debug, Clone, Default)]
pub struct Found {
    sums: HashMap<(FlowId, Timestamp), i64>,
}

impl Found {
    /// Takes down what was found.
    #[must_use]
    pub fn of(contested: &[Contested]) -> Self {
        let mut sums = HashMap::new();
        for Contested { judged, times, version } in contested {
            let sum: &mut i64 = sums.entry((judged.flow.id, judged.flow.start)).or_default();
            *sum = sum.wrapping_add(times.wrapping_mul(version.cast_signed()));
        }
        Self { sums }
    }

    /// Returns the sum of the versions of a flow's reports, each as often as it is there, in 64 bits: 0 where there is none.
    #[cfg(feature = "clickhouse")]
    pub(crate) fn sum(&self, flow: &Flow) -> i64 {
        self.sums.get(&(flow.id, flow.start)).copied().unwrap_or(0)
    }
}

/// Openings and handshakes, and when flows with them begin, in order: there may be many of one where somebody makes them so.
pub(crate) struct Sightings {
    openings: HashMap<u64, Vec<i64>>,
    handshakes: HashMap<u64, Vec<i64>>,
}

impl Sightings {
    pub(crate) fn of(sought: &[Sought]) -> Self {
        let mut sightings = Self { openings: HashMap::new(), handshakes: HashMap::new() };
        for one in sought {
            let start = one.start.as_nanos();
            if let Some(opening) = one.opening {
                sightings.openings.entry(opening).or_default().push(start);
            }
            if let Some(TcpHandshake(handshake)) = one.tcp_handshake {
                sightings.handshakes.entry(handshake).or_default().push(start);
            }
        }
        for starts in sightings.openings.values_mut().chain(sightings.handshakes.values_mut()) {
            starts.sort_unstable();
        }
        sightings
    }

    /// Tells whether a flow of this name, start and handshake may be one of the connections.
    pub(crate) fn fit(&self, id: FlowId, start: i64, handshake: Option<u64>) -> bool {
        let near = |starts: &Vec<i64>| {
            let first = starts.partition_point(|other| *other < start.saturating_sub(WINDOW));
            starts.get(first).is_some_and(|other| *other <= start.saturating_add(WINDOW))
        };
        let [opening, own] = id.halves();
        (own.cast_signed() == start && self.openings.get(&opening).is_some_and(near))
            || handshake.and_then(|handshake| self.handshakes.get(&handshake)).is_some_and(near)
    }

    /// Names what a flow of this name and handshake was found by: its opening, else its handshake. How many of one are returned is bounded.
    pub(crate) fn found_by(&self, id: FlowId, handshake: Option<u64>) -> (bool, u64) {
        let [opening, _] = id.halves();
        let opened = self.openings.contains_key(&opening);
        (opened, if opened { opening } else { handshake.unwrap_or(0) })
    }

    /// Returns from when to when (both included) they may begin, in nanoseconds: ascending, none touching the next.
    pub(crate) fn spans(&self) -> Vec<(i64, i64)> {
        let mut starts: Vec<i64> =
            self.openings.values().chain(self.handshakes.values()).flatten().copied().collect();
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
        self.openings.keys()
    }

    /// Returns the handshakes.
    #[cfg(feature = "clickhouse")]
    pub(crate) fn handshakes(&self) -> impl Iterator<Item = &u64> {
        self.handshakes.keys()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_starts_make_one_span() {
        let sought = |start| Sought {
            opening: Some(1),
            tcp_handshake: Some(TcpHandshake(2)),
            start: Timestamp::from_nanos(start),
        };
        let sightings = Sightings::of(&[sought(7 * WINDOW), sought(0), sought(WINDOW)]);
        assert_eq!(sightings.spans(), [(-WINDOW, 2 * WINDOW), (6 * WINDOW, 8 * WINDOW)]);
        let opening = |opening, start| FlowId::of_opening(opening, Timestamp::from_nanos(start));
        let fit = |id, start, handshake| sightings.fit(id, start, handshake);
        assert!(
            fit(opening(1, 2 * WINDOW), 2 * WINDOW, None) && !fit(opening(1, 3 * WINDOW), 3 * WINDOW, None)
        );
        assert!(!fit(opening(2, 0), 0, None) && !fit(opening(2, 0), 0, Some(1)));
        assert!(fit(FlowId(0), -WINDOW, Some(2)) && !fit(FlowId(0), -WINDOW - 1, Some(2)));
        assert!(fit(FlowId(0), 8 * WINDOW, Some(2)) && !fit(FlowId(0), 8 * WINDOW + 1, Some(2)));
        assert!(fit(FlowId(0), 2 * WINDOW, Some(2)) && !fit(FlowId(0), 3 * WINDOW, Some(2)));
    }
}
