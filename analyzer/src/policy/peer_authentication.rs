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
    let mut decided = above_workloads(mesh, namespace, trace);
    if let Some(policy) = chosen_for_workload(mesh, namespace, labels) {
        if let Some(mode) = policy.mode {
            trace.cite(
                "peer-authentication.narrowest-wins",
                &policy.meta,
                Some("spec.mtls.mode"),
                policy.mode_line,
                format_args!("{mode} for the workload"),
            );
            decided = Some((mode, policy));
        }
        if let Some((mode, line)) = policy.ports.get(&port) {
            const RULE: &str = "peer-authentication.port-level";
            let field = format!("spec.portLevelMtls.{port}.mode");
            if let Some(mode) = mode {
                trace.cite_at(RULE, &policy.meta, field, *line, format_args!("{mode} for port {port}"));
                decided = Some((*mode, policy));
            } else {
                let inherited = decided.map_or(ServerMode::Permissive, |(mode, _)| mode);
                let effect = format_args!("UNSET: port {port} inherits {inherited}");
                trace.cite_at(RULE, &policy.meta, field, *line, effect);
            }
        }
    }
    by(decided)
}

/// Finds the mode at namespace and mesh level: what auto mTLS asks first, and what ports without a workload policy get.
#[must_use]
pub fn at_namespace(mesh: &Mesh, namespace: &str, trace: &mut Trace) -> Decided<ServerMode> {
    by(above_workloads(mesh, namespace, trace))
}

/// The mode that the namespace or the mesh sets, and the policy that does; absent where neither does.
fn above_workloads<'a>(
    mesh: &'a Mesh,
    namespace: &str,
    trace: &mut Trace,
) -> Option<(ServerMode, &'a PeerAuthentication)> {
    let root = mesh.config.root_namespace.as_str();
    trace.built_in("peer-authentication.narrowest-wins", "PERMISSIVE where nothing is declared");
    let mut decided = None;
    let own = (namespace != root).then_some((namespace, "the namespace"));
    for (level, scope) in [(root, "the mesh")].into_iter().chain(own) {
        if let Some(policy) = for_namespace(mesh, level)
            && let Some(mode) = policy.mode
        {
            trace.cite(
                "peer-authentication.narrowest-wins",
                &policy.meta,
                Some("spec.mtls.mode"),
                policy.mode_line,
                format_args!("{mode} for {scope}"),
            );
            decided = Some((mode, policy));
        }
    }
    decided
}

fn by(decided: Option<(ServerMode, &PeerAuthentication)>) -> Decided<ServerMode> {
    match decided {
        Some((value, policy)) => Decided { value, from: policy.meta.id() },
        None => Decided::default(ServerMode::Permissive),
    }
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
