//! GW17: Hosts that the Gateway does not serve.

#[cfg(test)]
use crate::lint::Broken;
use crate::lint::survey::Survey;
use crate::lint::survey::gateways::{at, from_gateway_api, overlap, passes_through, terminates};
use crate::lint::{Problem, Rule, names};
use crate::mesh::gateway::{Gateway, Server};
use crate::mesh::meant;
use crate::mesh::virtual_service::{RouteKind, VirtualService};
use crate::patch::{self, Patch};
use crate::report::Severity;
use std::collections::HashMap;

pub(super) const RULE: Rule = Rule {
    id: "GW17",
    severity: Severity::Medium,
    title: "A routed host that the Gateway does not serve",
    page: include_str!("../../../docs/findings/GW17.md"),
    check,
    #[cfg(test)]
    broken: Broken {
        replace: &[("  hosts: [shop.example.com]\n  gateways", "  hosts: [shopp.example.com]\n  gateways")],
        add: "",
        also: &[],
    },
};

fn check(survey: &Survey<'_>) -> Vec<Problem> {
    let mesh = survey.mesh;
    let by_name: HashMap<(&str, &str), &Gateway> = mesh
        .gateways
        .iter()
        .filter(|gateway| !from_gateway_api(gateway))
        .map(|gateway| ((&*gateway.meta.namespace, &*gateway.meta.name), gateway))
        .collect();
    let mut problems = Vec::new();
    for routes in &mesh.virtual_services {
        let gateways: Vec<&Gateway> = routes
            .gateways
            .iter()
            .filter_map(|name| {
                by_name.get(&name.split_once('/').unwrap_or((&routes.meta.namespace, name))).copied()
            })
            .collect();
        let serves = |gateway: &Gateway, host: &String| {
            let mut served =
                gateway.servers.iter().flat_map(|server| server.hosts_for(&routes.meta.namespace));
            served.any(|own| overlap(own, host))
        };
        let (idle, busy): (Vec<&Gateway>, Vec<&Gateway>) = gateways
            .iter()
            .copied()
            .partition(|gateway| !routes.hosts.iter().any(|host| serves(gateway, host)));
        // What sidecars use as well may have hosts for the mesh, and what no Gateway has is said of all of them at once.
        if routes.is_for_mesh() || !busy.is_empty() {
            problems.extend(idle.into_iter().map(|gateway| does_nothing(routes, gateway)));
        }
        let unserved: Vec<&String> = routes
            .hosts
            .iter()
            .filter(|host| !gateways.iter().any(|gateway| serves(gateway, host)))
            .collect();
        if routes.is_for_mesh() || gateways.is_empty() || unserved.is_empty() {
            continue;
        }
        let message = format!(
            "{} routes {}, which no server of {} serves: requests for it get 404",
            routes.meta.id(),
            names(unserved.iter().map(|host| (*host).clone())),
            names(gateways.iter().map(|gateway| gateway.meta.id()))
        );
        let problem = |remedy: &str| Problem::at(&routes.meta, routes.hosts_line, message.clone(), remedy);
        problems.push(if let Some(yaml) = misspelt(routes, &gateways, &unserved) {
            problem("Correct the host to the one that is served.").yaml(yaml)
        } else {
            let added = added(routes, &gateways, &unserved);
            let problem =
                problem("Add the host to the Gateway's servers, whose certificate has to cover it.");
            if added.is_empty() { problem } else { problem.yaml(added) }
        });
    }
    problems
}

/// Reports a Gateway that serves none of the hosts of routes that are bound to it, while others or sidecars use them.
fn does_nothing(routes: &VirtualService, gateway: &Gateway) -> Problem {
    let message = format!(
        "{} is bound to {}, which serves none of {}: the routes do nothing there",
        routes.meta.id(),
        gateway.meta.id(),
        names(routes.hosts.iter().cloned())
    );
    let remedy = "Add the hosts to the Gateway's servers, or take it out of the VirtualService.";
    let problem = Problem::at(&routes.meta, routes.hosts_line, message, remedy);
    let added = added(routes, &[gateway], &routes.hosts.iter().collect::<Vec<_>>());
    if added.is_empty() { problem } else { problem.yaml(added) }
}

/// Corrects hosts that are one slip away from served ones; absent unless all are.
fn misspelt(routes: &VirtualService, gateways: &[&Gateway], unserved: &[&String]) -> Option<String> {
    let servers = gateways.iter().flat_map(|gateway| &gateway.servers);
    let served: Vec<&str> =
        servers.flat_map(|server| server.hosts_for(&routes.meta.namespace)).map(String::as_str).collect();
    let patch = Patch::of(&routes.meta);
    let written = patch.get("/spec/hosts")?.as_array()?.clone();
    unserved
        .iter()
        .try_fold(patch, |patch, host| {
            let place = written.iter().position(|text| text.as_str() == Some(host))?;
            Some(patch.set(
                &format!("/spec/hosts/{place}"),
                meant(&served, host).filter(|meant| one_label_off(meant, host))?,
            ))
        })
        .map(|patch| patch.yaml())
}

/// Tells whether two names differ in one label, long enough that nobody would choose both.
fn one_label_off(a: &str, b: &str) -> bool {
    let pairs = || a.split('.').zip(b.split('.'));
    let mut off = pairs().filter(|(a, b)| a != b);
    let long = off.next().is_some_and(|(a, b)| a.len().min(b.len()) >= 4);
    long && off.next().is_none() && a.split('.').count() == b.split('.').count()
}

/// Adds the hosts to every server that the routes fit.
fn added(routes: &VirtualService, gateways: &[&Gateway], unserved: &[&String]) -> String {
    let has = |kind| routes.routes.iter().any(|route| route.kind == kind);
    let fits = |server: &&Server| {
        (has(RouteKind::Http) && (server.protocol.is_http() || terminates(server)))
            || (has(RouteKind::Tls) && passes_through(server))
            || (has(RouteKind::Tcp) && !server.protocol.is_http())
    };
    let patches = gateways.iter().filter_map(|gateway| {
        let servers: Vec<&Server> = gateway.servers.iter().filter(fits).collect();
        let patch = servers.iter().fold(Patch::of(&gateway.meta), |patch, server| {
            let place = at(server, "/hosts/-");
            unserved.iter().fold(patch, |patch, host| patch.set(&place, host.as_str()))
        });
        (!servers.is_empty()).then(|| patch.yaml())
    });
    patch::together(patches)
}
