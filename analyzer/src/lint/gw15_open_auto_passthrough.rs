//! GW15: Whoever knows a name reaches that service.

#[cfg(test)]
use crate::lint::Broken;
use crate::lint::survey::Survey;
use crate::lint::survey::gateways::{at, each_tls, from_gateway_api, named, pods, without};
use crate::lint::{Problem, Rule, names};
use crate::mesh::gateway::ServerTlsMode;
use crate::patch::Patch;
use crate::report::Severity;

pub(super) const RULE: Rule = Rule {
    id: "GW15",
    severity: Severity::Medium,
    title: "AUTO_PASSTHROUGH too wide",
    page: include_str!("../../../docs/findings/GW15.md"),
    check,
    #[cfg(test)]
    broken: Broken {
        replace: &[],
        add: "apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {name: broken, namespace: istio-system, creationTimestamp: '2026-02-01T00:00:00Z'}\nspec: {selector: {app: ingress}, servers: [{port: {number: 443, name: tls, protocol: TLS}, hosts: ['*.local'], tls: {mode: AUTO_PASSTHROUGH}}]}",
        also: &[],
    },
};

fn check(survey: &Survey<'_>) -> Vec<Problem> {
    each_tls(survey, |gateway, server, tls| {
        // istiod opens those of the Gateway API where a Gateway says that it is an east-west one.
        if tls.mode != ServerTlsMode::AutoPassthrough || from_gateway_api(gateway) {
            return None;
        }
        let wide = names(server.hosts.iter().filter(|host| !host.ends_with(".local")).cloned());
        let east_west = server.port == 15443
            || gateway.selector.values().any(|value| value.contains("eastwest"))
            || pods(survey, gateway).any(|pod| pod.meta.labels.contains_key("topology.istio.io/network"));
        let what = match (wide.is_empty(), east_west) {
            (true, true) => return None,
            (false, _) => format!("for {wide}, wider than *.local"),
            (true, false) => "on a gateway that is not an east-west one".to_owned(),
        };
        let message = format!(
            "{} has AUTO_PASSTHROUGH {what}: whoever reaches it reaches every service by its SNI",
            named(gateway, server)
        );
        let problem = |remedy: &str| Problem::at(&gateway.meta, tls.line, message.clone(), remedy);
        Some(if east_west {
            let patch = Patch::of(&gateway.meta).set(&at(server, "/hosts"), vec!["*.local"]);
            problem("Keep AUTO_PASSTHROUGH to *.local.").yaml(patch.yaml())
        } else {
            problem("Remove the server: AUTO_PASSTHROUGH belongs on the east-west gateway.")
                .yaml(without(gateway, &[server]))
        })
    })
}
