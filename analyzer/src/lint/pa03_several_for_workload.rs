//! PA03: Of several policies that select one pod only the oldest acts; they are not merged.

#[cfg(test)]
use crate::lint::Broken;
use crate::lint::survey::Survey;
use crate::lint::survey::meetings::workload;
use crate::lint::survey::peer_authentications::chooses;
use crate::lint::{Problem, Rule, names};
use crate::mesh::peer_authentication::PeerAuthentication;
use crate::report::Severity;
use std::collections::{BTreeMap, BTreeSet};

pub(super) const RULE: Rule = Rule {
    id: "PA03",
    severity: Severity::Medium,
    title: "Several PeerAuthentications for one workload",
    page: include_str!("../../../docs/findings/PA03.md"),
    check,
    #[cfg(test)]
    broken: Broken { replace: &[], add: "", also: &[] },
};

fn check(survey: &Survey<'_>) -> Vec<Problem> {
    let mesh = survey.mesh;
    let mut losers: BTreeMap<String, (&PeerAuthentication, &PeerAuthentication, BTreeSet<String>)> =
        BTreeMap::new();
    for pod in &mesh.pods {
        let mut matching = mesh.peer_authentications.iter().filter(|policy| chooses(mesh, policy, pod));
        let Some(first) = matching.next() else { continue };
        for loser in matching {
            losers
                .entry(loser.meta.id())
                .or_insert_with(|| (loser, first, BTreeSet::new()))
                .2
                .insert(workload(pod));
        }
    }
    losers
        .into_values()
        .map(|(loser, first, pods)| {
            let message = format!(
                "{} has no effect on {}: {} is older and acts alone, policies are not merged",
                loser.meta.id(),
                names(pods),
                first.meta.id()
            );
            Problem::at(&loser.meta, loser.meta.line, message, "Merge the two by hand into one policy.")
        })
        .collect()
}
