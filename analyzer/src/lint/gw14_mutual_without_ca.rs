//! GW14: MUTUAL needs a CA to verify clients with.

#[cfg(test)]
use crate::lint::Broken;
use crate::lint::survey::Survey;
use crate::lint::survey::gateways::{at, each_tls, from_gateway_api, named, namespace, secret, together};
use crate::lint::{Problem, Rule};
use crate::mesh::gateway::{Gateway, Server, ServerTlsMode};
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
            None if from_gateway_api(gateway) => problem("Name the clients' CA in spec.tls.frontend."),
            None => {
                let (field, value, how) = new_ca(survey, gateway, server);
                let patch = Patch::of(&gateway.meta).set(&at(server, &format!("/tls/{field}")), value);
                problem(&format!("{how} Where only the mesh calls, set ISTIO_MUTUAL, which needs none."))
                    .yaml(patch.yaml())
            }
        })
    })
}

/// Where the clients' CA is to be: beside the certificate in a file, where a mounted Secret has it, else in a Secret with both.
fn new_ca(survey: &Survey<'_>, gateway: &Gateway, server: &Server) -> (&'static str, String, String) {
    let file = server.tls.as_ref().and_then(|tls| tls.server_certificate_file.as_deref());
    if let Some((folder, _)) = file.and_then(|file| file.rsplit_once('/')) {
        let ca = format!("{folder}/ca.crt");
        let how = format!("Put the clients' CA into the Secret that is mounted at {folder}, as ca.crt.");
        return ("caCertificates", ca, how);
    }
    let name = secret(server);
    let how = format!(
        "Serve certificate and clients' CA from a Secret, which has to be there first: kubectl create -n {} secret generic {name} --from-file=tls.crt --from-file=tls.key --from-file=ca.crt.",
        namespace(survey, gateway)
    );
    ("credentialName", name, how)
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
