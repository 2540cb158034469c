//! GW01, GW02, GW03, GW07, GW09 to GW16: servers of Gateways, each by itself and beside the others on its pods.

use std::collections::BTreeSet;

use crate::lint::{Problem, Survey, names};
use crate::mesh::Mesh;
use crate::mesh::gateway::{Gateway, Server, ServerTls, ServerTlsMode};
use crate::mesh::meta::selects;
use crate::mesh::pod::Pod;
use crate::policy::visibility::covers;
use crate::report::PartyKind;

/// Checks each server of each Gateway by itself.
fn each<'a>(
    survey: &Survey<'a>,
    broken: impl Fn(&'a Gateway, &'a Server) -> Option<Problem>,
) -> Vec<Problem> {
    survey
        .mesh
        .gateways
        .iter()
        .flat_map(|gateway| {
            gateway.servers.iter().filter_map(|server| broken(gateway, server)).collect::<Vec<_>>()
        })
        .collect()
}

/// Checks the tls block of each server that has one and whose protocol takes one.
fn each_tls<'a>(
    survey: &Survey<'a>,
    broken: impl Fn(&'a Gateway, &'a Server, &'a ServerTls) -> Option<Problem>,
) -> Vec<Problem> {
    each(survey, |gateway, server| {
        broken(gateway, server, server.tls.as_ref().filter(|_| server.protocol.is_tls())?)
    })
}

/// Names a server as messages do.
pub(crate) fn named(gateway: &Gateway, server: &Server) -> String {
    let name = server.port_name.as_deref().unwrap_or("unnamed");
    format!("server {name} ({} {}) of {}", server.protocol_text, server.port, gateway.meta.id())
}

/// Tells whether a server ends TLS itself.
pub(crate) fn terminates(server: &Server) -> bool {
    server.protocol.is_tls()
        && server.tls.as_ref().is_some_and(|tls| match tls.mode {
            ServerTlsMode::Simple
            | ServerTlsMode::Mutual
            | ServerTlsMode::OptionalMutual
            | ServerTlsMode::IstioMutual => true,
            ServerTlsMode::Passthrough | ServerTlsMode::AutoPassthrough => false,
        })
}

/// Tells whether a Gateway came from the Gateway API, where istiod keeps pods, Service and redirects itself.
fn from_gateway_api(gateway: &Gateway) -> bool {
    gateway.selector.contains_key("gateway.networking.k8s.io/gateway-name")
}

fn tls_yaml(mode: &str) -> String {
    format!("tls:\n  mode: {mode}\n  credentialName: NAME-OF-THE-SECRET\n")
}

/// GW01: HTTPS or TLS without a tls block.
pub(crate) fn without_tls(survey: &Survey<'_>) -> Vec<Problem> {
    each(survey, |gateway, server| {
        (server.protocol.is_tls() && server.tls.is_none()).then(|| {
            let message = format!("{} has no tls block: Istio rejects it", named(gateway, server));
            Problem::at(&gateway.meta, server.line, message, "Add a tls block with a mode.")
                .yaml(tls_yaml("SIMPLE"))
        })
    })
}

/// GW02: a tls block on a protocol that has no TLS.
pub(crate) fn tls_on_plaintext(survey: &Survey<'_>) -> Vec<Problem> {
    each(survey, |gateway, server| {
        let tls = server.tls.as_ref()?;
        let redirect = tls.only_redirect && server.protocol.is_http();
        (!server.protocol.is_tls() && !redirect).then(|| {
            let message = format!("{} has a tls block: Istio rejects it", named(gateway, server));
            Problem::at(
                &gateway.meta,
                tls.line,
                message,
                "Set the protocol to HTTPS or TLS, or remove the tls block.",
            )
        })
    })
}

/// GW03: no mode means PASSTHROUGH, so the certificate is never used.
pub(crate) fn certificate_without_mode(survey: &Survey<'_>) -> Vec<Problem> {
    each_tls(survey, |gateway, server, tls| {
        (!tls.mode_written && (tls.credential_name.is_some() || tls.server_certificate)).then(|| {
            let message = format!(
                "{} names a certificate but no mode: that means PASSTHROUGH, and the certificate is not used",
                named(gateway, server)
            );
            let problem = Problem::at(&gateway.meta, tls.line, message, "Set SIMPLE or MUTUAL.");
            problem.yaml("tls:\n  mode: SIMPLE\n".to_owned())
        })
    })
}

