//! Declarations against each other, before any packet: a [`Mesh`] in, findings of the catalogue out.
//!
//! Every id of docs/findings.md has one function here. What only the wire can show (ids `OB..`) is not here.

mod ab01_disabled;
mod ab02_hbone_blocked;
mod ab03_ignored_tls;
mod ab04_sidecars_without_hbone;
mod am01_auto_mtls_off;
mod am02_label_denies_mtls;
mod dr01_unknown_host;
mod dr02_without_mode;
mod dr03_hides_tls;
mod dr04_ignored_policy;
mod dr05_port_without_tls;
mod dr06_without_ca;
mod dr07_credential_for_sidecars;
mod dr08_unused_subset;
mod dr09_mesh_certificate_outside;
mod dr10_private_rule;
mod dr11_mutual_without_certificate;
mod dr12_needless_disable;
mod dr13_mutual_to_disabled;
mod gw01_without_tls;
mod gw02_tls_on_plaintext;
mod gw03_certificate_without_mode;
mod gw04_sni_routes_on_terminating;
mod gw05_http_routes_on_passthrough;
mod gw06_double_encryption;
mod gw07_shared_certificate;
pub(crate) mod gw08_needs_sni;
mod gw09_selects_nothing;
mod gw10_port_not_exposed;
mod gw11_dropped;
mod gw12_old_versions;
mod gw13_no_redirect;
mod gw14_mutual_without_ca;
mod gw15_open_auto_passthrough;
mod gw16_optional_certificates;
mod gw17_host_not_served;
mod gw18_plaintext_to_egress;
mod in01_without_proxy;
mod in02_two_proxies;
mod mc01_trust_domain_changed;
mod overlap;
mod pa01_ports_without_selector;
mod pa02_several_for_namespace;
mod pa03_several_for_workload;
mod pa04_labels_in_root;
mod pa05_selects_nothing;
mod pa06_unknown_port;
mod pa07_strict_without_proxy;
mod pa08_permissive;
mod pa09_disabled;
mod pa10_empty_hides_set;
mod pn01_undeclared;
pub(crate) mod pn02_server_speaks_first;
mod pn03_declared_twice;
mod pn04_http_on_tls_port;
mod sc01_hidden_service;
mod sc02_omits_port;
mod sc03_compete;
mod sc04_ignored_tls;
mod se01_http_on_tls_port;
mod se02_double_tls;
mod se03_plaintext_to_tls_port;
mod se04_protocols_differ;
mod se05_endpoint_without_identity;
mod se06_external_but_in_mesh;
mod se07_tcp_without_address;
pub(crate) mod survey;
mod xc01_plaintext_to_strict;
mod xc02_undecryptable;
mod xc03_foreign_tls;
mod xc04_strict_below_disable;
mod xc05_never_connect;
mod xc06_mixed_headless;
mod xc07_excluded_inbound;
mod xc08_excluded_outbound;

use crate::mesh::Mesh;
use crate::mesh::meta::Meta;
use crate::report::{LintFinding, Severity};

use survey::Survey;
use survey::assumed::assumed;
pub use survey::meetings::touching;

/// One finding before its rule names it.
pub(crate) struct Problem {
    resource: String,
    file: Option<String>,
    line: Option<u32>,
    severity: Option<Severity>,
    message: String,
    remedy: String,
    yaml: Option<String>,
}

impl Problem {
    /// Reports a line of a resource.
    pub(crate) fn at(meta: &Meta, line: u32, message: String, remedy: impl Into<String>) -> Self {
        Self {
            resource: meta.id(),
            file: Some(meta.file.to_string()),
            line: Some(line),
            severity: None,
            message,
            remedy: remedy.into(),
            yaml: None,
        }
    }

    /// Reports something that no object of the mesh stands for.
    pub(crate) fn of(resource: String, message: String, remedy: impl Into<String>) -> Self {
        Self { resource, file: None, line: None, severity: None, message, remedy: remedy.into(), yaml: None }
    }

    /// Adds the YAML to apply.
    pub(crate) fn yaml(mut self, yaml: String) -> Self {
        self.yaml = Some(yaml);
        self
    }

    /// Rates this very finding otherwise than its rule does.
    pub(crate) const fn rated(mut self, severity: Severity) -> Self {
        self.severity = Some(severity);
        self
    }
}

/// One id of the catalogue.
pub struct Rule {
    /// The id.
    pub id: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// What it says, in one line.
    pub title: &'static str,
    /// Its page, Markdown: what it means, how to see it, why it happens, how to mend it.
    pub page: &'static str,
    /// Finds it.
    check: fn(&Survey<'_>) -> Vec<Problem>,
    /// The smallest change to a clean mesh that has it.
    #[cfg(test)]
    broken: Broken,
}

/// One thing broken in the clean mesh of `testdata/lint`.
#[cfg(test)]
struct Broken {
    /// Texts of the clean mesh and what replaces them, each wherever it stands.
    replace: &'static [(&'static str, &'static str)],
    /// Documents to add.
    add: &'static str,
    /// Ids that cannot but come along, and why, is for a comment beside them.
    also: &'static [&'static str],
}

