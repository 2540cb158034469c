//! What the rules look at: the declarations, and what several rules ask of them.

pub(crate) mod destination_rules;
pub(crate) mod gateways;
pub(crate) mod hosts;
pub(crate) mod injection;
pub(crate) mod interception;
pub(crate) mod meetings;
pub(crate) mod peer_authentications;
pub(crate) mod ports;
pub(crate) mod service_entries;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::mesh::meta::Meta;
use crate::mesh::pod::Pod;
use crate::mesh::{HostService, Mesh};
use crate::report::PartyKind;
use hosts::Hosts;
use meetings::{Meeting, apart, meetings, workload};

/// The declarations, and the client and server pairs that contradict each other.
pub(crate) struct Survey<'a> {
    pub(crate) mesh: &'a Mesh,
    pub(crate) hosts: Hosts<'a>,
    pub(crate) meetings: Vec<Meeting<'a>>,
    /// Workloads with a sidecar, by namespace, each with one of its pods.
    pub(crate) sidecars: BTreeMap<&'a str, BTreeMap<String, &'a Pod>>,
    /// Ambient workloads, in the same way.
    pub(crate) ambient: BTreeMap<&'a str, BTreeMap<String, &'a Pod>>,
    apart: HashMap<(&'a str, &'a str), BTreeSet<&'a str>>,
    /// Pods that are gateways.
    pub(crate) gateway_pods: Vec<&'a Pod>,
}

impl<'a> Survey<'a> {
    /// Looks a mesh over.
    pub(crate) fn of(mesh: &'a Mesh) -> Self {
        let hosts = Hosts::of(mesh);
        let apart = apart(mesh, &hosts);
        let meetings = meetings(mesh, &apart);
        let workloads = |proxy: PartyKind| {
            let mut found: BTreeMap<&str, BTreeMap<String, &Pod>> = BTreeMap::new();
            for pod in mesh.pods.iter().filter(|pod| pod.proxy == proxy && !pod.ended) {
                found.entry(&pod.meta.namespace).or_default().entry(workload(pod)).or_insert(pod);
            }
            found
        };
        let (sidecars, ambient) = (workloads(PartyKind::Sidecar), workloads(PartyKind::Ambient));
        let keys = mesh.hosts.iter().map(|host| (&*host.namespace, host.host.as_str()));
        let gateways = mesh.pods.iter().filter(|pod| pod.proxy == PartyKind::Gateway && !pod.ended);
        Self {
            mesh,
            hosts,
            meetings,
            sidecars,
            ambient,
            gateway_pods: gateways.collect(),
            apart: keys.zip(apart).collect(),
        }
    }

    /// Tells whether a pod that is not declared is not there: other pods are declared, or the object that would select it comes
    /// from a cluster, whose API server alone sets a creation time. Manifests from a repository hold no pods.
    pub(crate) fn knows_pods(&self, object: &Meta) -> bool {
        !self.mesh.pods.is_empty() || object.created.is_some()
    }

    /// Tells whether clients of a namespace may see a host otherwise than those of most: see [`apart`].
    pub(crate) fn is_apart(&self, host: &HostService, namespace: &str) -> bool {
        self.apart.get(&(&*host.namespace, host.host.as_str())).is_some_and(|own| own.contains(namespace))
    }
}
