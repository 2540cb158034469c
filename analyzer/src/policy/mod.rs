//! Istio's rules. Each is one function named as Istio names the field, with an id that its doc comment, every citation,
//! `RULES` and docs/rules.md share.

mod ambient;
pub mod auto_mtls;
pub mod destination_rule;
pub mod gateway;
pub mod inbound;
pub mod interception;
mod known_host;
pub mod outbound;
pub mod peer_authentication;
mod routing;
pub mod visibility;
mod waypoint;

use std::borrow::Cow;
use std::fmt::{self, Write as _};
use std::sync::Arc;

use crate::mesh::mesh_config::MeshConfig;
use crate::mesh::meta::Meta;
use crate::report::Citation;

/// Every rule: its id, and what it says. docs/rules.md names the source of each.
pub const RULES: &[(&str, &str)] = &[
    (
        "ambient.bypass-inbound-capture",
        "a pod may leave inbound connections to its application, and let ztunnel take outbound ones alone",
    ),
    (
        "ambient.hbone",
        "ztunnel carries traffic between ambient workloads on port 15008, always with client certificates; sidecars and gateways reach them so, whatever a rule says, save sidecars a headless service; another network's gateway takes HBONE at the port that its Service or Gateway has for it",
    ),
    (
        "ambient.no-sidecar-mtls",
        "ztunnel and waypoints never speak the sidecars' mTLS: other destinations get the application's bytes",
    ),
    (
        "ambient.peer-authentication",
        "ztunnel honours STRICT where istiod tells it; DISABLE counts as PERMISSIVE, and never switches HBONE off",
    ),
    (
        "ambient.waypoint",
        "ambient clients go through the waypoint of the Service that they dial, or of the workload whose own address they dial; gateways where the Service or its namespace asks for it, sidecars where istiod is told to",
    ),
    (
        "auto-mtls.conditions",
        "without a tls block clients send Istio mTLS exactly where the destination can take it",
    ),
    (
        "auto-mtls.own-certificates",
        "a client's proxy with certificates of its own sends MUTUAL to every endpoint",
    ),
    (
        "auto-mtls.workload-entry",
        "an endpoint of a ServiceEntry takes Istio mTLS by its label, else by its service account",
    ),
    ("client.application-decides", "no proxy decides: the application's own bytes leave"),
    (
        "client.closest-range",
        "of overlapping ranges the longest prefix names the destination; an endpoint comes before them all",
    ),
    (
        "client.dynamic-dns",
        "names that DYNAMIC_DNS resolves for each request are known to sidecars by HTTP and TLS alone, and to no gateway",
    ),
    (
        "client.outbound-traffic-policy",
        "a destination that the client does not know is forwarded as it is, or dropped",
    ),
    (
        "client.other-network",
        "at port 15443 of an address that nothing declares, or at a gateway that MeshNetworks, or the label of a Service or a Gateway, names, an SNI of Istio's own tells which host of another network is meant; endpoints of such a network are reached by it alone",
    ),
    ("client.own-node", "proxies send to endpoints on their own node alone where the Service says so"),
    ("client.proxy-per-mode", "what each client mode puts on the wire"),
    ("client.ready-endpoints", "proxies send to endpoints that are ready, and not draining"),
    ("client.request-host", "SIMPLE and MUTUAL send the request's host as the SNI where the rule has none"),
    (
        "client.same-wire-port",
        "of an outside host's ports with one target port, the one that a rule originates TLS for is meant",
    ),
    (
        "client.whole-port",
        "a TCP ServiceEntry without addresses takes every connection to its port that has no other owner, unless proxies answer DNS with addresses that Istio assigns: then those stand for the hosts",
    ),
    ("control-plane.discovery", "istiod takes the namespaces that MeshConfig selects, and nothing in others"),
    (
        "control-plane.gateway-api",
        "istiod reads the Gateway API unless it is switched off, and what is experimental in it where that is switched on",
    ),
    (
        "control-plane.revision",
        "istiod reads the objects without a revision, and those that its own is written on",
    ),
    (
        "destination-rule.backend-tls-policy",
        "a BackendTLSPolicy, or an XBackend with tls, acts as a rule of its own, under the user's rules",
    ),
    (
        "destination-rule.credential-name",
        "credentialName on a rule that sidecars use without a workloadSelector is skipped",
    ),
    (
        "destination-rule.endpoint-mode",
        "under auto mTLS the endpoints' own check falls back to the tls block above a port entry without one",
    ),
    (
        "destination-rule.level",
        "a port entry replaces the whole policy; a subset's policy overrides field by field",
    ),
    (
        "destination-rule.lookup",
        "the client's namespace, then the service's, then the root namespace; the first with a match",
    ),
    ("destination-rule.merge", "rules for one host in one namespace: the first trafficPolicy stays whole"),
    (
        "destination-rule.most-specific-host",
        "the exact host wins over the longest matching wildcard; only one is used",
    ),
    ("destination-rule.mode", "the tls block's mode; a block without a mode means DISABLE"),
    (
        "destination-rule.own-certificates",
        "certificates of the client's proxy turn ISTIO_MUTUAL and MUTUAL into MUTUAL with them, except towards the outside",
    ),
    (
        "destination-rule.routed-subsets",
        "where routes lead to subsets that differ in TLS, each request decides: any of them may come",
    ),
    ("destination-rule.without-certificate", "MUTUAL without a client certificate and key is no TLS at all"),
    ("gateway.gateway-api-listener", "what a Gateway API listener becomes"),
    (
        "gateway.listener-set",
        "a ListenerSet adds listeners to a Gateway of the Gateway API that lets its namespace in",
    ),
    (
        "gateway.port",
        "a server's port is looked up in the Services of the pod; what is bound to loopback or a socket takes no call, unprivileged proxies open none below 1024",
    ),
    (
        "gateway.reference-grant",
        "a listener that uses a certificate or CA of another namespace without its ReferenceGrant is left out",
    ),
    (
        "gateway.server",
        "the Gateway server that takes a connection: by port, then by the most specific SNI host",
    ),
    ("gateway.server-tls", "what a Gateway server's protocol and tls mode accept"),
    (
        "inbound.mode-and-protocol",
        "what the sidecar's inbound listener accepts, by mode and declared protocol",
    ),
    ("inbound.no-proxy", "without a proxy nothing enforces a mode: the application decides"),
    (
        "inbound.published-address",
        "an external address, a load balancer's, or a node port stands for the pods of its Service, a container's `hostPort` for its pod; to proxies it is an unknown destination",
    ),
    ("interception.declared-ports", "before Istio 1.6 only declared container ports are redirected"),
    (
        "interception.inbound",
        "ports that are not redirected to the sidecar, and that it does not open itself, reach the application as they are",
    ),
    ("interception.outbound", "destinations that are not redirected leave as the application sends them"),
    ("interception.redirect-target", "ports 15001 and 15006 take no connection from outside the pod"),
    ("mesh-config.tls-bounds", "the lowest version and the suites that proxies negotiate"),
    (
        "outbound.egress-gateway",
        "a VirtualService sends the mesh's clients to an external host through a gateway",
    ),
    (
        "peer-authentication.narrowest-wins",
        "mesh, then namespace, then workload: the narrowest that sets a mode wins",
    ),
    ("peer-authentication.oldest-wins", "of several policies at one level only the oldest acts"),
    ("peer-authentication.port-level", "portLevelMtls of the chosen workload policy, by container port"),
    ("protocol-selection.parse", "protocols as Istio's resources spell them"),
    ("protocol-selection.service-port", "a Service port's protocol: appProtocol, else the name's prefix"),
    (
        "sidecar.egress",
        "a Sidecar limits the hosts that its workloads know, and leaves out those that it lists with `~`; MeshConfig limits who sees ServiceEntries",
    ),
    ("sidecar.ingress", "a Sidecar's ingress list replaces the Services' ports"),
    (
        "sidecar.ingress-tls",
        "ingress.tls acts where the mode is DISABLE and istiod has ENABLE_TLS_ON_SIDECAR_INGRESS",
    ),
    (
        "sidecar.one-namespace",
        "of a host that several namespaces declare a client knows one: its own namespace's, then a Service of Kubernetes, then the oldest",
    ),
    (
        "sidecar.peer-authentications",
        "a client does not know the policies of a namespace that its Sidecar hides",
    ),
    ("sidecar.routes", "a client knows the routes for hosts that its Sidecar lists"),
];

