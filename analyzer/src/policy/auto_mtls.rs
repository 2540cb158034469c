//! Auto mTLS: what a client's proxy sends where no DestinationRule has a tls block.

use crate::mesh::{Behind, Mesh};
use crate::policy::{Trace, peer_authentication};
use crate::report::{PartyKind, ServerMode};

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

/// Decides whether the client's proxy sends Istio mTLS on its own.
///
/// Rule `auto-mtls.conditions`. Istio: `BestEffortInferServiceMTLSMode`, `mtls_checker.go`.
#[must_use]
pub fn decide(
    mesh: &Mesh,
    client: PartyKind,
    behind: &Behind<'_>,
    passthrough: bool,
    through_gateway: bool,
    trace: &mut Trace,
) -> AutoMtls {
    const RULE: &str = "auto-mtls.conditions";
    if !mesh.config.auto_mtls {
        trace.built_in(RULE, "enableAutoMtls is false in MeshConfig");
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
    let own = peer_authentication::at_namespace(mesh, &behind.host.namespace, &mut Trace::default());
    if own.value == ServerMode::Disable {
        trace.built_in(RULE, format!("plaintext: {} sets DISABLE for the service's namespace", own.from));
        return AutoMtls::Plain;
    }
    if through_gateway {
        trace.cite(
            RULE,
            declaration,
            None,
            declaration.line,
            "Istio mTLS: of another network only endpoints that take it are known",
        );
        return AutoMtls::Mutual;
    }
    if behind.host.original_destination || passthrough {
        let mut endpoints =
            behind.host.endpoints.iter().filter(|endpoint| endpoint.ports.contains_key(&behind.port.number));
        let first = endpoints.next();
        let all = first.is_some_and(|first| first.tls_mode_istio)
            && endpoints.all(|endpoint| endpoint.tls_mode_istio);
        if !all {
            trace.cite(
                RULE,
                declaration,
                None,
                declaration.line,
                "plaintext: headless or passed through, and not every endpoint takes Istio mTLS",
            );
            return AutoMtls::Plain;
        }
        if client != PartyKind::Gateway {
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
        let mut answers = behind
            .host
            .endpoints
            .iter()
            .map(|endpoint| takes(mesh, &Behind { endpoint: Some(endpoint), ..*behind }));
        let all = !behind.host.endpoints.is_empty() && answers.all(|answer| answer.is_ok());
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
    match takes(mesh, behind) {
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
            trace.cite(RULE, subject, None, subject.line, format!("plaintext: {why}"));
            AutoMtls::Plain
        }
    }
}

fn takes(mesh: &Mesh, behind: &Behind<'_>) -> Result<(), String> {
    let Some(endpoint) = behind.endpoint else { return Err("no endpoint".to_owned()) };
    if !endpoint.tls_mode_istio {
        return Err("the endpoint has no label security.istio.io/tlsMode=istio".to_owned());
    }
    let wire = endpoint.ports.get(&behind.port.number).copied().unwrap_or(behind.port.target);
    let namespace = mesh.pod_of(endpoint).map_or(&*behind.host.namespace, |pod| &*pod.meta.namespace);
    let mode = peer_authentication::effective(mesh, namespace, &endpoint.labels, wire, &mut Trace::default());
    if mode.value == ServerMode::Disable {
        return Err(format!("{} sets DISABLE at the endpoint's port {wire}", mode.from));
    }
    Ok(())
}
