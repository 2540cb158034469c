//! GW05: The server passes TLS on, so there is no HTTP to route.

#[cfg(test)]
use crate::lint::Broken;
use crate::lint::survey::Survey;
use crate::lint::survey::gateways::{Misfit, misfits, named, passes_through, terminates};
use crate::lint::{Problem, Rule};
use crate::mesh::gateway::Server;
use crate::mesh::virtual_service::RouteKind;
use crate::patch::Patch;
use crate::report::Severity;
use serde_json::json;

pub(super) const RULE: Rule = Rule {
    id: "GW05",
    severity: Severity::High,
    title: "http routes on a PASSTHROUGH server",
    page: include_str!("../../../docs/findings/GW05.md"),
    check,
    #[cfg(test)]
    broken: Broken {
        replace: &[
            (
                "  - port: {number: 80, name: http, protocol: HTTP}\n    hosts: [shop.example.com]\n    tls: {httpsRedirect: true}\n",
                "",
            ),
            ("tls: {mode: SIMPLE, credentialName: shop}", "tls: {mode: PASSTHROUGH}"),
        ],
        add: "",
        also: &[],
    },
};

fn check(survey: &Survey<'_>) -> Vec<Problem> {
    let takes_http = |server: &Server| server.protocol.is_http() || terminates(server);
    let fits = |_: &Server, kind: RouteKind| kind == RouteKind::Tls;
    misfits(survey.mesh, RouteKind::Http, passes_through, takes_http, fits)
        .iter()
        .filter_map(|misfit| {
            let first = misfit.wrong.first()?;
            let message = format!(
                "{} is bound to {}, which passes TLS through: its http routes have no effect",
                misfit.routes.meta.id(),
                named(misfit.gateway, misfit.server)
            );
            let remedy = "Use tls routes with sniHosts, or terminate TLS at the server.";
            Some(Problem::at(&misfit.routes.meta, first.line, message, remedy).yaml(rerouted(misfit)))
        })
        .collect()
}

/// Routes by SNI to where the http routes lead when nothing of the request tells them apart: the one without a match, else
/// the last. They stay beside it where something else uses them.
fn rerouted(misfit: &Misfit<'_>) -> String {
    let mut patch = Patch::of(&misfit.routes.meta);
    if !misfit.has_fitting {
        let place = |route: usize, field: &str| format!("/spec/http/{route}/{field}");
        let whole = misfit.wrong.iter().find(|route| patch.get(&place(route.place, "match")).is_none());
        let chosen = whole.or_else(|| misfit.wrong.last()).map_or(0, |route| route.place);
        let to = patch.get(&place(chosen, "route")).cloned().unwrap_or_default();
        let by_sni = json!({
            "match": [{"port": misfit.server.port, "sniHosts": misfit.routes.hosts}],
            "route": to,
        });
        patch = patch.set("/spec/tls/-", by_sni);
    }
    if misfit.used { patch } else { patch.remove("/spec/http") }.yaml()
}
