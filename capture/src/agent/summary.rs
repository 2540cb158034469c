//! What a run came to, for people.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use flow::{Close, Coverage, Flow, Proof};

use crate::source::live::Counts;

/// What was read, what became of it, and how it ended.
#[derive(Debug, Default)]
pub struct Summary {
    /// How it ended.
    pub end: End,
    /// For how long it ran.
    pub lasted: Duration,
    /// What was read and what was not.
    pub coverage: Coverage,
    /// What the kernel counted of each socket, by its interface's name (`any` for all); none for files.
    pub sockets: Vec<(String, Counts)>,
    /// Flows that ended, by class and proof.
    flows: BTreeMap<(&'static str, &'static str), u64>,
    /// Those whose class or client authentication is not known, by class and what hid it.
    unknown: BTreeMap<(&'static str, &'static str), u64>,
    /// Frames by interface.
    interfaces: BTreeMap<u32, (String, u64)>,
}

/// How a run ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum End {
    /// At the end of the file or of the time, or when told to.
    #[default]
    AsAsked,
    /// Nobody takes the flows any more.
    Closed,
    /// The file is damaged.
    Damaged(String),
    /// The interface went away, or flows could not be delivered.
    Failed(String),
}

/// How many interfaces are listed.
const LISTED: usize = 20;

impl Summary {
    /// Returns how many packets the kernel dropped over all sockets; absent for files.
    #[must_use]
    pub fn dropped(&self) -> Option<u64> {
        (!self.sockets.is_empty())
            .then(|| self.sockets.iter().fold(0, |sum: u64, (_, counts)| sum.saturating_add(counts.dropped)))
    }

    pub(super) fn interface(&mut self, number: u32, name: &str) {
        self.interfaces.entry(number).or_default().0 = name.to_owned();
    }

    pub(super) fn frame(&mut self, number: u32) {
        let (_, frames) = self.interfaces.entry(number).or_default();
        *frames = frames.saturating_add(1);
    }

    pub(super) fn flow(&mut self, flow: &Flow) {
        if flow.close != Close::Open {
            let (class, evidence) = (flow.security.class(), flow.security.evidence());
            let count = self.flows.entry((class.name(), evidence.proof.name())).or_default();
            *count = count.saturating_add(1);
            if let (Proof::None, Some(reason)) = (evidence.proof, evidence.reason) {
                let count = self.unknown.entry((class.name(), reason.name())).or_default();
                *count = count.saturating_add(1);
            }
        }
    }

    /// Returns how many flows ended, by class and proof.
    pub(super) fn flows(&self) -> impl Iterator<Item = ((&'static str, &'static str), u64)> {
        self.flows.iter().map(|(key, count)| (*key, *count))
    }

    /// Returns how many flows ended without a proof, by class and what hid it.
    pub(super) fn unknown(&self) -> impl Iterator<Item = ((&'static str, &'static str), u64)> {
        self.unknown.iter().map(|(key, count)| (*key, *count))
    }

    /// Returns each interface's name and how many frames came from it, those seen first before others.
    pub(super) fn interfaces(&self) -> impl Iterator<Item = (&str, u64)> {
        self.interfaces.values().map(|(name, frames)| (name.as_str(), *frames))
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let coverage = &self.coverage;
        let mut classes = BTreeMap::<_, u64>::new();
        for ((class, _), count) in self.flows() {
            let sum = classes.entry(class).or_default();
            *sum = sum.saturating_add(count);
        }
        let classes: Vec<_> = classes.iter().map(|(class, count)| format!("{class} {count}")).collect();
        let classes = if classes.is_empty() { "none".to_owned() } else { classes.join(", ") };
        write!(
            f,
            "{:.1} s, {} packets, {} flows ({classes}), {} of {} TCP flows from their start",
            self.lasted.as_secs_f64(),
            coverage.packets,
            coverage.flows,
            coverage.from_start,
            coverage.from_start.saturating_add(coverage.mid_stream)
        )?;
        for (name, counts) in &self.sockets {
            write!(
                f,
                "\n{name}: {} packets received, {} dropped by the kernel",
                counts.received, counts.dropped
            )?;
        }
        // Of one socket to one interface everything is said.
        if self.sockets.iter().any(|(name, _)| name == "any") {
            for (name, frames) in self.interfaces.values().take(LISTED) {
                write!(f, "\n  on {name}: {frames} packets")?;
            }
            if let Some(more) = self.interfaces.len().checked_sub(LISTED).filter(|more| *more > 0) {
                write!(f, "\n  and {more} more interfaces")?;
            }
        }
        coverage.not_used().map_or(Ok(()), |reasons| write!(f, "\n{reasons}"))
    }
}
