//! Where flows go.

use std::io::{self, Write};
use std::path::Path;

use flow::{Coverage, Flow, JsonWriter};

/// What waits for the collector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backlog {
    /// How many deliveries.
    pub deliveries: u64,
    /// What they take on the disk, in bytes.
    pub bytes: u64,
    /// How many reports of flows were lost for good.
    pub undelivered: u64,
}

/// Takes flows as they become known.
pub trait Sink {
    /// Takes a flow; it may be kept back until [`Sink::flush`].
    ///
    /// # Errors
    ///
    /// Returns an error if flows can no longer be delivered.
    fn flow(&mut self, flow: &Flow) -> io::Result<()>;

    /// Delivers what was kept back: nothing else is known at the moment. `coverage` is the account so far.
    ///
    /// # Errors
    ///
    /// Returns an error if flows can no longer be delivered.
    fn flush(&mut self, coverage: &Coverage) -> io::Result<()>;

    /// Delivers all that is left; `coverage` is the whole account.
    ///
    /// # Errors
    ///
    /// Returns an error if flows can no longer be delivered.
    fn finish(&mut self, coverage: &Coverage) -> io::Result<()> {
        self.flush(coverage)
    }

    /// Returns what waits to be delivered; absent if nothing ever does.
    fn backlog(&mut self) -> Option<Backlog> {
        None
    }

    /// Returns the folder in which it makes, reads and removes files; absent if it opens none.
    fn folder(&self) -> Option<&Path> {
        None
    }
}

/// One JSON object a line: standard output, or a file.
#[derive(Debug)]
pub struct Ndjson<W> {
    out: W,
    writer: JsonWriter,
    line: Vec<u8>,
}

impl<W: Write> Ndjson<W> {
    /// Writes to this.
    #[must_use]
    pub fn to(out: W) -> Self {
        Self { out, writer: JsonWriter::default(), line: Vec::new() }
    }
}

impl<W: Write> Sink for Ndjson<W> {
    fn flow(&mut self, flow: &Flow) -> io::Result<()> {
        self.line.clear();
        self.writer.write(flow, &mut self.line);
        self.line.push(b'\n');
        self.out.write_all(&self.line)
    }

    fn flush(&mut self, _: &Coverage) -> io::Result<()> {
        self.out.flush()
    }
}
