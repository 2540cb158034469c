//! GW13: The same host answers in plaintext as well.

#[cfg(test)]
use crate::lint::Broken;
use crate::lint::survey::Survey;
use crate::lint::survey::gateways::{at, each, from_gateway_api, named, overlap, together};
use crate::lint::{Problem, Rule};
use crate::mesh::gateway::{Gateway, Server, ServerTlsMode};
use crate::mesh::service::Protocol;
use crate::patch::Patch;
use crate::report::Severity;
use serde_json::Value;

pub(super) const RULE: Rule = Rule {
    id: "GW13",
    severity: Severity::Medium,
    title: "Plaintext beside HTTPS without a redirect",
    page: include_str!("../../../docs/findings/GW13.md"),
    check,
    #[cfg(test)]
    broken: Broken { replace: &[("    tls: {httpsRedirect: true}\n", "")], add: "", also: &[] },
};

fn check(survey: &Survey<'_>) -> Vec<Problem> {
    let https = |server: &&Server| {
        let mode = server.tls_in_force();
        server.protocol == Protocol::Https && mode.is_some_and(|mode| mode != ServerTlsMode::IstioMutual)
    };
    each(survey, |gateway, server| {
        let redirects = server.tls.as_ref().is_some_and(|tls| tls.https_redirect);
        if !server.protocol.is_http() || redirects || from_gateway_api(gateway) {
            return None;
        }
        let shares = |other: &&Server| {
            server.hosts.iter().any(|own| other.hosts.iter().any(|host| overlap(own, host)))
        };
        let secure: Vec<&String> = survey
            .mesh
            .gateways
            .iter()
            .flat_map(|other| {
                other.servers.iter().filter(https).filter(shares).map(move |server| (other, server))
            })
            .filter(|(other, _)| together(survey, other, gateway))
            .flat_map(|(_, other)| &other.hosts)
            .collect();
        let both = |own: &String| secure.iter().any(|host| overlap(own, host));
        let host = server.hosts.iter().find(|own| both(own))?;
        let message = format!(
            "{} serves {host} in plaintext, though it is served on HTTPS too: whoever types no https stays unencrypted",
            named(gateway, server)
        );
        let yaml = redirecting(gateway, server, both);
        Some(Problem::at(&gateway.meta, server.line, message, "Redirect to HTTPS.").yaml(yaml))
    })
}

/// Redirects the hosts that HTTPS serves; others of the server keep one of their own.
fn redirecting(gateway: &Gateway, server: &Server, both: impl Fn(&String) -> bool) -> String {
    let patch = Patch::of(&gateway.meta);
    let written =
        patch.get(&at(server, "/hosts")).and_then(|hosts| hosts.as_array().cloned()).unwrap_or_default();
    let paired = || server.hosts.iter().zip(&written);
    let redirected: Vec<Value> =
        paired().filter(|(host, _)| both(host)).map(|(_, text)| text.clone()).collect();
    let plain: Vec<Value> = paired().filter(|(host, _)| !both(host)).map(|(_, text)| text.clone()).collect();
    if plain.is_empty() {
        return patch.set(&at(server, "/tls/httpsRedirect"), true).yaml();
    }
    let mut second = patch.get(&at(server, "")).cloned().unwrap_or_default();
    second["hosts"] = Value::Array(plain);
    let name = server.port_name.as_deref().unwrap_or("http");
    second["port"]["name"] = format!("{name}-plain").into();
    patch
        .set(&at(server, "/hosts"), redirected)
        .set(&at(server, "/tls/httpsRedirect"), true)
        .set("/spec/servers/-", second)
        .yaml()
}
