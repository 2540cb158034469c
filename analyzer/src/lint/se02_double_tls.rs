//! SE02: The application's TLS gets wrapped in TLS again.

#[cfg(test)]
use crate::lint::Broken;
use crate::lint::survey::Survey;
use crate::lint::survey::destination_rules::originator;
use crate::lint::survey::service_entries::each_port;
use crate::lint::{Problem, Rule};
use crate::report::{ClientTls, Severity};

pub(super) const RULE: Rule = Rule {
    id: "SE02",
    severity: Severity::High,
    title: "TLS originated around an HTTPS port",
    page: include_str!("../../../docs/findings/SE02.md"),
    check,
    #[cfg(test)]
    broken: Broken {
        replace: &[],
        add: "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: broken, namespace: shop, creationTimestamp: '2026-02-01T00:00:00Z'}\nspec: {host: api.bank.example, trafficPolicy: {tls: {mode: SIMPLE, caCertificates: /ca}}}",
        also: &[],
    },
};

fn check(survey: &Survey<'_>) -> Vec<Problem> {
    each_port(survey, |entry, port| {
        if !port.protocol.is_tls() {
            return None;
        }
        let rule = entry.hosts.iter().find_map(|host| {
            originator(survey.mesh, host, port.number, &[ClientTls::Simple, ClientTls::Mutual])
        })?;
        let message = format!(
            "{} declares port {} as {}, and {} originates TLS for it as well: TLS in TLS",
            entry.meta.id(),
            port.number,
            port.protocol,
            rule.meta.id()
        );
        let remedy = "Declare port 80 as HTTP with targetPort 443, or remove the rule's tls block.";
        Some(Problem::at(&entry.meta, port.line, message, remedy).yaml(format!(
            "ports:\n- number: 80\n  name: http\n  protocol: HTTP\n  targetPort: {}\n",
            port.target.unwrap_or(port.number)
        )))
    })
}
