//! GW07: Clients reuse one HTTP/2 connection for every host of a certificate.

#[cfg(test)]
use crate::lint::Broken;
use crate::lint::survey::Survey;
use crate::lint::survey::gateways::{at, from_gateway_api, named, terminates, together, without};
use crate::lint::{Problem, Rule};
use crate::mesh::Mesh;
use crate::mesh::gateway::{Gateway, Server};
use crate::patch::{self, Patch};
use crate::report::Severity;
use std::collections::HashMap;

pub(super) const RULE: Rule = Rule {
    id: "GW07",
    severity: Severity::Medium,
    title: "One certificate on two Gateways",
    page: include_str!("../../../docs/findings/GW07.md"),
    check,
    #[cfg(test)]
    broken: Broken {
        replace: &[],
        add: "apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {name: broken, namespace: shop, creationTimestamp: '2026-02-01T00:00:00Z'}\nspec: {selector: {app: ingress}, servers: [{port: {number: 443, name: https, protocol: HTTPS}, hosts: [api.example.com], tls: {mode: SIMPLE, credentialName: shop}}]}",
        also: &[],
    },
};

fn check(survey: &Survey<'_>) -> Vec<Problem> {
    let mesh = survey.mesh;
    let mut problems = Vec::new();
    let mut first: HashMap<(&str, u16), Vec<(&Gateway, &Server)>> = HashMap::new();
    for gateway in &mesh.gateways {
        for server in gateway.servers.iter().filter(|server| terminates(server)) {
            let Some(tls) = &server.tls else { continue };
            let file = tls.server_certificate_file.as_deref();
            let Some(certificate) = tls.credential_name.as_deref().or(file) else { continue };
            let known = first.entry((certificate, server.port)).or_default();
            let other = known.iter().copied().find(|(earlier, same)| {
                !std::ptr::eq(*earlier, gateway)
                    && same.hosts != server.hosts
                    && together(survey, earlier, gateway)
            });
            known.push((gateway, server));
            let Some((earlier, same)) = other else { continue };
            let message = format!(
                "{} shares certificate {certificate} with {} for other hosts: browsers reuse the HTTP/2 connection and get 404",
                named(gateway, server),
                earlier.meta.id()
            );
            let remedy = "Serve all hosts of one certificate by one server of one Gateway.";
            let problem = Problem::at(&gateway.meta, server.line, message, remedy);
            let by_api = from_gateway_api(gateway) || from_gateway_api(earlier);
            problems.push(if by_api {
                problem
            } else {
                problem.yaml(merged(mesh, (earlier, same), (gateway, server)))
            });
        }
    }
    problems
}

/// Adds the hosts to the earlier server, and binds the routes to its Gateway.
fn merged(mesh: &Mesh, earlier: (&Gateway, &Server), later: (&Gateway, &Server)) -> String {
    let written = |(gateway, server): (&Gateway, &Server)| {
        let hosts = Patch::of(&gateway.meta).get(&at(server, "/hosts")).cloned().unwrap_or_default();
        hosts.as_array().cloned().unwrap_or_default()
    };
    let mut hosts = written(earlier);
    hosts.extend(written(later).into_iter().filter(|host| !written(earlier).contains(host)));
    let kept = Patch::of(&earlier.0.meta).set(&at(earlier.1, "/hosts"), hosts);
    let name = format!("{}/{}", earlier.0.meta.namespace, earlier.0.meta.name);
    let bound = mesh.virtual_services.iter().filter(|routes| {
        routes.binds(&later.0.meta.namespace, &later.0.meta.name)
            && !routes.binds(&earlier.0.meta.namespace, &earlier.0.meta.name)
    });
    let rebound = bound.map(|routes| Patch::of(&routes.meta).set("/spec/gateways/-", name.as_str()).yaml());
    patch::together([kept.yaml(), without(later.0, &[later.1])].into_iter().chain(rebound))
}
