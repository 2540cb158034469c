//! SE05: Endpoints of the mesh that clients reach in plaintext.

#[cfg(test)]
use crate::lint::Broken;
use crate::lint::survey::Survey;
use crate::lint::survey::service_entries::workloads;
use crate::lint::{Problem, Rule, agree, names};
use crate::mesh::Mesh;
use crate::mesh::service_entry::{Endpoint, ServiceEntry};
use crate::patch::{Patch, part};
use crate::report::{PartyKind, Severity};
use std::collections::BTreeMap;

pub(super) const RULE: Rule = Rule {
    id: "SE05",
    severity: Severity::Medium,
    title: "An endpoint of the mesh without an identity",
    page: include_str!("../../../docs/findings/SE05.md"),
    check,
    #[cfg(test)]
    broken: Broken {
        replace: &[],
        add: "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {name: broken, namespace: data, creationTimestamp: '2026-02-01T00:00:00Z'}\nspec: {hosts: [legacy.data.internal], location: MESH_INTERNAL, resolution: STATIC, ports: [{number: 80, name: http, protocol: HTTP}], endpoints: [{address: 10.0.9.9}]}",
        also: &[],
    },
};

fn check(survey: &Survey<'_>) -> Vec<Problem> {
    let mesh = survey.mesh;
    let inside = || mesh.service_entries.iter().filter(|entry| entry.internal);
    let selected: BTreeMap<String, _> = inside()
        .flat_map(|entry| workloads(mesh, entry).map(move |workload| (workload.meta.id(), (entry, workload))))
        .filter(|(_, (_, workload))| is_bare(&workload.endpoint))
        .collect();
    let own = inside().filter_map(|entry| written(mesh, entry));
    own.chain(selected.into_values().map(|(entry, workload)| {
        let message = format!(
            "{} is in the mesh by {}, but has neither serviceAccount nor the label {TLS_MODE}: clients send plaintext to it",
            workload.meta.id(),
            entry.meta.id()
        );
        let patch = Patch::of(&workload.meta).set(&format!("/spec/labels/{}", part(TLS_MODE)), "istio");
        Problem::at(&workload.meta, workload.meta.line, message, REMEDY).yaml(patch.yaml())
    }))
    .collect()
}

const TLS_MODE: &str = "security.istio.io/tlsMode";

const REMEDY: &str = "Say that it takes mTLS, if it has a proxy: by its serviceAccount, or by the label. Without a proxy plaintext is right, and MESH_EXTERNAL says so.";

/// Tells whether nothing says that an endpoint takes mTLS, nor that it does not.
fn is_bare(endpoint: &Endpoint) -> bool {
    endpoint.service_account.is_none() && !endpoint.labels.contains_key(TLS_MODE)
}

/// Reports the bare endpoints that an entry itself lists.
fn written(mesh: &Mesh, entry: &ServiceEntry) -> Option<Problem> {
    let bare: Vec<_> = entry.endpoints.iter().enumerate().filter(|(_, endpoint)| is_bare(endpoint)).collect();
    let (_, first) = bare.first()?;
    let message = format!(
        "{} is in the mesh, but {} {} neither serviceAccount nor the label {TLS_MODE}: clients send plaintext to {}",
        entry.meta.id(),
        names(bare.iter().map(|(_, endpoint)| endpoint.address.clone())),
        agree(bare.len(), "has", "have"),
        agree(bare.len(), "it", "them")
    );
    let patch = bare.iter().fold(Patch::of(&entry.meta), |patch, (place, endpoint)| {
        let at = format!("/spec/endpoints/{place}");
        let pod = endpoint.ip.and_then(|ip| mesh.pod_at(ip, None));
        match pod.filter(|pod| pod.proxy == PartyKind::Sidecar) {
            Some(pod) => patch.set(&format!("{at}/serviceAccount"), pod.service_account.as_str()),
            None => patch.set(&format!("{at}/labels/{}", part(TLS_MODE)), "istio"),
        }
    });
    Some(Problem::at(&entry.meta, first.line, message, REMEDY).yaml(patch.yaml()))
}
