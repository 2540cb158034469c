//! DR08: A subset's policy acts only where a VirtualService routes to the subset.

use std::collections::BTreeSet;

#[cfg(test)]
use crate::lint::Broken;
use crate::lint::survey::Survey;
use crate::lint::survey::destination_rules::{host_of, written};
use crate::lint::{Problem, Rule};
use crate::mesh::destination_rule::{Subset, TlsSettings};
use crate::patch::Patch;
use crate::policy::visibility::{covers, full_name};
use crate::report::Severity;

pub(super) const RULE: Rule = Rule {
    id: "DR08",
    severity: Severity::Low,
    title: "A subset's tls that no route uses",
    page: include_str!("../../../docs/findings/DR08.md"),
    check,
    #[cfg(test)]
    broken: Broken {
        replace: &[],
        add: "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: broken, namespace: shop, creationTimestamp: '2026-02-01T00:00:00Z'}\nspec: {host: web, subsets: [{name: v1, labels: {app: web}, trafficPolicy: {tls: {mode: ISTIO_MUTUAL}}}]}",
        also: &[],
    },
};

fn check(survey: &Survey<'_>) -> Vec<Problem> {
    let mesh = survey.mesh;
    let mut routed: BTreeSet<(&str, String)> = BTreeSet::new();
    for routes in &mesh.virtual_services {
        for to in routes.routes.iter().flat_map(|route| &route.destinations) {
            if let Some(subset) = &to.subset {
                routed.insert((subset, full_name(&to.host, &routes.meta.namespace, &mesh.config.domain)));
            }
        }
    }
    let mut problems = Vec::new();
    for rule in written(mesh) {
        let host = host_of(mesh, rule);
        let unused: Vec<_> = rule
            .subsets
            .iter()
            .filter_map(|subset| Some((subset, tls_of(subset)?)))
            .filter(|(subset, _)| {
                !routed.iter().any(|(name, target)| *name == subset.name && covers(&host, target))
            })
            .collect();
        // One patch for all: it replaces the list of subsets. What no route reaches needs no policy at all.
        let patch = unused.iter().fold(Patch::of(&rule.meta), |patch, (subset, _)| {
            patch.remove(&format!("/spec/subsets/{}/trafficPolicy", subset.place))
        });
        for (subset, tls) in &unused {
            let message = format!(
                "subset {} of {} sets {}, but no VirtualService routes to it: the setting never acts",
                subset.name,
                rule.meta.id(),
                tls.mode
            );
            let remedy = "Remove it, route to the subset, or move the tls block to the top.";
            problems.push(Problem::at(&rule.meta, tls.line, message, remedy).yaml(patch.yaml()));
        }
    }
    problems
}

fn tls_of(subset: &Subset) -> Option<&TlsSettings> {
    let policy = subset.policy.as_ref()?;
    policy.tls.as_ref().or_else(|| policy.ports.iter().find_map(|entry| entry.tls.as_ref()))
}
