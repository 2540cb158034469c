//! The names under which connections of the last minute are kept, as far as a collector knows of all of them: of one whose names are not
//! among them the store has no other sighting, and need not be asked.
//!
//! Times are divided into slices. A collector knows all names of a slice where the store had no flow that began in it when the
//! slice was first met, and nobody else has recorded since. That nobody did is known from [`crate::sweep`], afterwards: what another
//! collector began to record meanwhile is found by the very look that tells of it, which goes back that far.

use std::collections::BTreeSet;
use std::collections::btree_map::{BTreeMap, Entry};
use std::hash::{BuildHasher as _, RandomState};
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use analyzer::report::Judged;
use fastbloom::BloomFilter;
use flow::merge::WINDOW;
use flow::{TcpHandshake, Timestamp};
use store::Store;
use store::error::StoreError;
use store::query::{Paging, Query};
use store::sightings::Sought;

/// How long a slice is, in nanoseconds: what may be a sighting of one connection lies in two of them.
const SLICE: i64 = 2 * WINDOW;

/// How many slices before the present one are known, and how many after it: clocks differ.
const BEFORE: i64 = 6;
const AFTER: i64 = 2;

/// How many bits a slice has: 4 MiB, so 36 MiB in all.
const BITS: usize = 1 << 25;

/// How many names a slice has at most. At ten bits each, one in a hundred that are not there seems to be, and is asked for.
const MOST: u32 = 3_355_443;

/// How many bits stand for a name: best at ten bits of room for each.
const MARKS: u32 = 7;

/// How long it is believed that nobody else records: what somebody does meanwhile is within reach of the next look.
const BELIEVED: Duration = crate::sweep::BACK;

/// What is kept of the last minute.
#[derive(Default)]
pub(super) struct Recent {
    /// The names of each slice that was met; none where not all are known.
    slices: BTreeMap<i64, Option<Names>>,
    /// When nobody else was known to record.
    alone: Option<Instant>,
}

/// Openings and handshakes, some others seemingly among them.
struct Names {
    marks: BloomFilter,
    count: u32,
}

impl Names {
    fn new() -> Self {
        let seed = u128::from(RandomState::new().hash_one(()));
        Self { marks: BloomFilter::with_num_bits(BITS).seed(&seed).hashes(MARKS), count: 0 }
    }
}

/// What a connection is found by, whoever saw it.
fn names(sought: &Sought) -> impl Iterator<Item = u64> + use<> {
    sought.opening.into_iter().chain(sought.tcp_handshake.map(|TcpHandshake(name)| name))
}

/// The slice in which a time lies.
const fn slice(nanos: i64) -> i64 {
    nanos.div_euclid(SLICE)
}

/// The slices in which other sightings of a connection may begin.
fn slices(sought: &Sought) -> RangeInclusive<i64> {
    let start = sought.start.as_nanos();
    slice(start.saturating_sub(WINDOW))..=slice(start.saturating_add(WINDOW))
}

impl Recent {
    /// Notes that nobody else had recorded for some time at this moment.
    pub(super) fn alone(&mut self, at: Instant) {
        self.alone = Some(at);
    }

    /// Notes that somebody else records.
    pub(super) fn not_alone(&mut self) {
        *self = Self::default();
    }

    /// Leaves those of which the store has no other sighting.
    pub(super) async fn unknown(
        &mut self,
        store: &dyn Store,
        mut sought: Vec<Sought>,
        (now, clock): (Timestamp, Instant),
    ) -> Result<Vec<Sought>, StoreError> {
        if self.alone.is_none_or(|at| clock.saturating_duration_since(at) > BELIEVED) {
            self.not_alone();
            return Ok(sought);
        }
        let now = slice(now.as_nanos());
        let near = now.saturating_sub(BEFORE)..=now.saturating_add(AFTER);
        self.slices.retain(|number, _| near.contains(number));
        let met: BTreeSet<i64> =
            sought.iter().flat_map(slices).filter(|number| near.contains(number)).collect();
        for number in met {
            if let Entry::Vacant(slice) = self.slices.entry(number) {
                slice.insert(is_empty(store, number).await?.then(Names::new));
            }
        }
        sought.retain(|sought| !self.is_new(sought));
        Ok(sought)
    }

    /// Tells whether nothing that is kept may be another sighting of a connection.
    fn is_new(&self, sought: &Sought) -> bool {
        slices(sought).all(|number| match self.slices.get(&number) {
            Some(Some(known)) => !names(sought).any(|name| known.marks.contains(&name)),
            Some(None) | None => false,
        })
    }

    /// Notes what will be kept. Called before it is recorded: whether that succeeds may never be known.
    pub(super) fn keep(&mut self, flows: &[Judged]) {
        for judged in flows {
            let sought = Sought::from(&judged.flow);
            let Some(slice) = self.slices.get_mut(&slice(sought.start.as_nanos())) else { continue };
            if let Some(known) = slice {
                for name in names(&sought) {
                    known.marks.insert(&name);
                    known.count = known.count.saturating_add(1);
                }
                if known.count > MOST {
                    *slice = None;
                }
            }
        }
    }
}

