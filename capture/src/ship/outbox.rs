//! Flows gathered into deliveries, and those on their way: into the spool ([`Spooled`]), or through a pipe to a collector
//! that runs beside the agent ([`Piped`]).

use std::collections::VecDeque;
use std::io::{self, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::write::GzEncoder;
use flow::delivery::{Heading, Lines, VERSION};
use flow::{Coverage, Flow};

use super::sender::Sender;
use super::spool::Writer;
use crate::agent::say;
use crate::agent::sink::{Backlog, Sink};

/// The most flows of one delivery.
pub const DELIVERY_FLOWS: usize = 5_000;
/// The most JSON of one delivery, in bytes, before it is compressed and if each flow were whole; one flow more may stand above
/// it. A collector takes several times that.
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
    lines: Lines,
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
        let (lines, coverage) = (Lines::default(), Coverage::default());
        Self { carrier, agent, run, lines, coverage, delivered: None }
    }

    /// Delivers what was gathered, with all that this run has covered so far.
    fn deliver(&mut self) -> io::Result<()> {
        let heading = Heading {
            version: VERSION,
            agent: self.agent.clone(),
            run: self.run.clone(),
            sequence: 0,
            flows: self.lines.flows() as u64,
            coverage: self.coverage.clone(),
            undelivered: 0,
        };
        self.carrier.take(heading, self.lines.text())?;
        self.lines.clear();
        self.delivered = Some(clock());
        Ok(())
    }
}

impl<C: Carrier> Sink for Outbox<C> {
    fn flow(&mut self, flow: &Flow) -> io::Result<()> {
        self.lines.add(flow);
        // At an agent's end every open flow comes at once: more than a collector takes in one delivery.
        if self.lines.flows() >= DELIVERY_FLOWS || self.lines.weight() >= DELIVERY_BYTES {
            self.deliver()
        } else {
            Ok(())
        }
    }

