//! Which hosts and rules a client knows.

use crate::mesh::meta::Meta;
use crate::mesh::pod::Pod;
use crate::mesh::sidecar::{Egress, Sidecar};
use crate::mesh::virtual_service::VirtualService;
use crate::mesh::{HostService, Mesh, Owner};
use crate::report::PartyKind;

/// Tells whether something exported to `export_to` (empty: to all) by `own` is visible in `namespace`. `~` hides it from
/// all, whatever else is listed, save `*`.
///
/// Istio: `push_context.go`, `initServiceRegistry`, `initVirtualServices`.
#[must_use]
pub fn exported(export_to: &[String], own: &str, namespace: &str) -> bool {
    let lists = |name: &str| export_to.iter().any(|to| to == name);
    if export_to.is_empty() || lists("*") {
        return true;
    }
    !lists("~") && ((own == namespace && lists(".")) || lists(namespace))
}

/// Returns the Sidecar resource in force for a pod: the oldest that selects it, else its namespace's own, else the root
/// namespace's.
#[must_use]
pub fn sidecar_for<'a>(mesh: &'a Mesh, pod: &Pod) -> Option<&'a Sidecar> {
    let own = || mesh.sidecars_in(&pod.meta.namespace);
    let for_all = |sidecar: &&Sidecar| sidecar.selector.is_none();
    let selecting = mesh.sidecars_selecting(&pod.meta.namespace, &pod.meta.labels).next();
    selecting
        .or_else(|| own().find(for_all))
        .or_else(|| mesh.sidecars_in(&mesh.config.root_namespace).find(for_all))
}

/// Tells whether a client knows the PeerAuthentications of a namespace: its Sidecar's egress names the namespace. Those of
/// the root namespace it knows always.
///
/// Rule `sidecar.peer-authentications`. Istio 1.30: policies are filtered by the client's Sidecar.
#[must_use]
pub fn knows_policies_of(mesh: &Mesh, client: &Pod, namespace: &str) -> bool {
    if !mesh.control_plane.version.hides_peer_authentications() || namespace == mesh.config.root_namespace {
        return true;
    }
    let hosts = sidecar_for(mesh, client).and_then(|sidecar| imported(client, sidecar));
    hosts.is_none_or(|hosts| {
        hosts
            .iter()
            .filter(|entry| !entry.excludes)
            .any(|entry| covers_namespace(namespaced(&entry.host).0, namespace, &client.meta.namespace))
    })
}

/// Tells whether a client in `namespace` knows a host by a port: exported to it and, with a Sidecar, imported by it. The
/// error says which of the two hides it, and by which resource.
///
/// Rule `sidecar.egress`. Istio: Sidecar, `egress.hosts`; `exportTo`.
///
/// # Errors
///
/// Returns what hides the host.
pub fn visible<'a>(
    mesh: &'a Mesh,
    client: Option<&Pod>,
    namespace: &str,
    host: &HostService,
    port: u16,
) -> Result<(), Hidden<'a>> {
    if host.undiscovered {
        return Err(Hidden::Undiscovered);
    }
    if !exported(&host.export_to, &host.namespace, namespace) {
        return Err(Hidden::NotExported(mesh.declaration(host)));
    }
    let limited = client.and_then(|pod| {
        let sidecar = sidecar_for(mesh, pod)?;
        Some((pod, sidecar, imported(pod, sidecar)?))
    });
    let hosts = limited.map_or(&[][..], |(_, _, hosts)| hosts);
    if let Some(known) = known_instead(mesh, client, namespace, hosts, host) {
        return Err(Hidden::Displaced(known));
    }
    let Some((pod, sidecar, _)) = limited else { return Ok(()) };
    let listed = hosts
        .iter()
        .any(|entry| entry.port.is_none_or(|own| own == port) && lists(mesh, hosts, entry, host, namespace));
    // With a VirtualService come the hosts that it leads to, by the ports that it names for them.
    let routed = || {
        mesh.routes_to(&host.host)
            .filter(|service| service.is_for_mesh() && routes_seen(mesh, service, namespace))
            .any(|service| {
                importing(mesh, pod, hosts, service).any(|entry| match entry.port {
                    Some(own) => own == port && leads_to(mesh, pod, service, host, None),
                    None => leads_to(mesh, pod, service, host, Some(port)),
                })
            })
    };
    if listed || routed() { Ok(()) } else { Err(Hidden::NotImported(sidecar)) }
}

