//! Whose addresses are these? An address and port in, a [`Party`] out; policy is not looked at.

use std::net::IpAddr;

use flow::Endpoint;

use crate::mesh::pod::Pod;
use crate::mesh::{Behind, Mesh, Owner};
use crate::report::{Party, PartyKind};

/// Names the client behind an address. Ports of clients say nothing, so pods that share a node's address stay a node.
#[must_use]
pub fn client(mesh: &Mesh, ip: IpAddr) -> Party {
    if let Some(pod) = mesh.pod_at(ip, None) {
        return of_pod(ip, pod, None);
    }
    if mesh.is_node(ip) {
        return Party { workload: mesh.node_at(ip).map(str::to_owned), ..bare(ip, PartyKind::Node) };
    }
    let declared = mesh.hosts.iter().find(|host| host.endpoints.iter().any(|endpoint| endpoint.ip == ip));
    match declared {
        Some(host) => Party {
            namespace: Some(host.namespace.to_string()),
            workload: Some(host.host.clone()),
            ..bare(ip, PartyKind::Declared)
        },
        None => bare(ip, PartyKind::Unknown),
    }
}

/// Names the server behind an address and port; `behind` are the hosts of the mesh that stand there.
#[must_use]
pub fn server(mesh: &Mesh, to: Endpoint, behind: &[Behind<'_>]) -> Party {
    let service = behind.iter().find_map(|found| match found.host.owner {
        Owner::Service(_) => mesh.declaration(found.host),
        Owner::Entry(_) => None,
    });
    let service = service.map(|meta| format!("{}/{}", meta.namespace, meta.name));
    if let Some(pod) = mesh.pod_at(to.ip, Some(to.port)) {
        return of_pod(to.ip, pod, service);
    }
    if let Some(found) = behind.first() {
        let kind = match found.host.owner {
            Owner::Service(_) => PartyKind::ServiceAddress,
            Owner::Entry(_) => PartyKind::Declared,
        };
        let pod = found.host.endpoints.iter().find_map(|endpoint| mesh.pod_of(endpoint));
        let workload = match (kind, pod) {
            (PartyKind::ServiceAddress, Some(pod)) => pod.workload.clone(),
            (_, _) => found.host.host.clone(),
        };
        return Party {
            namespace: Some(found.host.namespace.to_string()),
            workload: Some(workload),
            service,
            ..bare(to.ip, kind)
        };
    }
    if mesh.is_node(to.ip) {
        return Party { workload: mesh.node_at(to.ip).map(str::to_owned), ..bare(to.ip, PartyKind::Node) };
    }
    bare(to.ip, PartyKind::Unknown)
}

fn of_pod(ip: IpAddr, pod: &Pod, service: Option<String>) -> Party {
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

const fn bare(address: IpAddr, kind: PartyKind) -> Party {
    Party { address, kind, namespace: None, workload: None, pod: None, service: None, service_account: None }
}
