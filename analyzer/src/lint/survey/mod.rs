//! What the rules look at: the declarations, and what several rules ask of them.

pub(crate) mod assumed;
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
    /// The same with the pods that the declarations speak of, where none is declared; see [`assumed`].
    pub(crate) assumed: Option<&'a Mesh>,
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
    /// Looks a mesh over; clients and servers meet in the assumed one where there is one.
    pub(crate) fn of(mesh: &'a Mesh, assumed: Option<&'a Mesh>) -> Self {
        let hosts = Hosts::of(mesh);
        let apart = apart(mesh, &hosts);
        let meetings = match assumed {
            Some(assumed) => meetings::assumed(assumed),
            None => meetings(mesh, &apart),
        };
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
            assumed,
            hosts,
            meetings,
            sidecars,
            ambient,
            gateway_pods: gateways.collect(),
            apart: keys.zip(apart).collect(),
        }
    }

    /// Returns the mesh with the pods that its declarations speak of, be they declared or not.
    pub(crate) fn meant(&self) -> &'a Mesh {
        self.assumed.unwrap_or(self.mesh)
    }

    /// Says in a message what it rests on where no pod is declared.
    pub(crate) const fn condition(&self) -> &'static str {
        if self.assumed.is_some() {
            ", if the pods there, none of which is declared, have sidecars"
        } else {
            ""
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
