//! GW09: The selector finds no pod.

#[cfg(test)]
use crate::lint::Broken;
use crate::lint::survey::Survey;
use crate::lint::survey::gateways::{from_gateway_api, fronts, services};
use crate::lint::survey::peer_authentications::{by_workload, labels_of};
use crate::lint::{Problem, Rule, names};
use crate::mesh::gateway::Gateway;
use crate::mesh::meant as spelt;
use crate::patch::{Patch, part};
use crate::policy::gateway::configures;
use crate::report::Severity;
use serde_json::json;
use std::collections::BTreeSet;

pub(super) const RULE: Rule = Rule {
    id: "GW09",
    severity: Severity::High,
    title: "A Gateway that selects no pod",
    page: include_str!("../../../docs/findings/GW09.md"),
    check,
    #[cfg(test)]
    broken: Broken {
        replace: &[("    app: ingress\n  servers", "    app: nobody\n  servers")],
        add: "",
        also: &[],
    },
};

fn check(survey: &Survey<'_>) -> Vec<Problem> {
    let mesh = survey.mesh;
    let listens = |gateway: &&Gateway| {
        survey.gateway_pods.iter().copied().chain(&mesh.pods).any(|pod| configures(mesh, gateway, pod))
            || (mesh.pods.is_empty() && !fronts(survey, gateway).is_empty())
    };
    mesh.gateways
        .iter()
        .filter(|gateway| survey.knows_pods(&gateway.meta) || !mesh.services.is_empty())
        .filter(|gateway| is_istios(gateway))
        .filter(|gateway| !listens(gateway))
        .map(|gateway| {
            let labels = names(gateway.selector.iter().map(|(key, value)| format!("{key}={value}")));
            let message = format!("{} selects {labels}: no pod has that, so nothing listens", gateway.meta.id());
            let problem = |remedy: &str| Problem::at(&gateway.meta, gateway.selector_line, message.clone(), remedy);
            if from_gateway_api(gateway) {
                problem("istiod makes the pods of such a Gateway: look at its status, and for quotas and failing pods.")
            } else if let Some((remedy, yaml)) = misspelt(survey, gateway).or_else(|| only(survey, gateway)) {
                problem(&remedy).yaml(yaml)
            } else {
                problem("Deploy the gateway, or correct the selector.")
            }
        })
        .collect()
}

/// Tells whether Istio serves the Gateway: one of the Gateway API may be another implementation's.
fn is_istios(gateway: &Gateway) -> bool {
    let class = || Patch::of(&gateway.meta).get("/spec/gatewayClassName")?.as_str().map(str::to_owned);
    !from_gateway_api(gateway) || class().is_none_or(|class| class.starts_with("istio"))
}

/// A label of the selector, one slip away from what gateway pods have.
fn misspelt(survey: &Survey<'_>, gateway: &Gateway) -> Option<(String, String)> {
    gateway.selector.iter().find_map(|(key, value)| {
        let fits = |rest: &str, labels: &crate::mesh::meta::Labels| {
            gateway.selector.iter().all(|(key, value)| key == rest || labels.get(key) == Some(value))
        };
        let pods = survey.gateway_pods.iter().filter(|pod| fits(key, &pod.meta.labels));
        let values: BTreeSet<&str> =
            pods.filter_map(|pod| pod.meta.labels.get(key).map(String::as_str)).collect();
        let meant = spelt(&values.into_iter().collect::<Vec<_>>(), value)?;
        let patch = Patch::of(&gateway.meta).set(&format!("/spec/selector/{}", part(key)), meant);
        Some((format!("Correct the label to {key}={meant}."), patch.yaml()))
    })
}

/// The one gateway workload whose Service has the ports of all servers.
fn only(survey: &Survey<'_>, gateway: &Gateway) -> Option<(String, String)> {
    let mesh = survey.mesh;
    let exposes = survey.gateway_pods.iter().copied().filter(|pod| {
        let has = |port| services(mesh, pod).iter().any(|service| service.port(port).is_some());
        !pod.meta.labels.contains_key("gateway.networking.k8s.io/gateway-name")
            && gateway.servers.iter().all(|server| has(server.port))
    });
    let mut workloads = by_workload(exposes).into_iter();
    let (Some(((namespace, name), pods)), None) = (workloads.next(), workloads.next()) else { return None };
    let labels = labels_of(mesh, &pods);
    let patch = Patch::of(&gateway.meta).set("/spec/selector", json!(labels));
    let remedy = format!("Select {namespace}/{name}, the gateway that has these ports.");
    (!labels.is_empty()).then(|| (remedy, patch.yaml()))
}
