//! SE07: A TCP port without addresses takes every connection to that port.

#[cfg(test)]
use crate::lint::Broken;
use crate::lint::survey::Survey;
use crate::lint::survey::service_entries::each_port;
use crate::lint::{Problem, Rule, names};
use crate::mesh::service::Protocol;
use crate::mesh::service_entry::Resolution;
use crate::patch::{Patch, mesh_config};
use crate::report::Severity;
use std::collections::BTreeSet;

pub(super) const RULE: Rule = Rule {
    id: "SE07",
    severity: Severity::Medium,
    title: "A TCP entry without addresses",
    page: include_str!("../../../docs/findings/SE07.md"),
    check,
    #[cfg(test)]
    broken: Broken {
        replace: &[],
        add: "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {name: broken, namespace: shop, creationTimestamp: '2026-02-01T00:00:00Z'}\nspec: {hosts: [db.bank.example], location: MESH_EXTERNAL, resolution: STATIC, ports: [{number: 5432, name: tcp, protocol: TCP}], endpoints: [{address: 203.0.113.9}]}",
        also: &[],
    },
};

fn check(survey: &Survey<'_>) -> Vec<Problem> {
    each_port(survey, |entry, port| {
        // Whatever is routed neither by HTTP host nor by SNI is routed by address.
        let by_address =
            !port.protocol.is_http() && !port.protocol.is_tls() && port.protocol != Protocol::Udp;
        if !by_address || !entry.addresses.is_empty() {
            return None;
        }
        if entry.is_told_by_assigned_addresses(&survey.mesh.config) {
            return None;
        }
        let assignable =
            entry.resolution != Resolution::None && entry.hosts.iter().all(|host| !host.starts_with('*'));
        let message = format!(
            "{} declares {} port {} of {} without addresses: it captures every connection to this port, whatever its destination",
            entry.meta.id(),
            port.protocol,
            port.number,
            names(entry.hosts.clone())
        );
        let known: BTreeSet<String> =
            entry.endpoints.iter().filter_map(|endpoint| endpoint.ip).map(|ip| ip.to_string()).collect();
        if known.is_empty() {
            if !assignable {
                let remedy = "Set spec.addresses to those that the host's name resolves to.";
                return Some(Problem::at(&entry.meta, port.line, message, remedy));
            }
            let remedy = "Have Istio assign an address, and the proxies answer DNS with it: ISTIO_META_DNS_CAPTURE in MeshConfig, for pods made from then on. Or set spec.addresses to those that the host's name resolves to.";
            let problem = Problem::at(&entry.meta, port.line, message, remedy);
            return Some(
                match mesh_config(
                    &survey.mesh.config,
                    "/defaultConfig/proxyMetadata/ISTIO_META_DNS_CAPTURE",
                    "true",
                ) {
                    Some(yaml) => problem.yaml(yaml),
                    None => problem,
                },
            );
        }
        let patch = Patch::of(&entry.meta).set("/spec/addresses", known.into_iter().collect::<Vec<_>>());
        let remedy = "Give the host the addresses of its endpoints.";
        Some(Problem::at(&entry.meta, port.line, message, remedy).yaml(patch.yaml()))
    })
}
