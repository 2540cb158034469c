//! The loop: frames in, flows out, until told to stop.

use std::fs::File;
use std::io::{self, Seek as _, SeekFrom, Write as _};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use flow::{Coverage, Timestamp};

use super::summary::{End, Summary};
use super::{Confined, Rest, Source, say};
use crate::engine::Engine;
use crate::source::file::Reader;
use crate::source::live::{BLOCK_TIME, Live, LiveError, Seen};

/// How many frames of a socket are read before flows are delivered.
const BATCH: usize = 4096;

/// How many frames of a file are read before flows are delivered.
const TOGETHER: usize = 64;

/// How often the agent looks at its time, at signals and at what is overdue while nothing arrives.
const TICK: Duration = Duration::from_millis(100);

/// How often the kernel's counters are read.
const COUNT: Duration = Duration::from_secs(1);

/// How often, at most, it is said that packets are dropped, and the account is written.
const SAY: Duration = Duration::from_secs(10);

/// For how long, at most, frames are still read that arrived before the end.
const DRAIN: Duration = Duration::from_secs(5);

impl Confined {
    /// Reads until the source ends, the time is over, or `stop` is set. Then every open flow is delivered.
    ///
    /// Never fails half-way: the summary says how it ended.
    pub fn run(self, mut engine: Engine, stop: &AtomicBool) -> Summary {
        let Self { source, mut rest } = self;
        let mut summary = Summary::default();
        let began = clock();
        let mut end = match source {
            Source::Live(mut live) => {
                let end = rest.watch(&mut live, &mut engine, stop, &mut summary);
                summary.sockets = live.counts().map(|(name, counts)| (name.to_owned(), counts)).collect();
                end
            }
            Source::File(file, path) => rest.replay(file, &path, &mut engine, &mut summary),
        };
        engine.finish();
        if let Err(error) = rest.deliver(&mut engine, &mut summary) {
            end = closed(&error);
        }
        let dropped = summary.dropped();
        summary.coverage = Coverage { kernel_dropped: dropped, ..engine.coverage() };
        if let End::Damaged(text) | End::Failed(text) = &end {
            summary.coverage.damaged.push(text.clone());
        }
        if let Err(error) = rest.sink.finish(&summary.coverage) {
            end = closed(&error);
        }
        rest.account(&summary.coverage);
        rest.measure(&summary, &summary.coverage);
        let received = summary.sockets.iter().map(|(_, counts)| counts.received).sum();
        rest.record(|recording| recording.finish(now(), received, dropped.unwrap_or(0)));
        summary.end = end;
        summary.lasted = began.elapsed();
        summary
    }
}

impl Rest {
    fn replay(&mut self, file: File, path: &Path, engine: &mut Engine, summary: &mut Summary) -> End {
        let mut end = End::AsAsked;
        let mut reader = match Reader::new(file) {
            Ok(reader) => reader,
            Err(error) => return End::Damaged(format!("{}: {error}", path.display())),
        };
        let mut named = 0;
        // What is recorded shows an interface's name from the frame on that comes after it.
        let most = if self.recording.is_some() { 1 } else { TOGETHER };
        loop {
            let mut met = named;
            match reader.batch(most) {
                None => return end,
                Some(Ok(frames)) => engine.frames(frames.inspect(|frame| {
                    met = met.max(frame.interface.saturating_add(1));
                    self.record(|recording| recording.frame(frame));
                })),
                Some(Err(error)) => end = End::Damaged(format!("{}: {error}", path.display())),
            }
            // Names are looked up once, when the first frame of an interface has come.
            for interface in named..met {
                if let Some(name) = reader.interface_name(interface) {
                    engine.name_interface(interface, name);
                    self.record(|recording| {
                        recording.interface(interface, name);
                        Ok(())
                    });
                }
            }
            named = met;
            if let Err(error) = self.deliver(engine, summary) {
                return closed(&error);
            }
        }
    }

    fn watch(
        &mut self,
        live: &mut Live,
        engine: &mut Engine,
        stop: &AtomicBool,
        summary: &mut Summary,
    ) -> End {
        let began = clock();
        let (mut counted, mut told, mut accounted) = (began, None::<Instant>, began);
        let mut said = 0;
        while !stop.load(Ordering::Relaxed) && self.duration.is_none_or(|time| began.elapsed() < time) {
            live.wait(TICK);
            let read = match self.read(live, engine, summary, None) {
                Ok(read) => read,
                Err(error) => return End::Failed(error.to_string()),
            };
            if read == 0 {
                engine.advance(now());
            }
            if let Err(error) = self.deliver(engine, summary) {
                return closed(&error);
            }
            if counted.elapsed() >= COUNT {
                counted = clock();
                summary.sockets.clear();
                summary.sockets.extend(live.counts().map(|(name, counts)| (name.to_owned(), counts)));
                let dropped = summary.dropped().unwrap_or(0);
                if dropped > said && told.is_none_or(|told| told.elapsed() >= SAY) {
                    say(&format!(
                        "warning: {dropped} packets dropped by the kernel so far: what they belong to is known less well; raise --buffer-size"
                    ));
                    (said, told) = (dropped, Some(clock()));
                }
                self.record(super::recording::Recording::flush);
                let coverage = Coverage { kernel_dropped: summary.dropped(), ..engine.coverage() };
                if let Err(error) = self.sink.flush(&coverage) {
                    return closed(&error);
                }
                if accounted.elapsed() >= SAY {
                    accounted = clock();
                    self.account(&coverage);
                    self.measure(summary, &coverage);
                }
            }
        }
        self.drain(live, engine, summary)
    }

