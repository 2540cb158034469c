//! DR01: No Service and no ServiceEntry has the host.

#[cfg(test)]
use crate::lint::Broken;
use crate::lint::survey::Survey;
use crate::lint::survey::destination_rules::{host_of, written};
use crate::lint::{Problem, Rule};
use crate::mesh::Mesh;
use crate::mesh::fqdn;
use crate::mesh::nearest;
use crate::patch::{Patch, delete};
use crate::report::Severity;

pub(super) const RULE: Rule = Rule {
    id: "DR01",
    severity: Severity::Medium,
    title: "A rule for a host that nobody knows",
    page: include_str!("../../../docs/findings/DR01.md"),
    check,
    #[cfg(test)]
    broken: Broken {
        replace: &[],
        add: "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: broken, namespace: shop, creationTimestamp: '2026-02-01T00:00:00Z'}\nspec: {host: web.shop, trafficPolicy: {tls: {mode: ISTIO_MUTUAL}}}",
        also: &[],
    },
};

fn check(survey: &Survey<'_>) -> Vec<Problem> {
    let mesh = survey.mesh;
    written(mesh)
        // Without any Service or pod nothing can be said about names, but of a rule that comes from a cluster.
        .filter(|rule| !mesh.hosts.is_empty() || !mesh.pods.is_empty() || rule.meta.created.is_some())
        .filter_map(|rule| {
            let host = host_of(mesh, rule);
            if survey.hosts.knows(&host) {
                return None;
            }
            let message = format!(
                "{} is for {host}: no Service or ServiceEntry has that name, so the rule does nothing",
                rule.meta.id()
            );
            let at = |remedy: String| Problem::at(&rule.meta, rule.host_line, message, remedy);
            Some(match meant(mesh, &rule.host, &host) {
                Some(name) => {
                    let remedy = format!("Write the full name: {name}.");
                    at(remedy).yaml(Patch::of(&rule.meta).set("/spec/host", name).yaml())
                }
                None => at("Delete the rule, or declare the host.".to_owned()).yaml(delete(&rule.meta)),
            })
        })
        .collect()
}

/// Finds the host that was meant: `service.namespace` without its suffix, a Service of another namespace that alone has
/// the short name, or a name with a slip in it.
fn meant(mesh: &Mesh, written: &str, host: &str) -> Option<String> {
    let mut parts = written.split('.');
    let (name, namespace) = (parts.next()?, parts.next());
    let mut named = mesh.services.iter().filter(|service| {
        &*service.meta.name == name && namespace.is_none_or(|namespace| &*service.meta.namespace == namespace)
    });
    if let (Some(service), None) = (named.next(), named.next()) {
        return Some(fqdn(service, &mesh.config.domain));
    }
    let known: Vec<&str> = mesh.hosts.iter().map(|host| host.host.as_str()).collect();
    nearest(&known, host).map(str::to_owned)
}
