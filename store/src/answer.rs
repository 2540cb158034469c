//! What a store answers, beside the report forms themselves.

use std::collections::BTreeMap;
use std::hash::Hasher as _;

use analyzer::mesh::Manifest;
use analyzer::report::{PartyKind, SetAside, Severity};
use flow::{Class, Coverage, Proof, Protocol, Timestamp, Transport};
use siphasher::sip128::{Hasher128 as _, SipHasher13};

/// Counts by class, then by proof: `{"mtls": {"exact": 3}}`.
pub type Counts = BTreeMap<String, BTreeMap<String, u64>>;

/// Some rows, and where the next ones begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// The rows, in order.
    pub rows: Vec<T>,
    /// What to send for the next page; absent when this is the last.
    pub next_cursor: Option<String>,
}

/// One end of an edge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EdgeEnd {
    /// `namespace/workload`, or the address where no workload is known.
    pub name: String,
    /// What carries its traffic.
    pub kind: PartyKind,
    /// Its namespace; absent outside the mesh.
    pub namespace: Option<String>,
    /// Its workload; absent where none is known.
    pub workload: Option<String>,
}

/// All flows between one client and one port of one server that look the same on the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edge {
    /// The client.
    pub client: EdgeEnd,
    /// The server.
    pub server: EdgeEnd,
    /// TCP or UDP.
    pub transport: Transport,
    /// The destination port on the wire.
    pub port: u16,
    /// The application protocol; absent where none was recognised.
    pub protocol: Option<Protocol>,
    /// The class.
    pub class: Class,
    /// How the class is known.
    pub proof: Proof,
    /// How many flows.
    pub flows: u64,
    /// How many of them break a declaration.
    pub violating: u64,
    /// Payload bytes, both directions together.
    pub bytes: u64,
    /// Start of the first flow.
    pub first_seen: Timestamp,
    /// Latest end among the flows.
    pub last_seen: Timestamp,
}

/// Findings with the same id, severity, server namespace and cause.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tally {
    /// The catalogue's id.
    pub id: String,
    /// How bad they are.
    pub severity: Severity,
    /// The server's namespace; absent outside the mesh.
    pub namespace: Option<String>,
    /// The one resource that causes them; absent where none does.
    pub cause: Option<String>,
    /// How many findings.
    pub findings: u64,
    /// How many flows they count together; a flow that breaks two declarations counts in both.
    pub flows: u64,
}

/// Flows from one namespace to another, without those that are told on another side of an address translation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MatrixCell {
    /// The client's namespace; absent outside the mesh.
    pub from: Option<String>,
    /// The server's namespace; absent outside the mesh.
    pub to: Option<String>,
    /// Flows by class and proof.
    pub flows: Counts,
    /// How many of them break a declaration.
    pub violating: u64,
}

/// Totals of what fits a query. A connection counts once, on whichever side of an address translation it is judged.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Totals {
    /// Flows by class and proof.
    pub flows: Counts,
    /// Flows by outcome.
    pub judgements: BTreeMap<String, u64>,
    /// How many flows more there are: sides of address translations, set aside as [`SetAside::Translated`] because another
    /// side tells all of them.
    pub translated: u64,
    /// Findings by severity.
    pub findings: BTreeMap<String, u64>,
    /// From when to when the flows are, whatever they are.
    pub span: Span,
}

/// From when to when there are flows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Span {
    /// Start of the first flow; absent without flows.
    pub first: Option<Timestamp>,
    /// Latest end among the flows; absent without flows.
    pub last: Option<Timestamp>,
}

impl Span {
    pub(crate) fn widen(&mut self, first: Timestamp, last: Timestamp) {
        self.first = Some(self.first.map_or(first, |known| known.min(first)));
        self.last = Some(self.last.map_or(last, |known| known.max(last)));
    }
}

/// Flows that began within one step of time, without those that are told on another side of an address translation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimelineBucket {
    /// Where the step begins.
    pub at: Timestamp,
    /// Flows by class.
    pub flows: BTreeMap<String, u64>,
    /// How many of them break a declaration.
    pub violating: u64,
}

/// What was covered, in all and by source, and what is kept of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sources {
    /// What the sources read, added up. `flows`, `from_start` and `mid_stream` are those of the store instead: a connection counts once there,
    /// at however many sources and on however many sides of an address translation it was seen.
    pub total: Coverage,
    /// How many flows more there are in the store: sides of address translations that are told on another side.
    pub translated: u64,
    /// From when to when there are flows, or there were.
    pub span: Span,
    /// From when on flows are kept; days before it are told by their sums alone, and a day counts whole there however little of it is asked for.
    /// Absent where all that is told has its flows.
    pub flows_from: Option<Timestamp>,
    /// Each source's own, by its name.
    pub sources: BTreeMap<String, Coverage>,
}

/// The declarations as they stood at one time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MeshSnapshot {
    /// When, and which content.
    pub version: MeshVersion,
    /// The files.
    pub manifests: Vec<Manifest>,
}

impl Sources {
    /// Adds a source's own.
    pub(crate) fn add(&mut self, name: String, coverage: Coverage) {
        self.total.add(&Coverage { flows: 0, from_start: 0, mid_stream: 0, ..coverage.clone() });
        self.sources.insert(name, coverage);
    }

    /// Counts flows of the store that are alike.
    pub(crate) fn count(&mut self, transport: Transport, from_start: bool, translated: bool, flows: u64) {
        if translated {
            self.translated += flows;
            return;
        }
        self.total.flows += flows;
        match (transport, from_start) {
            (Transport::Tcp, true) => self.total.from_start += flows,
            (Transport::Tcp, false) => self.total.mid_stream += flows,
            (Transport::Udp, _) => {}
        }
    }
}

impl Totals {
    /// Counts flows that are alike.
    pub(crate) fn add(&mut self, alike: Alike) {
        let Alike { class, proof, judgement, set_aside, flows, first, last } = alike;
        if set_aside.as_deref() == Some(SetAside::Translated.name()) {
            self.translated += flows;
        } else {
            *self.flows.entry(class).or_default().entry(proof).or_default() += flows;
            *self.judgements.entry(judgement).or_default() += flows;
        }
        self.span.widen(first, last);
    }
}

/// How many flows are alike, in the words of a store, and from when to when they were.
pub(crate) struct Alike {
    pub(crate) class: String,
    pub(crate) proof: String,
    pub(crate) judgement: String,
    pub(crate) set_aside: Option<String>,
    pub(crate) flows: u64,
    pub(crate) first: Timestamp,
    pub(crate) last: Timestamp,
}

/// Names a state of the declarations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MeshVersion {
    /// A hash of the content, 32 hex digits: equal content, equal id. It guards against mistakes, not against forgery.
    pub id: String,
    /// When the declarations were read.
    pub taken_at: Timestamp,
}

impl MeshSnapshot {
    /// Takes the declarations, as read at `taken_at`.
    #[must_use]
    pub fn new(taken_at: Timestamp, manifests: Vec<Manifest>) -> Self {
        let mut hasher = SipHasher13::new();
        for manifest in &manifests {
            for part in [&manifest.file, &manifest.text] {
                hasher.write(&(part.len() as u64).to_be_bytes());
                hasher.write(part.as_bytes());
            }
        }
        let id = format!("{:032x}", hasher.finish128().as_u128());
        Self { version: MeshVersion { id, taken_at }, manifests }
    }
}
