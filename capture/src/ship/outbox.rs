//! Flows gathered into deliveries, and those into the spool.

use std::io::{self, Write as _};
use std::path::Path;
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::write::GzEncoder;
use flow::delivery::{Heading, VERSION};
use flow::{Coverage, Flow};

use super::sender::Sender;
use super::spool::Writer;
use crate::agent::sink::{Backlog, Sink};

/// The most flows of one delivery.
pub const DELIVERY_FLOWS: u64 = 5_000;
/// The most JSON of one delivery, in bytes, before it is compressed; one flow more may stand above it.
pub const DELIVERY_BYTES: usize = 8 * 1024 * 1024;
/// How long flows are gathered, at most, while the agent runs.
pub const GATHER: Duration = Duration::from_secs(1);
/// How often the coverage is delivered where there are no flows: the collector sees that the agent lives.
pub const ALIVE: Duration = Duration::from_secs(10);

/// Gathers flows.
#[derive(Debug)]
pub struct Outbox {
    spool: Writer,
    sender: Sender,
    agent: String,
    run: String,
    lines: Vec<u8>,
    flows: u64,
    delivered: Instant,
}

impl Outbox {
    /// Takes the spool, the process that empties it, and the names of the agent and of this run.
    #[must_use]
    pub fn new(spool: Writer, sender: Sender, agent: String, run: String) -> Self {
        Self { spool, sender, agent, run, lines: Vec::new(), flows: 0, delivered: clock() }
    }

    /// Writes what was gathered, with all that this run has covered so far.
    fn deliver(&mut self, coverage: &Coverage) -> io::Result<()> {
        let Self { spool, agent, run, lines, flows, .. } = self;
        spool.push(*flows, |sequence, undelivered| {
            let heading = Heading {
                version: VERSION,
                agent: agent.clone(),
                run: run.clone(),
                sequence,
                flows: *flows,
                coverage: coverage.clone(),
                undelivered,
            };
            let mut out = GzEncoder::new(Vec::new(), Compression::fast());
            serde_json::to_writer(&mut out, &heading)?;
            out.write_all(b"\n")?;
            out.write_all(lines)?;
            out.finish()
        })?;
        self.lines.clear();
        (self.flows, self.delivered) = (0, clock());
        Ok(())
    }
}

impl Sink for Outbox {
    fn flow(&mut self, flow: &Flow) -> io::Result<()> {
        serde_json::to_writer(&mut self.lines, flow)?;
        self.lines.push(b'\n');
        self.flows = self.flows.saturating_add(1);
        Ok(())
    }

    fn flush(&mut self, coverage: &Coverage) -> io::Result<()> {
        self.sender.check()?;
        let full = self.flows >= DELIVERY_FLOWS || self.lines.len() >= DELIVERY_BYTES;
        let patience = if self.flows > 0 { GATHER } else { ALIVE };
        if full || self.delivered.elapsed() >= patience { self.deliver(coverage) } else { Ok(()) }
    }

    fn finish(&mut self, coverage: &Coverage) -> io::Result<()> {
        self.deliver(coverage)?;
        self.sender.finish()
    }

    fn backlog(&mut self) -> Option<Backlog> {
        Some(self.spool.backlog())
    }

    fn folder(&self) -> Option<&Path> {
        Some(self.spool.path())
    }
}

#[expect(clippy::disallowed_methods, reason = "how long flows wait is told by the wall clock")]
fn clock() -> Instant {
    Instant::now()
}
