//! DR02, DR05, DR06, DR07, DR11: tls blocks of DestinationRules that say less, or something else, than they seem to.

use crate::lint::{Problem, Survey};
use crate::mesh::Mesh;
use crate::mesh::destination_rule::{DestinationRule, TlsSettings, TrafficPolicy};
use crate::policy::Trace;
use crate::policy::destination_rule::{acting, full_host};
use crate::policy::visibility::covers;
use crate::report::{ClientTls, PartyKind, Severity};

/// The rules that people wrote: BackendTLSPolicies stand beside them under their own kind.
pub(crate) fn written(mesh: &Mesh) -> impl Iterator<Item = &DestinationRule> {
    mesh.destination_rules.iter().filter(|rule| &*rule.meta.kind == "DestinationRule")
}

/// The policies of a rule: its own and its subsets'.
pub(crate) fn policies(rule: &DestinationRule) -> impl Iterator<Item = &TrafficPolicy> {
    rule.policy.iter().chain(rule.subsets.iter().filter_map(|subset| subset.policy.as_ref()))
}

/// Every tls block of a rule: at the top, in subsets, at ports.
pub(crate) fn blocks(rule: &DestinationRule) -> impl Iterator<Item = &TlsSettings> {
    policies(rule).flat_map(|policy| {
        policy.tls.iter().chain(policy.ports.iter().filter_map(|entry| entry.tls.as_ref()))
    })
}

fn each_block<'a>(
    survey: &Survey<'a>,
    broken: impl Fn(&DestinationRule, &TlsSettings) -> Option<Problem>,
) -> Vec<Problem> {
    written(survey.mesh)
        .flat_map(|rule| blocks(rule).filter_map(|tls| broken(rule, tls)).collect::<Vec<_>>())
        .collect()
}

/// DR02: a tls block without a mode is DISABLE, the zero value.
pub(crate) fn without_mode(survey: &Survey<'_>) -> Vec<Problem> {
    each_block(survey, |rule, tls| {
        (!tls.mode_written).then(|| {
            let message = format!(
                "{} has a tls block without mode: that means DISABLE, and switches auto mTLS off",
                rule.meta.id()
            );
            Problem::at(&rule.meta, tls.line, message, "State the mode.")
                .yaml("spec:\n  trafficPolicy:\n    tls:\n      mode: ISTIO_MUTUAL\n".to_owned())
        })
    })
}

/// DR05: a port's entry replaces the whole policy, so tls above it is not inherited.
pub(crate) fn port_without_tls(survey: &Survey<'_>) -> Vec<Problem> {
    let mut problems = Vec::new();
    for rule in written(survey.mesh) {
        for policy in policies(rule) {
            let Some(above) = policy.tls.as_ref().or_else(|| rule.policy.as_ref()?.tls.as_ref()) else {
                continue;
            };
            for entry in policy.ports.iter().filter(|entry| entry.tls.is_none()) {
                let port = entry.port.map_or_else(|| "a port".to_owned(), |port| format!("port {port}"));
                let message = format!(
                    "{} has settings for {port} without tls: the {} above them is not inherited",
                    rule.meta.id(),
                    above.mode
                );
                let yaml = format!(
                    "portLevelSettings:\n- port:\n    number: {}\n  tls:\n    mode: {}\n",
                    entry.port.map_or_else(|| "PORT".to_owned(), |port| port.to_string()),
                    above.mode
                );
                problems.push(
                    Problem::at(&rule.meta, entry.line, message, "Repeat the tls block in the entry.")
                        .yaml(yaml),
                );
            }
        }
    }
    problems
}

/// DR06: the server's certificate is verified against the system's roots, or not at all.
pub(crate) fn without_ca(survey: &Survey<'_>) -> Vec<Problem> {
    each_block(survey, |rule, tls| {
        let originates = matches!(tls.mode, ClientTls::Simple | ClientTls::Mutual);
        let remedy = "Name the CA in caCertificates, and the server in subjectAltNames.";
        if originates && tls.insecure_skip_verify {
            let message = format!("{} does not verify the server: insecureSkipVerify", rule.meta.id());
            Some(Problem::at(&rule.meta, tls.line, message, remedy).rated(Severity::Medium))
        } else if originates && !tls.ca_certificates && tls.credential_name.is_none() {
            let message = format!(
                "{} names no caCertificates: any CA of the system's roots is trusted",
                rule.meta.id()
            );
            Some(Problem::at(&rule.meta, tls.line, message, remedy))
        } else {
            None
        }
    })
}

/// DR07: sidecars skip `credentialName` unless the rule has a workloadSelector.
pub(crate) fn credential_for_sidecars(survey: &Survey<'_>) -> Vec<Problem> {
    let mesh = survey.mesh;
    each_block(survey, |rule, tls| {
        let credential = tls.credential_name.as_deref().filter(|name| !name.starts_with("configmap://"))?;
        let originates = matches!(tls.mode, ClientTls::Simple | ClientTls::Mutual);
        if !originates || rule.workload_selector.is_some() || !used_by_sidecars(mesh, rule) {
            return None;
        }
        let message = format!(
            "{} names credentialName {credential} without workloadSelector: sidecars skip it and originate no TLS",
            rule.meta.id()
        );
        let remedy = "Add a workloadSelector, use certificate files, or originate at a gateway.";
        Some(
            Problem::at(&rule.meta, tls.line, message, remedy).yaml(
                "spec:\n  workloadSelector:\n    matchLabels:\n      app: NAME-OF-THE-CLIENT\n".to_owned(),
            ),
        )
    })
}

/// Tells whether sidecars use a rule: some sidecar's lookup ends at it, and the host is not routed through a gateway,
/// which then is the one that uses it. Without any pod to ask, sidecars are assumed.
fn used_by_sidecars(mesh: &Mesh, rule: &DestinationRule) -> bool {
    let host = full_host(rule, &mesh.config.domain);
    let through_gateway = mesh.virtual_services.iter().any(|routes| {
        routes.routes.iter().any(|route| {
            let at_gateway = route.gateways.iter().chain(&routes.gateways).any(|name| name != "mesh");
            at_gateway && routes.is_for_mesh() && route.destinations.iter().any(|to| covers(&host, &to.host))
        })
    });
    if through_gateway {
        return false;
    }
    let mut sidecars = mesh.pods.iter().filter(|pod| pod.proxy == PartyKind::Sidecar).peekable();
    if sidecars.peek().is_none() {
        return !mesh.pods.iter().any(|pod| pod.proxy == PartyKind::Gateway);
    }
    let hosts: Vec<_> = mesh.hosts.iter().filter(|known| covers(&host, &known.host)).collect();
    sidecars.any(|pod| {
        hosts.iter().any(|known| {
            acting(mesh, Some(pod), &pod.meta.namespace, known, &mut Trace::default())
                .is_some_and(|found| std::ptr::eq(found.policy_from, rule))
        })
    })
}

/// DR11: MUTUAL needs a client certificate from somewhere.
pub(crate) fn mutual_without_certificate(survey: &Survey<'_>) -> Vec<Problem> {
    each_block(survey, |rule, tls| {
        (tls.mode == ClientTls::Mutual && !tls.client_certificate && tls.credential_name.is_none()).then(|| {
            let message = format!(
                "{} sets MUTUAL without clientCertificate and privateKey or credentialName: Istio rejects it",
                rule.meta.id()
            );
            Problem::at(&rule.meta, tls.line, message, "Name the client's certificate and key, or use ISTIO_MUTUAL.")
        })
    })
}
