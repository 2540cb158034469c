//! What a destination accepts: PeerAuthentication, and the filter chains it makes with the port's protocol.

use flow::Class;

use crate::mesh::Mesh;
use crate::mesh::meta::{Labels, selects};
use crate::mesh::peer_authentication::PeerAuthentication;
use crate::mesh::pod::Pod;
use crate::mesh::service::Protocol;
use crate::policy::{cite, cite_default};
use crate::report::{Citation, IstioMtls, ServerMode};

/// A mode and what set it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effective {
    /// The mode in force.
    pub mode: ServerMode,
    /// `PeerAuthentication/namespace/name`, or `default`.
    pub from: String,
    /// Winners and losers, broadest first.
    pub because: Vec<Citation>,
}

/// Every wire class that a policy can allow, in the order in which it is shown.
pub const ALL: [Class; 3] = [Class::Plaintext, Class::Tls, Class::Mtls];

/// Resolves the mode of a workload at a container port: mesh, namespace, workload, port; the narrowest that sets one.
///
/// A policy with labels in the root namespace is ignored everywhere.
///
/// Rule `peer-authentication.narrowest-wins`. Istio: `ComposePeerAuthentication`.
#[must_use]
pub fn effective(mesh: &Mesh, namespace: &str, labels: &Labels, port: u16) -> Effective {
    let mut result = namespace_mode(mesh, namespace);
    if namespace == mesh.config.root_namespace {
        return result;
    }
    let mut matching = mesh.peer_authentications.iter().filter(|policy| {
        policy.is_for_workloads() && &*policy.meta.namespace == namespace && selects(&policy.selector, labels)
    });
    let Some(policy) = matching.next() else { return result };
    for loser in matching {
        result.because.push(cite(
            "peer-authentication.oldest-wins",
            &loser.meta,
            None,
            loser.meta.line,
            "younger, ignored",
        ));
    }
    apply(&mut result, policy);
    if let Some((Some(mode), line)) = policy.ports.get(&port) {
        let field = format!("spec.portLevelMtls.{port}.mode");
        overridden(&mut result.because);
        result.because.push(cite(
            "peer-authentication.port-level",
            &policy.meta,
            Some(&field),
            *line,
            &format!("{mode}, decides"),
        ));
        result.mode = *mode;
        result.from = policy.meta.id();
    }
    result
}

/// Resolves the mode as ztunnel does: DISABLE counts as PERMISSIVE, and a port's DISABLE under an unset workload
/// policy is not honoured.
///
/// Rule `peer-authentication.ambient`. Istio: `convertedSelectorPeerAuthentications`.
#[must_use]
pub fn effective_ambient(mesh: &Mesh, namespace: &str, labels: &Labels, port: u16) -> Effective {
    let mut result = effective(mesh, namespace, labels, port);
    let workload = effective(mesh, namespace, labels, 0);
    let sets_mode = mesh
        .peer_authentications
        .iter()
        .find(|policy| {
            policy.is_for_workloads()
                && &*policy.meta.namespace == namespace
                && selects(&policy.selector, labels)
        })
        .is_some_and(|policy| policy.mode.is_some());
    if result.mode == ServerMode::Disable && workload.mode == ServerMode::Strict && !sets_mode {
        result.mode = ServerMode::Strict;
        result.from = workload.from;
        result.because.push(cite_default("peer-authentication.ambient", "port DISABLE is not honoured"));
    }
    if result.mode == ServerMode::Disable {
        result.mode = ServerMode::Permissive;
        result.because.push(cite_default("peer-authentication.ambient", "DISABLE counts as PERMISSIVE"));
    }
    result
}

/// Resolves the mode of a namespace, workload policies left out: what auto mTLS looks at first.
///
/// Rule `peer-authentication.narrowest-wins`. Istio: `GetNamespaceMutualTLSMode`.
#[must_use]
pub fn namespace_mode(mesh: &Mesh, namespace: &str) -> Effective {
    let mut result = Effective {
        mode: ServerMode::Permissive,
        from: "default".to_owned(),
        because: vec![cite_default("peer-authentication.narrowest-wins", "PERMISSIVE, decides")],
    };
    let root = mesh.config.root_namespace.as_str();
    let levels = if namespace == root { vec![root] } else { vec![root, namespace] };
    for level in levels {
        let mut policies = mesh
            .peer_authentications
            .iter()
            .filter(|policy| !policy.is_for_workloads() && &*policy.meta.namespace == level);
        if let Some(policy) = policies.next() {
            apply(&mut result, policy);
        }
        for loser in policies {
            result.because.push(cite(
                "peer-authentication.oldest-wins",
                &loser.meta,
                None,
                loser.meta.line,
                "younger, ignored",
            ));
        }
    }
    result
}