/// Collects citations in the order in which rules were applied.
#[derive(Debug, Default)]
pub struct Trace {
    citations: Vec<Citation>,
    unheard: bool,
}

/// What a citation says a rule did: put into words only where somebody listens.
pub trait Effect {
    /// Returns the words.
    fn words(self) -> Cow<'static, str>;
}

impl Effect for &'static str {
    fn words(self) -> Cow<'static, str> {
        Cow::Borrowed(self)
    }
}

impl Effect for String {
    fn words(self) -> Cow<'static, str> {
        Cow::Owned(self)
    }
}

impl Effect for fmt::Arguments<'_> {
    fn words(self) -> Cow<'static, str> {
        // Few are longer; what is kept for an edge is no longer than it must be.
        let mut words = String::with_capacity(96);
        let written = words.write_fmt(self);
        debug_assert!(written.is_ok(), "a String takes everything");
        words.shrink_to_fit();
        Cow::Owned(words)
    }
}

/// As many steps lead to most answers.
const STEPS: usize = 8;

impl Trace {
    /// Collects nothing: for answers whose reasons nobody asks for.
    #[must_use]
    pub const fn unheard() -> Self {
        Self { citations: Vec::new(), unheard: true }
    }

    /// Cites a resource.
    pub fn cite(
        &mut self,
        rule: &'static str,
        meta: &Meta,
        field: Option<&'static str>,
        line: u32,
        effect: impl Effect,
    ) {
        self.push(rule, meta, field.map(Cow::Borrowed), line, effect);
    }

