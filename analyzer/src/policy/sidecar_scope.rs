//! What a client's proxy knows: exportTo and the Sidecar resource.

use crate::mesh::meta::{Labels, selects};
use crate::mesh::sidecar::Sidecar;
use crate::mesh::{HostService, Mesh};
use crate::policy::exported;

/// Picks the Sidecar resource of a workload: its own, else the namespace's, else the root namespace's.
///
/// Rule `outbound.passthrough`. Istio: Sidecar.
#[must_use]
pub fn sidecar_of<'a>(mesh: &'a Mesh, namespace: &str, labels: &Labels) -> Option<&'a Sidecar> {
    let of = |namespace: &str, own: bool| {
        mesh.sidecars.iter().find(|sidecar| {
            &*sidecar.meta.namespace == namespace
                && match &sidecar.selector {
                    Some(selector) => own && selects(selector, labels),
                    None => !own,
                }
        })
    };
    of(namespace, true).or_else(|| of(namespace, false)).or_else(|| of(&mesh.config.root_namespace, false))
}

/// Tells whether a client's proxy knows a host: it is exported to the client's namespace, and its Sidecar resource,
/// if any, imports it.
///
/// Rule `outbound.passthrough`. Istio: Sidecar, `egress.hosts`; exportTo.
#[must_use]
pub fn knows(sidecar: Option<&Sidecar>, namespace: &str, host: &HostService) -> bool {
    if !exported(&host.export_to, &host.namespace, namespace) {
        return false;
    }
    let Some((sidecar, hosts)) = sidecar.and_then(|sidecar| Some((sidecar, sidecar.egress.as_ref()?))) else {
        return true;
    };
    hosts.iter().any(|entry| {
        let (from, name) = entry.split_once('/').unwrap_or(("*", entry));
        let namespace_fits = match from {
            "*" => true,
            "." => *host.namespace == *sidecar.meta.namespace || &*host.namespace == namespace,
            "~" => false,
            other => other == &*host.namespace,
        };
        namespace_fits && host_fits(name, &host.host)
    })
}

/// Tells whether a pattern (`*`, `*.suffix`, or a full name) covers a host.
#[must_use]
pub fn host_fits(pattern: &str, host: &str) -> bool {
    match pattern.strip_prefix('*') {
        Some(suffix) => host.len() >= suffix.len() && host.ends_with(suffix),
        None => pattern.eq_ignore_ascii_case(host),
    }
}
