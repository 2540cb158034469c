//! GW06: Application TLS passes through, and a rule wraps it in TLS again.

#[cfg(test)]
use crate::lint::Broken;
use crate::lint::survey::Survey;
use crate::lint::survey::gateways::{bindings, meant_for, named, passes_through};
use crate::lint::{Problem, Rule};
use crate::mesh::Mesh;
use crate::mesh::destination_rule::{DestinationRule, TlsSettings};
use crate::mesh::virtual_service::{Destination, RouteKind};
use crate::patch::{self, Patch};
use crate::policy::destination_rule::full_host;
use crate::policy::visibility::{covers, full_name};
use crate::report::{ClientTls, Severity};
use std::collections::BTreeSet;

pub(super) const RULE: Rule = Rule {
    id: "GW06",
    severity: Severity::Medium,
    title: "TLS originated around passed-through TLS",
    page: include_str!("../../../docs/findings/GW06.md"),
    check,
    #[cfg(test)]
    broken: Broken {
        replace: &[
            ("tls: {mode: SIMPLE, credentialName: shop}", "tls: {mode: PASSTHROUGH}"),
            (
                "  http:\n  - route:\n    - destination: {host: web}",
                "  tls:\n  - match: [{sniHosts: [shop.example.com]}]\n    route:\n    - destination: {host: api.bank.example, port: {number: 443}}",
            ),
        ],
        add: "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: broken, namespace: shop, creationTimestamp: '2026-02-01T00:00:00Z'}\nspec: {host: api.bank.example, trafficPolicy: {tls: {mode: SIMPLE, caCertificates: /ca}}}",
        // The port is declared HTTPS, so sidecars wrap TLS in TLS as well.
        also: &["SE02"],
    },
};

fn check(survey: &Survey<'_>) -> Vec<Problem> {
    let mesh = survey.mesh;
    let mut seen = BTreeSet::new();
    let mut problems = Vec::new();
    for (gateway, routes) in bindings(mesh) {
        for server in gateway.servers.iter().filter(|server| passes_through(server)) {
            let by_sni = routes.routes.iter().filter(|route| route.kind == RouteKind::Tls);
            for route in by_sni.filter(|route| meant_for(routes, route, gateway, server)) {
                for to in &route.destinations {
                    let host = full_name(&to.host, &routes.meta.namespace, &mesh.config.domain);
                    let Some((rule, block)) = originating(mesh, to, &host) else { continue };
                    if !seen.insert((rule.meta.id(), block.pointer.clone())) {
                        continue;
                    }
                    let message = format!(
                        "{} originates TLS to {host}, whose traffic {} already passes through encrypted: TLS in TLS",
                        rule.meta.id(),
                        named(gateway, server)
                    );
                    let remedy = "Remove the tls block from the rule, or terminate at the gateway.";
                    problems.push(
                        Problem::at(&rule.meta, block.tls.line, message, remedy).yaml(block.removed(rule)),
                    );
                }
            }
        }
    }
    problems
}

struct Block<'a> {
    tls: &'a TlsSettings,
    pointer: String,
    /// Whether a tls block above would take its place.
    shadows: bool,
}

impl Block<'_> {
    fn removed(&self, rule: &DestinationRule) -> String {
        if rule.is_backend_policy() {
            return patch::delete(&rule.meta);
        }
        let patch = Patch::of(&rule.meta);
        if self.shadows {
            patch.set(&format!("{}/mode", self.pointer), "DISABLE")
        } else {
            patch.remove(&self.pointer)
        }
        .yaml()
    }
}

/// Finds a rule that originates TLS to a destination: in its subset, at its port, or at the top.
fn originating<'a>(mesh: &'a Mesh, to: &Destination, host: &str) -> Option<(&'a DestinationRule, Block<'a>)> {
    mesh.destination_rules.iter().filter(|rule| covers(&full_host(rule, &mesh.config.domain), host)).find_map(
        |rule| {
            let subset = to.subset.as_ref().and_then(|name| {
                let (place, subset) =
                    rule.subsets.iter().enumerate().find(|(_, subset)| subset.name == *name)?;
                Some((format!("/spec/subsets/{place}/trafficPolicy"), subset.policy.as_ref()?))
            });
            let top = rule.policy.as_ref().map(|policy| ("/spec/trafficPolicy".to_owned(), policy));
            let has_top = top.as_ref().is_some_and(|(_, policy)| policy.tls.is_some());
            let levels = [subset, top];
            let found = levels.into_iter().flatten().find_map(|(pointer, policy)| {
                let entry =
                    to.port.and_then(|port| policy.ports.iter().position(|entry| entry.port == Some(port)));
                match entry {
                    Some(place) => Some(Block {
                        tls: policy.ports.get(place)?.tls.as_ref()?,
                        pointer: format!("{pointer}/portLevelSettings/{place}/tls"),
                        shadows: has_top,
                    }),
                    None => Some(Block {
                        tls: policy.tls.as_ref()?,
                        shadows: has_top && pointer.starts_with("/spec/subsets"),
                        pointer: format!("{pointer}/tls"),
                    }),
                }
            })?;
            matches!(found.tls.mode, ClientTls::Simple | ClientTls::Mutual).then_some((rule, found))
        },
    )
}
