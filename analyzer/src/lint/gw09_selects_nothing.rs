//! GW09: The selector finds no pod.

#[cfg(test)]
use crate::lint::Broken;
use crate::lint::gw10_port_not_exposed::{exposing, port, usual};
use crate::lint::survey::Survey;
use crate::lint::survey::gateways::{from_gateway_api, fronts, services};
use crate::lint::survey::peer_authentications::{by_workload, labels_of};
use crate::lint::{Problem, Rule, names};
use crate::mesh::gateway::{Gateway, Server};
use crate::mesh::meant as spelt;
use crate::mesh::pod::Pod;
use crate::patch::{Patch, part, together};
use crate::policy::gateway::configures;
use crate::report::Severity;
use serde_json::{Value, json};
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
            || (!from_gateway_api(gateway)
                && gateway.services.is_empty()
                && mesh.makes_pods_with(None, &gateway.selector))
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
            } else if survey.gateway_pods.iter().any(|pod| is_free(pod)) {
                problem("Correct the selector to the labels of one of the gateways that there are, or deploy the gateway.")
            } else {
                problem("Deploy the gateway: the injector makes the container what it has to be.").yaml(deployed(gateway))
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

/// Tells whether a gateway's pod is no Gateway's own: those of the Gateway API have theirs.
fn is_free(pod: &Pod) -> bool {
    !pod.meta.labels.contains_key("gateway.networking.k8s.io/gateway-name")
}

/// The one gateway workload whose Service has the ports of all servers; else the only one there is, whose Service gets them.
fn only(survey: &Survey<'_>, gateway: &Gateway) -> Option<(String, String)> {
    let mesh = survey.mesh;
    let free = || survey.gateway_pods.iter().copied().filter(|pod| is_free(pod));
    let missing = |pod| {
        let services = services(mesh, pod);
        let has = |port| services.iter().any(|service| service.port(port).is_some());
        let without: Vec<&Server> = gateway.servers.iter().filter(|server| !has(server.port)).collect();
        without
    };
    let one = |pods: Vec<&'_ Pod>| {
        let mut workloads = by_workload(pods).into_iter();
        let (Some(((namespace, name), pods)), None) = (workloads.next(), workloads.next()) else {
            return None;
        };
        let labels = labels_of(mesh, &pods);
        let patch = Patch::of(&gateway.meta).set("/spec/selector", json!(labels)).yaml();
        (!labels.is_empty()).then(|| (format!("{namespace}/{name}"), patch))
    };
    if let Some((name, patch)) = one(free().filter(|pod| missing(pod).is_empty()).collect()) {
        return Some((format!("Select {name}, the gateway that has these ports."), patch));
    }
    let (name, patch) = one(free().collect())?;
    let pod = free().next()?;
    let mut ports = missing(pod);
    ports.dedup_by_key(|server| server.port);
    let exposed = services(mesh, pod).first().map(|service| exposing(service, &ports).yaml());
    let remedy = format!("Select {name}, the only gateway, and let its Service expose the ports.");
    Some((remedy, together([patch].into_iter().chain(exposed))))
}

/// The gateway that a Gateway asks for, as Istio's documentation deploys one.
///
/// Istio: "Installing Gateways", injection template `gateway`.
fn deployed(gateway: &Gateway) -> String {
    let (namespace, name) = (&gateway.meta.namespace, &gateway.meta.name);
    let mut ports: Vec<&Server> = gateway.servers.iter().collect();
    ports.sort_by_key(|server| server.port);
    ports.dedup_by_key(|server| server.port);
    let ports: Vec<Value> = ports.into_iter().map(|server| port(server, usual(server.port))).collect();
    let mut labels = gateway.selector.clone();
    let service = Patch::create("v1", "Service", namespace, name)
        .set("/spec/type", "LoadBalancer")
        .set("/spec/selector", json!(labels))
        .set("/spec/ports", ports);
    let deployment = Patch::create("apps/v1", "Deployment", namespace, name)
        .set("/spec/selector/matchLabels", json!(labels));
    labels.insert("sidecar.istio.io/inject".to_owned(), "true".to_owned());
    let deployment = deployment
        .set("/spec/template/metadata/annotations", json!({"inject.istio.io/templates": "gateway"}))
        .set("/spec/template/metadata/labels", json!(labels))
        .set("/spec/template/spec/containers", json!([{"name": "istio-proxy", "image": "auto"}]));
    together([service.yaml(), deployment.yaml()])
}
