//! GW04: The server ends TLS, so routes by SNI never see any.

#[cfg(test)]
use crate::lint::Broken;
use crate::lint::survey::Survey;
use crate::lint::survey::gateways::{Misfit, misfits, named, passes_through, terminates};
use crate::lint::{Problem, Rule};
use crate::mesh::gateway::Server;
use crate::mesh::service::Protocol;
use crate::mesh::virtual_service::{Route, RouteKind};
use crate::patch::Patch;
use crate::report::Severity;
use serde_json::{Value, json};
use std::collections::BTreeSet;

pub(super) const RULE: Rule = Rule {
    id: "GW04",
    severity: Severity::High,
    title: "tls routes on a terminating server",
    page: include_str!("../../../docs/findings/GW04.md"),
    check,
    #[cfg(test)]
    broken: Broken {
        replace: &[(
            "  http:\n  - route:",
            "  tls:\n  - match: [{sniHosts: [shop.example.com]}]\n    route:",
        )],
        add: "",
        also: &[],
    },
};

fn check(survey: &Survey<'_>) -> Vec<Problem> {
    let fits = |server: &Server, kind: RouteKind| kind == kind_for(server);
    misfits(survey.mesh, RouteKind::Tls, terminates, passes_through, fits)
        .iter()
        .filter_map(|misfit| {
            let first = misfit.wrong.first()?;
            let kind = kind_for(misfit.server);
            let message = format!(
                "{} is bound to {}, which terminates TLS: its tls routes never apply, and clients get 404",
                misfit.routes.meta.id(),
                named(misfit.gateway, misfit.server)
            );
            let remedy = format!("Use {kind} routes, or set the server to PASSTHROUGH.");
            Some(Problem::at(&misfit.routes.meta, first.line, message, remedy).yaml(rerouted(misfit, kind)))
        })
        .collect()
}

/// The kind of routes that a terminating server uses.
fn kind_for(server: &Server) -> RouteKind {
    if server.protocol == Protocol::Https { RouteKind::Http } else { RouteKind::Tcp }
}

/// Turns the tls routes into ones that the server uses; they stay beside them where something else uses them.
fn rerouted(misfit: &Misfit<'_>, kind: RouteKind) -> String {
    let mut patch = Patch::of(&misfit.routes.meta);
    let missing = misfit.wrong.iter().filter(|_| !misfit.has_fitting);
    for route in missing {
        let whole = patch.get(&format!("/spec/tls/{}", route.place)).cloned().unwrap_or_default();
        patch = patch.set(&format!("/spec/{kind}/-"), turned(&whole, route, misfit, kind));
    }
    if misfit.used { patch } else { patch.remove("/spec/tls") }.yaml()
}

/// A match by SNI becomes one by the request's host where the VirtualService has more hosts than the route.
fn turned(whole: &Value, route: &Route, misfit: &Misfit<'_>, kind: RouteKind) -> Value {
    let own: BTreeSet<&String> = route.sni_hosts().collect();
    let all = own == misfit.routes.hosts.iter().collect();
    let mut turned = json!({});
    if !all && kind == RouteKind::Http {
        let hosts = own.iter().map(|host| match host.strip_prefix('*') {
            Some(suffix) => json!({"authority": {"regex": format!(".*{}", suffix.replace('.', "\\."))}}),
            None => json!({"authority": {"exact": host}}),
        });
        turned["match"] = hosts.collect();
    }
    turned["route"] = whole.get("route").cloned().unwrap_or_default();
    turned
}
