//! Where judged flows, edges, findings and mesh snapshots are kept, and how they are asked for.
//!
//! Judged flows come in ([`Store::record`]); pages, totals and series go out. Nothing is decided here, and no payload byte
//! is ever kept: what is stored of a flow is its [`analyzer::report::Judged`] form.

pub mod answer;
#[cfg(feature = "clickhouse")]
pub mod clickhouse;
#[cfg(any(test, feature = "contract"))]
pub mod contract;
pub mod embedded;
pub mod error;
pub mod query;
#[cfg(any(test, feature = "contract"))]
pub mod sample;
mod shape;
pub mod sightings;

use std::collections::BTreeMap;
use std::time::Duration;

use analyzer::report::{Finding, Judged};
use flow::{Coverage, FlowId, Timestamp};

use crate::answer::{
    Edge, MatrixCell, MeshSnapshot, MeshVersion, Page, Sources, Span, Tally, TimelineBucket, Totals,
};
use crate::error::StoreError;
use crate::query::{Paging, Query};
use crate::sightings::{Contested, Found, Sought};

/// What is recorded at once, of one source (a run over a capture, or an agent) or of several.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    /// Judged flows. A report of a flow that is already there replaces it, as a later one in the batch does: counts never double.
    pub flows: Vec<Judged>,
    /// Flows that are to be there no more, by name and start: another flow has become what they were. None of `flows`.
    pub gone: Vec<Judged>,
    /// What [`Store::contested`] found, where `flows` and `gone` rest on it: of a connection of which something else is there by now, nothing
    /// is kept; absent: whatever is there is replaced.
    pub found: Option<Found>,
    /// All that a source has covered so far (not what is new), by the name that the source has for good: it replaces what was
    /// recorded of the source before. Of sources that are not named nothing changes.
    pub coverage: BTreeMap<String, Coverage>,
}

/// What a store is like, as `wireproof store status` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// The database's name and version.
    pub engine: String,
    /// The schema's version; absent where there is no store yet.
    pub version: Option<i64>,
    /// The newest version that this program knows.
    pub known: i64,
    /// How many flows are kept.
    pub flows: u64,
    /// From when to when.
    pub span: Span,
    /// How much all takes on disk, in bytes.
    pub bytes: u64,
    /// How long the server keeps flows by itself; absent where it keeps all, and for a file, which is tidied by the program that
    /// writes it.
    pub keep: Option<Duration>,
    /// How long the server keeps edges whose flows are gone; absent where they go with their flows.
    pub keep_edges: Option<Duration>,
}

/// A place where findings are kept. Every backend passes the suite in `contract`.
#[async_trait::async_trait]
pub trait Store: Send + Sync {
    /// Keeps a batch, all of it or, on an error, nothing.
    ///
    /// # Errors
    ///
    /// When the backend cannot write.
    async fn record(&self, batch: Batch) -> Result<(), StoreError>;

    /// Returns flows, newest start first.
    ///
    /// # Errors
    ///
    /// When the cursor does not fit the query, or the backend cannot read.
    async fn flows(&self, query: &Query, paging: &Paging) -> Result<Page<Judged>, StoreError>;

    /// Returns one flow; absent when it was never recorded.
    ///
    /// # Errors
    ///
    /// When the backend cannot read.
    async fn flow(&self, id: FlowId) -> Result<Option<Judged>, StoreError>;

    /// Returns what may be other sightings of connections, or other sides of them, and themselves: flows with the opening
    /// ([`flow::Flow::opening`]) or the handshake ([`flow::Flow::tcp_handshake`]) of one that is sought, which begin within
    /// [`flow::merge::WINDOW`] of it. Of one opening, and of one handshake, the first [`sightings::MOST`] at most.
    ///
    /// # Errors
    ///
    /// When the backend cannot read.
    async fn sightings(&self, sought: &[Sought]) -> Result<Vec<Judged>, StoreError>;

    /// Returns what programs that record into one store may have recorded at the same moment, without knowing of each other: reports
    /// recorded within this time, until now, of which another one has the same opening, or the same handshake without naming the other
    /// side, and reports that are not there once. At most some thousands, with all that may belong to them.
    ///
    /// Nothing where no more than one program recorded within the time: then there are none.
    ///
    /// # Errors
    ///
    /// When the backend cannot read.
    async fn contested(&self, _within: Duration) -> Result<Option<Vec<Contested>>, StoreError> {
        Ok(None)
    }

