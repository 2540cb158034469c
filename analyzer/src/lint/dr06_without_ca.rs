//! DR06: The server's certificate is verified against the system's roots, or not at all.

#[cfg(test)]
use crate::lint::Broken;
use crate::lint::survey::Survey;
use crate::lint::survey::destination_rules::{each_block, host_of, verified};
use crate::lint::{Problem, Rule};
use crate::report::{ClientTls, Severity};

pub(super) const RULE: Rule = Rule {
    id: "DR06",
    severity: Severity::Low,
    title: "TLS that does not verify the server against a named CA",
    page: include_str!("../../../docs/findings/DR06.md"),
    check,
    #[cfg(test)]
    broken: Broken {
        replace: &[],
        add: "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {name: broken, namespace: shop, creationTimestamp: '2026-02-01T00:00:00Z'}\nspec: {hosts: [plain.example], location: MESH_EXTERNAL, resolution: DNS, ports: [{number: 80, targetPort: 443, name: http, protocol: HTTP}]}\n---\napiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: broken, namespace: shop, creationTimestamp: '2026-02-01T00:00:00Z'}\nspec: {host: plain.example, trafficPolicy: {tls: {mode: SIMPLE, insecureSkipVerify: true}}}",
        also: &[],
    },
};

fn check(survey: &Survey<'_>) -> Vec<Problem> {
    let mesh = survey.mesh;
    each_block(
        survey,
        |block| {
            let tls = block.tls;
            if !matches!(tls.mode, ClientTls::Simple | ClientTls::Mutual) {
                return None;
            }
            let rule = block.rule.meta.id();
            let remedy = "Name the CA in caCertificates (system: the roots of the proxy's image) and the server in subjectAltNames.";
            if tls.insecure_skip_verify {
                let message = format!(
                    "{rule} sets insecureSkipVerify for {}: any server, and anyone in between, passes for it",
                    block.rule.host
                );
                let problem = Problem::at(&block.rule.meta, tls.line, message, remedy);
                Some(problem.rated(Severity::Medium))
            } else if !tls.ca_certificates && tls.credential_name.is_none() {
                let message = format!(
                    "{rule} names no caCertificates for {}: any CA of the system's roots is trusted",
                    block.rule.host
                );
                Some(Problem::at(&block.rule.meta, tls.line, message, remedy))
            } else {
                None
            }
        },
        |patch, block| block.set(patch, verified(block.written(), &host_of(mesh, block.rule))),
    )
}
