//! The meshes of Istio's own tests, and what changed between its versions, each as one question.

mod ambient;
mod clients;
mod entries;
mod gateways;
#[path = "../meshes/mod.rs"]
mod meshes;
mod routes;
mod sidecars;
mod versions;
mod waypoints;

use meshes::spec;

pub(crate) fn outside(ports: &str, more: &str) -> String {
    spec("ServiceEntry", "api", "web", &format!("hosts: [api.example.com], ports: [{ports}]{more}"))
}

pub(crate) fn backend_policy(target: &str) -> String {
    let validation = "validation: {hostname: tls.example.com, wellKnownCACertificates: System}";
    spec("BackendTLSPolicy", "policy", "web", &format!("targetRefs: [{{{target}}}], {validation}"))
}