/// GW07: clients reuse one HTTP/2 connection for every host of a certificate.
pub(crate) fn shared_certificate(survey: &Survey<'_>) -> Vec<Problem> {
    let mesh = survey.mesh;
    let mut problems = Vec::new();
    let terminating: Vec<(&Gateway, &Server, &str)> = mesh
        .gateways
        .iter()
        .flat_map(|gateway| gateway.servers.iter().map(move |server| (gateway, server)))
        .filter(|(_, server)| terminates(server))
        .filter_map(|(gateway, server)| {
            let tls = server.tls.as_ref()?;
            Some((
                gateway,
                server,
                tls.credential_name.as_deref().or(tls.server_certificate_file.as_deref())?,
            ))
        })
        .collect();
    for (index, (gateway, server, certificate)) in terminating.iter().enumerate() {
        let other = terminating.iter().take(index).find(|(earlier, first, same)| {
            same == certificate
                && !std::ptr::eq(*earlier, *gateway)
                && first.port == server.port
                && first.hosts != server.hosts
                && together(mesh, earlier, gateway)
        });
        if let Some((earlier, _, _)) = other {
            let message = format!(
                "{} shares certificate {certificate} with {} for other hosts: browsers reuse the connection and get 404",
                named(gateway, server),
                earlier.meta.id()
            );
            let remedy = "Use one Gateway with one wildcard server for the certificate's hosts.";
            problems.push(Problem::at(&gateway.meta, server.line, message, remedy));
        }
    }
    problems
}

/// GW09: the selector finds no pod.
pub(crate) fn selects_nothing(survey: &Survey<'_>) -> Vec<Problem> {
    let mesh = survey.mesh;
    mesh.gateways
        .iter()
        .filter(|gateway| !mesh.pods.iter().any(|pod| configures(gateway, pod)))
        .map(|gateway| {
            let labels = names(gateway.selector.iter().map(|(key, value)| format!("{key}={value}")));
            let message =
                format!("{} selects {labels}: no pod has that, so nothing listens", gateway.meta.id());
            Problem::at(
                &gateway.meta,
                gateway.meta.line,
                message,
                "Correct the selector, or deploy the gateway.",
            )
        })
        .collect()
}

/// GW10: the gateway's Service does not have the server's port.
pub(crate) fn port_not_exposed(survey: &Survey<'_>) -> Vec<Problem> {
    let mesh = survey.mesh;
    each(survey, |gateway, server| {
        let exposed: BTreeSet<u16> = pods(mesh, gateway).flat_map(|pod| service_ports(mesh, pod)).collect();
        (!exposed.is_empty() && !exposed.contains(&server.port)).then(|| {
            let message = format!(
                "{}: the Service of its pods has no port {}, only {}",
                named(gateway, server),
                server.port,
                names(exposed.iter().map(u16::to_string))
            );
            Problem::at(&gateway.meta, server.line, message, "Add the port to the gateway's Service.")
        })
    })
}

/// GW11: an earlier server has the port or the host, so this one is dropped without a word.
pub(crate) fn dropped(survey: &Survey<'_>) -> Vec<Problem> {
    let mesh = survey.mesh;
    let mut kept: Vec<(&Gateway, &Server)> = Vec::new();
    let mut problems = Vec::new();
    for gateway in &mesh.gateways {
        for server in &gateway.servers {
            let winner = kept.iter().find(|(earlier, first)| {
                first.port == server.port && together(mesh, earlier, gateway) && clash(first, server)
            });
            match winner {
                Some((earlier, first)) => {
                    let message = format!(
                        "{} is dropped: {} came first",
                        named(gateway, server),
                        named(earlier, first)
                    );
                    let remedy = "Give it hosts of its own, or another port.";
                    problems.push(Problem::at(&gateway.meta, server.line, message, remedy));
                }
                None => kept.push((gateway, server)),
            }
        }
    }
    problems
}

/// Tells whether a later server cannot stand beside an earlier one on the same port.
fn clash(earlier: &Server, later: &Server) -> bool {
    match (earlier.protocol.is_tls(), later.protocol.is_tls()) {
        (false, false) => earlier.protocol.is_http() != later.protocol.is_http(),
        (true, true) => earlier.hosts.iter().any(|host| later.hosts.contains(host)),
        (true, false) | (false, true) => false,
    }
}

/// GW12: versions and suites that are no longer safe.
pub(crate) fn old_versions(survey: &Survey<'_>) -> Vec<Problem> {
    each_tls(survey, |gateway, server, tls| {
        let old = tls.min_version.as_deref().filter(|version| matches!(*version, "TLSV1_0" | "TLSV1_1"));
        let legacy = names(tls.cipher_suites.iter().filter(|suite| is_legacy(suite)).cloned());
        let what = match (old, legacy.is_empty()) {
            (None, true) => return None,
            (Some(version), true) => format!("accepts {version}"),
            (None, false) => format!("offers {legacy}"),
            (Some(version), false) => format!("accepts {version} and offers {legacy}"),
        };
        let message = format!("{} {what}", named(gateway, server));
        let problem = Problem::at(&gateway.meta, tls.line, message, "Require TLS 1.2 with AEAD suites.");
        Some(problem.yaml("tls:\n  minProtocolVersion: TLSV1_2\n".to_owned()))
    })
}

/// Suites without authenticated encryption.
fn is_legacy(suite: &str) -> bool {
    !["GCM", "CHACHA20", "CCM"].iter().any(|safe| suite.to_ascii_uppercase().contains(safe))
}

