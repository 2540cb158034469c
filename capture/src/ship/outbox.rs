//! Flows gathered into deliveries, and those on their way: into the spool ([`Spooled`]), or through a pipe to a collector
//! that runs beside the agent ([`Piped`]).

use std::io::{self, Write};
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
pub struct Outbox<C> {
    carrier: C,
    agent: String,
    run: String,
    lines: Vec<u8>,
    flows: u64,
    /// The account as it was last told.
    coverage: Coverage,
    /// When something was last delivered; absent before the first time.
    delivered: Option<Instant>,
}

/// Brings deliveries on their way.
pub trait Carrier {
    /// Takes a delivery: its heading, in which the carrier's own numbers are still to be set, and its flows, each a line.
    ///
    /// # Errors
    ///
    /// When nothing can be delivered any more.
    fn take(&mut self, heading: Heading, flows: &[u8]) -> io::Result<()>;

    /// Tells whether all that deliveries need is still there.
    ///
    /// # Errors
    ///
    /// When it is not: the agent ends.
    fn check(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// Ends, once the last delivery was taken.
    ///
    /// # Errors
    ///
    /// When something was not delivered.
    fn finish(&mut self) -> io::Result<()> {
        Ok(())
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

impl<C: Carrier> Outbox<C> {
    /// Takes what carries deliveries, and the names of the agent and of this run.
    #[must_use]
    pub fn new(carrier: C, agent: String, run: String) -> Self {
        let (lines, coverage) = (Vec::new(), Coverage::default());
        Self { carrier, agent, run, lines, flows: 0, coverage, delivered: None }
    }

    /// Delivers what was gathered, with all that this run has covered so far.
    fn deliver(&mut self) -> io::Result<()> {
        let heading = Heading {
            version: VERSION,
            agent: self.agent.clone(),
            run: self.run.clone(),
            sequence: 0,
            flows: self.flows,
            coverage: self.coverage.clone(),
            undelivered: 0,
        };
        self.carrier.take(heading, &self.lines)?;
        self.lines.clear();
        (self.flows, self.delivered) = (0, Some(clock()));
        Ok(())
    }
}

impl<C: Carrier> Sink for Outbox<C> {
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
        self.carrier.check()?;
        let patience = if self.flows > 0 { GATHER } else { ALIVE };
        if self.delivered.is_none_or(|then| then.elapsed() >= patience) { self.deliver() } else { Ok(()) }
    }

    fn finish(&mut self, coverage: &Coverage) -> io::Result<()> {
        self.coverage = coverage.clone();
        self.deliver()?;
        self.carrier.finish()
    }

    fn backlog(&mut self) -> Option<Backlog> {
        self.carrier.backlog()
    }

    fn folder(&self) -> Option<&Path> {
        self.carrier.folder()
    }
}

/// Deliveries into a spool that another process empties.
#[derive(Debug)]
pub struct Spooled {
    spool: Writer,
    sender: Sender,
}

impl Spooled {
    /// Takes the spool and the process that empties it.
    #[must_use]
    pub fn new(spool: Writer, sender: Sender) -> Self {
        Self { spool, sender }
    }
}

impl Carrier for Spooled {
    fn take(&mut self, mut heading: Heading, flows: &[u8]) -> io::Result<()> {
        self.spool.push(heading.flows, |sequence, undelivered| {
            (heading.sequence, heading.undelivered) = (sequence, undelivered);
            let mut out = GzEncoder::new(Vec::new(), Compression::fast());
            write(&mut out, &heading, flows)?;
            out.finish()
        })
    }

    fn check(&mut self) -> io::Result<()> {
        self.sender.check()
    }

    fn finish(&mut self) -> io::Result<()> {
        self.sender.finish()
    }

    fn backlog(&mut self) -> Option<Backlog> {
        Some(self.spool.backlog())
    }

    fn folder(&self) -> Option<&Path> {
        Some(self.spool.path())
    }
}

/// Deliveries as plain lines, one after the other: what `wireproof serve --capture` reads. A reader that is slow holds the
/// agent up, whose kernel then drops packets, and counts them; nothing is kept and nothing is sent again.
#[derive(Debug)]
pub struct Piped<W> {
    out: W,
    sequence: u64,
}

impl<W: Write> Piped<W> {
    /// Takes where to write.
    #[must_use]
    pub fn new(out: W) -> Self {
        Self { out, sequence: 0 }
    }
}

impl<W: Write> Carrier for Piped<W> {
    fn take(&mut self, mut heading: Heading, flows: &[u8]) -> io::Result<()> {
        self.sequence = self.sequence.saturating_add(1);
        heading.sequence = self.sequence;
        write(&mut self.out, &heading, flows)?;
        self.out.flush()
    }
}

fn write(out: &mut impl Write, heading: &Heading, flows: &[u8]) -> io::Result<()> {
    serde_json::to_writer(&mut *out, heading)?;
    out.write_all(b"\n")?;
    out.write_all(flows)
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
        let mut outbox =
            Outbox::new(Spooled::new(spool, Sender::that_sends_nothing()), "a".into(), "1".into());
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

    #[test]
    fn a_reader_beside_the_agent_hears_of_it_at_once_and_gets_every_flow() {
        let mut out = Vec::new();
        let mut outbox = Outbox::new(Piped::new(&mut out), "a".into(), "1".into());
        outbox.flush(&Coverage::default()).unwrap();
        outbox.flow(&flow(1)).unwrap();
        let coverage = Coverage { packets: 9, ..Coverage::default() };
        outbox.finish(&coverage).unwrap();
        let lines: Vec<_> = out.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).collect();
        let heading = |place: usize| serde_json::from_slice::<Heading>(lines[place]).unwrap();
        assert_eq!((heading(0).sequence, heading(0).flows), (1, 0));
        assert_eq!((heading(1).sequence, heading(1).flows, heading(1).coverage), (2, 1, coverage));
        assert_eq!(serde_json::from_slice::<Flow>(lines[2]).unwrap(), flow(1));
        assert_eq!(lines.len(), 3);
    }
}
