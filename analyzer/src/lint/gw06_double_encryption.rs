//! GW06: Application TLS passes through, and a rule wraps it in TLS again.

#[cfg(test)]
use crate::lint::Broken;
use crate::lint::survey::Survey;
use crate::lint::survey::gateways::{bindings, meant_for, named, passes_through};
use crate::lint::{Problem, Rule};
use crate::mesh::virtual_service::RouteKind;
use crate::policy::destination_rule::full_host;
use crate::policy::visibility::{covers, full_name};
use crate::report::{ClientTls, Severity};

pub(super) const RULE: Rule = Rule {
    id: "GW06",
    severity: Severity::Medium,
    title: "TLS originated around passed-through TLS",
    page: include_str!("../../../docs/findings/GW06.md"),
    check,
    #[cfg(test)]
    broken: Broken { replace: &[], add: "", also: &[] },
};

fn check(survey: &Survey<'_>) -> Vec<Problem> {
    let mesh = survey.mesh;
    let mut problems = Vec::new();
    for (gateway, routes) in bindings(mesh) {
        for server in gateway.servers.iter().filter(|server| passes_through(server)) {
            for route in routes
                .routes
                .iter()
                .filter(|route| route.kind == RouteKind::Tls && meant_for(routes, route, gateway, server))
            {
                for to in &route.destinations {
                    let host = full_name(&to.host, &routes.meta.namespace, &mesh.config.domain);
                    let rule = mesh.destination_rules.iter().find(|rule| {
                        let block = rule.policy.as_ref().and_then(|policy| {
                            to.port
                                .and_then(|port| policy.for_port(port))
                                .map_or(policy.tls.as_ref(), |entry| entry.tls.as_ref())
                        });
                        covers(&full_host(rule, &mesh.config.domain), &host)
                            && block
                                .is_some_and(|tls| matches!(tls.mode, ClientTls::Simple | ClientTls::Mutual))
                    });
                    if let Some(rule) = rule {
                        let message = format!(
                            "{} originates TLS to {host}, whose traffic {} already passes through encrypted",
                            rule.meta.id(),
                            named(gateway, server)
                        );
                        let remedy = "Remove the tls block from the rule, or terminate at the gateway.";
                        problems.push(Problem::at(&rule.meta, rule.host_line, message, remedy));
                    }
                }
            }
        }
    }
    problems
}
