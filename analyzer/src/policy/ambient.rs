//! The server's side of an ambient pod: ztunnel's reading of PeerAuthentication.

use flow::Class;

use crate::mesh::Mesh;
use crate::mesh::peer_authentication::PeerAuthentication;
use crate::mesh::pod::Pod;
use crate::policy::inbound::{ALL, HBONE, Inbound, InboundKind, declared_protocol, open};
use crate::policy::{Decided, Trace, peer_authentication};
use crate::report::{IstioMtls, ServerMode};

/// Says what ztunnel lets through to an ambient pod's port.
pub(super) fn at_ztunnel(mesh: &Mesh, pod: &Pod, port: u16, trace: &mut Trace) -> Inbound {
    let mode = mode_at_ztunnel(mesh, pod, port, trace);
    let decided = Decided { value: Some(mode.value), from: mode.from };
    if port == HBONE {
        trace.cite(
            "ambient.hbone",
            &pod.meta,
            None,
            pod.meta.line,
            "ztunnel's port: always client certificates",
        );
        return Inbound {
            mode: decided,
            allowed: vec![Class::Mtls],
            istio_mtls: IstioMtls::Required,
            ..open(InboundKind::Ambient)
        };
    }
    let protocol = declared_protocol(mesh, pod, port).map(|declared| declared.0);
    if pod.bypasses_inbound() {
        let why = "ambient.istio.io/bypass-inbound-capture leaves inbound connections to the application";
        trace.cite(
            "ambient.bypass-inbound-capture",
            &pod.meta,
            Some("metadata.annotations"),
            pod.meta.line,
            why,
        );
        return Inbound { protocol, ..open(InboundKind::NotIntercepted(why.to_owned())) };
    }
    let strict = mode.value == ServerMode::Strict;
    trace.cite(
        "ambient.peer-authentication",
        &pod.meta,
        None,
        pod.meta.line,
        if strict {
            "STRICT: only HBONE has an identity, so nothing is accepted on the application's port"
        } else {
            "anything is accepted on the application's port"
        },
    );
    Inbound {
        mode: decided,
        allowed: if strict { Vec::new() } else { ALL.to_vec() },
        istio_mtls: if strict { IstioMtls::None } else { IstioMtls::Unterminated },
        protocol,
        ..open(InboundKind::Ambient)
    }
}

/// ztunnel's reading of PeerAuthentication: DISABLE counts as PERMISSIVE, and a port that is DISABLE under a workload that
/// sets nothing stays STRICT, as long as no port of the same policy is PERMISSIVE.
///
/// Rule `ambient.peer-authentication`. Istio: `convertedSelectorPeerAuthentications`.
pub(super) fn mode_at_ztunnel(mesh: &Mesh, pod: &Pod, port: u16, trace: &mut Trace) -> Decided<ServerMode> {
    let own = peer_authentication::chosen_for_workload(mesh, &pod.meta.namespace, &pod.meta.labels);
    if let Some(policy) = own.filter(|policy| never_reaches_ztunnel(mesh, policy, port)) {
        trace.cite(
            "ambient.peer-authentication",
            &policy.meta,
            Some("spec.portLevelMtls"),
            policy.ports_line,
            "under a mesh that is STRICT istiod makes nothing of it for ztunnel, nor keeps the mesh's STRICT",
        );
        return Decided { value: ServerMode::Permissive, from: policy.meta.id() };
    }
    let port_level = own
        .filter(|policy| policy.mode.is_none())
        .filter(|policy| policy.ports.values().all(|(mode, _)| *mode != Some(ServerMode::Permissive)))
        .and_then(|policy| policy.ports.get(&port).map(|(mode, line)| (policy, *mode, *line)));
    if let Some((policy, Some(ServerMode::Disable), line)) = port_level {
        let above = peer_authentication::at_namespace(mesh, &pod.meta.namespace, trace);
        if above.value == ServerMode::Strict {
            trace.cite_at(
                "ambient.peer-authentication",
                &policy.meta,
                format!("spec.portLevelMtls.{port}.mode"),
                line,
                "DISABLE is not honoured by ztunnel under a STRICT parent",
            );
            return above;
        }
    }
    let mut decided =
        peer_authentication::effective(mesh, &pod.meta.namespace, &pod.meta.labels, port, trace);
    if decided.value == ServerMode::Disable {
        trace.cite(
            "ambient.peer-authentication",
            &pod.meta,
            None,
            pod.meta.line,
            "DISABLE counts as PERMISSIVE for ztunnel",
        );
        decided.value = ServerMode::Permissive;
    }
    decided
}

/// Tells whether a workload's policy takes STRICT from a port without putting anything in its place: istiod takes the port to
/// be STRICT by the mesh, yet has the policy replace what the mesh says. So it is where the namespace sets nothing, for a
/// port that is STRICT beside a workload that is not, and for all ports where a policy of the namespace without a mode
/// stands between and one port is PERMISSIVE.
///
/// Rule `ambient.peer-authentication`. Istio: `convertPeerAuthentication`.
fn never_reaches_ztunnel(mesh: &Mesh, policy: &PeerAuthentication, port: u16) -> bool {
    let level = |namespace: &str| peer_authentication::for_namespace(mesh, namespace);
    let between = level(&policy.meta.namespace);
    let of_mesh = level(&mesh.config.root_namespace).and_then(|root| root.mode);
    if of_mesh != Some(ServerMode::Strict) || between.is_some_and(|own| own.mode.is_some()) {
        return false;
    }
    let is = |wanted: ServerMode| move |(mode, _): &(Option<ServerMode>, u32)| *mode == Some(wanted);
    match policy.mode {
        Some(ServerMode::Strict) => false,
        Some(_) => policy.ports.get(&port).is_some_and(is(ServerMode::Strict)),
        None => between.is_some() && policy.ports.values().any(is(ServerMode::Permissive)),
    }
}
