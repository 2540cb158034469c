//! GW15: Whoever knows a name reaches that service.

#[cfg(test)]
use crate::lint::Broken;
use crate::lint::survey::Survey;
use crate::lint::survey::gateways::{each_tls, from_gateway_api, named, pods};
use crate::lint::{Problem, Rule, names};
use crate::mesh::gateway::ServerTlsMode;
use crate::report::Severity;

pub(super) const RULE: Rule = Rule {
    id: "GW15",
    severity: Severity::Medium,
    title: "AUTO_PASSTHROUGH too wide",
    page: include_str!("../../../docs/findings/GW15.md"),
    check,
    #[cfg(test)]
    broken: Broken { replace: &[], add: "", also: &[] },
};

fn check(survey: &Survey<'_>) -> Vec<Problem> {
    let mesh = survey.mesh;
    each_tls(survey, |gateway, server, tls| {
        if tls.mode != ServerTlsMode::AutoPassthrough || from_gateway_api(gateway) {
            return None;
        }
        let wide = names(server.hosts.iter().filter(|host| !host.ends_with(".local")).cloned());
        let network = "topology.istio.io/network";
        let east_west = server.port == 15443
            || gateway.selector.values().any(|value| value.contains("eastwest"))
            || pods(mesh, gateway).any(|pod| pod.meta.labels.contains_key(network));
        let what = match (wide.is_empty(), east_west) {
            (true, true) => return None,
            (false, _) => format!("for {wide}, wider than *.local"),
            (true, false) => "on a gateway that is not an east-west one".to_owned(),
        };
        let message = format!(
            "{} has AUTO_PASSTHROUGH {what}: it exposes every service by SNI",
            named(gateway, server)
        );
        let remedy = "Keep AUTO_PASSTHROUGH to *.local on the east-west gateway.";
        Some(Problem::at(&gateway.meta, tls.line, message, remedy))
    })
}