    fn flush(&mut self, coverage: &Coverage) -> io::Result<()> {
        self.coverage = coverage.clone();
        self.carrier.check()?;
        let patience = if self.lines.flows() > 0 { GATHER } else { ALIVE };
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

/// The most JSON that waits in memory while the spool cannot be written, in bytes. Past it the oldest delivery gives way.
pub const HELD_BYTES: usize = 64 * 1024 * 1024;
/// How often the spool is tried again, at most.
pub const RETRY: Duration = Duration::from_secs(5);

/// Deliveries into a spool that another process empties. While the disk takes none they wait in memory.
#[derive(Debug)]
pub struct Spooled {
    spool: Writer,
    sender: Sender,
    held: VecDeque<(Heading, Vec<u8>)>,
    held_bytes: usize,
    /// Reports of flows that gave way in memory, and that the spool's own account does not have yet.
    lost: u64,
    /// When the spool was last tried in vain; absent while it takes deliveries.
    failed: Option<Instant>,
}

impl Spooled {
    /// Takes the spool and the process that empties it.
    #[must_use]
    pub fn new(spool: Writer, sender: Sender) -> Self {
        Self { spool, sender, held: VecDeque::new(), held_bytes: 0, lost: 0, failed: None }
    }

    fn hold(&mut self, heading: Heading, flows: &[u8]) {
        if heading.flows == 0
            && let Some((last, _)) = self.held.back_mut()
        {
            // Only the account so far, which says all that an earlier one said: it takes no place of its own.
            last.coverage = heading.coverage;
            return;
        }
        self.held_bytes = self.held_bytes.saturating_add(flows.len());
        self.held.push_back((heading, flows.to_vec()));
        while self.held_bytes > HELD_BYTES
            && self.held.len() > 1
            && let Some((heading, flows)) = self.held.pop_front()
        {
            self.held_bytes = self.held_bytes.saturating_sub(flows.len());
            self.lost = self.lost.saturating_add(heading.flows);
        }
    }

    /// Brings what is held into the spool, the oldest first.
    fn empty(&mut self) -> io::Result<()> {
        while let Some((heading, flows)) = self.held.front_mut() {
            if self.lost > 0 {
                self.spool.lose(self.lost)?;
                self.lost = 0;
            }
            self.spool.push(heading.flows, |sequence, undelivered| {
                (heading.sequence, heading.undelivered) = (sequence, undelivered);
                let mut out = GzEncoder::new(Vec::new(), Compression::fast());
                write(&mut out, heading, flows)?;
                out.finish()
            })?;
            self.held_bytes = self.held_bytes.saturating_sub(flows.len());
            self.held.pop_front();
        }
        Ok(())
    }

    /// The same, now and then while it fails; says when it begins to, and when it is over.
    fn try_to_empty(&mut self) {
        if self.failed.is_some_and(|then| then.elapsed() < RETRY) {
            return;
        }
        match self.empty() {
            Ok(()) => {
                if self.failed.take().is_some() {
                    say("the spool is written again");
                }
            }
            Err(error) => {
                if self.failed.replace(clock()).is_none() {
                    say(&format!(
                        "warning: the spool {} cannot be written ({error}): flows wait in memory, {} MiB at most",
                        self.spool.path().display(),
                        HELD_BYTES / (1024 * 1024)
                    ));
                }
            }
        }
    }
}

impl Carrier for Spooled {
    fn take(&mut self, heading: Heading, flows: &[u8]) -> io::Result<()> {
        self.hold(heading, flows);
        self.try_to_empty();
        Ok(())
    }

    fn check(&mut self) -> io::Result<()> {
        if !self.held.is_empty() {
            self.try_to_empty();
        }
        self.sender.check()
    }

    fn finish(&mut self) -> io::Result<()> {
        let emptied = self.empty();
        let sent = self.sender.finish();
        // First, for what fails with the spool the process that sends fails of too.
        emptied.map_err(|error| {
            let flows =
                self.held.iter().fold(self.lost, |sum, (heading, _)| sum.saturating_add(heading.flows));
            let spool = self.spool.path().display();
            io::Error::new(
                error.kind(),
                format!("{flows} reports of flows are lost, the spool {spool} cannot be written: {error}"),
            )
        })?;
        sent
    }

    fn backlog(&mut self) -> Option<Backlog> {
        let Backlog { deliveries, bytes, undelivered } = self.spool.backlog();
        Some(Backlog {
            deliveries: deliveries.saturating_add(self.held.len() as u64),
            bytes,
            undelivered: undelivered.saturating_add(self.lost),
        })
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
            tcp_handshake: None,
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
        let all = DELIVERY_FLOWS as u64 * 2 + 7;
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
        assert_eq!(counts, [DELIVERY_FLOWS as u64, DELIVERY_FLOWS as u64, 7]);
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

    fn heading(flows: u64) -> Heading {
        Heading {
            version: VERSION,
            agent: "a".into(),
            run: "1".into(),
            sequence: 0,
            flows,
            coverage: Coverage::default(),
            undelivered: 0,
        }
    }

    /// What stands in a spool: for each delivery its number, its flows, and the losses that it tells of.
    fn spooled(folder: &Path) -> Vec<(u64, u64, u64)> {
        let reader = Reader::open(folder).unwrap();
        let mut found = Vec::new();
        while let Some(delivery) = reader.oldest().unwrap() {
            let mut text = String::new();
            GzDecoder::new(&*delivery.bytes).read_to_string(&mut text).unwrap();
            let heading: Heading = serde_json::from_str(text.lines().next().unwrap()).unwrap();
            found.push((heading.sequence, heading.flows, heading.undelivered));
            reader.delivered(&delivery).unwrap();
        }
        found
    }

    #[test]
    fn while_the_disk_takes_nothing_flows_wait_in_memory_within_a_bound() {
        let folder = tempfile::tempdir().unwrap();
        let spool = Writer::open(folder.path(), 64 * SMALLEST).unwrap();
        // A folder stands where the next delivery's file is to be made.
        let obstacle = folder.path().join("00000000000000000001.delivery.new");
        std::fs::create_dir(&obstacle).unwrap();
        let mut carrier = Spooled::new(spool, Sender::that_sends_nothing());
        let flows = vec![b' '; HELD_BYTES / 8];
        for number in 1..=10 {
            carrier.take(heading(number), &flows).unwrap();
            carrier.check().unwrap();
            // What has no flows takes no place.
            let coverage = Coverage { packets: number, ..Coverage::default() };
            carrier.take(Heading { coverage, ..heading(0) }, &[]).unwrap();
        }
        assert!(carrier.held_bytes <= HELD_BYTES);
        assert_eq!(carrier.backlog().unwrap(), Backlog { deliveries: 8, bytes: 0, undelivered: 1 + 2 });
        std::fs::remove_dir(&obstacle).unwrap();
        let accounts: Vec<u64> = carrier.held.iter().map(|(heading, _)| heading.coverage.packets).collect();
        assert_eq!(accounts, [3, 4, 5, 6, 7, 8, 9, 10], "the last word is never lost");
        carrier.finish().unwrap();
        let expected: Vec<_> = (3..=10).zip(1..).map(|(flows, sequence)| (sequence, flows, 1 + 2)).collect();
        assert_eq!(spooled(folder.path()), expected);
    }

    #[test]
    fn what_the_disk_never_took_is_counted_at_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let spool = Writer::open(folder.path(), SMALLEST).unwrap();
        std::fs::create_dir(folder.path().join("00000000000000000001.delivery.new")).unwrap();
        let mut outbox =
            Outbox::new(Spooled::new(spool, Sender::that_sends_nothing()), "a".into(), "1".into());
        for number in 0..3 {
            outbox.flow(&flow(number)).unwrap();
        }
        let error = outbox.finish(&Coverage::default()).unwrap_err().to_string();
        assert!(error.starts_with("3 reports of flows are lost"), "{error}");
    }

    /// Both processes fail of a folder that is gone: how much was lost must not be hidden by the other's end.
    #[test]
    fn what_is_lost_with_the_spool_s_folder_is_counted_at_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let spool = Writer::open(&folder.path().join("spool"), SMALLEST).unwrap();
        let mut outbox = Outbox::new(Spooled::new(spool, Sender::that_fails()), "a".into(), "1".into());
        std::fs::remove_dir_all(folder.path().join("spool")).unwrap();
        for number in 0..3 {
            outbox.flow(&flow(number)).unwrap();
        }
        let error = outbox.finish(&Coverage::default()).unwrap_err().to_string();
        let expected = format!("3 reports of flows are lost, the spool {}/spool", folder.path().display());
        assert!(error.starts_with(&expected), "{error}");
    }
}
