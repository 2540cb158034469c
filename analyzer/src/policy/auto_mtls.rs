//! Auto mTLS: whether a client's proxy chooses Istio mTLS where no rule says anything.

use crate::mesh::{HostEndpoint, HostPort, HostService, Mesh};
use crate::policy::inbound::{effective, namespace_mode};
use crate::policy::{cite_default, destination_rule::Chosen};
use crate::report::{Citation, ClientTls, ServerMode};

/// Decides by the six conditions; absent where auto mTLS does not apply at all.
///
/// Rules `auto-mtls.enabled`, `.external`, `.namespace-mode`, `.headless`, `.endpoint`, `.endpoint-mode`.
/// Istio: `buildUpstreamTLSSettings`, `BestEffortInferServiceMTLSMode`, `mtls_checker.go`.
#[must_use]
pub fn decide(
    mesh: &Mesh,
    host: &HostService,
    port: &HostPort,
    endpoint: Option<&HostEndpoint>,
    rule: Option<Chosen<'_>>,
    by_gateway: bool,
    because: &mut Vec<Citation>,
) -> Option<ClientTls> {
    if !mesh.config.auto_mtls {
        because.push(cite_default("auto-mtls.enabled", "off: the application's bytes"));
        return None;
    }
    if host.external {
        because.push(cite_default("auto-mtls.external", "outside the mesh: the application's bytes"));
        return None;
    }
    let mut off = |rule: &'static str, effect: &str| {
        because.push(cite_default(rule, effect));
        Some(ClientTls::Disable)
    };
    let level = namespace_mode(mesh, &host.namespace);
    if level.mode == ServerMode::Disable {
        return off("auto-mtls.namespace-mode", &format!("{} is DISABLE: no mTLS", level.from));
    }
    let original = host.original_destination || rule.is_some_and(|rule| rule.passthrough);
    if original && (host.endpoints.is_empty() || host.endpoints.iter().any(|each| !each.tls_mode_istio)) {
        return off("auto-mtls.headless", "an endpoint without tlsMode: no mTLS for the whole service");
    }
    if !original || by_gateway {
        let endpoint = endpoint
            .or_else(|| host.endpoints.iter().find(|endpoint| endpoint.ports.contains_key(&port.number)));
        let Some(endpoint) = endpoint.filter(|endpoint| endpoint.tls_mode_istio) else {
            return off("auto-mtls.endpoint", "the endpoint has no tlsMode istio: no mTLS");
        };
        let wire = endpoint.ports.get(&port.number).copied().unwrap_or(port.target);
        let namespace = mesh.pod_of(endpoint).map_or(&*host.namespace, |pod| &*pod.meta.namespace);
        let own = effective(mesh, namespace, &endpoint.labels, wire);
        if own.mode == ServerMode::Disable {
            return off(
                "auto-mtls.endpoint-mode",
                &format!("{} is DISABLE at the endpoint: no mTLS", own.from),
            );
        }
    }
    because.push(cite_default("auto-mtls.enabled", "ISTIO_MUTUAL, decides"));
    Some(ClientTls::IstioMutual)
}
