//! DR02: A tls block without a mode is DISABLE, the zero value.

#[cfg(test)]
use crate::lint::Broken;
use crate::lint::survey::Survey;
use crate::lint::survey::destination_rules::{all_take_mtls, each_block};
use crate::lint::{Problem, Rule};
use crate::report::{ClientTls, Severity};

pub(super) const RULE: Rule = Rule {
    id: "DR02",
    severity: Severity::High,
    title: "A tls block without mode",
    page: include_str!("../../../docs/findings/DR02.md"),
    check,
    #[cfg(test)]
    broken: Broken {
        replace: &[],
        add: "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: broken, namespace: shop, creationTimestamp: '2026-02-01T00:00:00Z'}\nspec: {host: web, trafficPolicy: {tls: {}}}",
        // The server is STRICT and refuses the plaintext.
        also: &["XC01"],
    },
};

fn check(survey: &Survey<'_>) -> Vec<Problem> {
    each_block(
        survey,
        |block| {
            (!block.tls.mode_written).then(|| {
                let message = format!(
                    "{} has a tls block without mode: that means DISABLE, and switches auto mTLS off",
                    block.rule.meta.id()
                );
                let remedy = "State the mode that the block is meant to have.";
                Problem::at(&block.rule.meta, block.tls.line, message, remedy)
            })
        },
        |patch, block| {
            let tls = block.tls;
            if all_take_mtls(survey, block.rule) {
                return block.to_mesh_mtls(survey, patch);
            }
            // What else is in the block tells what it is for; an empty one keeps its meaning.
            let originates = tls.credential_name.is_some()
                || tls.ca_certificates
                || tls.sni.is_some()
                || !tls.subject_alt_names.is_empty();
            let mode = match (tls.client_certificate, originates) {
                (true, _) => ClientTls::Mutual,
                (false, true) => ClientTls::Simple,
                (false, false) => ClientTls::Disable,
            };
            block.set(patch, block.with_mode(mode))
        },
    )
}