    /// Returns edges that have a flow that fits, latest first appearance first. Counts are of the whole edge.
    ///
    /// # Errors
    ///
    /// When the cursor does not fit the query, or the backend cannot read.
    async fn edges(&self, query: &Query, paging: &Paging) -> Result<Page<Edge>, StoreError>;

    /// Returns findings, worst first, then latest first appearance first. Counts are of the whole finding.
    ///
    /// # Errors
    ///
    /// When the cursor does not fit the query, or the backend cannot read.
    async fn violations(&self, query: &Query, paging: &Paging) -> Result<Page<Finding>, StoreError>;

    /// Returns one finding by its key; absent when there is none.
    ///
    /// # Errors
    ///
    /// When the backend cannot read.
    async fn violation(&self, key: &str) -> Result<Option<Finding>, StoreError>;

    /// Counts findings and their flows by id, severity, server namespace and cause, worst first.
    ///
    /// # Errors
    ///
    /// When the backend cannot read.
    async fn violations_summary(&self, query: &Query) -> Result<Vec<Tally>, StoreError>;

    /// Counts connections by client namespace, server namespace, class and proof.
    ///
    /// # Errors
    ///
    /// When the backend cannot read.
    async fn matrix(&self, query: &Query) -> Result<Vec<MatrixCell>, StoreError>;

    /// Counts connections by class and proof and by outcome, sides of address translations apart, and findings by severity.
    ///
    /// # Errors
    ///
    /// When the backend cannot read.
    async fn totals(&self, query: &Query) -> Result<Totals, StoreError>;

    /// Counts connections by class over time, in at most `buckets` steps of equal length; steps without flows are left out.
    ///
    /// # Errors
    ///
    /// When the backend cannot read.
    async fn timeline(&self, query: &Query, buckets: u32) -> Result<Vec<TimelineBucket>, StoreError>;

    /// Returns what every source covered, and from when to when and of how many connections flows are kept.
    ///
    /// # Errors
    ///
    /// When the backend cannot read.
    async fn coverage(&self) -> Result<Sources, StoreError>;

    /// Keeps the declarations as they stood; the same content again only moves its time forward. Content that differs from
    /// what was in force at that time is in force from then on.
    ///
    /// # Errors
    ///
    /// When the backend cannot write.
    async fn put_mesh(&self, snapshot: &MeshSnapshot) -> Result<(), StoreError>;

    /// Returns the newest declarations; absent when none were kept.
    ///
    /// # Errors
    ///
    /// When the backend cannot read.
    async fn latest_mesh(&self) -> Result<Option<MeshSnapshot>, StoreError>;

    /// Returns the declarations that were in force at a time, `taken_at` being since when; absent when none were kept
    /// by then.
    ///
    /// # Errors
    ///
    /// When the backend cannot read.
    async fn mesh_at(&self, at: Timestamp) -> Result<Option<MeshSnapshot>, StoreError>;

    /// Returns which declarations were kept, newest first, without their text.
    ///
    /// # Errors
    ///
    /// When the backend cannot read.
    async fn meshes(&self) -> Result<Vec<MeshVersion>, StoreError>;

    /// Keeps edges and findings for `edges` although flows are kept for `flows` only: sums up days that have ended, from when on [`Store::keep`]
    /// may be told to forget their flows. To be said before it, each time.
    ///
    /// A store that cannot forgets them with their flows.
    ///
    /// # Errors
    ///
    /// When the backend cannot write; nothing is to be forgotten then that is not forgotten already.
    async fn keep_edges(&self, _flows: Duration, _edges: Duration) -> Result<(), StoreError> {
        Ok(())
    }

    /// Tells how many reports came, since this store was opened, of flows of days that were told by their sums: some hours before such a day's
    /// flows go they are in its next sums, later they are not counted.
    fn late(&self) -> u64 {
        0
    }

    /// Forgets flows that began longer than `time` before `now`, and the edges and findings that are left without flows;
    /// absent: keeps all. To be said again every hour or so.
    ///
    /// A server that forgets by itself goes by its own clock, does so soon rather than at once, goes on without being told, and may keep the
    /// flows of the day that is cut.
    ///
    /// # Errors
    ///
    /// When the backend cannot write.
    async fn keep(&self, time: Option<Duration>, now: Timestamp) -> Result<(), StoreError>;

    /// Tells whether the backend answers.
    ///
    /// # Errors
    ///
    /// When it does not.
    async fn ping(&self) -> Result<(), StoreError>;
}
