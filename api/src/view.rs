//! The JSON around and beside the report forms: envelopes, edges, matrix, totals.

use std::collections::BTreeMap;

use analyzer::report::PartyKind;
use flow::{Class, Coverage, Proof, Protocol, Timestamp, Transport};
use serde::Serialize;
use store::answer::{self, Counts};
use utoipa::ToSchema;

/// One answer, with what it rests on.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct One<T> {
    /// The answer.
    pub(crate) data: T,
    /// How complete the data behind it is.
    pub(crate) meta: Meta,
}

/// A page of rows, with what it rests on.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Rows<T> {
    /// The rows.
    pub(crate) data: Vec<T>,
    /// How complete the data behind them is.
    pub(crate) meta: Meta,
    /// Send as `cursor` for the next page; null on the last.
    pub(crate) next_cursor: Option<String>,
}

/// What an answer rests on.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct Meta {
    /// Start of the first flow in the store; null without flows.
    #[schema(value_type = Option<String>)]
    pub(crate) from: Option<Timestamp>,
    /// End of the last flow in the store; null without flows.
    #[schema(value_type = Option<String>)]
    pub(crate) to: Option<Timestamp>,
    /// From when on flows are kept, where edges and counts outlive them: days before it are told by their sums, and a day counts whole
    /// there, however little of it is asked for. Null where all that is told has its flows.
    #[schema(value_type = Option<String>)]
    pub(crate) flows_from: Option<Timestamp>,
    /// Share of TCP connections in the store seen from their start, 0 to 1; null when there is none.
    pub(crate) coverage: Option<f64>,
    /// The declarations in force; null when none were loaded.
    pub(crate) mesh: Option<MeshView>,
    /// Whether traffic is known to be missing: damage, kernel drops, or flows joined in their middle.
    pub(crate) partial: bool,
}

/// Which declarations.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct MeshView {
    /// A hash of their content.
    pub(crate) id: String,
    /// When they were read.
    #[schema(value_type = String)]
    pub(crate) taken_at: Timestamp,
}

/// Everything at a glance.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Overview {
    /// Connections by class, then by proof.
    pub(crate) flows: Counts,
    /// Connections by outcome.
    pub(crate) judgements: BTreeMap<String, u64>,
    /// How many flows more are the other side of an address translation, and judged there.
    pub(crate) translated: u64,
    /// Findings by severity.
    pub(crate) findings: BTreeMap<String, u64>,
    /// What was read, and what was not; `flows`, `from_start` and `mid_stream` are those of the store, where a connection counts once.
    #[schema(value_type = Object)]
    pub(crate) coverage: Coverage,
    /// The declarations in force; null when none were loaded.
    pub(crate) mesh: Option<MeshView>,
    /// Start of the first flow; null without flows.
    #[schema(value_type = Option<String>)]
    pub(crate) from: Option<Timestamp>,
    /// End of the last flow; null without flows.
    #[schema(value_type = Option<String>)]
    pub(crate) to: Option<Timestamp>,
}

/// What was covered, in all and by source.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CoverageView {
    /// The sum; `flows`, `from_start` and `mid_stream` are those of the store, where a connection counts once.
    #[schema(value_type = Object)]
    pub(crate) total: Coverage,
    /// Share of TCP connections in the store seen from their start, 0 to 1; null when there is none.
    pub(crate) ratio: Option<f64>,
    /// Each source's own. A connection counts wherever it was seen: at two sources, on two sides of a translation.
    #[schema(value_type = Object)]
    pub(crate) sources: BTreeMap<String, Coverage>,
    /// Connections in the store.
    pub(crate) connections: u64,
    /// How many flows more are the other side of an address translation.
    pub(crate) translated: u64,
}

/// One end of an edge, in the form of a party; what differs from flow to flow is null.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EdgeParty {
    /// `namespace/workload`, or the address.
    name: String,
    /// The address; null where a workload stands behind several.
    address: Option<String>,
    /// What carries its traffic.
    #[schema(value_type = String)]
    kind: PartyKind,
    /// Its namespace; null outside the mesh.
    namespace: Option<String>,
    /// Its workload; null where none is known.
    workload: Option<String>,
    /// Always null: an edge may span pods.
    pod: Option<String>,
    /// Always null: an edge may span Services.
    service: Option<String>,
    /// Always null.
    service_account: Option<String>,
}

