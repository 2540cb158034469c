//! Deliveries from the spool to the collector, in order, each until it is kept or refused for good.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::post::{Collector, CollectorError};
use super::spool::Reader;

/// The first and the longest pause after a delivery that failed.
const PAUSES: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));
/// How long the sender sleeps while there is nothing to send.
const IDLE: Duration = Duration::from_millis(100);

/// Sends until `ended` is set and nothing is left, at most for `patience` after that. Returns how many deliveries wait
/// for a later run. `say` is told, rarely, what an operator should know.
///
/// # Errors
///
/// When the spool can neither be read nor written any more.
pub fn run(
    spool: &Reader,
    collector: &Collector,
    ended: &AtomicBool,
    patience: Duration,
    say: &dyn Fn(&str),
) -> io::Result<usize> {
    let (mut pause, mut failing, mut end) = (PAUSES.0, false, None::<Instant>);
    loop {
        if ended.load(Ordering::Relaxed) {
            let end = *end.get_or_insert_with(clock);
            if end.elapsed() >= patience {
                return spool.waiting();
            }
        }
        let Some(delivery) = spool.oldest()? else {
            if end.is_some() {
                return Ok(0);
            }
            std::thread::sleep(IDLE);
            continue;
        };
        match collector.send(&delivery.bytes) {
            Ok(()) => {
                if failing {
                    say("the collector takes deliveries again");
                }
                (pause, failing) = (PAUSES.0, false);
                spool.delivered(&delivery)?;
            }
            Err(CollectorError::Refused(why)) => {
                say(&format!("the collector refuses a delivery of {} flows for good: {why}", delivery.flows));
                spool.refused(&delivery)?;
            }
            Err(CollectorError::Later { why, after }) => {
                if !failing {
                    say(&format!("the collector takes nothing now ({why}): flows wait in the spool"));
                }
                failing = true;
                rest(after.unwrap_or(pause).min(PAUSES.1), ended);
                pause = pause.saturating_mul(2).min(PAUSES.1);
            }
        }
    }
}

/// Rests, and less once the end has come: then there is no time to lose.
fn rest(pause: Duration, ended: &AtomicBool) {
    let began = clock();
    while began.elapsed() < pause {
        if ended.load(Ordering::Relaxed) && began.elapsed() >= PAUSES.0 {
            return;
        }
        std::thread::sleep(IDLE.min(pause));
    }
}

#[expect(clippy::disallowed_methods, reason = "how long to wait for others is told by the wall clock")]
fn clock() -> Instant {
    Instant::now()
}
