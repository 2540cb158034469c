//! Flows in, judged flows and findings out: parties, expectation and verdict in one call, and the counting of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use flow::{Class, Flow, FlowId, Proof};

use crate::expectation::expect;
use crate::mesh::Mesh;
use crate::parties;
use crate::report::{Finding, Judged, Judgement, Summary};
use crate::verdict;
use crate::violation::Case;

/// How many flows a finding names as examples.
pub const EXAMPLES: usize = 5;

/// Judges flows by one mesh.
#[derive(Debug, Clone)]
pub struct Auditor {
    mesh: Arc<Mesh>,
}

impl Auditor {
    /// Takes the declarations to judge by.
    #[must_use]
    pub const fn new(mesh: Arc<Mesh>) -> Self {
        Self { mesh }
    }

    /// Judges one flow.
    #[must_use]
    pub fn judge(&self, flow: &Flow) -> Judged {
        let sni = flow.tls().and_then(|tls| tls.sni.as_deref());
        let expectation = expect(&self.mesh, flow.client.ip, flow.server, sni);
        let client = parties::client(&self.mesh, flow.client.ip);
        let server = parties::server(&self.mesh, flow.server);
        let case =
            Case { mesh: &self.mesh, flow, client: &client, server: &server, expectation: &expectation };
        let verdict = verdict::judge(&case);
        Judged {
            flow: flow.clone(),
            client,
            server,
            expected: expectation.known_destination.then_some(expectation.expected),
            judgement: verdict.judgement,
            basis: verdict.basis,
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
    findings: Vec<Finding>,
}

impl Ledger {
    /// Takes one judged flow.
    pub fn add(&mut self, judged: &Judged) {
        let entry = Entry {
            class: judged.flow.security.class(),
            proof: judged.flow.security.evidence().proof,
            judgement: judged.judgement,
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
        }
        for finding in self.findings() {
            *summary.findings.entry(finding.severity.to_string()).or_default() += 1;
        }
        summary
    }
}
