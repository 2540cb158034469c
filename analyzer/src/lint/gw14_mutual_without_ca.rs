//! GW14: MUTUAL needs a CA to verify clients with.

#[cfg(test)]
use crate::lint::Broken;
use crate::lint::survey::Survey;
use crate::lint::survey::gateways::{at, each_tls, named, together};
use crate::lint::{Problem, Rule};
use crate::mesh::gateway::{Gateway, ServerTlsMode};
use crate::patch::Patch;
use crate::report::Severity;
use serde_json::Value;

pub(super) const RULE: Rule = Rule {
    id: "GW14",
    severity: Severity::High,
    title: "MUTUAL without a CA",
    page: include_str!("../../../docs/findings/GW14.md"),
    check,
    #[cfg(test)]
    broken: Broken {
        replace: &[(
            "tls: {mode: SIMPLE, credentialName: shop}",
            "tls: {mode: MUTUAL, serverCertificate: /etc/shop/tls.crt, privateKey: /etc/shop/tls.key}\n  - port: {number: 443, name: https-api, protocol: HTTPS}\n    hosts: [api.example.com]\n    tls: {mode: MUTUAL, serverCertificate: /etc/api/tls.crt, privateKey: /etc/api/tls.key, caCertificates: /etc/api/ca.crt}",
        )],
        add: "",
        also: &[],
    },
};

fn check(survey: &Survey<'_>) -> Vec<Problem> {
    each_tls(survey, |gateway, server, tls| {
        let asks = matches!(tls.mode, ServerTlsMode::Mutual | ServerTlsMode::OptionalMutual);
        if !asks || tls.ca_certificates || tls.credential_name.is_some() {
            return None;
        }
        let message = format!(
            "{} sets {} without a CA to verify clients with: Istio rejects it, and nothing listens for its hosts",
            named(gateway, server),
            tls.mode
        );
        let problem = |remedy: &str| Problem::at(&gateway.meta, tls.line, message.clone(), remedy);
        Some(match known_ca(survey, gateway) {
            Some((field, ca)) => {
                let patch = Patch::of(&gateway.meta).set(&at(server, &format!("/tls/{field}")), ca);
                problem("Verify clients with the CA that the gateway has already.").yaml(patch.yaml())
            }
            None => problem(
                "Name the clients' CA: in caCertificates, or in a Secret that credentialName names. Where only the mesh calls, set ISTIO_MUTUAL, which needs none.",
            ),
        })
    })
}

/// The CA of another server of the same pods.
fn known_ca(survey: &Survey<'_>, gateway: &Gateway) -> Option<(&'static str, Value)> {
    survey.mesh.gateways.iter().find_map(|other| {
        let found = other.servers.iter().find_map(|server| {
            let document = Patch::of(&other.meta);
            ["caCertificates", "caCertCredentialName"].iter().find_map(|field| {
                let value = document.get(&at(server, &format!("/tls/{field}")))?;
                value.as_str().is_some_and(|text| !text.is_empty()).then(|| (*field, value.clone()))
            })
        })?;
        together(survey, gateway, other).then_some(found)
    })
}
