//! DR13: The rule asks for Istio mTLS where the whole namespace has switched it off.

use std::collections::HashMap;

#[cfg(test)]
use crate::lint::Broken;
use crate::lint::survey::Survey;
use crate::lint::survey::destination_rules::{blocks, host_of, is_closest, narrower, written};
use crate::lint::survey::hosts::Hosts;
use crate::lint::{Problem, Rule, names};
use crate::mesh::{HostService, Mesh};
use crate::patch::{Patch, together};
use crate::policy::peer_authentication::{at_namespace, effective};
use crate::policy::{Decided, Trace};
use crate::report::{ClientTls, ServerMode, Severity};
use serde_json::json;

pub(super) const RULE: Rule = Rule {
    id: "DR13",
    severity: Severity::Low,
    title: "ISTIO_MUTUAL where the namespace is DISABLE",
    page: include_str!("../../../docs/findings/DR13.md"),
    check,
    #[cfg(test)]
    broken: Broken {
        replace: &[],
        add: "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: broken, namespace: data, creationTimestamp: '2026-02-01T00:00:00Z'}\nspec: {mtls: {mode: DISABLE}}",
        // The server itself is DISABLE, and the rule of the clean mesh sends it what it cannot decrypt.
        also: &["PA09", "XC02"],
    },
};

fn check(survey: &Survey<'_>) -> Vec<Problem> {
    let mesh = survey.meant();
    let hosts = Hosts::of(mesh);
    let mut levels: HashMap<&str, Decided<ServerMode>> = HashMap::new();
    for host in &mesh.hosts {
        let namespace = &*host.namespace;
        levels.entry(namespace).or_insert_with(|| at_namespace(mesh, namespace, &mut Trace::unheard()));
    }
    levels.retain(|_, level| level.value == ServerMode::Disable);
    if levels.is_empty() {
        return Vec::new();
    }
    written(mesh)
        .filter_map(|rule| {
            let blocks: Vec<_> =
                blocks(rule).into_iter().filter(|block| block.tls.mode == ClientTls::IstioMutual).collect();
            let tls = blocks.first()?.tls;
            let disabled: Vec<(&HostService, &str)> = hosts
                .covered(&host_of(mesh, rule))
                .into_iter()
                .filter(|known| !known.external && is_closest(mesh, rule, &known.host) && is_disabled(mesh, known))
                .filter_map(|known| Some((known, levels.get(&*known.namespace)?.from.as_str())))
                .collect();
            let (_, from) = *disabled.first()?;
            let message = format!(
                "{} sets ISTIO_MUTUAL for {}, where {from} is DISABLE for the whole namespace: the servers cannot decrypt it",
                rule.meta.id(),
                names(disabled.iter().map(|(known, _)| known.host.clone()))
            );
            let yaml = if rule.host.starts_with('*') {
                let narrow = |(known, _): &(&HostService, &str)| {
                    narrower(mesh, rule, &known.host, json!({"mode": "DISABLE"})).yaml()
                };
                together(disabled.iter().map(narrow))
            } else {
                let start = Patch::of(&rule.meta);
                blocks.iter().fold(start, |patch, block| block.to_automatic(mesh, patch)).yaml()
            };
            let remedy = "Make both sides agree: no ISTIO_MUTUAL here, or PERMISSIVE in the namespace.";
            Some(Problem::at(&rule.meta, tls.line, message, remedy).yaml(yaml))
        })
        .collect()
}

/// Tells whether some server behind the host takes no mTLS. With workload policies above it all may, and then such a rule
/// is what mends XC04.
fn is_disabled(mesh: &Mesh, host: &HostService) -> bool {
    host.endpoints.is_empty()
        || host.endpoints.iter().any(|endpoint| {
            endpoint.ports.values().any(|wire| {
                let mode = effective(mesh, &host.namespace, &endpoint.labels, *wire, &mut Trace::unheard());
                mode.value == ServerMode::Disable
            })
        })
}
