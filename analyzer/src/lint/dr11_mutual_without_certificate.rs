//! DR11: MUTUAL needs a client certificate from somewhere.

#[cfg(test)]
use crate::lint::Broken;
use crate::lint::survey::Survey;
use crate::lint::survey::destination_rules::{all_take_mtls, each_block, host_of, verified};
use crate::lint::{Problem, Rule};
use crate::report::{ClientTls, Severity};

pub(super) const RULE: Rule = Rule {
    id: "DR11",
    severity: Severity::High,
    title: "MUTUAL without a client certificate",
    page: include_str!("../../../docs/findings/DR11.md"),
    check,
    #[cfg(test)]
    broken: Broken {
        replace: &[],
        add: "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: broken, namespace: shop, creationTimestamp: '2026-02-01T00:00:00Z'}\nspec: {host: web, trafficPolicy: {tls: {mode: MUTUAL, caCertificates: /etc/certs/ca.pem}}}",
        // Without a certificate nothing but plaintext is sent, and the server is STRICT.
        also: &["XC01"],
    },
};

fn check(survey: &Survey<'_>) -> Vec<Problem> {
    let mesh = survey.mesh;
    each_block(
        survey,
        |block| {
            let tls = block.tls;
            let bare =
                tls.mode == ClientTls::Mutual && !tls.client_certificate && tls.credential_name.is_none();
            bare.then(|| {
                let message = format!(
                    "{} sets MUTUAL for {} without clientCertificate and privateKey or credentialName: Istio rejects it, and one that was stored sends no TLS",
                    block.rule.meta.id(),
                    block.rule.host
                );
                let remedy = "Name the client's certificate and key; use ISTIO_MUTUAL inside the mesh, SIMPLE where the server asks for no certificate.";
                Problem::at(&block.rule.meta, tls.line, message, remedy)
            })
        },
        |patch, block| {
            if all_take_mtls(survey, block.rule) {
                return block.to_mesh_mtls(survey, patch);
            }
            let tls = verified(block.with_mode(ClientTls::Simple), &host_of(mesh, block.rule));
            block.set(patch, tls)
        },
    )
}
