//! GW11: An earlier server has the port or the host, so this one is dropped without a word.

#[cfg(test)]
use crate::lint::Broken;
use crate::lint::survey::Survey;
use crate::lint::survey::gateways::{at, from_gateway_api, named, opened, together, without};
use crate::lint::{Problem, Rule};
use crate::mesh::gateway::{Gateway, Server};
use crate::patch::Patch;
use crate::policy::gateway::{displacing, rejected};
use crate::report::Severity;
use std::collections::HashMap;

pub(super) const RULE: Rule = Rule {
    id: "GW11",
    severity: Severity::High,
    title: "A server dropped for an earlier one",
    page: include_str!("../../../docs/findings/GW11.md"),
    check,
    #[cfg(test)]
    broken: Broken {
        replace: &[],
        add: "apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {name: broken, namespace: shop, creationTimestamp: '2026-02-01T00:00:00Z'}\nspec: {selector: {app: ingress}, servers: [{port: {number: 443, name: https, protocol: HTTPS}, hosts: [shop.example.com], tls: {mode: SIMPLE, credentialName: other}}]}",
        also: &[],
    },
};

fn check(survey: &Survey<'_>) -> Vec<Problem> {
    let mut kept: HashMap<u16, Vec<(&Gateway, &Server)>> = HashMap::new();
    let mut problems = Vec::new();
    for gateway in &survey.mesh.gateways {
        let mut dropped: Vec<(&Server, &Gateway, &Server)> = Vec::new();
        for server in gateway.servers.iter().filter(|server| rejected(server).is_none()) {
            let opened = opened(survey, gateway, server);
            let winner = opened.iter().filter_map(|port| kept.get(port)).find_map(|kept| {
                let there = kept.iter().copied().filter(|(earlier, _)| together(survey, earlier, gateway));
                displacing(there, server)
            });
            match winner {
                Some((earlier, first)) => dropped.push((server, earlier, first)),
                None => {
                    opened.into_iter().for_each(|port| kept.entry(port).or_default().push((gateway, server)))
                }
            }
        }
        let yaml = mended(gateway, &dropped);
        for (server, earlier, first) in dropped {
            let shared = server.hosts.iter().find(|host| first.hosts.contains(host));
            let why = match shared.filter(|_| first.tls.is_some() && server.tls.is_some()) {
                Some(host) => format!("it has {host} already"),
                None => "their protocols cannot share the port".to_owned(),
            };
            let message = format!(
                "{} is dropped without a word: {} came first, and {why}",
                named(gateway, server),
                named(earlier, first)
            );
            let remedy = "Remove what is dropped, or give it hosts of its own or another port.";
            problems.push(Problem::at(&gateway.meta, server.line, message, remedy).yaml(yaml.clone()));
        }
    }
    problems
}

/// Takes the hosts that another server has from the dropped ones; those that are left with none go.
fn mended(gateway: &Gateway, dropped: &[(&Server, &Gateway, &Server)]) -> String {
    let own = |server: &Server, first: &Server| -> Vec<usize> {
        let both_tls = first.tls_in_force().is_some() && server.tls_in_force().is_some();
        let places =
            server.hosts.iter().enumerate().filter(|(_, host)| both_tls && !first.hosts.contains(host));
        places.map(|(place, _)| place).collect()
    };
    let whole = dropped.iter().all(|(server, _, first)| own(server, first).is_empty());
    if whole || from_gateway_api(gateway) {
        return without(gateway, &dropped.iter().map(|(server, _, _)| *server).collect::<Vec<_>>());
    }
    let mut patch = Patch::of(&gateway.meta);
    for (server, _, first) in dropped.iter().rev() {
        let left = own(server, first);
        let hosts =
            patch.get(&at(server, "/hosts")).and_then(|hosts| hosts.as_array().cloned()).unwrap_or_default();
        let hosts: Vec<_> = left.iter().filter_map(|place| hosts.get(*place).cloned()).collect();
        patch = if hosts.is_empty() {
            patch.remove(&at(server, ""))
        } else {
            patch.set(&at(server, "/hosts"), hosts)
        };
    }
    patch.yaml()
}