/// All flows between a client and a server's port that look the same on the wire.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EdgeView {
    /// Who opens.
    client: EdgeParty,
    /// Who is reached.
    server: EdgeParty,
    /// `tcp` or `udp`.
    #[schema(value_type = String)]
    transport: Transport,
    /// The destination port on the wire.
    port: u16,
    /// The application protocol; null where none was recognised.
    #[schema(value_type = Option<String>)]
    protocol: Option<Protocol>,
    /// The class.
    #[schema(value_type = String)]
    class: Class,
    /// How it is known.
    #[schema(value_type = String)]
    proof: Proof,
    /// How many flows.
    flows: u64,
    /// How many of them break a declaration.
    violating: u64,
    /// Payload bytes, both directions together.
    bytes: u64,
    /// Start of the first flow.
    #[schema(value_type = String)]
    first_seen: Timestamp,
    /// Latest end among the flows.
    #[schema(value_type = String)]
    last_seen: Timestamp,
}

/// Connections from one namespace to another.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CellView {
    /// The client's namespace; null outside the mesh.
    from: Option<String>,
    /// The server's namespace; null outside the mesh.
    to: Option<String>,
    /// By class, then by proof.
    flows: Counts,
    /// How many of them break a declaration.
    violating: u64,
}

/// Findings of one kind with one cause.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TallyView {
    /// The catalogue's id.
    id: String,
    /// How bad they are.
    #[schema(value_type = String)]
    severity: analyzer::report::Severity,
    /// The server's namespace; null outside the mesh.
    namespace: Option<String>,
    /// The resource that causes them; null where none does.
    cause: Option<String>,
    /// How many findings.
    findings: u64,
    /// How many flows they count together.
    flows: u64,
}

/// Connections that began within one step of time.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BucketView {
    /// Where the step begins.
    #[schema(value_type = String)]
    at: Timestamp,
    /// By class.
    flows: BTreeMap<String, u64>,
    /// How many of them break a declaration.
    violating: u64,
}

impl From<answer::MeshVersion> for MeshView {
    fn from(mesh: answer::MeshVersion) -> Self {
        Self { id: mesh.id, taken_at: mesh.taken_at }
    }
}

impl From<answer::EdgeEnd> for EdgeParty {
    fn from(end: answer::EdgeEnd) -> Self {
        Self {
            address: end.workload.is_none().then(|| end.name.clone()),
            name: end.name,
            kind: end.kind,
            namespace: end.namespace,
            workload: end.workload,
            pod: None,
            service: None,
            service_account: None,
        }
    }
}

impl From<answer::Edge> for EdgeView {
    fn from(edge: answer::Edge) -> Self {
        Self {
            client: edge.client.into(),
            server: edge.server.into(),
            transport: edge.transport,
            port: edge.port,
            protocol: edge.protocol,
            class: edge.class,
            proof: edge.proof,
            flows: edge.flows,
            violating: edge.violating,
            bytes: edge.bytes,
            first_seen: edge.first_seen,
            last_seen: edge.last_seen,
        }
    }
}

impl From<answer::MatrixCell> for CellView {
    fn from(cell: answer::MatrixCell) -> Self {
        Self { from: cell.from, to: cell.to, flows: cell.flows, violating: cell.violating }
    }
}

impl From<answer::Tally> for TallyView {
    fn from(tally: answer::Tally) -> Self {
        let answer::Tally { id, severity, namespace, cause, findings, flows } = tally;
        Self { id, severity, namespace, cause, findings, flows }
    }
}

impl From<answer::TimelineBucket> for BucketView {
    fn from(bucket: answer::TimelineBucket) -> Self {
        Self { at: bucket.at, flows: bucket.flows, violating: bucket.violating }
    }
}
