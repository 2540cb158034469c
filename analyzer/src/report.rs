//! The forms that leave the analyzer: what `replay` prints, the store keeps and the API serves. One for all of them.
//!
//! Everything here is data. A field that does not apply is `null`, never an empty string or zero.

use std::borrow::Cow;
use std::hash::Hasher as _;
use std::net::IpAddr;
use std::sync::Arc;

use flow::{Class, Coverage, Endpoint, Flow, FlowId, Proof, Timestamp};
use serde::{Deserialize, Serialize};
use siphasher::sip::SipHasher13;

flow::named! {
    /// How bad a finding is, mildest first.
    pub enum Severity {
        /// Worth knowing.
        Info = "info",
        /// Tidy up.
        Low = "low",
        /// Weakens the declared protection, or will break at the next step.
        Medium = "medium",
        /// Breaks traffic or protection.
        High = "high",
        /// Declared protection is not in force, or everything to this port fails.
        Critical = "critical",
    }
}

flow::named! {
    /// What carries a party's traffic.
    pub enum PartyKind {
        /// A pod with an `istio-proxy` sidecar.
        Sidecar = "sidecar",
        /// An Envoy router that Gateways select.
        Gateway = "gateway",
        /// An ambient waypoint.
        Waypoint = "waypoint",
        /// A pod whose traffic ztunnel carries.
        Ambient = "ambient",
        /// A pod of the cluster without any proxy.
        NoProxy = "no-proxy",
        /// A node's own address: host network, probes, or source NAT.
        Node = "node",
        /// A Service's virtual address.
        ServiceAddress = "service-address",
        /// An endpoint that a ServiceEntry or WorkloadEntry declares.
        Declared = "declared",
        /// No object of the mesh has this address.
        Unknown = "unknown",
    }
}

/// Who stands behind an address.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Party {
    /// The address on the wire.
    pub address: IpAddr,
    /// What carries its traffic.
    pub kind: PartyKind,
    /// Namespace of the workload; absent outside the cluster.
    pub namespace: Option<String>,
    /// Name of the workload: its controller's (or canonical service's) name, else the pod's; the host of a ServiceEntry.
    pub workload: Option<String>,
    /// The pod's name.
    pub pod: Option<String>,
    /// The Service (`namespace/name`) that the flow addresses; absent for clients.
    pub service: Option<String>,
    /// The pod's service account.
    pub service_account: Option<String>,
}

impl Party {
    /// Returns `namespace/workload`, or the address where there is no workload.
    #[must_use]
    pub fn name(&self) -> String {
        match (&self.namespace, &self.workload) {
            (Some(namespace), Some(workload)) => [namespace.as_str(), "/", workload].concat(),
            (None, Some(workload)) => workload.clone(),
            (_, None) => self.address.to_string(),
        }
    }
}

flow::named! {
    /// A PeerAuthentication mode in force.
    pub enum ServerMode {
        /// Only mutual TLS.
        Strict = "STRICT",
        /// Mutual TLS or what the application does.
        Permissive = "PERMISSIVE",
        /// No Istio TLS.
        Disable = "DISABLE",
    }
}

flow::named! {
    /// The TLS that a client's proxy originates.
    pub enum ClientTls {
        /// None.
        Disable = "DISABLE",
        /// One-way TLS.
        Simple = "SIMPLE",
        /// Mutual TLS with certificates from files or secrets.
        Mutual = "MUTUAL",
        /// Mutual TLS with the workload's mesh identity.
        IstioMutual = "ISTIO_MUTUAL",
    }
}

flow::named! {
    /// What becomes of an Istio mTLS handshake at the destination.
    pub enum IstioMtls {
        /// Nothing else is let in.
        Required = "required",
        /// Terminated, beside other things.
        Accepted = "accepted",
        /// Delivered to something that cannot decrypt it.
        Unterminated = "unterminated",
        /// Does not apply.
        None = "none",
    }
}

