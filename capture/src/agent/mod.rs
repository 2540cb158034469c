//! The agent: opens its sources, confines itself, then reads, in this order and no other.
//!
//! [`Opened`] holds what took privileges to open, [`Confined`] is the same after they were given up, and only
//! [`Confined::run`] reads a packet. Another order does not compile:
//!
//! ```compile_fail,E0599
//! fn unconfined(opened: capture::agent::Opened, stop: &std::sync::atomic::AtomicBool) {
//!     opened.run(capture::engine::Engine::default(), stop);
//! }
//! ```
//!
//! ```compile_fail,E0423
//! let forged = capture::agent::Proof(());
//! ```
//!
//! ```
//! fn confined(opened: capture::agent::Opened, stop: &std::sync::atomic::AtomicBool) {
//!     if let Ok(confined) = opened.confine() {
//!         confined.run(capture::engine::Engine::default(), stop);
//!     }
//! }
//! ```

mod batch;
mod confinement;
pub mod doctor;
mod metrics;
pub mod recording;
mod run;
mod seccomp;
pub mod sink;
mod summary;

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::time::Duration;

use thiserror::Error;

use crate::source::live::{self, LiveError};
use recording::Recording;
use sink::Sink;

pub use confinement::{ConfineError, Needs, Proof, confine, confine_sender};
pub use summary::{End, Summary};

/// What to read and where it goes.
#[expect(missing_debug_implementations, reason = "a sink may have none")]
pub struct Settings {
    /// Where frames come from.
    pub source: From,
    /// Where flows go.
    pub sink: Box<dyn Sink>,
    /// Where the frames themselves are written; absent if they are not kept.
    pub recording: Option<recording::Settings>,
    /// A file that holds the account of what was read and what was not, as one JSON object, every ten seconds and at the
    /// end.
    pub coverage: Option<PathBuf>,
    /// A file that node_exporter's textfile collector reads, replaced every ten seconds and at the end; absent if nobody
    /// does.
    pub metrics: Option<PathBuf>,
    /// Ends after this time; absent for when it is told to.
    pub duration: Option<Duration>,
}

/// Where frames come from.
#[derive(Debug, Clone)]
pub enum From {
    /// Interfaces.
    Live(live::Settings),
    /// A capture file.
    File(PathBuf),
}

/// Open sources, not yet read.
#[expect(missing_debug_implementations, reason = "libpcap's handle has none")]
pub struct Opened {
    source: Source<live::Opened>,
    rest: Rest,
}

/// Open sources of a process that has given up everything else.
#[expect(missing_debug_implementations, reason = "libpcap's handle has none")]
pub struct Confined {
    source: Source<live::Live>,
    rest: Rest,
}

enum Source<L> {
    Live(Box<L>),
    File(File, PathBuf),
}

/// What is open beside the source.
struct Rest {
    sink: Box<dyn Sink>,
    recording: Option<Recording>,
    coverage: Option<File>,
    metrics: Option<metrics::Metrics>,
    duration: Option<Duration>,
    batch: batch::Batch,
}

/// Why something could not be opened.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum OpenError {
    /// An interface.
    #[error(transparent)]
    Live(#[from] LiveError),
    /// A file to read or to write.
    #[error("{0}: {1}")]
    File(PathBuf, io::Error),
    /// The file to write is there, and may hold evidence.
    #[error(
        "{0} is there already, and is not overwritten: name another one, or keep it among several with --rotate"
    )]
    Exists(PathBuf),
}

impl Opened {
    /// Opens everything that is ever opened, but for files of a recording. Says on standard error what the settings make
    /// impossible to see.
    ///
    /// # Errors
    ///
    /// Returns what is in the way, with what mends it.
    pub fn open(settings: Settings) -> Result<Self, OpenError> {
        let Settings { source, sink, recording, coverage, metrics, duration } = settings;
        let coverage = coverage
            .map(|path| {
                OpenOptions::new()
                    .write(true)
                    .create(true)
                    .truncate(true)
                    .open(&path)
                    .map_err(|error| OpenError::File(path, error))
            })
            .transpose()?;
        let metrics = metrics
            .map(|path| metrics::Metrics::open(path.clone()).map_err(|error| OpenError::File(path, error)))
            .transpose()?;
        let source = match source {
            From::Live(settings) => {
                let opened = live::Opened::open(&settings)?;
                for doubt in opened.doubts(&settings) {
                    say(&format!("warning: {doubt}"));
                }
                Source::Live(Box::new(opened))
            }
            From::File(path) => match File::open(&path) {
                Ok(file) => Source::File(file, path),
                Err(error) => return Err(OpenError::File(path, error)),
            },
        };
        let recording = recording
            .map(|settings| {
                let path = settings.file.clone();
                Recording::open(settings).map_err(|error| {
                    if error.kind() == io::ErrorKind::AlreadyExists {
                        OpenError::Exists(path)
                    } else {
                        OpenError::File(path, error)
                    }
                })
            })
            .transpose()?;
        Ok(Self {
            source,
            rest: Rest { sink, recording, coverage, metrics, duration, batch: batch::Batch::default() },
        })
    }

    /// Gives up every capability, and all files, sockets and system calls that reading does not need.
    ///
    /// # Errors
    ///
    /// Returns which step the kernel refused. The process must then end: it may be confined in part.
    pub fn confine(self) -> Result<Confined, ConfineError> {
        // Other threads would keep what this one gives up.
        let threads = std::fs::read_dir("/proc/self/task").map_or(1, Iterator::count);
        if threads != 1 {
            return Err(ConfineError::Threads(threads));
        }
        let Self { source, rest } = self;
        let sockets = match &source {
            Source::Live(opened) => opened.sockets(),
            Source::File(..) => Vec::new(),
        };
        let recording = rest.recording.as_ref().map(|recording| recording.folder().to_owned());
        let metrics = rest.metrics.as_ref().map(|metrics| metrics.folder().to_owned());
        let needs = Needs {
            recording: recording.as_deref(),
            spool: rest.sink.folder(),
            metrics: metrics.as_deref(),
            sockets: &sockets,
        };
        let (proof, notes) = confine(&needs)?;
        for note in notes {
            say(&format!("warning: {note}"));
        }
        let source = match source {
            Source::Live(opened) => Source::Live(Box::new(opened.confined(&proof))),
            Source::File(file, path) => Source::File(file, path),
        };
        Ok(Confined { source, rest })
    }
}

/// Says something to whoever runs the agent, on standard error.
pub fn say(text: &str) {
    // There is nowhere left to report that standard error is closed.
    let _ = writeln!(io::stderr(), "wireproof-agent: {text}");
}
