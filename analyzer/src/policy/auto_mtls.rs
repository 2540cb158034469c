//! Auto mTLS: what a client's proxy sends where no DestinationRule has a tls block.

use crate::mesh::pod::Pod;
use crate::mesh::{Behind, Mesh};
use crate::policy::visibility::knows_policies_of;
use crate::policy::{Decided, Trace, peer_authentication};
use crate::report::{ClientTls, PartyKind, ServerMode};

/// What auto mTLS comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AutoMtls {
    /// It does not apply: switched off, or the host is outside the mesh.
    NotApplicable,
    /// Istio mTLS.
    Mutual,
    /// Plaintext.
    Plain,
}

/// What the DestinationRule that acts, and the way to the destination, leave to auto mTLS.
#[derive(Debug, Clone, Copy, Default)]
pub struct Circumstances {
    /// The rule's load balancer is PASSTHROUGH.
    pub passthrough: bool,
    /// The destination is reached through an east-west gateway.
    pub through_gateway: bool,
    /// The mode that the endpoints' own check takes from the rule; absent where it finds none.
    pub endpoint_mode: Option<ClientTls>,
}

/// Decides whether the client's proxy sends Istio mTLS on its own.
///
/// Rule `auto-mtls.conditions`. Istio: `BestEffortInferServiceMTLSMode`, `mtls_checker.go`.
#[must_use]
pub fn decide(
    mesh: &Mesh,
    client: &Pod,
    behind: &Behind<'_>,
    circumstances: Circumstances,
    trace: &mut Trace,
) -> AutoMtls {
    const RULE: &str = "auto-mtls.conditions";
    if !mesh.config.auto_mtls {
        let line = mesh.config.auto_mtls_line;
        trace.config(RULE, &mesh.config, "enableAutoMtls", line, "enableAutoMtls is false");
        return AutoMtls::NotApplicable;
    }
    let Some(declaration) = mesh.declaration(behind.host) else { return AutoMtls::NotApplicable };
    if behind.host.external {
        trace.cite(
            RULE,
            declaration,
            Some("spec.location"),
            declaration.line,
            "the host is outside the mesh: no auto mTLS",
        );
        return AutoMtls::NotApplicable;
    }
    let own = at_namespace(mesh, client, &behind.host.namespace);
    if own.value == ServerMode::Disable {
        let effect = "plaintext: DISABLE for the service's namespace";
        match mesh.peer_authentication(&own.from) {
            Some(policy) => trace.cite(RULE, &policy.meta, Some("spec.mtls.mode"), policy.mode_line, effect),
            None => trace.built_in(RULE, effect),
        }
        return AutoMtls::Plain;
    }
    if circumstances.through_gateway {
        trace.cite(
            RULE,
            declaration,
            None,
            declaration.line,
            "Istio mTLS: of another network only endpoints that take it are known",
        );
        return AutoMtls::Mutual;
    }
    if client.own_certificates {
        trace.cite(
            "auto-mtls.own-certificates",
            &client.meta,
            None,
            client.meta.line,
            "the client's proxy has certificates of its own: MUTUAL, whatever the endpoint",
        );
        return AutoMtls::Mutual;
    }
    let mut endpoints =
        behind.host.endpoints.iter().filter(|endpoint| endpoint.ports.contains_key(&behind.port.number));
    if is_dialled(mesh, behind) || circumstances.passthrough {
        let mut endpoints = endpoints.clone();
        let first = endpoints.next();
        let all = first.is_some_and(|first| first.tls_mode_istio)
            && endpoints.all(|endpoint| endpoint.tls_mode_istio);
        if !all && mesh.control_plane.version.asks_headless_endpoints() {
            trace.cite(
                RULE,
                declaration,
                None,
                declaration.line,
                "plaintext: headless or passed through, and not every endpoint takes Istio mTLS",
            );
            return AutoMtls::Plain;
        }
        if client.proxy != PartyKind::Gateway {
            trace.cite(
                RULE,
                declaration,
                None,
                declaration.line,
                "Istio mTLS: headless or passed through, and every endpoint takes it",
            );
            return AutoMtls::Mutual;
        }
    }
    let Some(endpoint) = behind.endpoint else {
        // A virtual address: the endpoints together tell.
        let accepts = |endpoint| {
            takes(mesh, client, &Behind { endpoint: Some(endpoint), ..*behind }, circumstances).is_ok()
        };
        let all = endpoints.next().is_some_and(accepts) && endpoints.all(accepts);
        trace.cite(
            RULE,
            declaration,
            None,
            declaration.line,
            if all {
                "Istio mTLS: every endpoint takes it"
            } else {
                "plaintext: not every endpoint takes Istio mTLS"
            },
        );
        return if all { AutoMtls::Mutual } else { AutoMtls::Plain };
    };
    let subject = mesh.pod_of(endpoint).map_or(declaration, |pod| &pod.meta);
    match takes(mesh, client, behind, circumstances) {
        Ok(()) => {
            trace.cite(
                RULE,
                subject,
                Some("metadata.labels[security.istio.io/tlsMode]"),
                subject.line,
                "Istio mTLS: the endpoint takes it",
            );
            AutoMtls::Mutual
        }
        Err(why) => {
            trace.cite(RULE, subject, None, subject.line, format_args!("plaintext: {why}"));
            AutoMtls::Plain
        }
    }
}