/// What the declarations imply for one connection: the judged keys of `explain`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Expected {
    /// The PeerAuthentication mode at the destination port; absent where no proxy enforces one.
    pub server_mode: Option<ServerMode>,
    /// `PeerAuthentication/namespace/name`, or `default`.
    pub server_mode_from: String,
    /// The TLS the client's proxy originates; absent where nothing decides, or each request does (subsets that differ).
    pub client_tls: Option<ClientTls>,
    /// `DestinationRule/namespace/name`, `BackendTLSPolicy/..`, `XBackend/..`, `auto-mtls`, `hbone` or `default`.
    pub client_tls_from: String,
    /// Wire classes the destination accepts by declaration.
    pub allowed: Vec<Class>,
    /// What becomes of an Istio mTLS handshake there.
    pub istio_mtls: IstioMtls,
    /// Wire classes the client is declared to emit.
    pub client_wire: Vec<Class>,
    /// Whether client and server declarations exclude each other; absent where the application decides.
    pub conflict: Option<bool>,
    /// The SNI that the client's proxy is expected to send.
    pub sni: Option<String>,
    /// The protocol that the Service port declares, as Istio names it; `Unsupported` = undeclared, sniffed.
    pub protocol: Option<String>,
    /// For a gateway: the server that takes the connection.
    pub gateway_server: Option<GatewayServer>,
}

/// The server of a Gateway that takes a connection.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct GatewayServer {
    /// `Gateway/namespace/name`.
    pub from: String,
    /// The server's port name.
    pub port_name: Option<String>,
    /// The server's protocol, as declared.
    pub protocol: String,
    /// The TLS mode in force; absent for a server without TLS.
    pub tls_mode: Option<String>,
    /// `none`, `optional`, `required` or `passthrough`.
    pub client_cert: String,
    /// The lowest version that the server accepts; absent where nothing declares one.
    pub min_version: Option<String>,
    /// Whether plaintext requests are only answered with a redirect to HTTPS.
    pub https_redirect: Option<bool>,
}

/// One step of the reasoning, winners and losers alike, in the order in which Istio takes them.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Citation {
    /// The rule's id, such as `peer-authentication.narrowest-wins`; the same in docs/rules.md.
    pub rule: Cow<'static, str>,
    /// `Kind/namespace/name`, or `default`.
    pub resource: String,
    /// The field's path in that resource; absent where the resource as a whole counts.
    pub field: Option<Cow<'static, str>>,
    /// What it did, in a few words: `STRICT, decides`, `PERMISSIVE, overridden`.
    pub effect: Cow<'static, str>,
    /// Where it was read: the file, as given; absent when it did not come from a file.
    pub file: Option<Arc<str>>,
    /// Line of the field (else of the resource) in that file, from 1.
    pub line: Option<u32>,
}

/// What to change.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Remedy {
    /// One or two sentences.
    pub summary: String,
    /// The resource to change or add: `Kind/namespace/name`; absent where no resource mends it.
    pub resource: Option<String>,
    /// Where that resource was read.
    pub file: Option<String>,
    /// Line in that file, from 1.
    pub line: Option<u32>,
    /// The YAML to apply to the cluster; absent where none mends it.
    pub yaml: Option<String>,
    /// Values of wireproof's Helm chart, YAML, with which its agents see more; absent where they change nothing.
    pub values: Option<String>,
}

flow::named! {
    /// The outcome of judging one flow.
    pub enum Judgement {
        /// As declared on both sides.
        Conforms = "conforms",
        /// Breaks a declaration: the violations say which.
        Violates = "violates",
        /// The wire or the mesh does not tell enough.
        Undecided = "undecided",
        /// Outside what is judged: loopback, infrastructure ports.
        Exempt = "exempt",
    }
}

flow::named! {
    /// Why a flow was not judged. Nothing is dropped in silence: a summary counts the flows by these words.
    pub enum SetAside {
        /// Between a proxy and its own application.
        Loopback = "loopback",
        /// A port of Istio's own: OB20.
        InfrastructurePort = "infrastructure-port",
        /// A probe of the node's.
        Probe = "probe",
        /// UDP, which Istio does not carry.
        Udp = "udp",
        /// Encrypted, but no TLS: policies do not name it.
        Opaque = "opaque",
        /// The wire does not tell the class: OB22.
        ClassUnknown = "class-unknown",
        /// The handshake failed: no connection came about.
        HandshakeFailed = "handshake-failed",
        /// The mesh does not know the destination.
        UnknownDestination = "unknown-destination",
        /// Whether the client sent a certificate is hidden, and the declaration depends on it: OB22.
        CertificateHidden = "certificate-hidden",
        /// One side of an address translation: judged on the other side, which names the workload.
        Translated = "translated",
    }
}

