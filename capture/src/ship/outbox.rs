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
/// The most JSON of one delivery, in bytes, before it is compressed; one flow more may stand above it. A collector takes
/// several times that.
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
    /// The account as it was last told.
    coverage: Coverage,
    delivered: Instant,
}

impl Outbox {
    /// Takes the spool, the process that empties it, and the names of the agent and of this run.
    #[must_use]
    pub fn new(spool: Writer, sender: Sender, agent: String, run: String) -> Self {
        Self {
            spool,
            sender,
            agent,
            run,
            lines: Vec::new(),
            flows: 0,
            coverage: Coverage::default(),
            delivered: clock(),
        }
    }

    /// Writes what was gathered, with all that this run has covered so far.
    fn deliver(&mut self) -> io::Result<()> {
        let Self { spool, agent, run, lines, flows, coverage, .. } = self;
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
        // At an agent's end every open flow comes at once: more than a collector takes in one delivery.
        if self.flows >= DELIVERY_FLOWS || self.lines.len() >= DELIVERY_BYTES {
            self.deliver()
        } else {
            Ok(())
        }
    }

    fn flush(&mut self, coverage: &Coverage) -> io::Result<()> {
        self.coverage = coverage.clone();
        self.sender.check()?;
        let patience = if self.flows > 0 { GATHER } else { ALIVE };
        if self.delivered.elapsed() >= patience { self.deliver() } else { Ok(()) }
    }

    fn finish(&mut self, coverage: &Coverage) -> io::Result<()> {
        self.coverage = coverage.clone();
        self.deliver()?;
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

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use flate2::read::GzDecoder;
    use flow::{Close, Endpoint, Evidence, FlowId, PerSide, Security, Timestamp, Transport};

    use super::*;
    use crate::ship::spool::{Reader, SMALLEST};

    fn flow(number: u32) -> Flow {
        let end = Endpoint { ip: std::net::IpAddr::from(number.to_be_bytes()), port: 80 };
        Flow {
            id: FlowId(number.into()),
            start: Timestamp::from_nanos(1),
            end: Timestamp::from_nanos(2),
            transport: Transport::Tcp,
            client: end,
            server: end,
            tunnel: Vec::new(),
            seen_at: Vec::new(),
            security: Security::Plaintext(Evidence::WIRE),
            protocol: None,
            upgrade: None,
            from_start: true,
            close: Close::Open,
            packets: PerSide::default(),
            bytes: PerSide::default(),
        }
    }

    #[test]
    fn no_delivery_is_longer_than_a_collector_takes_however_many_flows_end_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let spool = Writer::open(folder.path(), 64 * SMALLEST).unwrap();
        let mut outbox = Outbox::new(spool, Sender::that_sends_nothing(), "a".into(), "1".into());
        let all = DELIVERY_FLOWS * 2 + 7;
        for number in 0..u32::try_from(all).unwrap() {
            outbox.flow(&flow(number)).unwrap();
        }
        let coverage = Coverage { packets: 9, ..Coverage::default() };
        outbox.finish(&coverage).unwrap();
        let reader = Reader::open(folder.path()).unwrap();
        let (mut counts, mut last) = (Vec::new(), None);
        while let Some(delivery) = reader.oldest().unwrap() {
            let mut text = String::new();
            GzDecoder::new(&*delivery.bytes).read_to_string(&mut text).unwrap();
            let heading: Heading = serde_json::from_str(text.lines().next().unwrap()).unwrap();
            assert_eq!((heading.flows, text.lines().count() as u64), (delivery.flows, delivery.flows + 1));
            counts.push(delivery.flows);
            last = Some(heading.coverage);
            reader.delivered(&delivery).unwrap();
        }
        assert_eq!(counts, [DELIVERY_FLOWS, DELIVERY_FLOWS, 7]);
        assert_eq!(last, Some(coverage), "the last word is the whole account");
    }
}