    /// Cites a field of a resource whose path names what stands in it.
    pub fn cite_at(
        &mut self,
        rule: &'static str,
        meta: &Meta,
        field: String,
        line: u32,
        effect: impl Effect,
    ) {
        self.push(rule, meta, Some(Cow::Owned(field)), line, effect);
    }

    fn push(
        &mut self,
        rule: &'static str,
        meta: &Meta,
        field: Option<Cow<'static, str>>,
        line: u32,
        effect: impl Effect,
    ) {
        self.add(|| Citation {
            rule: Cow::Borrowed(rule),
            resource: meta.id(),
            field,
            effect: effect.words(),
            file: Some(Arc::clone(&meta.file)),
            line: Some(line).filter(|line| *line > 0),
        });
    }

    fn add(&mut self, citation: impl FnOnce() -> Citation) {
        if self.unheard {
            return;
        }
        if self.citations.is_empty() {
            self.citations.reserve(STEPS);
        }
        self.citations.push(citation());
    }

    /// Cites what is built in.
    pub fn built_in(&mut self, rule: &'static str, effect: impl Effect) {
        self.add(|| Citation {
            rule: Cow::Borrowed(rule),
            resource: "default".to_owned(),
            field: None,
            effect: effect.words(),
            file: None,
            line: None,
        });
    }

    /// Cites a setting of MeshConfig, of what it was read from where that is at hand.
    pub fn config(
        &mut self,
        rule: &'static str,
        config: &MeshConfig,
        setting: &str,
        line: Option<u32>,
        effect: impl Effect,
    ) {
        match &config.meta {
            Some(meta) => {
                let line = line.unwrap_or(meta.line);
                self.cite_at(rule, meta, format!("{}.{setting}", config.path), line, effect);
            }
            None => self.built_in(rule, effect),
        }
    }

    /// Returns how many steps there are so far.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.citations.len()
    }

    /// Tells whether nothing was decided yet.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.citations.is_empty()
    }

    /// Returns the citations.
    #[must_use]
    pub fn into_citations(self) -> Vec<Citation> {
        self.citations
    }
}

/// A value and the resource that supplied it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decided<T> {
    /// The value.
    pub value: T,
    /// `Kind/namespace/name`, `default`, `auto-mtls` or `hbone`.
    pub from: String,
}

impl<T> Decided<T> {
    /// A value that nothing declares.
    pub fn default(value: T) -> Self {
        Self { value, from: "default".to_owned() }
    }
}
