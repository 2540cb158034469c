//! Waypoints: which one stands before a host or a workload.

use crate::mesh::Mesh;
use crate::mesh::gateway_api::{is_waypoint, listener_port};
use crate::mesh::hosts::HostService;
use crate::mesh::meta::{Labels, Meta};
use crate::mesh::network_policy::Selector;
use crate::mesh::node::Node;
use crate::mesh::pod::{Pod, is_managed_for_ambient};
use crate::policy::inbound::HBONE;

/// The label that names the waypoint of what carries it; of a namespace, that of all in it.
pub(crate) const USE_WAYPOINT: &str = "istio.io/use-waypoint";

/// The label beside it that names the waypoint's namespace, where that is another one.
pub(crate) const WAYPOINT_NAMESPACE: &str = "istio.io/use-waypoint-namespace";

/// The label that names the Gateway of a pod.
pub(crate) const GATEWAY_NAME: &str = "gateway.networking.k8s.io/gateway-name";

/// A Gateway of the Gateway API that stands before what names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waypoint {
    /// The Gateway.
    pub meta: Meta,
    /// Whether its class says that it is nothing else.
    is_waypoint: bool,
    /// Whether it takes what is for Services.
    services: bool,
    /// Whether it takes what is for workloads' own addresses.
    workloads: bool,
    admits: Admits,
}

/// The namespaces whose hosts and workloads it takes.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Admits {
    All,
    Same,
    Selected(Selector),
}

impl Waypoint {
    /// Reads a Gateway as the waypoint that it is for those that name it, whatever its class; absent where its status has no
    /// address, since it is not ready then. What is only written has no status. What the Gateway does not say of itself, its class says.
    ///
    /// Istio: `pilot/pkg/serviceregistry/ambient/waypoints.go`, `gatewayToWaypointTransform`, `makeAllowedRoutes`.
    pub(crate) fn read(meta: &Meta, document: &Node, class: Option<&Meta>) -> Option<Self> {
        let addresses = document.get("status").map(|status| status.get("addresses").map(Node::items));
        if addresses.is_some_and(|addresses| addresses.unwrap_or_default().is_empty()) {
            return None;
        }
        let both = [Some(meta), class];
        let said = both.iter().flatten().find_map(|meta| meta.labels.get("istio.io/waypoint-for"));
        let traffic = said.map_or("service", String::as_str);
        let binding = both
            .iter()
            .flatten()
            .find_map(|meta| meta.annotations.get("ambient.istio.io/waypoint-inbound-binding"));
        let namespaces = listener(binding, document).and_then(|own| own.at(&["allowedRoutes", "namespaces"]));
        Some(Self {
            meta: meta.clone(),
            is_waypoint: is_waypoint(document),
            services: matches!(traffic, "service" | "all"),
            workloads: matches!(traffic, "workload" | "all"),
            admits: match namespaces.and_then(|own| own.get("from")).and_then(Node::text) {
                Some("All") => Admits::All,
                Some("Selector") => {
                    Admits::Selected(Selector::read(namespaces.and_then(|own| own.get("selector"))))
                }
                Some(_) | None => Admits::Same,
            },
        })
    }

    /// Tells whether it takes what is for Services.
    pub(crate) const fn is_for_services(&self) -> bool {
        self.services
    }
}

/// Finds the listener that says who may come: the one that ztunnel is bound to by annotation, else that of HBONE.
///
/// Istio: `pilot/pkg/serviceregistry/ambient/waypoints.go`, `makeInboundBinding`, `getGatewayOrGatewayClassAnnotation`,
/// `findBoundListener`.
fn listener<'a>(binding: Option<&String>, document: &'a Node) -> Option<&'a Node> {
    let listeners = document.at(&["spec", "listeners"]).map(Node::items).unwrap_or_default();
    let speaks = |own: &Node, protocol: &str| own.get("protocol").and_then(Node::text) == Some(protocol);
    let bound = binding.and_then(|binding| {
        let (protocol, port) = binding.split_once('/').unwrap_or((binding, ""));
        let port = port.parse::<u16>().ok().filter(|port| *port != 0);
        listeners.iter().find(|own| match port {
            Some(port) => listener_port(own) == Some(port),
            None => protocol == "PROXY" && speaks(own, "istio.io/PROXY"),
        })
    });
    let hbone = || listeners.iter().find(|own| speaks(own, "HBONE") && listener_port(own) == Some(HBONE));
    bound.or_else(hbone)
}

impl Mesh {
    /// Returns the waypoints of a namespace, by name.
    pub(crate) fn waypoints_in(&self, namespace: &str) -> impl Iterator<Item = &Waypoint> {
        let own = move |waypoint: &&Waypoint| waypoint.is_waypoint && &*waypoint.meta.namespace == namespace;
        self.waypoints.values().filter(own)
    }

    /// Returns the waypoint that stands before a host, by the label of its declaration, else of its namespace. Waypoints and
    /// east-west gateways have none.
    ///
    /// Rule `ambient.waypoint`. Istio: `pilot/pkg/serviceregistry/ambient/waypoints.go`, `fetchWaypointForService`.
    #[must_use]
    pub fn waypoint_of_host(&self, host: &HostService) -> Option<&Waypoint> {
        let declaration = self.declaration(host).filter(|own| !is_managed_for_ambient(&own.labels))?;
        self.waypoint_for(declaration).filter(|waypoint| waypoint.services)
    }

    /// Returns the waypoint that stands before a workload's own address.
    ///
    /// Rule `ambient.waypoint`. Istio: `pilot/pkg/serviceregistry/ambient/waypoints.go`, `fetchWaypointForWorkload`.
    #[must_use]
    pub fn waypoint_of_workload(&self, pod: &Pod) -> Option<&Waypoint> {
        // The pods of a Gateway that is here are instances of it and stand behind none.
        let instance =
            pod.meta.labels.get(GATEWAY_NAME).is_some_and(|name| {
                self.waypoints.contains_key(&(pod.meta.namespace.to_string(), name.clone()))
            });
        self.waypoint_for(&pod.meta).filter(|waypoint| waypoint.workloads && !instance)
    }

    /// Returns the Gateway that an object, else its namespace, names, if it lets that namespace in.
    ///
    /// Istio: `pilot/pkg/serviceregistry/ambient/waypoints.go`, `fetchWaypointForTarget`, `GetUseWaypoint`.
    fn waypoint_for(&self, object: &Meta) -> Option<&Waypoint> {
        let namespace = self.namespaces.get(&object.namespace).map(|(_, labels)| labels);
        let labels = [Some(&object.labels), namespace].into_iter().flatten();
        let names = |labels: &&Labels| labels.contains_key(USE_WAYPOINT);
        let own = labels.into_iter().find(names)?;
        let name = own.get(USE_WAYPOINT).filter(|name| *name != "none")?;
        let of = own.get(WAYPOINT_NAMESPACE).map_or(&*object.namespace, String::as_str);
        let waypoint = self.waypoints.get(&(of.to_owned(), name.clone()))?;
        let admitted = match &waypoint.admits {
            Admits::All => true,
            Admits::Same => *waypoint.meta.namespace == *object.namespace,
            Admits::Selected(selector) => namespace.is_some_and(|labels| selector.selects(labels)),
        };
        admitted.then_some(waypoint)
    }
}
