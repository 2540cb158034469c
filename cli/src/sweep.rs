//! Two collectors that take the sightings of one connection at the same moment do not see each other's: each looks once more, a little
//! later, at what all of them recorded.
//!
//! What is found becomes the same whoever looks, and recording it again changes nothing. Two that record it in the very same moment make it
//! count wrong once more; the next look finds that, too, since nobody waits equally long.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use analyzer::report::Judged;
use flow::Flow;
use flow::merge::{ALIKE, merge, same_kept};
use store::sightings::Contested;

use crate::collect::Intake;

/// How long is waited between two looks, at least, and how much longer at most, in milliseconds.
const PAUSE: u64 = 5_000;

/// How many times longer than a look took is waited before the next one, so that looking stays a small part of the work.
const SHARE: u32 = 10;

/// How long is waited at most, so that no moment between two looks is older than [`BACK`] at the second.
const LONGEST: Duration = Duration::from_secs(30);

/// How far a look goes back beyond the one before it: more than a delivery may take to be looked up and recorded, and the longest
/// pause.
pub(crate) const BACK: Duration = Duration::from_secs(60);

/// How far the first one goes back: to what was recorded before a collector went away. None goes back further.
const FIRST: Duration = Duration::from_secs(600);

/// Looks again and again, for as long as the process runs.
#[expect(clippy::disallowed_methods, reason = "what a look takes decides when the next one is")]
pub(crate) async fn forever(intake: Arc<Intake>) {
    let random = RandomState::new();
    let mut last: Option<Instant> = None;
    for look in 0_u64.. {
        let began = Instant::now();
        let within = last.map_or(FIRST, |last| last.elapsed().saturating_add(BACK).min(FIRST));
        match intake.sweep(within).await {
            Ok(()) => last = Some(began),
            Err(_) => {
                intake.mended().failures.fetch_add(1, Ordering::Relaxed);
            }
        }
        let pause = Duration::from_millis(PAUSE + random.hash_one(look) % PAUSE);
        tokio::time::sleep(pause.max(began.elapsed().saturating_mul(SHARE).min(LONGEST))).await;
    }
}

/// What contested reports are together.
#[derive(Default)]
pub(crate) struct Plan {
    /// Every connection, once.
    pub(crate) whole: Vec<Whole>,
    /// What is to be there no more.
    pub(crate) gone: Vec<Judged>,
}

/// A connection, put together.
pub(crate) struct Whole {
    /// The earliest report, with the flow that all of them are.
    pub(crate) judged: Judged,
    /// Whether it is not what is there, however it is judged.
    changed: bool,
}

impl Whole {
    /// Tells whether what is there has to become another one. Judging differently is no reason: collectors may know of a change of
    /// declarations one after the other.
    pub(crate) fn differs_from(&self, now: &Judged) -> bool {
        self.changed || (self.judged.translated, self.judged.set_aside) != (now.translated, now.set_aside)
    }
}

impl Plan {
    /// Puts reports together: those of one flow first, then the flows that are one connection, which is the earliest of them.
    pub(crate) fn of(mut contested: Vec<Contested>) -> Self {
        let place = |judged: &Judged| (judged.flow.start, judged.flow.id);
        contested.sort_by_key(|report| place(&report.judged));
        let mut plan = Self::default();
        let mut openings: HashMap<u64, Vec<usize>> = HashMap::new();
        for reports in contested.chunk_by(|one, other| place(&one.judged) == place(&other.judged)) {
            let changed = reports.len() > 1 || reports.iter().any(|report| report.times != 1);
            let mut there = reports.iter().filter(|report| report.times > 0);
            let Some(first) = there.next() else {
                // Taken out more often than it was there.
                plan.gone.extend(reports.first().map(|report| report.judged.clone()));
                continue;
            };
            let mut judged = first.judged.clone();
            judged.flow = there.fold(judged.flow, |flow, report| joined(&flow, &report.judged.flow));
            let alike = judged.flow.opening().map(|opening| openings.entry(opening).or_default());
            let is_it = |place: &usize| {
                plan.whole.get(*place).is_some_and(|whole| same_kept(&whole.judged.flow, &judged.flow))
            };
            let known = alike.as_ref().and_then(|alike| alike.iter().copied().find(is_it));
            if let Some(whole) = known.and_then(|place| plan.whole.get_mut(place)) {
                whole.judged.flow = joined(&whole.judged.flow, &judged.flow);
                whole.changed = true;
                plan.gone.push(judged);
                continue;
            }
            if let Some(alike) = alike.filter(|alike| alike.len() < ALIKE) {
                alike.push(plan.whole.len());
            }
            plan.whole.push(Whole { judged, changed });
        }
        plan
    }
}

/// Joins what are sightings of one connection, under the first one's name.
fn joined(first: &Flow, second: &Flow) -> Flow {
    Flow { id: first.id, start: first.start, ..merge(first, second) }
}
