//! GW16: Clients without a certificate get in.

#[cfg(test)]
use crate::lint::Broken;
use crate::lint::survey::Survey;
use crate::lint::survey::gateways::{each_tls, named};
use crate::lint::{Problem, Rule};
use crate::mesh::gateway::ServerTlsMode;
use crate::report::Severity;

pub(super) const RULE: Rule = Rule {
    id: "GW16",
    severity: Severity::Low,
    title: "Client certificates are optional",
    page: include_str!("../../../docs/findings/GW16.md"),
    check,
    #[cfg(test)]
    broken: Broken { replace: &[("mode: SIMPLE, ", "mode: OPTIONAL_MUTUAL, ")], add: "", also: &[] },
};

fn check(survey: &Survey<'_>) -> Vec<Problem> {
    each_tls(survey, |gateway, server, tls| {
        (tls.mode == ServerTlsMode::OptionalMutual).then(|| {
            let message =
                format!("{} asks for client certificates but does not require them", named(gateway, server));
            let problem =
                Problem::at(&gateway.meta, tls.line, message, "Set MUTUAL if every client has one.");
            problem.yaml("tls:\n  mode: MUTUAL\n".to_owned())
        })
    })
}
