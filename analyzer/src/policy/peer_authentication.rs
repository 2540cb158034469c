//! PeerAuthentication: the mode in force at a workload's port.

use crate::mesh::Mesh;
use crate::mesh::meta::Labels;
use crate::mesh::peer_authentication::PeerAuthentication;
use crate::policy::{Decided, Trace};
use crate::report::ServerMode;

/// Finds the mode in force for a workload of `namespace` with `labels`, at a container port.
///
/// Starts from PERMISSIVE; mesh, namespace and workload each override it if they set a mode. Of several policies at one
/// level only the oldest acts, and it acts alone.
///
/// Rules `peer-authentication.narrowest-wins`, `peer-authentication.oldest-wins`, `peer-authentication.port-level`.
/// Istio: `ComposePeerAuthentication`, `GetMutualTLSModeForPort`.
#[must_use]
pub fn effective(
    mesh: &Mesh,
    namespace: &str,
    labels: &Labels,
    port: u16,
    trace: &mut Trace,
) -> Decided<ServerMode> {
    let workload = chosen_for_workload(mesh, namespace, labels);
    let mut decided = at_namespace(mesh, namespace, trace);
    let Some(policy) = workload else { return decided };
    if let Some(mode) = policy.mode {
        trace.cite(
            "peer-authentication.narrowest-wins",
            &policy.meta,
            Some("spec.mtls.mode"),
            policy.mode_line,
            format!("{mode} for the workload"),
        );
        decided = Decided { value: mode, from: policy.meta.id() };
    }
    if let Some((mode, line)) = policy.ports.get(&port) {
        let field = format!("spec.portLevelMtls.{port}.mode");
        match mode {
            Some(mode) => {
                trace.cite_at(
                    "peer-authentication.port-level",
                    &policy.meta,
                    field,
                    *line,
                    format!("{mode} for port {port}"),
                );
                decided = Decided { value: *mode, from: policy.meta.id() };
            }
            None => trace.cite_at(
                "peer-authentication.port-level",
                &policy.meta,
                field,
                *line,
                format!("UNSET: port {port} inherits {}", decided.value),
            ),
        }
    }
    decided
}

/// Finds the mode at namespace and mesh level: what auto mTLS asks first, and what ports without a workload policy get.
#[must_use]
pub fn at_namespace(mesh: &Mesh, namespace: &str, trace: &mut Trace) -> Decided<ServerMode> {
    let root = &mesh.config.root_namespace;
    let mut decided = Decided::default(ServerMode::Permissive);
    let mut levels = vec![(root.as_str(), "the mesh")];
    if namespace != root {
        levels.push((namespace, "the namespace"));
    }
    trace.built_in("peer-authentication.narrowest-wins", "PERMISSIVE where nothing is declared");
    for (level, scope) in levels {
        if let Some(policy) = for_namespace(mesh, level)
            && let Some(mode) = policy.mode
        {
            trace.cite(
                "peer-authentication.narrowest-wins",
                &policy.meta,
                Some("spec.mtls.mode"),
                policy.mode_line,
                format!("{mode} for {scope}"),
            );
            decided = Decided { value: mode, from: policy.meta.id() };
        }
    }
    decided
}

/// Returns the one policy without a selector that acts for a whole namespace: the oldest.
#[must_use]
pub fn for_namespace<'a>(mesh: &'a Mesh, namespace: &str) -> Option<&'a PeerAuthentication> {
    mesh.peer_authentications_for_all(namespace).next()
}

/// Returns the one policy with a selector that acts for a workload: the oldest that matches. Policies with labels in the
/// root namespace match nothing, not even there.
#[must_use]
pub fn chosen_for_workload<'a>(
    mesh: &'a Mesh,
    namespace: &str,
    labels: &Labels,
) -> Option<&'a PeerAuthentication> {
    if namespace == mesh.config.root_namespace {
        return None;
    }
    mesh.peer_authentications_selecting(namespace, labels).find(|policy| policy.is_for_workloads())
}