/// Tells whether the client's own address is used, and its endpoints count together: headless, or resolution NONE.
fn is_dialled(mesh: &Mesh, behind: &Behind<'_>) -> bool {
    behind.host.original_destination && !mesh.control_plane.headless_endpoints
}

/// Tells whether a client's proxy keeps the address that the client dialled. Gateways cannot: no client dials it to them.
///
/// Istio: `cluster_builder.go`, `convertResolution`.
#[must_use]
pub fn keeps_destination(mesh: &Mesh, client: &Pod, behind: &Behind<'_>) -> bool {
    client.proxy == PartyKind::Sidecar && is_dialled(mesh, behind)
}

fn takes(mesh: &Mesh, client: &Pod, behind: &Behind<'_>, circumstances: Circumstances) -> Result<(), String> {
    let Some(endpoint) = behind.endpoint else { return Err("no endpoint".to_owned()) };
    // The rule's own ISTIO_MUTUAL spares asking for policies, not for the label.
    let by_rule = match circumstances.endpoint_mode {
        Some(ClientTls::IstioMutual) => true,
        Some(mode) => return Err(format!("the rule's tls block above the port's entry says {mode}")),
        None => false,
    };
    if !endpoint.tls_mode_istio {
        return Err("the endpoint has no label security.istio.io/tlsMode=istio".to_owned());
    }
    if by_rule || !mesh.control_plane.version.asks_workload_policies() {
        return Ok(());
    }
    let wire = endpoint.ports.get(&behind.port.number).copied().unwrap_or(behind.port.target);
    let namespace = mesh.pod_of(endpoint).map_or(&*behind.host.namespace, |pod| &*pod.meta.namespace);
    let mode = if knows_policies_of(mesh, client, namespace) {
        peer_authentication::effective(mesh, namespace, &endpoint.labels, wire, &mut Trace::unheard())
    } else {
        at_namespace(mesh, client, namespace)
    };
    if mode.value == ServerMode::Disable {
        return Err(format!("{} sets DISABLE at the endpoint's port {wire}", mode.from));
    }
    Ok(())
}

/// The mode of a namespace as the client's proxy is told it: that of the mesh where the namespace is hidden from it.
fn at_namespace(mesh: &Mesh, client: &Pod, namespace: &str) -> Decided<ServerMode> {
    let seen =
        if knows_policies_of(mesh, client, namespace) { namespace } else { &mesh.config.root_namespace };
    peer_authentication::at_namespace(mesh, seen, &mut Trace::unheard())
}