fn apply(result: &mut Effective, policy: &PeerAuthentication) {
    let rule = "peer-authentication.narrowest-wins";
    match policy.mode {
        Some(mode) => {
            overridden(&mut result.because);
            let effect = format!("{mode}, decides");
            result.because.push(cite(rule, &policy.meta, Some("spec.mtls.mode"), policy.mode_line, &effect));
            result.mode = mode;
            result.from = policy.meta.id();
        }
        None => {
            result.because.push(cite(rule, &policy.meta, None, policy.meta.line, "sets no mode, inherits"))
        }
    }
}

fn overridden(because: &mut [Citation]) {
    for citation in because {
        if let Some(mode) = citation.effect.strip_suffix(", decides") {
            citation.effect = format!("{mode}, overridden");
        }
    }
}

/// Tells what a sidecar's inbound listener accepts, and what becomes of Istio mTLS there.
///
/// `http` says whether the port is declared HTTP, HTTP2, GRPC or GRPC-Web.
///
/// Rule `inbound.mode-by-protocol`. Istio: `filterchain_options.go`.
#[must_use]
pub fn accepts(mode: ServerMode, http: bool) -> (Vec<Class>, IstioMtls) {
    match (mode, http) {
        (ServerMode::Strict, _) => (vec![Class::Mtls], IstioMtls::Required),
        (ServerMode::Permissive, true) => (vec![Class::Plaintext, Class::Mtls], IstioMtls::Accepted),
        (ServerMode::Permissive, false) => (ALL.to_vec(), IstioMtls::Accepted),
        (ServerMode::Disable, true) => (vec![Class::Plaintext], IstioMtls::Unterminated),
        (ServerMode::Disable, false) => (ALL.to_vec(), IstioMtls::Unterminated),
    }
}

/// Tells whether a pod's sidecar intercepts connections to a container port.
///
/// Rule `inbound.no-proxy`. Istio: Resource Annotations, `traffic.sidecar.istio.io/*InboundPorts`.
#[must_use]
pub fn intercepted(pod: &Pod, port: u16) -> bool {
    let note = |name: &str| pod.meta.annotations.get(&format!("traffic.sidecar.istio.io/{name}"));
    if pod.meta.annotations.get("sidecar.istio.io/interceptionMode").is_some_and(|mode| mode == "NONE") {
        return false;
    }
    let excluded = note("excludeInboundPorts").is_some_and(|list| lists(list, port));
    let included = note("includeInboundPorts").is_none_or(|list| lists(list, port));
    included && !excluded
}

/// Tells whether a comma-separated list of ports holds this one, or `*`.
pub(crate) fn lists(list: &str, port: u16) -> bool {
    list.split(',').map(str::trim).any(|part| part == "*" || part.parse() == Ok(port))
}

/// Tells the protocol of a container port: `Sidecar.ingress` where the pod has one, else the oldest Service's.
/// Absent where neither declares the port.
///
/// Rule `inbound.mode-by-protocol`. Istio: Protocol Selection.
#[must_use]
pub fn protocol(mesh: &Mesh, pod: &Pod, port: u16) -> Option<Protocol> {
    let sidecar = crate::policy::sidecar_scope::sidecar_of(mesh, &pod.meta.namespace, &pod.meta.labels);
    if let Some(listeners) = sidecar.and_then(|sidecar| sidecar.ingress.as_ref()) {
        return listeners.iter().find(|listener| listener.port == port).map(|listener| listener.protocol);
    }
    mesh.services_of(pod, port).first().map(|(_, port)| port.protocol)
}

#[cfg(test)]
mod tests {
    use flow::Class::{Mtls, Plaintext, Tls};

    use super::accepts;
    use crate::report::IstioMtls::{Accepted, Required, Unterminated};
    use crate::report::ServerMode;

    #[test]
    fn every_mode_with_every_protocol_family() {
        for &mode in ServerMode::ALL {
            for http in [true, false] {
                let expected = match (mode, http) {
                    (ServerMode::Strict, true | false) => (vec![Mtls], Required),
                    (ServerMode::Permissive, true) => (vec![Plaintext, Mtls], Accepted),
                    (ServerMode::Permissive, false) => (vec![Plaintext, Tls, Mtls], Accepted),
                    (ServerMode::Disable, true) => (vec![Plaintext], Unterminated),
                    (ServerMode::Disable, false) => (vec![Plaintext, Tls, Mtls], Unterminated),
                };
                assert_eq!(accepts(mode, http), expected, "{mode} http={http}");
            }
        }
    }
}