/// Tells whether no flow that is kept begins in a slice.
async fn is_empty(store: &dyn Store, number: i64) -> Result<bool, StoreError> {
    let at = |number: i64| Some(Timestamp::from_nanos(number.saturating_mul(SLICE)));
    let query = Query { since: at(number), until: at(number.saturating_add(1)), ..Query::default() };
    Ok(store.flows(&query, &Paging::first(1)).await?.rows.is_empty())
}

#[cfg(test)]
mod tests {
    use store::Batch;
    use store::embedded::Embedded;
    use store::sample::sample;

    use super::*;

    /// Noon of some day, and a time that a clock shows then.
    const NOON: i64 = 1_700_000_000;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_nanos(second * 1_000_000_000)
    }

    const NONE: [u64; 0] = [];

    /// A flow with this opening and handshake.
    fn flow(name: u64, second: i64) -> Judged {
        let mut judged = sample(0, 0, flow::Class::Mtls, None);
        judged.flow.id = flow::FlowId::of_opening(name, at(second));
        judged.flow.start = at(second);
        judged.flow.tcp_handshake = Some(TcpHandshake(name + 1000));
        judged
    }

    /// What is asked of the store for names at these seconds, at noon.
    async fn asked(recent: &mut Recent, store: &Embedded, clock: Instant, flows: &[(u64, i64)]) -> Vec<u64> {
        let sought = flows.iter().map(|&(name, second)| Sought::from(&flow(name, second).flow)).collect();
        let unknown = recent.unknown(store, sought, (at(NOON), clock)).await.unwrap();
        unknown.into_iter().map(|sought| sought.opening.unwrap()).collect()
    }

    #[tokio::test]
    async fn only_what_may_be_there_is_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let store = Embedded::open(folder.path().join("s.sqlite")).unwrap();
        let clock = super::super::clock();
        let mut recent = Recent::default();
        let all = [(1, NOON), (2, NOON - 7), (3, NOON + 7)];
        assert_eq!(asked(&mut recent, &store, clock, &all).await, [1, 2, 3], "others may record");
        recent.alone(clock);
        assert_eq!(asked(&mut recent, &store, clock, &all).await, NONE);
        recent.keep(&[flow(1, NOON), flow(2, NOON - 7)]);
        assert_eq!(asked(&mut recent, &store, clock, &all).await, [1, 2]);
        // By the handshake alone; and where another sighting may begin, in the slice before or after its own.
        for second in [NOON - 5, NOON - 1, NOON + 1, NOON + 5] {
            assert_eq!(asked(&mut recent, &store, clock, &[(1, second), (4, second)]).await, [1]);
        }
        let mut handshake = Sought::from(&flow(9, NOON).flow);
        handshake.tcp_handshake = Some(TcpHandshake(1001));
        let unknown = recent.unknown(&store, vec![handshake], (at(NOON), clock)).await.unwrap();
        assert_eq!(unknown, [handshake]);
        // Long ago, and long from now.
        assert_eq!(asked(&mut recent, &store, clock, &[(5, NOON - 90), (6, NOON + 90)]).await, [5, 6]);
        // Believed for some time, then from nothing again.
        let late = clock + BELIEVED;
        assert_eq!(asked(&mut recent, &store, late, &all).await, [1, 2]);
        let later = late + Duration::from_millis(1);
        assert_eq!(asked(&mut recent, &store, later, &all).await, [1, 2, 3]);
        recent.alone(later);
        assert_eq!(asked(&mut recent, &store, later, &all).await, NONE, "the store has nothing");
    }

    #[tokio::test]
    async fn of_a_slice_that_had_flows_before_everything_is_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let store = Embedded::open(folder.path().join("s.sqlite")).unwrap();
        store.record(Batch { flows: vec![flow(1, NOON)], ..Batch::default() }).await.unwrap();
        let clock = super::super::clock();
        let mut recent = Recent::default();
        recent.alone(clock);
        let near = [(2, NOON - 5), (3, NOON + 5), (4, NOON + 14), (5, NOON + 16)];
        assert_eq!(NOON.rem_euclid(10), 0, "a slice begins at noon");
        assert_eq!(asked(&mut recent, &store, clock, &near).await, [2, 3, 4]);
        recent.not_alone();
        recent.alone(clock);
        assert_eq!(asked(&mut recent, &store, clock, &[(6, NOON + 16)]).await, NONE);
    }

    #[tokio::test]
    async fn a_slice_with_too_many_names_is_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let store = Embedded::open(folder.path().join("s.sqlite")).unwrap();
        let clock = super::super::clock();
        let mut recent = Recent::default();
        recent.alone(clock);
        assert_eq!(asked(&mut recent, &store, clock, &[(1, NOON + 7), (2, NOON - 16)]).await, NONE);
        for known in recent.slices.values_mut().flatten() {
            known.count = MOST - 1;
        }
        recent.keep(&[flow(3, NOON + 7)]);
        assert_eq!(asked(&mut recent, &store, clock, &[(1, NOON + 7), (2, NOON - 16)]).await, [1]);
        // The others have their names still.
        recent.keep(&[]);
        assert_eq!(asked(&mut recent, &store, clock, &[(4, NOON - 16)]).await, NONE);
    }
}
