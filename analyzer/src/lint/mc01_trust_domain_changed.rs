//! MC01: Identities of a trust domain that the mesh does not know any more, or not yet.

use std::collections::{BTreeMap, BTreeSet};

#[cfg(test)]
use crate::lint::Broken;
use crate::lint::survey::Survey;
use crate::lint::survey::destination_rules::{blocks, written};
use crate::lint::{Problem, Rule, agree, names};
use crate::mesh::Mesh;
use crate::mesh::meta::Meta;
use crate::patch::mesh_config;
use crate::report::Severity;
use serde_json::Value;

pub(super) const RULE: Rule = Rule {
    id: "MC01",
    severity: Severity::Info,
    title: "Identities of another trust domain",
    page: include_str!("../../../docs/findings/MC01.md"),
    check,
    #[cfg(test)]
    broken: Broken {
        replace: &[],
        add: "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: istio, namespace: istio-system}\ndata:\n  mesh: |-\n    trustDomain: new.example\n\n---\napiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: web, namespace: shop}\nspec: {rules: [{from: [{source: {principals: [old.example/ns/data/sa/store]}}]}]}",
        also: &[],
    },
};

/// What the trust domain is where MeshConfig does not say.
const DEFAULT: &str = "cluster.local";

fn check(survey: &Survey<'_>) -> Vec<Problem> {
    let config = &survey.mesh.config;
    let Some(meta) = &config.meta else { return Vec::new() };
    let known = |domain: &str| {
        domain == config.trust_domain
            || config.trust_domain_aliases.iter().any(|alias| alias == domain)
            || config.ca_trust_domains.iter().any(|own| own == domain)
    };
    let problem = |domain: &str, message: String, remedy: String| {
        let line = config.trust_domain_line.unwrap_or(meta.line);
        let problem = Problem::at(meta, line, message, remedy);
        match mesh_config(config, "/trustDomainAliases/-", domain) {
            Some(yaml) => problem.yaml(yaml),
            None => problem,
        }
    };
    let own = &config.trust_domain;
    let mut foreign = named_domains(survey.mesh);
    foreign.retain(|domain, _| !known(domain));
    if foreign.is_empty() && !known(DEFAULT) && config.trust_domain_aliases.is_empty() {
        let message = format!(
            "the mesh's trust domain is {own} and has no alias: if it was {DEFAULT}, the default, certificates from then are refused"
        );
        let remedy =
            format!("If it was, keep {DEFAULT} as an alias until every workload has a certificate of {own}.");
        return vec![problem(DEFAULT, message, remedy)];
    }
    foreign
        .into_iter()
        .map(|(domain, by)| {
            let message = format!(
                "the mesh's trust domain is {own}, but {names} {name} identities of {domain}, which is no alias of it: such certificates are refused",
                name = agree(by.len(), "names", "name"),
                names = names(by),
            );
            let remedy = format!(
                "Keep {domain} as an alias until every workload has a certificate of {own}; or correct the names."
            );
            problem(&domain, message, remedy)
        })
        .collect()
}

/// Trust domains in the names of identities, each with the resources that name it.
fn named_domains(mesh: &Mesh) -> BTreeMap<String, BTreeSet<String>> {
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut add = |domain: Option<&str>, meta: &Meta| {
        if let Some(domain) = domain.filter(|domain| !domain.is_empty() && !domain.contains('*')) {
            found.entry(domain.to_owned()).or_default().insert(meta.id());
        }
    };
    for policy in &mesh.authorization_policies {
        for (principal, _) in &policy.principals {
            // In a principal `cluster.local` means the mesh's own trust domain, whatever that is.
            let domain = principal.split_once("/ns/").map(|(domain, _)| domain);
            add(domain.filter(|domain| *domain != "cluster.local"), &policy.meta);
        }
    }
    let of_uri = |name: &str| Some(name.strip_prefix("spiffe://")?.split_once("/ns/")?.0.to_owned());
    for rule in written(mesh) {
        for name in blocks(rule).iter().flat_map(|block| &block.tls.subject_alt_names) {
            add(of_uri(name).as_deref(), &rule.meta);
        }
    }
    for entry in &mesh.service_entries {
        let source = entry.meta.source.as_deref();
        let names =
            source.and_then(|source| source.pointer("/spec/subjectAltNames")).and_then(Value::as_array);
        for name in names.into_iter().flatten().filter_map(Value::as_str) {
            add(of_uri(name).as_deref(), &entry.meta);
        }
    }
    found
}
