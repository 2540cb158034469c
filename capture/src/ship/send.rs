//! Deliveries from the spool to the collector, in order, each until it is kept or refused for good.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::post::{Collector, CollectorError};
use super::spool::Reader;

/// The first and the longest pause after a delivery that failed.
const PAUSES: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));
/// How often is looked whether there is something new to show to the collector; while it takes nothing, at every attempt.
const LOOK: Duration = Duration::from_secs(60);
/// How long the sender sleeps while there is nothing to send.
const IDLE: Duration = Duration::from_millis(100);

/// Sends until `ended` is set and nothing is left, at most for `patience` after that. Returns how many deliveries wait
/// for a later run. `renewed` makes a collector anew where there is another token or certificate to show by now. `say` is told,
/// rarely, what an operator should know. A disk that fails is tried again, as a collector is.
///
/// # Errors
///
/// When the spool cannot be read at the end.
pub fn run(
    spool: &Reader,
    mut collector: Collector,
    renewed: &mut dyn FnMut() -> Option<Collector>,
    ended: &AtomicBool,
    patience: Duration,
    say: &dyn Fn(&str),
) -> io::Result<usize> {
    let (mut pause, mut failing, mut broken, mut end) = (PAUSES.0, false, false, None::<Instant>);
    let mut looked = clock();
    loop {
        if failing || looked.elapsed() >= LOOK {
            looked = clock();
            match renewed() {
                Some(another) => collector = another,
                None => collector.reconnect(),
            }
        }
        if ended.load(Ordering::Relaxed) {
            let end = *end.get_or_insert_with(clock);
            if end.elapsed() >= patience {
                return spool.waiting();
            }
        }
        let done = match spool.oldest() {
            Err(error) => Err(error),
            Ok(None) if end.is_some() => return Ok(0),
            Ok(None) => {
                std::thread::sleep(IDLE);
                Ok(())
            }
            Ok(Some(delivery)) => match collector.send(&delivery.bytes) {
                Ok(()) => {
                    if failing {
                        say(&format!("the collector {} takes deliveries again", collector.base()));
                    }
                    (pause, failing) = (PAUSES.0, false);
                    spool.delivered(&delivery)
                }
                Err(CollectorError::Refused(why)) => {
                    say(&format!(
                        "the collector refuses a delivery of {} flows for good: {why}",
                        delivery.flows
                    ));
                    spool.refused(&delivery)
                }
                Err(CollectorError::Later { why, after }) => {
                    if !failing {
                        say(&format!(
                            "the collector {} takes nothing now ({why}): flows wait in the spool",
                            collector.base()
                        ));
                    }
                    failing = true;
                    rest(after.unwrap_or(pause).min(PAUSES.1), ended);
                    pause = pause.saturating_mul(2).min(PAUSES.1);
                    Ok(())
                }
            },
        };
        match done {
            Ok(()) => broken = false,
            Err(error) => {
                if !broken {
                    say(&format!(
                        "warning: the spool can be read or written no more ({error}): it is tried again"
                    ));
                }
                broken = true;
                rest(PAUSES.0, ended);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ship::post::Tls;

    #[test]
    fn a_disk_that_fails_is_tried_again() {
        let folder = tempfile::tempdir().unwrap();
        let spool = Reader::open(folder.path()).unwrap();
        // What should be a delivery cannot be read at all.
        let obstacle = folder.path().join("00000000000000000001.delivery");
        std::fs::create_dir(&obstacle).unwrap();
        let nobody = Collector::new("http://127.0.0.1:9", None, &Tls::default()).unwrap();
        let ended = AtomicBool::new(false);
        let say = |text: &str| {
            assert!(text.contains("it is tried again"), "{text}");
            std::fs::remove_dir(&obstacle).unwrap();
            ended.store(true, Ordering::Relaxed);
        };
        assert_eq!(run(&spool, nobody, &mut || None, &ended, Duration::from_secs(60), &say).unwrap(), 0);
    }
}
