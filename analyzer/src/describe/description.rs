//! What a description holds.

use std::net::IpAddr;

use flow::Class;
use serde::Serialize;

use crate::describe::Subject;
use crate::report::{Citation, ClientTls, LintFinding, PartyKind, ServerMode};

/// The description. What does not apply to the subject is empty or null.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Description {
    /// What it is.
    pub kind: Subject,
    /// `namespace/name`, the namespace's name, or a host.
    pub name: String,
    /// Where it was declared; absent for workloads, which have no document of their own.
    pub declared: Option<Place>,
    /// The PeerAuthentication mode of a namespace, and who decided it.
    pub mode: Option<Mode>,
    /// Pods: of the workload, behind the Service, or that the Gateway configures.
    pub pods: Vec<PodState>,
    /// What is in force at each port, a line for each distinct answer.
    pub ports: Vec<PortState>,
    /// A Gateway's servers.
    pub servers: Vec<ServerState>,
    /// A namespace's workloads.
    pub workloads: Vec<WorkloadState>,
    /// Services that lead to the workload, or that the namespace holds.
    pub services: Vec<String>,
    /// DestinationRules for those Services, with the clients that they act for.
    pub destination_rules: Vec<RuleState>,
    /// Other resources that have a say: PeerAuthentications, Sidecars, VirtualServices.
    pub resources: Vec<Place>,
    /// Static findings that touch it, worst first.
    pub findings: Vec<LintFinding>,
}

/// Where a resource stands.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Place {
    /// `Kind/namespace/name`.
    pub resource: String,
    /// The file.
    pub file: String,
    /// The line, from 1.
    pub line: u32,
}

/// A mode and who decided it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Mode {
    /// The mode; absent where no proxy enforces one.
    pub mode: Option<ServerMode>,
    /// `PeerAuthentication/namespace/name`, or `default`.
    pub from: String,
    /// The file of the deciding field.
    pub file: Option<String>,
    /// Its line, from 1.
    pub line: Option<u32>,
}

/// One pod.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PodState {
    /// `namespace/name`, else the address of an endpoint that is no pod.
    pub name: String,
    /// Its first address; absent while it has none.
    pub address: Option<IpAddr>,
    /// What carries its traffic.
    pub proxy: PartyKind,
    /// Its service account.
    pub service_account: Option<String>,
}

/// What is in force at one port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PortState {
    /// The Service's port; absent where no Service leads to the container port.
    pub service_port: Option<u16>,
    /// The port on the wire.
    pub port: u16,
    /// The protocol that is declared for it; absent where nothing declares the port.
    pub protocol: Option<String>,
    /// The mode, and who decided it.
    #[serde(flatten)]
    pub mode: Mode,
    /// What is accepted there.
    pub accepts: Vec<Class>,
    /// For how many pods this holds.
    pub pods: usize,
    /// Every step that decided.
    pub because: Vec<Citation>,
}

/// One server of a Gateway.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ServerState {
    /// The Service port that it declares.
    pub port: u16,
    /// The ports that its pods listen on.
    pub listens_on: Vec<u16>,
    /// The protocol, as declared.
    pub protocol: String,
    /// The TLS mode in force; absent for a server without TLS.
    pub tls_mode: Option<String>,
    /// What it does with client certificates: `none`, `optional`, `required`, `passthrough`.
    pub client_cert: String,
    /// What is accepted there.
    pub accepts: Vec<Class>,
    /// Its hosts.
    pub hosts: Vec<String>,
    /// Why Istio rejects it; then it has no effect.
    pub rejected: Option<String>,
    /// Its line, from 1.
    pub line: u32,
}

/// One workload of a namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WorkloadState {
    /// `namespace/name`.
    pub name: String,
    /// How many pods.
    pub pods: usize,
    /// What carries their traffic; several words where pods differ.
    pub proxies: Vec<PartyKind>,
    /// The mode of the workload where no port has one of its own; absent where no proxy enforces it.
    pub mode: Option<ServerMode>,
    /// Who decided it.
    pub from: String,
}

/// One DestinationRule, and whom it acts for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RuleState {
    /// Where it stands: its tls mode, else the rule.
    #[serde(flatten)]
    pub place: Place,
    /// The host.
    pub host: String,
    /// The host's ports.
    pub ports: Vec<u16>,
    /// The TLS that it makes clients originate; absent where it says nothing about TLS.
    pub tls: Option<ClientTls>,
    /// The namespaces whose clients it acts for; empty where it acts for none.
    pub acts_for: Vec<String>,
}