/// Returns the host of this name that a client knows instead of this one. Of a name that several namespaces declare it knows one
/// namespace's alone: its own before all, then that of a Service of Kubernetes, else of the oldest that it sees. Each entry of a
/// Sidecar's egress chooses so for itself, and of entries the first counts; what only a VirtualService leads to comes after them, by
/// the order of the alphabet.
///
/// Rule `sidecar.one-namespace`. Istio: `sidecar.go`, `selectServices`, `appendSidecarServices`, `pickFirstVisibleNamespace`.
fn known_instead<'a>(
    mesh: &'a Mesh,
    client: Option<&Pod>,
    namespace: &str,
    hosts: &[Egress],
    host: &HostService,
) -> Option<&'a HostService> {
    if !host.rivalled {
        return None;
    }
    let gateway = client.is_some_and(|pod| pod.proxy != PartyKind::Sidecar);
    let to_all =
        |rival: &HostService| rival.export_to.is_empty() || rival.export_to.iter().any(|to| to == "*");
    let mut rivals: Vec<&HostService> = mesh
        .hosts_named(&host.host)
        .filter(|rival| !rival.undiscovered && exported(&rival.export_to, &rival.namespace, namespace))
        .collect();
    // What is exported to few is asked before what is exported to all.
    rivals.sort_by_key(|rival| to_all(rival));
    let own = |rival: &HostService| !gateway && *rival.namespace == *namespace;
    let kubernetes = |rival: &HostService| matches!(rival.owner, Owner::Service(_));
    // The first of equals is the smallest.
    let first =
        |of: &[&'a HostService]| of.iter().copied().min_by_key(|rival| (!own(rival), !kubernetes(rival)));
    let chosen = if hosts.is_empty() {
        first(&rivals)
    } else {
        let by_entry = hosts.chunk_by(|one, next| one.place == next.place).filter_map(|entries| {
            let listed = rivals.iter().copied().filter(|rival| {
                entries.iter().any(|entry| {
                    let has = |port| rival.ports.iter().any(|own| own.number == port);
                    lists(mesh, hosts, entry, rival, namespace) && entry.port.is_none_or(has)
                })
            });
            first(&listed.collect::<Vec<_>>())
        });
        // Across entries a Service of Kubernetes takes the place of any other.
        by_entry
            .min_by_key(|chosen| !kubernetes(chosen))
            .or_else(|| rivals.iter().copied().min_by_key(|rival| (!own(rival), rival.namespace.clone())))
    };
    chosen.filter(|chosen| chosen.namespace != host.namespace)
}

/// Tells whether one of a Sidecar's entries lists a host, by whatever port.
fn lists(mesh: &Mesh, hosts: &[Egress], entry: &Egress, host: &HostService, client: &str) -> bool {
    !entry.excludes
        && names_host(&entry.host, &host.namespace, &host.host, client)
        && !left_out(mesh, hosts, entry.place, &host.namespace, &host.host, client)
}

/// Tells whether a Sidecar's entry leaves out a host of a namespace, whatever it lists besides: since Istio 1.31.
///
/// Istio: pull request 60581.
fn left_out(mesh: &Mesh, hosts: &[Egress], place: usize, namespace: &str, host: &str, client: &str) -> bool {
    let beside = |entry: &&Egress| entry.excludes && entry.place == place;
    mesh.control_plane.version.leaves_hosts_out()
        && hosts.iter().filter(beside).any(|entry| names_host(&entry.host, namespace, host, client))
}

/// Tells whether a pattern of a Sidecar's is for a host of a namespace, be it to list it or to leave it out.
pub(crate) fn names_host(pattern: &str, namespace: &str, host: &str, client: &str) -> bool {
    let (in_namespace, name) = namespaced(pattern);
    covers_namespace(in_namespace, namespace, client) && covers(name, host)
}

/// Tells whether a client's Sidecar imports the routes of a VirtualService: one of the hosts that it lists covers one of the
/// VirtualService's, or is covered by it.
///
/// Rule `sidecar.routes`. Istio: `sidecar_simulation_test.go`, `TestSidecarRoutes`; `sidecar.go`, `VSMatches`.
#[must_use]
pub fn routes_imported(mesh: &Mesh, pod: &Pod, service: &VirtualService) -> bool {
    let hosts = sidecar_for(mesh, pod).and_then(|sidecar| imported(pod, sidecar));
    hosts.is_none_or(|hosts| importing(mesh, pod, hosts, service).next().is_some())
}

/// The hosts that a Sidecar lists by which the routes of a VirtualService come to its client.
fn importing<'a>(
    mesh: &Mesh,
    pod: &Pod,
    hosts: &'a [Egress],
    service: &VirtualService,
) -> impl Iterator<Item = &'a Egress> {
    let own = &*service.meta.namespace;
    hosts.iter().filter(move |entry| {
        let (in_namespace, name) = namespaced(&entry.host);
        let client = &*pod.meta.namespace;
        !entry.excludes
            && covers_namespace(in_namespace, own, client)
            && service.hosts.iter().any(|host| {
                let host = full_name(host, own, &mesh.config.domain);
                (covers(name, &host) || covers(&host, name))
                    && !left_out(mesh, hosts, entry.place, own, &host, client)
            })
    })
}

