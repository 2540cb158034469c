//! Flows in, judged flows and findings out: parties, expectation and verdict in one call, and the counting of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use flow::{Class, Flow, FlowId, Proof, Timestamp};

pub use crate::edges::EDGES;
use crate::edges::{Edges, Ends};
use crate::mesh::Mesh;
use crate::report::{Finding, Judged, Judgement, SetAside, Summary};
use crate::verdict;
use crate::violation::{Case, Since};

/// How many flows a finding names as examples.
pub const EXAMPLES: usize = 5;

/// Judges flows, each by the declarations that were in force when it began.
///
/// It keeps what is declared for the edges that it met, up to a bound; that changes no answer. Clones keep them together.
#[derive(Debug, Clone)]
pub struct Auditor {
    /// The declarations in force from the beginning.
    first: Arc<Mesh>,
    /// What came into force after them, in order of time.
    later: Vec<(Timestamp, Arc<Mesh>)>,
    edges: Arc<Edges>,
}

impl Auditor {
    /// Takes the declarations to judge by.
    #[must_use]
    pub fn new(mesh: Arc<Mesh>) -> Self {
        Self::with_history(mesh, Vec::new())
    }

    /// Takes declarations and those that replaced them, each with the time from which it is in force, in any order.
    #[must_use]
    pub fn with_history(first: Arc<Mesh>, mut later: Vec<(Timestamp, Arc<Mesh>)>) -> Self {
        later.sort_by_key(|(from, _)| *from);
        Self { first, later, edges: Arc::new(Edges::bounded(EDGES)) }
    }

    /// Keeps this many edges at most, instead of [`EDGES`]; 0 keeps none.
    #[must_use]
    pub fn keeping(self, edges: usize) -> Self {
        Self { edges: Arc::new(Edges::bounded(edges)), ..self }
    }

    /// Judges one flow.
    ///
    /// A connection keeps the TLS state that it began with, so what came into force while it was open is only noted.
    #[must_use]
    pub fn judge(&self, flow: &Flow) -> Judged {
        let begun = self.later.partition_point(|(from, _)| *from <= flow.start);
        let came = self.later.iter().zip(1..).skip(begun).take_while(|((from, _), _)| *from <= flow.end);
        let since = came.map(|((from, _), place)| (from, place)).find_map(|(from, place)| {
            let judged = self.judge_by(place, flow, None);
            let broken = judged.judgement == Judgement::Violates;
            let violation = judged.violations.into_iter().next().filter(|_| broken)?;
            Some(Since { at: *from, violation })
        });
        self.judge_by(begun, flow, since.as_ref())
    }

    /// Judges by the first declarations (0), or by those that replaced them.
    fn judge_by(&self, place: usize, flow: &Flow, since: Option<&Since>) -> Judged {
        let later = place.checked_sub(1).and_then(|last| self.later.get(last));
        let mesh = later.map_or(&*self.first, |(_, mesh)| mesh);
        let sni = flow.tls().and_then(|tls| tls.sni.as_deref());
        let ends = Ends { mesh: place, client: flow.client.ip, server: flow.server, sni };
        let edge = self.edges.between(mesh, ends);
        let expectation = &edge.expectation;
        let advised = Some(&edge.advised).filter(|_| self.edges.keeps());
        let case =
            Case { mesh, flow, client: &edge.client, server: &edge.server, expectation, since, advised };
        let verdict = verdict::judge(&case);
        Judged {
            flow: flow.clone(),
            client: Arc::clone(&edge.client),
            server: Arc::clone(&edge.server),
            expected: expectation.known_destination.then(|| Arc::clone(&expectation.expected)),
            judgement: verdict.judgement,
            basis: verdict.basis,
            set_aside: verdict.set_aside,
            translated: None,
            violations: verdict.violations,
        }
    }
}

/// Counts judged flows. A flow that is reported when its security settles and again when it ends counts once: the later
/// report replaces the earlier one.
#[derive(Debug, Clone, Default)]
pub struct Ledger {
    flows: BTreeMap<FlowId, Entry>,
}

#[derive(Debug, Clone)]
struct Entry {
    class: Class,
    proof: Proof,
    judgement: Judgement,
    set_aside: Option<SetAside>,
    translated: bool,
    findings: Vec<Finding>,
}

impl Ledger {
    /// Takes one judged flow.
    pub fn add(&mut self, judged: &Judged) {
        let entry = Entry {
            class: judged.flow.security.class(),
            proof: judged.flow.security.evidence().proof,
            judgement: judged.judgement,
            set_aside: judged.set_aside,
            translated: judged.translated.is_some(),
            findings: judged.violations.iter().map(|violation| Finding::new(judged, violation)).collect(),
        };
        self.flows.insert(judged.flow.id, entry);
    }

    /// Groups the violations by their keys: worst first, then by client, server, port and key.
    #[must_use]
    pub fn findings(&self) -> Vec<Finding> {
        let mut singles: Vec<&Finding> = self.flows.values().flat_map(|entry| &entry.findings).collect();
        singles.sort_by_key(|finding| (finding.first_seen, finding.examples.first().copied()));
        let mut groups: BTreeMap<&str, Finding> = BTreeMap::new();
        for single in singles {
            match groups.get_mut(single.key.as_str()) {
                None => {
                    groups.insert(&single.key, single.clone());
                }
                Some(group) => {
                    group.flows += single.flows;
                    group.certainty = group.certainty.max(single.certainty);
                    group.proof = group.proof.max(single.proof);
                    group.first_seen = group.first_seen.min(single.first_seen);
                    group.last_seen = group.last_seen.max(single.last_seen);
                    let room = EXAMPLES.saturating_sub(group.examples.len());
                    group.examples.extend(single.examples.iter().take(room));
                }
            }
        }
        let mut findings: Vec<Finding> = groups.into_values().collect();
        findings.sort_by_cached_key(|finding| {
            let severity = std::cmp::Reverse(finding.severity);
            let parties = (finding.client.name(), finding.server.name());
            (severity, parties, finding.port, finding.id.clone(), finding.key.clone())
        });
        findings
    }

    /// Totals so far.
    #[must_use]
    pub fn summary(&self) -> Summary {
        let mut summary = Summary::default();
        for entry in self.flows.values() {
            let by_proof = summary.flows.entry(entry.class.to_string()).or_default();
            *by_proof.entry(entry.proof.to_string()).or_default() += 1;
            *summary.judgements.entry(entry.judgement.to_string()).or_default() += 1;
            summary.judged += u64::from(matches!(entry.judgement, Judgement::Conforms | Judgement::Violates));
            if let Some(why) = entry.set_aside {
                *summary.set_aside.entry(why.to_string()).or_default() += 1;
            }
            summary.translated += u64::from(entry.translated);
        }
        for finding in self.findings() {
            *summary.findings.entry(finding.severity.to_string()).or_default() += 1;
        }
        summary
    }
}
