//! How much of the traffic an answer rests on.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What was read and what was not: every answer is only as good as this.
///
/// Counters add up over files and agents ([`Coverage::add`]).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Coverage {
    /// Frames read.
    pub packets: u64,
    /// Bytes of those frames as captured.
    pub bytes: u64,
    /// Flows reported (connections and UDP flows with at least one payload byte).
    pub flows: u64,
    /// TCP flows whose opening (SYN) was seen.
    pub from_start: u64,
    /// TCP flows joined mid-stream.
    pub mid_stream: u64,
    /// Connections with no payload byte, which are not reported as flows unless asked for.
    pub empty: u64,
    /// Frames, or parts of them, that were not used, by reason (`not-ip`, `truncated-header`, `table-full` ...).
    pub skipped: BTreeMap<String, u64>,
    /// Packets that the kernel dropped before they could be read; absent for files.
    pub kernel_dropped: Option<u64>,
    /// Reports of flows that an agent could not deliver: its spool was full or damaged, or they were refused.
    #[serde(default)]
    pub undelivered: u64,
    /// Damage that ended or interrupted an input, as sentences.
    pub damaged: Vec<String>,
}

impl Coverage {
    /// Adds another input's counts to this one.
    pub fn add(&mut self, other: &Self) {
        self.packets += other.packets;
        self.bytes += other.bytes;
        self.flows += other.flows;
        self.from_start += other.from_start;
        self.mid_stream += other.mid_stream;
        self.empty += other.empty;
        for (reason, count) in &other.skipped {
            *self.skipped.entry(reason.clone()).or_default() += count;
        }
        self.kernel_dropped = match (self.kernel_dropped, other.kernel_dropped) {
            (None, None) => None,
            (mine, theirs) => Some(mine.unwrap_or(0) + theirs.unwrap_or(0)),
        };
        self.undelivered += other.undelivered;
        self.damaged.extend(other.damaged.iter().cloned());
    }

    /// Says what was not used, by reason and count; absent when everything was.
    #[must_use]
    pub fn not_used(&self) -> Option<String> {
        let reasons: Vec<_> =
            self.skipped.iter().map(|(reason, count)| format!("{reason} {count}")).collect();
        (!reasons.is_empty()).then(|| format!("not used: {}", reasons.join(", ")))
    }

    /// Returns the share of TCP flows seen from their start, 0 to 1; absent when there was no TCP flow.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a ratio for people, not an account")]
    pub fn ratio(&self) -> Option<f64> {
        let tcp = self.from_start + self.mid_stream;
        (tcp > 0).then(|| self.from_start as f64 / tcp as f64)
    }
}
