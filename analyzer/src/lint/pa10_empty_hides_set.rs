//! PA10: An empty policy stands before a newer one that sets a mode.

#[cfg(test)]
use crate::lint::Broken;
use crate::lint::survey::Survey;
use crate::lint::{Problem, Rule, names};
use crate::mesh::peer_authentication::PeerAuthentication;
use crate::patch;
use crate::report::Severity;
use std::collections::BTreeMap;

pub(super) const RULE: Rule = Rule {
    id: "PA10",
    severity: Severity::Low,
    title: "An empty policy hides a set one",
    page: include_str!("../../../docs/findings/PA10.md"),
    check,
    #[cfg(test)]
    broken: Broken {
        replace: &[],
        add: "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: broken, namespace: shop, creationTimestamp: '2026-02-01T00:00:00Z'}\nspec: {}\n---\napiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: younger, namespace: shop, creationTimestamp: '2026-03-01T00:00:00Z'}\nspec: {mtls: {mode: STRICT}}",
        // Two policies for one namespace are PA02 as well.
        also: &["PA02"],
    },
};

fn check(survey: &Survey<'_>) -> Vec<Problem> {
    let mut namespaces: BTreeMap<&str, Vec<&PeerAuthentication>> = BTreeMap::new();
    for policy in survey.mesh.peer_authentications.iter().filter(|policy| !policy.is_for_workloads()) {
        namespaces.entry(&policy.meta.namespace).or_default().push(policy);
    }
    namespaces
        .into_values()
        .filter_map(|policies| {
            let (first, younger) = policies.split_first()?;
            let hidden = younger.iter().find(|policy| policy.mode.is_some())?;
            if first.mode.is_some() {
                return None;
            }
            let set =
                names(younger.iter().filter(|policy| policy.mode.is_some()).map(|policy| policy.meta.id()));
            let message = format!("{} sets no mode, yet is the oldest and hides {set}", first.meta.id());
            let mode = hidden.mode.map_or("", |mode| mode.name());
            let remedy = format!("Delete the empty policy: {mode} by {} is in force then.", hidden.meta.id());
            // Empty ones between the two would hide it next.
            let empty = policies.iter().take_while(|policy| policy.mode.is_none());
            let yaml = patch::together(empty.map(|policy| patch::delete(&policy.meta)));
            Some(Problem::at(&first.meta, first.mode_line, message, remedy).yaml(yaml))
        })
        .collect()
}
