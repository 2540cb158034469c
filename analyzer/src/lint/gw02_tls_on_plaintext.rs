//! GW02: A tls block on a protocol that has no TLS.

#[cfg(test)]
use crate::lint::Broken;
use crate::lint::survey::Survey;
use crate::lint::survey::gateways::{at, each, named};
use crate::lint::{Problem, Rule};
use crate::patch::Patch;
use crate::report::Severity;
use serde_json::json;

pub(super) const RULE: Rule = Rule {
    id: "GW02",
    severity: Severity::High,
    title: "tls on a plaintext server",
    page: include_str!("../../../docs/findings/GW02.md"),
    check,
    #[cfg(test)]
    broken: Broken {
        replace: &[(
            "tls: {httpsRedirect: true}",
            "tls: {httpsRedirect: true, mode: SIMPLE, credentialName: shop}",
        )],
        add: "",
        also: &[],
    },
};

fn check(survey: &Survey<'_>) -> Vec<Problem> {
    each(survey, |gateway, server| {
        let tls = server.tls.as_ref().filter(|tls| !server.protocol.is_tls() && !tls.only_redirect)?;
        let message = format!(
            "{} has a tls block, which only HTTPS and TLS servers may have: Istio rejects it",
            named(gateway, server)
        );
        let certificate = tls.credential_name.is_some() || tls.server_certificate;
        let patch = Patch::of(&gateway.meta);
        let (remedy, patch) = if tls.https_redirect {
            (
                "Keep the redirect alone: TLS belongs to another server.",
                patch.set(&at(server, "/tls"), json!({"httpsRedirect": true})),
            )
        } else if certificate {
            let protocol = if server.protocol.is_http() { "HTTPS" } else { "TLS" };
            let patch = patch.set(&at(server, "/port/protocol"), protocol);
            let patch = if tls.mode_written { patch } else { patch.set(&at(server, "/tls/mode"), "SIMPLE") };
            ("Declare the protocol that the certificate is for.", patch)
        } else {
            ("Remove the tls block, or declare HTTPS or TLS.", patch.remove(&at(server, "/tls")))
        };
        Some(Problem::at(&gateway.meta, tls.line, message, remedy).yaml(patch.yaml()))
    })
}