/// Tells whether a VirtualService leads the clients of a pod's namespace to a host, by a port where one is asked for: one of the
/// destinations there names the port, or none.
///
/// Istio: `push_context.go`, `virtualServiceDestinationsFilteredBySourceNamespace`; `sidecar.go`,
/// `serviceMatchingVirtualServicePorts`.
fn leads_to(mesh: &Mesh, pod: &Pod, service: &VirtualService, host: &HostService, port: Option<u16>) -> bool {
    let own = &service.meta.namespace;
    let routes = service.routes.iter().filter(|route| route.brings_to(&pod.meta.namespace));
    let mut destinations = routes.flat_map(|route| &route.destinations);
    destinations.any(|to| {
        let meets = port.is_none_or(|port| to.port.is_none_or(|own| own == port));
        meets && full_name(&to.host, own, &mesh.config.domain) == host.host
    })
}

/// The hosts that a Sidecar lets a client know; absent for all. An empty list is as good as none.
fn imported<'a>(pod: &Pod, sidecar: &'a Sidecar) -> Option<&'a [Egress]> {
    let hosts = sidecar.egress.as_deref().filter(|hosts| !hosts.is_empty());
    hosts.filter(|_| pod.proxy == PartyKind::Sidecar)
}

/// Splits `namespace/host`. What is of another form lists nothing.
///
/// Istio: `sidecar.go`, `convertIstioListenerToWrapper`.
fn namespaced(entry: &str) -> (&str, &str) {
    entry.split_once('/').filter(|(_, name)| !name.contains('/')).unwrap_or(("~", entry))
}

fn covers_namespace(listed: &str, namespace: &str, client: &str) -> bool {
    match listed {
        "*" => true,
        "." => namespace == client,
        "~" => false,
        other => other == namespace,
    }
}

/// Completes a short name with the namespace of the resource that uses it: a name without a dot belongs to that.
///
/// Istio: `ResolveShortnameToFQDN`.
#[must_use]
pub fn full_name(host: &str, namespace: &str, domain: &str) -> String {
    if host.contains('.') || host.contains('*') {
        host.to_owned()
    } else {
        [host, ".", namespace, ".svc.", domain].concat()
    }
}

/// Tells whether a VirtualService is exported to a namespace.
#[must_use]
pub fn routes_seen(mesh: &Mesh, service: &VirtualService, namespace: &str) -> bool {
    let own = &service.export_to;
    let to = if own.is_empty() { &mesh.config.virtual_service_export_to } else { own };
    exported(to, &service.meta.namespace, namespace)
}

/// What hides a host from a client.
#[derive(Debug, Clone, Copy)]
pub enum Hidden<'a> {
    /// Its own `exportTo`; with the declaration.
    NotExported(Option<&'a Meta>),
    /// A Sidecar whose egress does not list it.
    NotImported(&'a Sidecar),
    /// Another namespace's host of the same name.
    Displaced(&'a HostService),
    /// `discoverySelectors` of MeshConfig, which leave its namespace out.
    Undiscovered,
    /// Its resolution, by which proxies of the client's kind resolve no names, or none of the port's protocol; with the declaration.
    NotResolved(Option<&'a Meta>),
    /// The endpoint's own readiness.
    NotReady,
    /// A gateway, through which alone the endpoint's network is reached.
    OtherNetwork(&'a str),
    /// `internalTrafficPolicy: Local` of the Service, and the endpoint is on another node.
    OtherNode,
}

/// Tells whether a host pattern (`*`, `*.suffix` or a name) covers a host, itself possibly a pattern.
#[must_use]
pub fn covers(pattern: &str, host: &str) -> bool {
    if pattern == "*" || pattern.eq_ignore_ascii_case(host) {
        return true;
    }
    pattern.strip_prefix('*').is_some_and(|suffix| {
        let host = host.strip_prefix('*').unwrap_or(host);
        host.to_ascii_lowercase().ends_with(&suffix.to_ascii_lowercase())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_covers_what_ends_like_it() {
        for (pattern, host, expected) in [
            ("*", "a.b", true),
            ("a.b", "a.b", true),
            ("a.b", "A.B", true),
            ("*.b", "a.b", true),
            ("*.b", "b", false),
            ("*.b.c", "*.a.b.c", true),
            ("*.a.b.c", "*.b.c", false),
            ("a", "b", false),
        ] {
            assert_eq!(covers(pattern, host), expected, "{pattern} {host}");
        }
    }

    #[test]
    fn export_to_names_namespaces() {
        let to = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        assert!(exported(&to(&[]), "a", "b"));
        assert!(exported(&to(&["*"]), "a", "b"));
        assert!(exported(&to(&["."]), "a", "a"));
        assert!(!exported(&to(&["."]), "a", "b"));
        assert!(exported(&to(&["b"]), "a", "b"));
        assert!(!exported(&to(&["~"]), "a", "a"));
        assert!(!exported(&to(&["~", "."]), "a", "a"));
        assert!(!exported(&to(&["~", "b"]), "a", "b"));
        assert!(exported(&to(&["~", "*"]), "a", "b"));
    }
}
