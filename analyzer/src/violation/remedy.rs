//! What mends a violation: a sentence, the very resource, and YAML to apply.

use std::collections::BTreeMap;

use crate::mesh::destination_rule::{DestinationRule, TlsSettings};
use crate::mesh::meta::Meta;
use crate::policy::peer_authentication::chosen_for_workload;
use crate::report::{Citation, PartyKind, Remedy, ServerMode};
use crate::violation::{Case, Kind};

/// Says what mends a violation with this cause.
#[must_use]
pub(super) fn of(kind: Kind, case: &Case<'_>, cause: Option<&str>, because: &[Citation]) -> Remedy {
    let rule =
        cause.and_then(|cause| case.mesh.destination_rules.iter().find(|rule| rule.meta.id() == cause));
    let (summary, yaml) = match (kind, rule) {
        (
            Kind::PlaintextRefused | Kind::Downgrade | Kind::CertificateMissing | Kind::PlaintextUnderStrict,
            Some(rule),
        ) => (
            format!("Let {} use the workload's mesh identity.", rule.meta.id()),
            rule_yaml(rule, because, "ISTIO_MUTUAL"),
        ),
        (Kind::Unterminated, Some(rule)) => (
            format!("Send no Istio mTLS to a server without proxy, or give {} a sidecar.", case.server.name()),
            rule_yaml(rule, because, "DISABLE"),
        ),
        (Kind::PlaintextRefused, None) => (
            format!(
                "Give {} a sidecar. Until then, open this one port: it then accepts plaintext.",
                case.client.name()
            ),
            open_port(case),
        ),
        (Kind::MigrationBlocker, _) => (
            format!("Give {} a sidecar before {} becomes STRICT.", case.client.name(), case.server.name()),
            inject(case.client.namespace.as_deref(), case.client.kind),
        ),
        (Kind::PlaintextUnderStrict, None) => (
            format!(
                "STRICT is declared but nobody enforces it at {}: give the pod a sidecar, end the exclusion of the \
                 port, or restart a pod whose proxy is stale.",
                case.server.name()
            ),
            inject(case.server.namespace.as_deref(), case.server.kind),
        ),
        (Kind::CertificateMissing | Kind::TlsToHttpPort, _) => (
            "Send plaintext and let the client's sidecar encrypt it, or declare the port's protocol as https or tls."
                .to_owned(),
            None,
        ),
        (Kind::Downgrade, None) => (
            "Call the Service rather than the pod's address, make the Service visible to the client, and restart a \
             client whose proxy is stale."
                .to_owned(),
            None,
        ),
        (Kind::Unterminated, None) => (
            format!("Let {} terminate mTLS: give it a sidecar, or stop excluding the port.", case.server.name()),
            inject(case.server.namespace.as_deref(), case.server.kind),
        ),
        (Kind::PlaintextToTlsPort, _) => {
            ("Let the client speak TLS there, or declare the port's real protocol.".to_owned(), None)
        }
        (Kind::GatewayRefuses, _) => gateway(case, "Let the client send what the server declares."),
        (Kind::GatewayCertificateMissing, _) => gateway(
            case,
            "The declared server is not the one that answered: check that no other server has this host, and that \
             the gateway has loaded its configuration.",
        ),
        (Kind::StaleDestination, _) => {
            ("Restart the client: its proxy holds an endpoint that is another's by now.".to_owned(), None)
        }
        (Kind::AmbientNotCaptured, _) => {
            ("Restart the pods, so that the node's CNI plugin redirects their traffic to ztunnel.".to_owned(), None)
        }
    };
    let cited = cause.and_then(|cause| because.iter().rfind(|citation| citation.resource == cause));
    Remedy {
        summary,
        resource: cause.map(str::to_owned),
        file: cited.and_then(|citation| citation.file.clone()),
        line: cited.and_then(|citation| citation.line),
        yaml,
    }
}

fn head(api: &str, kind: &str, meta: &Meta) -> String {
    format!(
        "apiVersion: {api}\nkind: {kind}\nmetadata:\n  name: {}\n  namespace: {}\n",
        meta.name, meta.namespace
    )
}

