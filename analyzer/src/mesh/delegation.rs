//! VirtualServices that leave their http routes to others.

use std::collections::HashMap;
use std::sync::Arc;

use crate::mesh::mesh_config::MeshConfig;
use crate::mesh::virtual_service::{Destination, Match, Route, VirtualService};
use crate::policy::visibility::{exported, full_name};

/// Puts the routes of the VirtualServices without hosts, which have no effect of their own, where others delegate to them. What is
/// not there, or not exported to who asks for it, leaves no route.
///
/// Istio: `pilot/pkg/model/virtualservice.go`, `mergeVirtualServicesIfNeeded`.
pub(super) fn resolve(services: &mut Vec<VirtualService>, config: &MeshConfig) {
    let (delegates, mut roots): (Vec<_>, Vec<_>) =
        std::mem::take(services).into_iter().partition(|service| service.hosts.is_empty());
    let mut by_name: HashMap<(Arc<str>, Arc<str>), &VirtualService> = HashMap::new();
    for service in &delegates {
        by_name.entry((service.meta.namespace.clone(), service.meta.name.clone())).or_insert(service);
    }
    for root in &mut roots {
        let own = root.meta.namespace.clone();
        let mut routes = Vec::new();
        for route in std::mem::take(&mut root.routes) {
            let Some((namespace, name)) = &route.delegate else {
                routes.push(route);
                continue;
            };
            let namespace = namespace.as_deref().map_or_else(|| own.clone(), Arc::from);
            if let Some(delegate) = by_name.get(&(namespace, Arc::from(name.as_str())))
                && is_seen(delegate, &own, config)
            {
                routes.extend(delegate.routes.iter().filter_map(|to| merged(&route, to, delegate, config)));
            }
        }
        root.routes = routes;
    }
    *services = roots;
}

fn is_seen(delegate: &VirtualService, namespace: &str, config: &MeshConfig) -> bool {
    let own = &delegate.export_to;
    let to = if own.is_empty() { &config.virtual_service_export_to } else { own };
    exported(to, &delegate.meta.namespace, namespace)
}

/// A delegate's route within the matches of the one that delegates to it; none where they exclude each other by their ports.
///
/// Istio: `mergeHTTPRoute`, `mergeHTTPMatchRequests`.
fn merged(root: &Route, route: &Route, delegate: &VirtualService, config: &MeshConfig) -> Option<Route> {
    let matches: Vec<Match> = if root.matches.is_empty() {
        route.matches.clone()
    } else if route.matches.is_empty() {
        root.matches.clone()
    } else {
        let pairs = route.matches.iter().flat_map(|own| root.matches.iter().map(move |outer| (outer, own)));
        pairs.filter_map(|(outer, own)| both(outer, own)).collect()
    };
    if matches.is_empty() && !(root.matches.is_empty() && route.matches.is_empty()) {
        return None;
    }
    // A short name is of the namespace that it is written in.
    let written = |to: &Destination| Destination {
        host: full_name(&to.host, &delegate.meta.namespace, &config.domain),
        ..to.clone()
    };
    Some(Route {
        kind: route.kind,
        matches,
        destinations: route.destinations.iter().map(written).collect(),
        delegate: None,
        place: root.place,
        line: root.line,
    })
}

fn both(outer: &Match, own: &Match) -> Option<Match> {
    if outer.port.is_some() && own.port.is_some() && outer.port != own.port {
        return None;
    }
    Some(Match {
        port: own.port.or(outer.port),
        of_requests: outer.of_requests || own.of_requests,
        ..outer.clone()
    })
}
