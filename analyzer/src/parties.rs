//! Whose addresses these are.

use std::net::IpAddr;

use flow::Endpoint;

use crate::mesh::pod::Pod;
use crate::mesh::{Behind, Mesh, Owner};
use crate::report::{Party, PartyKind};

/// Says who opened a connection from `ip`. The port of a client tells nothing, so an address that several pods share is
/// its node's.
#[must_use]
pub fn client(mesh: &Mesh, ip: IpAddr) -> Party {
    match mesh.pod_at(ip, None) {
        Some(pod) => of_pod(pod, ip, None),
        None => elsewhere(mesh, ip, None),
    }
}

/// Says whom a connection to `to` reaches.
#[must_use]
pub fn server(mesh: &Mesh, to: Endpoint) -> Party {
    let behind = mesh.behind(to.ip, to.port);
    let behind = behind.first();
    match mesh.server_at(to.ip, to.port) {
        Some((pod, _)) => of_pod(pod, to.ip, behind.map(service)),
        None => {
            let published = mesh.published_at(to.ip, to.port);
            elsewhere(mesh, to.ip, behind.or(published.as_ref()))
        }
    }
}

fn of_pod(pod: &Pod, ip: IpAddr, service: Option<String>) -> Party {
    Party {
        address: ip,
        kind: pod.proxy,
        namespace: Some(pod.meta.namespace.to_string()),
        workload: Some(pod.workload.clone()),
        pod: Some(pod.meta.name.to_string()),
        service,
        service_account: Some(pod.service_account.clone()),
    }
}

fn elsewhere(mesh: &Mesh, ip: IpAddr, behind: Option<&Behind<'_>>) -> Party {
    let mut party = Party {
        address: ip,
        kind: PartyKind::Unknown,
        namespace: None,
        workload: None,
        pod: None,
        service: behind.map(service),
        service_account: None,
    };
    if let Some(behind) = behind {
        party.kind = match behind.host.owner {
            Owner::Service(_) => PartyKind::ServiceAddress,
            Owner::Entry(_) => PartyKind::Declared,
        };
        match behind.host.owner {
            Owner::Service(index) => {
                party.namespace = Some(behind.host.namespace.to_string());
                party.workload = mesh.services.get(index).map(|service| service.meta.name.to_string());
            }
            Owner::Entry(_) => party.workload = Some(behind.host.host.clone()),
        }
    } else if let Some(entry) = mesh.workload_entry_at(ip) {
        party.kind = PartyKind::Declared;
        party.namespace = Some(entry.meta.namespace.to_string());
        party.workload = Some(entry.meta.name.to_string());
        party.service_account.clone_from(&entry.endpoint.service_account);
    } else if mesh.is_node(ip) {
        party.kind = PartyKind::Node;
        party.workload = mesh.node_at(ip).map(|name| format!("node/{name}"));
    }
    party
}

fn service(behind: &Behind<'_>) -> String {
    match behind.host.owner {
        Owner::Service(_) => {
            let name = behind.host.host.split('.').next().unwrap_or_default();
            [&*behind.host.namespace, "/", name].concat()
        }
        Owner::Entry(_) => behind.host.host.clone(),
    }
}