flow::named! {
    /// How sure a violation is: as sure as the proof of what it rests on.
    pub enum Certainty {
        /// Rests on an inference, or on what is declared and was not seen.
        Likely = "likely",
        /// Read on the wire or exact.
        Certain = "certain",
    }
}

/// One flow, judged.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Judged {
    /// The observation.
    pub flow: Flow,
    /// Who opened it.
    pub client: Arc<Party>,
    /// Whom it reached.
    pub server: Arc<Party>,
    /// What was declared; absent when the destination is unknown to the mesh.
    pub expected: Option<Arc<Expected>>,
    /// The outcome.
    pub judgement: Judgement,
    /// What the outcome rests on, in a few words.
    pub basis: String,
    /// Why it was not judged; absent where it conforms or violates.
    #[serde(default)]
    pub set_aside: Option<SetAside>,
    /// The same connection on the other side of an address translation; absent where none was recognised.
    #[serde(default)]
    pub translated: Option<OtherSide>,
    /// Broken declarations, worst first. Unless the outcome is `violates` there are none, and at most notes of severity
    /// `info`.
    pub violations: Vec<Arc<Violation>>,
}

/// The flow that a connection is on the other side of an address translation (a Service's address, a node port, a
/// masquerading node).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct OtherSide {
    /// Its id.
    pub id: FlowId,
    /// Its client, as addressed there.
    pub client: Endpoint,
    /// Its server, as addressed there.
    pub server: Endpoint,
}

impl From<&Flow> for OtherSide {
    fn from(flow: &Flow) -> Self {
        Self { id: flow.id, client: flow.client, server: flow.server }
    }
}

/// One broken declaration of one flow.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Violation {
    /// The catalogue's id, such as `OB01`.
    pub id: String,
    /// How bad it is.
    pub severity: Severity,
    /// How sure it is.
    pub certainty: Certainty,
    /// What happened, in one sentence with names.
    pub message: String,
    /// The one resource that causes it (`Kind/namespace/name`): violations are grouped by it. Absent where none does.
    pub cause: Option<String>,
    /// The reasoning, in order.
    pub because: Arc<[Citation]>,
    /// What mends it.
    pub remedy: Remedy,
}

/// Violations of one kind between one client workload and one server workload and port, of one class, with one cause.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// Names this finding for good: the same for the same id, client, server, port, class and cause. 16 hex digits.
    pub key: String,
    /// The catalogue's id.
    pub id: String,
    /// How bad it is.
    pub severity: Severity,
    /// The best certainty among its flows.
    pub certainty: Certainty,
    /// What happened, in one sentence with names.
    pub message: String,
    /// The client; its address and pod are those of the first flow.
    pub client: Party,
    /// The server; its address and pod are those of the first flow.
    pub server: Party,
    /// The destination port on the wire.
    pub port: u16,
    /// The class seen.
    pub class: Class,
    /// The strongest proof among its flows.
    pub proof: Proof,
    /// What was declared; absent when the destination is unknown to the mesh.
    pub expected: Option<Expected>,
    /// The one resource that causes it; absent where none does.
    pub cause: Option<String>,
    /// The reasoning, in order.
    pub because: Arc<[Citation]>,
    /// What mends it.
    pub remedy: Remedy,
    /// How many flows.
    pub flows: u64,
    /// Start of the first of them.
    pub first_seen: Timestamp,
    /// End of the last of them.
    pub last_seen: Timestamp,
    /// The first few of them.
    pub examples: Vec<FlowId>,
}

