//! GW01: HTTPS or TLS without a tls block.

#[cfg(test)]
use crate::lint::Broken;
use crate::lint::survey::Survey;
use crate::lint::survey::gateways::{
    at, bindings, each, meant_for, named, namespace, secret, terminates, together,
};
use crate::lint::{Problem, Rule};
use crate::mesh::gateway::{Gateway, Server};
use crate::mesh::virtual_service::RouteKind;
use crate::patch::Patch;
use crate::policy::visibility::covers;
use crate::report::Severity;
use serde_json::{Value, json};

pub(super) const RULE: Rule = Rule {
    id: "GW01",
    severity: Severity::High,
    title: "HTTPS or TLS server without tls",
    page: include_str!("../../../docs/findings/GW01.md"),
    check,
    #[cfg(test)]
    broken: Broken {
        replace: &[
            ("tls: {mode: SIMPLE, credentialName: shop}", ""),
            ("  http:\n  - route:", "  tls:\n  - match: [{sniHosts: [shop.example.com]}]\n    route:"),
        ],
        add: "",
        also: &[],
    },
};

fn check(survey: &Survey<'_>) -> Vec<Problem> {
    each(survey, |gateway, server| {
        if !server.protocol.is_tls() || server.tls.is_some() {
            return None;
        }
        let message = format!(
            "{} has no tls block: Istio rejects it, and nothing listens for its hosts",
            named(gateway, server)
        );
        let set = |tls: Value| Patch::of(&gateway.meta).set(&at(server, "/tls"), tls).yaml();
        let problem = |remedy: &str| Problem::at(&gateway.meta, server.line, message.clone(), remedy);
        Some(if is_routed_by_sni(survey, gateway, server) {
            problem("Set PASSTHROUGH: its routes go by SNI.").yaml(set(json!({"mode": "PASSTHROUGH"})))
        } else if let Some(tls) = certificate(survey, gateway, server) {
            problem("Use the certificate that covers its hosts already.").yaml(set(tls))
        } else {
            let name = secret(server);
            let tls = json!({"mode": "SIMPLE", "credentialName": name});
            problem(&format!(
                "Serve the hosts' certificate from a Secret, which has to be there first: kubectl create -n {} secret tls {name} --cert=tls.crt --key=tls.key. If it has another name, write that.",
                namespace(survey, gateway)
            ))
            .yaml(set(tls))
        })
    })
}

fn is_routed_by_sni(survey: &Survey<'_>, gateway: &Gateway, server: &Server) -> bool {
    bindings(survey.mesh).filter(|(bound, _)| std::ptr::eq(*bound, gateway)).any(|(_, routes)| {
        let tls = routes.routes.iter().filter(|route| route.kind == RouteKind::Tls);
        tls.into_iter().any(|route| meant_for(routes, route, gateway, server))
    })
}

/// The tls block of a server on the same pods whose hosts cover these.
fn certificate(survey: &Survey<'_>, gateway: &Gateway, server: &Server) -> Option<Value> {
    let covered = |other: &Server| {
        !server.hosts.is_empty()
            && server.hosts.iter().all(|host| other.hosts.iter().any(|own| own != "*" && covers(own, host)))
    };
    survey.mesh.gateways.iter().find_map(|other| {
        let same = other.servers.iter().find(|same| terminates(same) && covered(same))?;
        let tls = Patch::of(&other.meta).get(&at(same, "/tls")).cloned()?;
        together(survey, gateway, other).then_some(tls)
    })
}
