//! Declarations against each other, before any packet: a [`Mesh`] in, findings of the catalogue out.
//!
//! Every id of docs/findings.md has one function here. What only the wire can show (ids `OB..`) is not here.

mod ambient;
mod contradictions;
mod destination_rules;
mod gateway_routes;
mod gateway_servers;
mod hosts;
mod injection;
mod peer_authentications;
mod rule_tls;
mod service_entries;
mod service_ports;
mod sidecars;

use crate::mesh::Mesh;
use crate::mesh::meta::Meta;
use crate::report::{LintFinding, Severity};

pub use contradictions::touching;
use contradictions::{Meeting, meetings};

/// What the checks look at: the declarations, and the client and server pairs that contradict each other.
pub(crate) struct Survey<'a> {
    pub(crate) mesh: &'a Mesh,
    pub(crate) meetings: Vec<Meeting<'a>>,
}

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
    check: fn(&Survey<'_>) -> Vec<Problem>,
}

const fn rule(
    id: &'static str,
    severity: Severity,
    title: &'static str,
    check: fn(&Survey<'_>) -> Vec<Problem>,
) -> Rule {
    Rule { id, severity, title, check }
}

/// Every static finding.
pub const RULES: &[Rule] = &[
    rule(
        "XC01",
        Severity::Critical,
        "A client sends no TLS to a STRICT server",
        contradictions::plaintext_to_strict,
    ),
    rule(
        "XC02",
        Severity::High,
        "ISTIO_MUTUAL to a server that cannot decrypt it",
        contradictions::undecryptable,
    ),
    rule("XC03", Severity::High, "SIMPLE or MUTUAL to a port of the mesh", contradictions::foreign_tls),
    rule(
        "XC07",
        Severity::High,
        "Istio mTLS to a port excluded from interception",
        contradictions::excluded_inbound,
    ),
    rule(
        "XC08",
        Severity::Medium,
        "Traffic to a STRICT server bypasses its proxy",
        contradictions::excluded_outbound,
    ),
    rule("AM01", Severity::High, "STRICT servers, and auto mTLS is off", contradictions::auto_mtls_off),
    rule(
        "PA01",
        Severity::High,
        "portLevelMtls without a selector",
        peer_authentications::ports_without_selector,
    ),
    rule(
        "PA02",
        Severity::Medium,
        "Several PeerAuthentications for one namespace",
        peer_authentications::several_for_namespace,
    ),
    rule(
        "PA03",
        Severity::Medium,
        "Several PeerAuthentications for one workload",
        peer_authentications::several_for_workload,
    ),
    rule(
        "PA04",
        Severity::High,
        "A PeerAuthentication with labels in the root namespace",
        peer_authentications::labels_in_root,
    ),
    rule(
        "PA05",
        Severity::Low,
        "A PeerAuthentication that selects no pod",
        peer_authentications::selects_nothing,
    ),
    rule(
        "PA06",
        Severity::High,
        "portLevelMtls for a port that no selected pod has",
        peer_authentications::unknown_port,
    ),
    rule(
        "PA07",
        Severity::High,
        "STRICT where no proxy enforces it",
        peer_authentications::strict_without_proxy,
    ),
    rule("PA08", Severity::Info, "Workloads that still take plaintext", peer_authentications::permissive),
    rule("PA09", Severity::Medium, "mTLS switched off", peer_authentications::disabled),
    rule("PA10", Severity::Low, "An empty policy hides a set one", peer_authentications::empty_hides_set),
    rule(
        "XC04",
        Severity::Critical,
        "STRICT below a namespace's DISABLE",
        peer_authentications::strict_below_disable,
    ),
    rule("XC05", Severity::Info, "Pods that can never connect", injection::never_connect),
    rule("XC06", Severity::High, "A headless service with and without proxies", injection::mixed_headless),
    rule("AM02", Severity::Medium, "A label that denies a sidecar's mTLS", injection::label_denies_mtls),
    rule(
        "IN01",
        Severity::Medium,
        "Pods without a proxy in a namespace of the mesh",
        injection::without_proxy,
    ),
    rule("AB01", Severity::Low, "DISABLE over ambient workloads", ambient::disabled),
    rule(
        "AB04",
        Severity::High,
        "Sidecars that ambient clients cannot reach",
        ambient::sidecars_without_hbone,
    ),
    rule("SC02", Severity::Low, "A Sidecar that leaves out a port", sidecars::omits_port),
    rule("SC03", Severity::High, "Two Sidecars for one workload", sidecars::compete),
    rule("SC04", Severity::Medium, "TLS of a Sidecar's listener that is ignored", sidecars::ignored_tls),
    rule("IN02", Severity::High, "Sidecar and ztunnel on one pod", injection::two_proxies),
    rule("GW01", Severity::High, "HTTPS or TLS server without tls", gateway_servers::without_tls),
    rule("GW02", Severity::High, "tls on a plaintext server", gateway_servers::tls_on_plaintext),
    rule(
        "GW03",
        Severity::High,
        "A certificate and no mode: PASSTHROUGH",
        gateway_servers::certificate_without_mode,
    ),
    rule(
        "GW04",
        Severity::High,
        "tls routes on a terminating server",
        gateway_routes::sni_routes_on_terminating,
    ),
    rule(
        "GW05",
        Severity::High,
        "http routes on a PASSTHROUGH server",
        gateway_routes::http_routes_on_passthrough,
    ),
    rule(
        "GW06",
        Severity::Medium,
        "TLS originated around passed-through TLS",
        gateway_routes::double_encryption,
    ),
    rule("GW07", Severity::Medium, "One certificate on two Gateways", gateway_servers::shared_certificate),
    rule("GW09", Severity::High, "A Gateway that selects no pod", gateway_servers::selects_nothing),
    rule(
        "GW10",
        Severity::Medium,
        "A server port that the Service does not expose",
        gateway_servers::port_not_exposed,
    ),
    rule("GW11", Severity::High, "A server dropped for an earlier one", gateway_servers::dropped),
    rule("GW12", Severity::Medium, "Old TLS versions or suites", gateway_servers::old_versions),
    rule("GW13", Severity::Medium, "Plaintext beside HTTPS without a redirect", gateway_servers::no_redirect),
    rule("GW14", Severity::High, "MUTUAL without a CA", gateway_servers::mutual_without_ca),
    rule("GW15", Severity::Medium, "AUTO_PASSTHROUGH too wide", gateway_servers::open_auto_passthrough),
    rule("GW16", Severity::Low, "Client certificates are optional", gateway_servers::optional_certificates),
    rule(
        "GW17",
        Severity::Medium,
        "A routed host that the Gateway does not serve",
        gateway_routes::host_not_served,
    ),
    rule("GW18", Severity::High, "Plaintext to an egress gateway", gateway_routes::plaintext_to_egress),
    rule("SE01", Severity::Medium, "An external TLS port declared HTTP", service_entries::http_on_tls_port),
    rule("SE02", Severity::High, "TLS originated around an HTTPS port", service_entries::double_tls),
    rule("SE03", Severity::High, "Plaintext to a TLS target port", service_entries::plaintext_to_tls_port),
    rule("SE04", Severity::Medium, "One host and port, two protocols", service_entries::protocols_differ),
    rule(
        "SE05",
        Severity::Medium,
        "An endpoint of the mesh without an identity",
        service_entries::endpoint_without_identity,
    ),
    rule(
        "SE06",
        Severity::Medium,
        "Mesh workloads declared outside the mesh",
        service_entries::external_but_in_mesh,
    ),
    rule("SE07", Severity::Medium, "A TCP entry without addresses", service_entries::tcp_without_address),
    rule("PN01", Severity::Info, "A port without a declared protocol", service_ports::undeclared),
    rule("PN03", Severity::Medium, "One container port, two protocols", service_ports::declared_twice),
    rule("PN04", Severity::Medium, "A TLS port named http", service_ports::http_on_tls_port),
    rule("DR01", Severity::Medium, "A rule for a host that nobody knows", destination_rules::unknown_host),
    rule("DR03", Severity::Low, "A rule without tls hides one with tls", destination_rules::hides_tls),
    rule(
        "DR04",
        Severity::Medium,
        "A second rule for one host is ignored",
        destination_rules::ignored_policy,
    ),
    rule("DR08", Severity::Low, "A subset's tls that no route uses", destination_rules::unused_subset),
    rule(
        "DR09",
        Severity::High,
        "ISTIO_MUTUAL to a host outside the mesh",
        destination_rules::mesh_certificate_outside,
    ),
    rule(
        "DR13",
        Severity::Low,
        "ISTIO_MUTUAL where the namespace is DISABLE",
        destination_rules::mutual_to_disabled,
    ),
    rule("DR02", Severity::High, "A tls block without mode", rule_tls::without_mode),
    rule("DR05", Severity::Medium, "Port settings without the tls above them", rule_tls::port_without_tls),
    rule(
        "DR06",
        Severity::Low,
        "TLS that does not verify the server against a named CA",
        rule_tls::without_ca,
    ),
    rule("DR07", Severity::High, "credentialName that sidecars skip", rule_tls::credential_for_sidecars),
    rule("DR11", Severity::High, "MUTUAL without a client certificate", rule_tls::mutual_without_certificate),
    rule("DR12", Severity::Medium, "DISABLE where both ends could do mTLS", contradictions::needless_disable),
];

/// Finds what contradicts itself or something else. Worst first, then by id, resource and line.
#[must_use]
pub fn lint(mesh: &Mesh) -> Vec<LintFinding> {
    let survey = Survey { mesh, meetings: meetings(mesh) };
    let mut findings: Vec<LintFinding> = RULES
        .iter()
        .flat_map(|rule| {
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
        })
        .collect();
    findings.sort_by(|a, b| {
        (b.severity, &a.id, &a.resource, a.line, &a.message).cmp(&(
            a.severity,
            &b.id,
            &b.resource,
            b.line,
            &b.message,
        ))
    });
    findings
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

#[cfg(test)]
mod tests;