    /// Reads what arrived before the end and is still with the kernel, which hands blocks over when they are full or
    /// [`BLOCK_TIME`] old.
    fn drain(&mut self, live: &mut Live, engine: &mut Engine, summary: &mut Summary) -> End {
        let (end, began) = (now(), clock());
        let blocks = BLOCK_TIME.saturating_add(TICK);
        loop {
            live.wait(TICK);
            match self.read(live, engine, summary, Some(end)) {
                Ok(0) if began.elapsed() >= blocks => return End::AsAsked,
                Ok(_) => {}
                Err(LiveError::Gone(_)) => return End::AsAsked,
                Err(error) => return End::Failed(error.to_string()),
            }
            if began.elapsed() >= DRAIN {
                say("warning: frames are left in the ring that arrived before the end");
                return End::AsAsked;
            }
        }
    }

    /// Reads what is at hand; of frames that are dated after `end`, nothing. Returns how many there were.
    fn read(
        &mut self,
        live: &mut Live,
        engine: &mut Engine,
        summary: &mut Summary,
        end: Option<Timestamp>,
    ) -> Result<usize, LiveError> {
        let (mut late, mut batch) = (0_usize, std::mem::take(&mut self.batch));
        let read = live.read(BATCH, |seen| match seen {
            Seen::Interface { number, name } => {
                engine.name_interface(number, name);
                summary.interface(number, name);
                self.record(|recording| {
                    recording.interface(number, name);
                    Ok(())
                });
            }
            Seen::Changed(what) => say(what),
            Seen::Frame(frame) if end.is_some_and(|end| frame.at > end) => late = late.saturating_add(1),
            Seen::Frame(frame) => {
                summary.frame(frame.interface);
                batch.add(frame, engine);
                self.record(|recording| recording.frame(frame));
            }
        });
        batch.give(engine);
        self.batch = batch;
        let read = read?;
        Ok(read.saturating_sub(late))
    }

    /// Delivers the flows that became known.
    fn deliver(&mut self, engine: &mut Engine, summary: &mut Summary) -> io::Result<()> {
        let mut any = false;
        while let Some(flow) = engine.poll() {
            summary.flow(&flow);
            self.sink.flow(&flow)?;
            any = true;
        }
        if any {
            self.sink.flush(&Coverage { kernel_dropped: summary.dropped(), ..engine.coverage() })?;
        }
        Ok(())
    }

    /// Records, if anything is to be recorded. What fails ends the recording, and not the capture.
    fn record(&mut self, what: impl FnOnce(&mut super::recording::Recording) -> io::Result<()>) {
        if let Some(recording) = &mut self.recording
            && let Err(error) = what(recording)
        {
            say(&format!("warning: frames are no longer written: {error}"));
            self.recording = None;
        }
    }

    /// Replaces the metrics' file.
    fn measure(&mut self, summary: &Summary, coverage: &Coverage) {
        let Some(metrics) = &self.metrics else { return };
        if let Err(error) = metrics.write(summary, coverage, self.sink.backlog()) {
            say(&format!("warning: metrics are no longer written: {error}"));
            self.metrics = None;
        }
    }

    /// Writes the account over the one before.
    fn account(&mut self, coverage: &Coverage) {
        let Some(file) = &mut self.coverage else { return };
        let written = serde_json::to_vec(coverage).map_err(io::Error::from).and_then(|mut json| {
            json.push(b'\n');
            file.seek(SeekFrom::Start(0))?;
            file.write_all(&json)?;
            file.set_len(json.len() as u64)
        });
        if let Err(error) = written {
            say(&format!("warning: the coverage is no longer written: {error}"));
            self.coverage = None;
        }
    }
}

fn closed(error: &io::Error) -> End {
    if error.kind() == io::ErrorKind::BrokenPipe {
        End::Closed
    } else {
        End::Failed(format!("flows cannot be delivered: {error}"))
    }
}

#[expect(clippy::disallowed_methods, reason = "--duration is told by the wall clock")]
fn clock() -> Instant {
    Instant::now()
}

#[expect(clippy::disallowed_methods, reason = "while nothing arrives no packet tells the time")]
fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_nanos(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
}