/// Changes the mode where it stands: at the top, or in the entry of one Service port, with the entries beside it, because
/// a list is replaced as a whole. Absent for a block in a subset, where only the rule's file can be edited.
fn rule_yaml(rule: &DestinationRule, because: &[Citation], mode: &str) -> Option<String> {
    let id = rule.meta.id();
    let cited = |tls: Option<&TlsSettings>| {
        tls.is_some_and(|tls| {
            because.iter().any(|citation| citation.resource == id && citation.line == Some(tls.line))
        })
    };
    let policy = rule.policy.as_ref()?;
    let mut text = head("networking.istio.io/v1", "DestinationRule", &rule.meta);
    text.push_str(&format!("spec:\n  host: \"{}\"\n  trafficPolicy:\n", rule.host));
    if policy.ports.iter().any(|entry| cited(entry.tls.as_ref())) {
        text.push_str("    portLevelSettings:\n");
        for entry in &policy.ports {
            let Some(port) = entry.port else { continue };
            text.push_str(&format!("    - port:\n        number: {port}\n"));
            if cited(entry.tls.as_ref()) {
                text.push_str(&format!("      tls:\n        mode: {mode}\n"));
            } else if let Some(tls) = &entry.tls {
                text.push_str(&format!("      tls:\n        mode: {}\n", tls.mode));
            }
        }
    } else if cited(policy.tls.as_ref()) {
        text.push_str(&format!("    tls:\n      mode: {mode}\n"));
    } else {
        return None;
    }
    Some(text)
}

/// Opens one port of the server's workload: in the workload's own policy where it has one, for policies are not merged,
/// and with all that it declares for other ports. In the root namespace no policy acts for single workloads.
fn open_port(case: &Case<'_>) -> Option<String> {
    let pod = case.mesh.pod_at(case.flow.server.ip, Some(case.flow.server.port))?;
    if *pod.meta.namespace == *case.mesh.config.root_namespace {
        return None;
    }
    let port = case.flow.server.port;
    let (mut text, selector, mode, mut ports) = match chosen_for_workload(
        case.mesh,
        &pod.meta.namespace,
        &pod.meta.labels,
    ) {
        Some(own) => {
            let ports = own.ports.iter().map(|(number, (mode, _))| (*number, *mode)).collect();
            let head = head("security.istio.io/v1", "PeerAuthentication", &own.meta);
            (head, own.selector.clone(), own.mode, ports)
        }
        None => {
            let (key, value) = ["app", "app.kubernetes.io/name", "service.istio.io/canonical-name"]
                .iter()
                .find_map(|key| pod.meta.labels.get_key_value(*key))
                .or_else(|| pod.meta.labels.iter().next())?;
            let head = format!(
                "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata:\n  name: {}-{port}\n  namespace: {}\n",
                pod.workload, pod.meta.namespace
            );
            let selector = [(key.clone(), value.clone())].into();
            (head, selector, Some(ServerMode::Strict), BTreeMap::new())
        }
    };
    ports.insert(port, Some(ServerMode::Permissive));
    text.push_str("spec:\n  selector:\n    matchLabels:\n");
    for (key, value) in &selector {
        text.push_str(&format!("      {key}: \"{value}\"\n"));
    }
    if let Some(mode) = mode {
        text.push_str(&format!("  mtls:\n    mode: {mode}\n"));
    }
    text.push_str("  portLevelMtls:\n");
    for (number, mode) in ports {
        let mode = mode.map_or_else(|| "UNSET".to_owned(), |mode| mode.to_string());
        text.push_str(&format!("    {number}:\n      mode: {mode}\n"));
    }
    Some(text)
}

/// Labels a namespace for injection; new pods get a sidecar.
fn inject(namespace: Option<&str>, kind: PartyKind) -> Option<String> {
    let namespace = namespace.filter(|_| kind == PartyKind::NoProxy)?;
    Some(format!(
        "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: {namespace}\n  labels:\n    istio-injection: enabled\n"
    ))
}

fn gateway(case: &Case<'_>, advice: &str) -> (String, Option<String>) {
    let Some(described) = &case.expectation.expected.gateway_server else { return (advice.to_owned(), None) };
    let found = case.mesh.gateways.iter().find(|gateway| gateway.meta.id() == described.from);
    let server = found.and_then(|gateway| {
        Some((gateway, gateway.servers.iter().find(|server| server.port_name == described.port_name)?))
    });
    let yaml = server.map(|(gateway, server)| {
        let mut text = head("networking.istio.io/v1", "Gateway", &gateway.meta);
        text.push_str("spec:\n  servers:\n");
        text.push_str(&format!(
            "  - port:\n      number: {}\n      protocol: {}\n",
            server.port, server.protocol_text
        ));
        if let Some(name) = &server.port_name {
            text.push_str(&format!("      name: {name}\n"));
        }
        text.push_str("    hosts:\n");
        for host in &server.hosts {
            text.push_str(&format!("    - \"{host}\"\n"));
        }
        if let Some(tls) = &server.tls {
            text.push_str(&format!("    tls:\n      mode: {}\n", tls.mode));
            if let Some(name) = &tls.credential_name {
                text.push_str(&format!("      credentialName: {name}\n"));
            }
        }
        text
    });
    let advice = format!(
        "{advice} Below is the declared server, an excerpt of its Gateway: edit it there, beside the other servers, if \
         the traffic is what is meant."
    );
    (advice, yaml)
}