impl Finding {
    /// Builds the finding that one violation of one flow amounts to: counts and times are that flow's alone.
    #[must_use]
    pub fn new(judged: &Judged, violation: &Violation) -> Self {
        let flow = &judged.flow;
        Self {
            key: finding_key(judged, violation),
            id: violation.id.clone(),
            severity: violation.severity,
            certainty: violation.certainty,
            message: violation.message.clone(),
            client: Party::clone(&judged.client),
            server: Party::clone(&judged.server),
            port: flow.server.port,
            class: flow.security.class(),
            proof: flow.security.evidence().proof,
            expected: judged.expected.as_deref().cloned(),
            cause: violation.cause.clone(),
            because: Arc::clone(&violation.because),
            remedy: violation.remedy.clone(),
            flows: 1,
            first_seen: flow.start,
            last_seen: flow.end,
            examples: vec![flow.id],
        }
    }
}

/// Names the finding to which a violation belongs: the same for the same id, client, server, port, class and cause.
///
/// For what is only worth knowing, all addresses that no object of the mesh has are one party: a client that talks to the
/// Internet would else be a finding for every address there.
#[must_use]
pub fn finding_key(judged: &Judged, violation: &Violation) -> String {
    let mut hasher = SipHasher13::new();
    let port = judged.flow.server.port.to_string();
    let class = judged.flow.security.class().name();
    let cause = violation.cause.as_deref().unwrap_or_default();
    let name = |party: &Party| match (party.kind, violation.severity) {
        (PartyKind::Unknown, Severity::Info) => PartyKind::Unknown.name().to_owned(),
        _ => party.name(),
    };
    for part in [&violation.id, &name(&judged.client), &name(&judged.server), &port, class, cause] {
        hasher.write(part.as_bytes());
        hasher.write(&[0]);
    }
    format!("{:016x}", hasher.finish())
}

/// A declaration that contradicts another, or itself: what `lint` reports.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LintFinding {
    /// The catalogue's id, such as `DR02`.
    pub id: String,
    /// How bad it is.
    pub severity: Severity,
    /// `Kind/namespace/name`.
    pub resource: String,
    /// Where it was read.
    pub file: Option<String>,
    /// Line of the offending field (else of the resource), from 1.
    pub line: Option<u32>,
    /// What is wrong, in one or two sentences with names.
    pub message: String,
    /// What to do, in one or two sentences.
    pub remedy: String,
    /// The YAML to apply; absent where there is none.
    pub yaml: Option<String>,
}

/// A document of the mesh that could not be used, or only in part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputError {
    /// The file, as given.
    pub file: String,
    /// Line, from 1; absent where the whole file is meant.
    pub line: Option<u32>,
    /// What is wrong and what to do.
    pub message: String,
    /// Whether the document was left out (true), or used and only noted (false).
    pub fatal: bool,
}

/// Writes an answer as YAML: the same keys as its JSON.
///
/// # Errors
///
/// Returns what the writer says; the forms here are all written.
pub fn yaml<T: Serialize>(answer: &T) -> Result<String, serde_saphyr::ser_error::Error> {
    serde_saphyr::to_string(answer)
}

/// Totals of an audit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// Flows by class, then by proof: `{"mtls": {"exact": 3}}`.
    pub flows: std::collections::BTreeMap<String, std::collections::BTreeMap<String, u64>>,
    /// Flows by outcome.
    pub judgements: std::collections::BTreeMap<String, u64>,
    /// Flows that were held against a declaration: those that conform and those that violate. Where there is none, no finding
    /// means nothing.
    #[serde(default)]
    pub judged: u64,
    /// Flows that were not judged (`exempt` and `undecided`), by why.
    #[serde(default)]
    pub set_aside: std::collections::BTreeMap<String, u64>,
    /// Flows that are one side of an address translation, of which another flow is the other side.
    #[serde(default)]
    pub translated: u64,
    /// Findings by severity.
    pub findings: std::collections::BTreeMap<String, u64>,
}

/// A whole audit: what `replay -o json` prints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Audit {
    /// Totals.
    pub summary: Summary,
    /// How much of the traffic the audit rests on.
    pub coverage: Coverage,
    /// The findings, worst first, then by client, server and port.
    pub findings: Vec<Finding>,
    /// Documents of the mesh that could not be used.
    pub errors: Vec<InputError>,
}