/// Every static finding.
pub const RULES: &[Rule] = &[
    ab01_disabled::RULE,
    ab02_hbone_blocked::RULE,
    ab03_ignored_tls::RULE,
    ab04_sidecars_without_hbone::RULE,
    am01_auto_mtls_off::RULE,
    am02_label_denies_mtls::RULE,
    dr01_unknown_host::RULE,
    dr02_without_mode::RULE,
    dr03_hides_tls::RULE,
    dr04_ignored_policy::RULE,
    dr05_port_without_tls::RULE,
    dr06_without_ca::RULE,
    dr07_credential_for_sidecars::RULE,
    dr08_unused_subset::RULE,
    dr09_mesh_certificate_outside::RULE,
    dr10_private_rule::RULE,
    dr11_mutual_without_certificate::RULE,
    dr12_needless_disable::RULE,
    dr13_mutual_to_disabled::RULE,
    gw01_without_tls::RULE,
    gw02_tls_on_plaintext::RULE,
    gw03_certificate_without_mode::RULE,
    gw04_sni_routes_on_terminating::RULE,
    gw05_http_routes_on_passthrough::RULE,
    gw06_double_encryption::RULE,
    gw07_shared_certificate::RULE,
    gw08_needs_sni::RULE,
    gw09_selects_nothing::RULE,
    gw10_port_not_exposed::RULE,
    gw11_dropped::RULE,
    gw12_old_versions::RULE,
    gw13_no_redirect::RULE,
    gw14_mutual_without_ca::RULE,
    gw15_open_auto_passthrough::RULE,
    gw16_optional_certificates::RULE,
    gw17_host_not_served::RULE,
    gw18_plaintext_to_egress::RULE,
    in01_without_proxy::RULE,
    in02_two_proxies::RULE,
    mc01_trust_domain_changed::RULE,
    pa01_ports_without_selector::RULE,
    pa02_several_for_namespace::RULE,
    pa03_several_for_workload::RULE,
    pa04_labels_in_root::RULE,
    pa05_selects_nothing::RULE,
    pa06_unknown_port::RULE,
    pa07_strict_without_proxy::RULE,
    pa08_permissive::RULE,
    pa09_disabled::RULE,
    pa10_empty_hides_set::RULE,
    pn01_undeclared::RULE,
    pn02_server_speaks_first::RULE,
    pn03_declared_twice::RULE,
    pn04_http_on_tls_port::RULE,
    sc01_hidden_service::RULE,
    sc02_omits_port::RULE,
    sc03_compete::RULE,
    sc04_ignored_tls::RULE,
    se01_http_on_tls_port::RULE,
    se02_double_tls::RULE,
    se03_plaintext_to_tls_port::RULE,
    se04_protocols_differ::RULE,
    se05_endpoint_without_identity::RULE,
    se06_external_but_in_mesh::RULE,
    se07_tcp_without_address::RULE,
    xc01_plaintext_to_strict::RULE,
    xc02_undecryptable::RULE,
    xc03_foreign_tls::RULE,
    xc04_strict_below_disable::RULE,
    xc05_never_connect::RULE,
    xc06_mixed_headless::RULE,
    xc07_excluded_inbound::RULE,
    xc08_excluded_outbound::RULE,
];

/// Finds what contradicts itself or something else. Worst first, then by id, resource and line.
#[must_use]
pub fn lint(mesh: &Mesh) -> Vec<LintFinding> {
    let mut findings = found(mesh, RULES.iter());
    // What Istio refuses has no effect, so nothing else is said of it than why it does.
    if let Some(refused) = &mesh.refused {
        let refusing = RULES.iter().filter(|rule| refused.findings.values().any(|ids| ids.contains(rule.id)));
        findings.extend(found(&refused.accepting, refusing).into_iter().filter(|finding| {
            refused.findings.get(&finding.resource).is_some_and(|ids| ids.contains(finding.id.as_str()))
        }));
    }
    findings.sort_by(|a, b| {
        (b.severity, &a.id, &a.resource, a.line, &a.message).cmp(&(
            a.severity,
            &b.id,
            &b.resource,
            b.line,
            &b.message,
        ))
    });
    overlap::tell(&mut findings);
    findings
}

fn found<'a>(mesh: &Mesh, rules: impl Iterator<Item = &'a Rule>) -> Vec<LintFinding> {
    let assumed = assumed(mesh);
    let survey = Survey::of(mesh, assumed.as_ref());
    let of = |rule: &'a Rule| {
        (rule.check)(&survey).into_iter().map(|problem| LintFinding {
            id: rule.id.to_owned(),
            severity: problem.severity.unwrap_or(rule.severity),
            resource: problem.resource,
            file: problem.file,
            line: problem.line,
            message: problem.message,
            remedy: problem.remedy,
            yaml: problem.yaml,
        })
    };
    rules.flat_map(of).collect()
}

/// Lists the first few names, and how many there are beyond.
pub(crate) fn names<I: IntoIterator<Item = String>>(all: I) -> String {
    const SHOWN: usize = 4;
    let all: std::collections::BTreeSet<String> = all.into_iter().collect();
    let shown: Vec<&str> = all.iter().take(SHOWN).map(String::as_str).collect();
    match all.len().checked_sub(SHOWN) {
        Some(more) if more > 0 => format!("{} and {more} more", shown.join(", ")),
        _ => shown.join(", "),
    }
}

/// Chooses the word that goes with one thing, or that with several.
pub(crate) const fn agree<'a>(count: usize, one: &'a str, several: &'a str) -> &'a str {
    if count == 1 { one } else { several }
}

#[cfg(test)]
mod tests;