/// GW13: the same host answers in plaintext as well.
pub(crate) fn no_redirect(survey: &Survey<'_>) -> Vec<Problem> {
    let mesh = survey.mesh;
    each(survey, |gateway, server| {
        let redirects = server.tls.as_ref().is_some_and(|tls| tls.https_redirect);
        if !server.protocol.is_http() || redirects || from_gateway_api(gateway) {
            return None;
        }
        let host = mesh
            .gateways
            .iter()
            .filter(|other| together(mesh, other, gateway))
            .flat_map(|other| &other.servers)
            .filter(|other| terminates(other))
            .flat_map(|other| &other.hosts)
            .find(|host| server.hosts.iter().any(|own| own == *host || own == "*"))?;
        let message = format!(
            "{} serves {host} in plaintext, though it is served on HTTPS too",
            named(gateway, server)
        );
        let problem = Problem::at(&gateway.meta, server.line, message, "Redirect to HTTPS.");
        Some(problem.yaml("tls:\n  httpsRedirect: true\n".to_owned()))
    })
}

/// GW14: MUTUAL needs a CA to verify clients with.
pub(crate) fn mutual_without_ca(survey: &Survey<'_>) -> Vec<Problem> {
    each_tls(survey, |gateway, server, tls| {
        let asks = matches!(tls.mode, ServerTlsMode::Mutual | ServerTlsMode::OptionalMutual);
        (asks && !tls.ca_certificates && tls.credential_name.is_none()).then(|| {
            let message =
                format!("{} sets {} without a CA: Istio rejects it", named(gateway, server), tls.mode);
            Problem::at(
                &gateway.meta,
                tls.line,
                message,
                "Name caCertificates, or a credential that holds a CA.",
            )
        })
    })
}

/// GW15: whoever knows a name reaches that service.
pub(crate) fn open_auto_passthrough(survey: &Survey<'_>) -> Vec<Problem> {
    let mesh = survey.mesh;
    each_tls(survey, |gateway, server, tls| {
        if tls.mode != ServerTlsMode::AutoPassthrough || from_gateway_api(gateway) {
            return None;
        }
        let wide = names(server.hosts.iter().filter(|host| !host.ends_with(".local")).cloned());
        let network = "topology.istio.io/network";
        let east_west = server.port == 15443
            || gateway.selector.values().any(|value| value.contains("eastwest"))
            || pods(mesh, gateway).any(|pod| pod.meta.labels.contains_key(network));
        let what = match (wide.is_empty(), east_west) {
            (true, true) => return None,
            (false, _) => format!("for {wide}, wider than *.local"),
            (true, false) => "on a gateway that is not an east-west one".to_owned(),
        };
        let message = format!(
            "{} has AUTO_PASSTHROUGH {what}: it exposes every service by SNI",
            named(gateway, server)
        );
        let remedy = "Keep AUTO_PASSTHROUGH to *.local on the east-west gateway.";
        Some(Problem::at(&gateway.meta, tls.line, message, remedy))
    })
}

/// GW16: clients without a certificate get in.
pub(crate) fn optional_certificates(survey: &Survey<'_>) -> Vec<Problem> {
    each_tls(survey, |gateway, server, tls| {
        (tls.mode == ServerTlsMode::OptionalMutual).then(|| {
            let message =
                format!("{} asks for client certificates but does not require them", named(gateway, server));
            let problem =
                Problem::at(&gateway.meta, tls.line, message, "Set MUTUAL if every client has one.");
            problem.yaml("tls:\n  mode: MUTUAL\n".to_owned())
        })
    })
}

/// The gateway pods that a Gateway configures.
pub(crate) fn pods<'a>(mesh: &'a Mesh, gateway: &'a Gateway) -> impl Iterator<Item = &'a Pod> {
    mesh.pods.iter().filter(|pod| pod.proxy == PartyKind::Gateway && configures(gateway, pod))
}

/// The ports of the Services in front of a pod.
fn service_ports<'a>(mesh: &'a Mesh, pod: &'a Pod) -> impl Iterator<Item = u16> + 'a {
    mesh.hosts
        .iter()
        .flat_map(|host| &host.endpoints)
        .filter(|endpoint| pod.ips.contains(&endpoint.ip))
        .flat_map(|endpoint| endpoint.ports.keys().copied())
}

/// Tells whether two Gateways configure the same pods; where no pod is known, the selectors tell.
fn together(mesh: &Mesh, a: &Gateway, b: &Gateway) -> bool {
    std::ptr::eq(a, b)
        || a.selector == b.selector && (!from_gateway_api(a) || a.meta.namespace == b.meta.namespace)
        || pods(mesh, a).any(|pod| configures(b, pod))
}

/// Tells whether two host patterns have a name in common.
pub(crate) fn overlap(a: &str, b: &str) -> bool {
    covers(a, b) || covers(b, a)
}

/// Tells whether a Gateway's selector chooses the pod; one of the Gateway API only in its own namespace.
pub(crate) fn configures(gateway: &Gateway, pod: &Pod) -> bool {
    selects(&gateway.selector, &pod.meta.labels)
        && (!from_gateway_api(gateway) || gateway.meta.namespace == pod.meta.namespace)
}
