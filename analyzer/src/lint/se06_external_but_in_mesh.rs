//! SE06: What is in the mesh is declared to be outside, so auto mTLS is off.

#[cfg(test)]
use crate::lint::Broken;
use crate::lint::survey::Survey;
use crate::lint::survey::service_entries::workloads;
use crate::lint::{Problem, Rule, agree, names};
use crate::mesh::pod::Pod;
use crate::mesh::service_entry::ServiceEntry;
use crate::patch::Patch;
use crate::report::{PartyKind, Severity};
use std::collections::{BTreeSet, HashSet};
use std::net::IpAddr;

pub(super) const RULE: Rule = Rule {
    id: "SE06",
    severity: Severity::Medium,
    title: "Mesh workloads declared outside the mesh",
    page: include_str!("../../../docs/findings/SE06.md"),
    check,
    #[cfg(test)]
    broken: Broken {
        replace: &[],
        add: "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {name: broken, namespace: shop, creationTimestamp: '2026-02-01T00:00:00Z'}\nspec: {hosts: [web.internal], resolution: STATIC, ports: [{number: 8081, name: http, protocol: HTTP}], endpoints: [{address: 10.0.1.11}]}",
        // The plaintext that clients send meets STRICT.
        also: &["XC01"],
    },
};

fn check(survey: &Survey<'_>) -> Vec<Problem> {
    let mesh = survey.mesh;
    let in_mesh = |pod: &Pod| !pod.ended && matches!(pod.proxy, PartyKind::Sidecar | PartyKind::Ambient);
    let machines: HashSet<IpAddr> = mesh
        .workload_entries
        .iter()
        .filter(|workload| workload.endpoint.tls_mode_istio())
        .filter_map(|workload| workload.endpoint.ip)
        .collect();
    let check = |entry: &ServiceEntry| {
        let pods: Vec<(usize, &Pod)> = entry
            .endpoints
            .iter()
            .enumerate()
            .filter_map(|(place, endpoint)| Some((place, mesh.pod_at(endpoint.ip?, None)?)))
            .filter(|(_, pod)| in_mesh(pod))
            .collect();
        let listed = entry
            .endpoints
            .iter()
            .filter(|endpoint| endpoint.ip.is_some_and(|ip| machines.contains(&ip)))
            .map(|endpoint| endpoint.address.clone());
        let selected = entry.workload_selector.iter().flat_map(|selector| {
            let own = mesh.pods_with(&entry.meta.namespace, selector).map(|(_, pod)| pod);
            own.filter(|pod| in_mesh(pod)).map(|pod| pod.meta.id())
        });
        let machines = workloads(mesh, entry)
            .filter(|workload| workload.endpoint.tls_mode_istio())
            .map(|workload| workload.meta.id());
        let inside: BTreeSet<String> =
            pods.iter().map(|(_, pod)| pod.meta.id()).chain(listed).chain(selected).chain(machines).collect();
        if inside.is_empty() {
            return None;
        }
        let how = if entry.location_written {
            "is MESH_EXTERNAL"
        } else {
            "has no location, which means MESH_EXTERNAL"
        };
        let message = format!(
            "{} {how}, but {names} {are} part of the mesh: auto mTLS is off, clients send plaintext",
            entry.meta.id(),
            are = agree(inside.len(), "is", "are"),
            names = names(inside),
        );
        // As an endpoint of the mesh it has to say whose identity it has.
        let patch = pods.iter().fold(
            Patch::of(&entry.meta).set("/spec/location", "MESH_INTERNAL"),
            |patch, (place, pod)| {
                patch.set(&format!("/spec/endpoints/{place}/serviceAccount"), pod.service_account.as_str())
            },
        );
        let remedy = "Set location to MESH_INTERNAL.";
        Some(Problem::at(&entry.meta, entry.location_line, message, remedy).yaml(patch.yaml()))
    };
    mesh.service_entries.iter().filter(|entry| !entry.internal).filter_map(check).collect()
}
