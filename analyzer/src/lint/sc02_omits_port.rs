//! SC02: An ingress list that leaves out a port of the workload's Services.

use std::collections::BTreeMap;

#[cfg(test)]
use crate::lint::Broken;
use crate::lint::survey::Survey;
use crate::lint::survey::meetings::workload;
use crate::lint::{Problem, Rule, names};
use crate::mesh::pod::Pod;
use crate::mesh::service::Protocol;
use crate::mesh::sidecar::Sidecar;
use crate::mesh::{HostPort, Mesh};
use crate::patch::Patch;
use crate::policy::visibility::sidecar_for;
use crate::report::{PartyKind, Severity};
use serde_json::{Value, json};

pub(super) const RULE: Rule = Rule {
    id: "SC02",
    severity: Severity::Low,
    title: "A Sidecar that leaves out a port",
    page: include_str!("../../../docs/findings/SC02.md"),
    check,
    #[cfg(test)]
    broken: Broken {
        replace: &[],
        add: "apiVersion: networking.istio.io/v1\nkind: Sidecar\nmetadata: {name: broken, namespace: shop, creationTimestamp: '2026-02-01T00:00:00Z'}\nspec: {workloadSelector: {labels: {app: web}}, ingress: [{port: {number: 7070, protocol: HTTP, name: x}}]}",
        also: &[],
    },
};

/// Container ports that a list leaves out, each with a pod and the Service's port.
type LeftOut<'a> = BTreeMap<u16, (&'a Pod, &'a HostPort)>;

fn check(survey: &Survey<'_>) -> Vec<Problem> {
    let mesh = survey.mesh;
    let merged = mesh.control_plane.merges_ingress;
    if merged || mesh.sidecars.iter().all(|sidecar| sidecar.ingress.is_none()) {
        return Vec::new();
    }
    let mut found: BTreeMap<String, (&Sidecar, LeftOut<'_>)> = BTreeMap::new();
    for pod in mesh.pods.iter().filter(|pod| pod.proxy == PartyKind::Sidecar && !pod.ended) {
        let Some(sidecar) = sidecar_for(mesh, pod) else { continue };
        let Some(ingress) = &sidecar.ingress else { continue };
        for (port, wire) in exposed(mesh, pod) {
            if !ingress.iter().any(|entry| entry.port == wire) {
                let left_out = found.entry(sidecar.meta.id()).or_insert_with(|| (sidecar, BTreeMap::new()));
                left_out.1.entry(wire).or_insert((pod, port));
            }
        }
    }
    found
        .into_iter()
        .map(|(id, (sidecar, ports))| {
            let list = names(ports.iter().map(|(wire, (pod, _))| format!("{wire} of {}", workload(pod))));
            let message = format!(
                "the ingress list of {id} leaves out ports that Services expose: {list}. They are taken as TCP that nothing declares"
            );
            let mut patch = Patch::of(&sidecar.meta);
            for (wire, (_, port)) in &ports {
                patch = patch.set("/spec/ingress/-", listener(*wire, port));
            }
            let line = sidecar.ingress.iter().flatten().next().map_or(sidecar.meta.line, |entry| entry.line);
            Problem::at(&sidecar.meta, line, message, "Add the ports to the ingress list.").yaml(patch.yaml())
        })
        .collect()
}

/// The ports by which Services lead to a pod, each with the container port.
fn exposed<'a>(mesh: &'a Mesh, pod: &'a Pod) -> impl Iterator<Item = (&'a HostPort, u16)> {
    pod.ips.iter().flat_map(move |ip| mesh.hosts_at(*ip).map(move |host| (ip, host))).flat_map(
        |(ip, host)| {
            let endpoints = host.endpoints.iter().filter(move |endpoint| endpoint.ip == *ip);
            endpoints.flat_map(move |endpoint| {
                let ports = host.ports.iter().filter(|port| port.protocol != Protocol::Udp);
                ports.filter_map(move |port| Some((port, *endpoint.ports.get(&port.number)?)))
            })
        },
    )
}

fn listener(wire: u16, port: &HostPort) -> Value {
    let undeclared = port.protocol == Protocol::Unsupported;
    let protocol = if undeclared { Protocol::Tcp } else { port.protocol };
    let name =
        port.name.clone().unwrap_or_else(|| format!("{}-{wire}", protocol.name().to_ascii_lowercase()));
    json!({
        "port": {"number": wire, "protocol": protocol.name().to_ascii_uppercase(), "name": name},
        "defaultEndpoint": format!("0.0.0.0:{wire}"),
    })
}
