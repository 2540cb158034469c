//! Who would break if a workload, a namespace or the whole mesh became STRICT: what was let in, judged by the declarations
//! as they would be then.

use std::collections::{BTreeMap, BTreeSet};

use flow::{Endpoint, Flow, Proof, Transport};
use serde::Serialize;

use crate::audit::Ledger;
use crate::describe::{self, Subject};
use crate::expectation::{Expectation, expect};
use crate::mesh::meta::{Labels, Meta, selects};
use crate::mesh::peer_authentication::PeerAuthentication;
use crate::mesh::pod::Pod;
use crate::mesh::{HostEndpoint, Mesh, Owner};
use crate::names::Unclear;
use crate::parties;
use crate::patch::{Patch, part};
use crate::policy::Trace;
use crate::policy::inbound::mode_of;
use crate::policy::peer_authentication::{chosen_for_workload, for_namespace};
use crate::report::{Finding, Judged, Judgement, Party, PartyKind, Remedy, ServerMode, SetAside};
use crate::translation;
use crate::verdict;
use crate::violation::{Case, ob02_plaintext_refused, ob03_certificate_missing};

/// What becomes STRICT.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// All of it.
    Mesh,
    /// A namespace, by its name.
    Namespace(String),
    /// A workload, as `namespace/name`.
    Workload(String),
}

impl Scope {
    /// Returns what becomes STRICT with it: the policy of the root namespace is the whole mesh's, and it has none for single
    /// workloads.
    #[must_use]
    pub fn whole(&self, mesh: &Mesh) -> Self {
        if self.is_of_root(mesh) { Self::Mesh } else { self.clone() }
    }

    fn is_of_root(&self, mesh: &Mesh) -> bool {
        let root = mesh.config.root_namespace.as_str();
        match self {
            Self::Mesh => false,
            Self::Namespace(name) => name == root,
            Self::Workload(name) => name.split_once('/').is_some_and(|(namespace, _)| namespace == root),
        }
    }
}

/// What STRICT would do there, as far as the flows tell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Readiness {
    /// `mesh`, `namespace orders` or `workload orders/stock`.
    pub scope: String,
    /// What it comes to, in words: never more than what was seen.
    pub verdict: String,
    /// Its workloads, by name.
    pub workloads: Vec<Workload>,
    /// Who would break, as the findings that STRICT would make of what was let in: OB02 and OB03, worst first.
    pub breaks: Vec<Finding>,
    /// What makes it STRICT; without YAML where it is STRICT already.
    pub proposal: Remedy,
}

/// One workload, before and after.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Workload {
    /// `namespace/name`.
    pub name: String,
    /// The mode in force where no port has one of its own; absent where no proxy enforces one.
    pub mode: Option<ServerMode>,
    /// The mode that would be in force.
    pub proposed: Option<ServerMode>,
    /// Who would decide it: `PeerAuthentication/namespace/name`, or `default`.
    pub proposed_from: String,
    /// Flows that reached it and were let in; those to a Service's address count for each workload behind it.
    pub flows: u64,
    /// Those of them that STRICT lets in too.
    pub stays: u64,
    /// Those of these that are so by inference, or by what the client's proxy is declared to send then.
    pub stays_likely: u64,
    /// Those that STRICT would refuse.
    pub would_break: u64,
    /// Those of which the wire does not tell.
    pub unclear: u64,
    /// What it comes to.
    pub state: State,
}

flow::named! {
    /// What is known of a workload that would become STRICT.
    pub enum State {
        /// Something that was let in would be refused.
        Breaks = "breaks",
        /// Nothing seen would be refused, but of some flows the wire does not tell.
        Unclear = "unclear",
        /// All that was seen would go on. What was not seen, nobody knows.
        Ready = "ready",
        /// Nothing reached it in what was seen: no evidence, which is not readiness.
        NoTraffic = "no-traffic",
        /// A narrower policy keeps it from becoming STRICT.
        StaysOpen = "stays-open",
        /// No proxy that would enforce it.
        NotEnforced = "not-enforced",
    }
}

/// Checks that the declarations have what the scope names.
///
/// # Errors
///
/// Where they have no such namespace or workload.
pub fn check(mesh: &Mesh, scope: &Scope) -> Result<(), Unclear> {
    propose(mesh, scope).map(|_| ())
}

/// Returns the hosts of ServiceEntries that lead to what the scope names. Flows to a ServiceEntry's own address, or to a machine
/// behind one, are known by the host's name and by no namespace.
#[must_use]
pub fn hosts_of(mesh: &Mesh, scope: &Scope) -> BTreeSet<String> {
    let named = |name: String| match scope {
        Scope::Mesh => true,
        Scope::Namespace(namespace) => name.split_once('/').is_some_and(|(own, _)| own == namespace),
        // Its policy may be for others of the namespace too.
        Scope::Workload(workload) => {
            name.split_once('/').map(|(own, _)| own) == workload.split_once('/').map(|(own, _)| own)
        }
    };
    let entries = mesh.hosts.iter().filter(|host| matches!(host.owner, Owner::Entry(_)));
    let within = entries.filter(|host| host.endpoints.iter().any(|one| behind(mesh, one).is_some_and(named)));
    within.map(|host| host.host.clone()).collect()
}

/// Tells what would become of these flows if what the scope names became STRICT.
///
/// Counted are TCP flows to its workloads that were let in: not what was refused or failed already, and not what no policy is
/// about (Istio's own ports, probes, what stays inside a pod).
///
/// # Errors
///
/// Where the declarations have no such namespace or workload.
pub fn assess<'a>(
    mesh: &Mesh,
    scope: &Scope,
    flows: impl IntoIterator<Item = &'a Flow>,
) -> Result<Readiness, Unclear> {
    let (policy, proposal) = propose(mesh, scope)?;
    let scope = &scope.whole(mesh);
    let proposed = mesh.with_peer_authentication(policy.clone());
    let mut workloads = workloads(mesh, &proposed, scope, &policy);
    let mut ledger = Ledger::default();
    let flows: Vec<&Flow> = flows.into_iter().collect();
    let told = translation::told_by_others(mesh, flows.iter().copied());
    for flow in flows {
        if told.get(&flow.id).is_some_and(|told| *told) {
            continue;
        }
        let server = parties::server(mesh, flow.server);
        let reached: Vec<String> = reached(mesh, flow.server, &server)
            .into_iter()
            .filter(|name| workloads.contains_key(name))
            .collect();
        if reached.is_empty() {
            continue;
        }
        let Some(fate) = fate(mesh, &proposed, flow, &server) else { continue };
        if let Fate::Breaks(judged) = &fate {
            ledger.add(judged);
        }
        for workload in reached {
            let Some(workload) = workloads.get_mut(&workload) else { continue };
            workload.flows = workload.flows.saturating_add(1);
            let count = match fate {
                Fate::Stays { certain } => {
                    workload.stays_likely = workload.stays_likely.saturating_add(u64::from(!certain));
                    &mut workload.stays
                }
                Fate::Unclear => &mut workload.unclear,
                Fate::Breaks(_) => &mut workload.would_break,
            };
            *count = count.saturating_add(1);
        }
    }
    let workloads: Vec<Workload> =
        workloads.into_values().map(|workload| Workload { state: state(&workload), ..workload }).collect();
    let breaks = ledger.findings();
    let scope = match scope {
        Scope::Mesh => "mesh".to_owned(),
        Scope::Namespace(name) => format!("namespace {name}"),
        Scope::Workload(name) => format!("workload {name}"),
    };
    let verdict = verdict(&workloads, &breaks);
    Ok(Readiness { scope, verdict, workloads, breaks, proposal })
}

/// Says what the workloads' states come to. What nobody enforces, or nothing reached, is not called ready.
fn verdict(workloads: &[Workload], breaks: &[Finding]) -> String {
    let has = |state: State| workloads.iter().any(|workload| workload.state == state);
    let said = match breaks.iter().map(|finding| finding.flows).sum() {
        0_u64 if workloads.is_empty() => "no workload that a mode acts for",
        0 if has(State::Unclear) => "nothing seen would break, but of some flows the wire does not tell",
        0 if has(State::Ready) => "nothing seen would break",
        0 if has(State::NoTraffic) => "no evidence: no flow that was let in was seen",
        0 if has(State::StaysOpen) => "stays as it is: narrower policies keep it from becoming STRICT",
        0 => "not enforced: no workload there has a proxy that would enforce STRICT",
        1 => return "NOT READY for STRICT: 1 flow that was let in would be refused".to_owned(),
        flows => return format!("NOT READY for STRICT: {flows} flows that were let in would be refused"),
    };
    said.to_owned()
}

/// Names the workloads that a flow may have reached: behind a Service's address every one that it leads to.
fn reached(mesh: &Mesh, to: Endpoint, server: &Party) -> BTreeSet<String> {
    if server.pod.is_some() {
        return BTreeSet::from([server.name()]);
    }
    if let Some(machine) = mesh.machine_at(to.ip) {
        return BTreeSet::from([name(machine)]);
    }
    let hosts = mesh.behind(to.ip, to.port);
    hosts
        .iter()
        .flat_map(|found| &found.host.endpoints)
        .filter_map(|endpoint| behind(mesh, endpoint))
        .collect()
}

/// Names the workload at an endpoint: a pod's, or a machine.
fn behind(mesh: &Mesh, endpoint: &HostEndpoint) -> Option<String> {
    mesh.pod_of(endpoint).or_else(|| mesh.machine_at(endpoint.ip)).map(name)
}

/// What would become of a flow that was let in.
enum Fate {
    Stays {
        /// Whether that was read, rather than inferred.
        certain: bool,
    },
    Unclear,
    /// Judged as the attempt that it would be.
    Breaks(Box<Judged>),
}

/// Returns what would become of a flow; nothing for what was not let in, or is not judged.
fn fate(mesh: &Mesh, proposed: &Mesh, flow: &Flow, server: &Party) -> Option<Fate> {
    if flow.transport != Transport::Tcp {
        return None;
    }
    let client = parties::client(mesh, flow.client.ip);
    let sni = flow.tls().and_then(|tls| tls.sni.as_deref());
    let now = expect(mesh, flow.client.ip, flow.server, sni);
    let then = expect(proposed, flow.client.ip, flow.server, sni);
    let case =
        |expectation| Case { mesh, flow, client: &client, server, expectation, since: None, advised: None };
    let verdict = verdict::judge(&case(&now));
    // What the server gave no byte to was not let in.
    if verdict.judgement == Judgement::Exempt || !flow.answered() || case(&now).has_failed() {
        return None;
    }
    match verdict.set_aside {
        None | Some(SetAside::ClassUnknown | SetAside::CertificateHidden) => {}
        Some(_) => return Some(Fate::Unclear),
    }
    let (before, after) = (case(&now).possible(), case(&then).possible());
    let allowed = &then.expected.allowed;
    // The client's proxy goes by the server's policy too: what it sent because of that, it sends otherwise then.
    let (sent, sends) = (&now.expected.client_wire, &then.expected.client_wire);
    let declared = !before.is_empty() && before.iter().all(|class| sent.contains(class));
    if sent != sends && declared && !sends.is_empty() && sends.iter().all(|class| allowed.contains(class)) {
        return Some(Fate::Stays { certain: false });
    }
    // A certificate that PERMISSIVE passed by is asked for its issuer under STRICT, and that nobody saw.
    if after.is_empty() || before != after {
        return Some(Fate::Unclear);
    }
    if after.iter().all(|class| allowed.contains(class)) {
        let certain = matches!(flow.security.evidence().proof, Proof::Wire | Proof::Exact);
        return Some(Fate::Stays { certain });
    }
    if after.iter().any(|class| allowed.contains(class)) {
        return Some(Fate::Unclear);
    }
    Some(refused(proposed, flow, &client, server, &then).map_or(Fate::Unclear, Fate::Breaks))
}

/// Judges a flow as the attempt that STRICT would make of it.
fn refused(
    proposed: &Mesh,
    flow: &Flow,
    client: &Party,
    server: &Party,
    expectation: &Expectation,
) -> Option<Box<Judged>> {
    let mut attempt = flow.clone();
    attempt.bytes.server = 0;
    let case =
        Case { mesh: proposed, flow: &attempt, client, server, expectation, since: None, advised: None };
    let rules = [&ob02_plaintext_refused::RULE, &ob03_certificate_missing::RULE];
    let violation = rules.iter().find_map(|rule| rule.judge(&case))?;
    Some(Box::new(Judged {
        flow: flow.clone(),
        client: client.clone().into(),
        server: server.clone().into(),
        expected: Some(expectation.expected.clone()),
        judgement: Judgement::Violates,
        basis: violation.message.clone(),
        set_aside: None,
        translated: None,
        violations: vec![violation],
    }))
}

fn state(workload: &Workload) -> State {
    match (workload.proposed, workload.would_break, workload.unclear, workload.flows) {
        (None, ..) => State::NotEnforced,
        (Some(ServerMode::Permissive | ServerMode::Disable), ..) => State::StaysOpen,
        (Some(ServerMode::Strict), 1.., ..) => State::Breaks,
        (Some(ServerMode::Strict), 0, 1.., _) => State::Unclear,
        (Some(ServerMode::Strict), 0, 0, 0) => State::NoTraffic,
        (Some(ServerMode::Strict), 0, 0, 1..) => State::Ready,
    }
}

/// Lists the workloads of the scope, by name: those with pods that run, machines with a proxy, and every other one that the policy
/// is for as well.
fn workloads(
    mesh: &Mesh,
    proposed: &Mesh,
    scope: &Scope,
    policy: &PeerAuthentication,
) -> BTreeMap<String, Workload> {
    let mut workloads: BTreeMap<String, Workload> = BTreeMap::new();
    let all = mesh.pods.iter().chain(mesh.machines());
    for pod in all.filter(|pod| !pod.ended && covers(scope, policy, pod)) {
        let enforced = matches!(pod.proxy, PartyKind::Sidecar | PartyKind::Ambient);
        // A gateway's servers declare what it accepts, not a mode.
        if matches!(pod.proxy, PartyKind::Gateway | PartyKind::Waypoint) {
            continue;
        }
        // Port 0 is nobody's: no port's own mode applies.
        let mode = |mesh| mode_of(mesh, pod, 0, &mut Trace::unheard());
        let (now, then) = (mode(mesh), mode(proposed));
        workloads.entry(name(pod)).or_insert_with(|| Workload {
            name: name(pod),
            mode: enforced.then_some(now.value),
            proposed: enforced.then_some(then.value),
            proposed_from: if enforced { then.from } else { "default".to_owned() },
            flows: 0,
            stays: 0,
            stays_likely: 0,
            would_break: 0,
            unclear: 0,
            state: State::NoTraffic,
        });
    }
    workloads
}

fn covers(scope: &Scope, policy: &PeerAuthentication, pod: &Pod) -> bool {
    match scope {
        Scope::Mesh => true,
        Scope::Namespace(namespace) => *pod.meta.namespace == **namespace,
        Scope::Workload(workload) => {
            let selected = pod.meta.namespace == policy.meta.namespace
                && policy.is_for_workloads()
                && selects(&policy.selector, &pod.meta.labels);
            selected || name(pod) == *workload
        }
    }
}

fn name(pod: &Pod) -> String {
    format!("{}/{}", pod.meta.namespace, pod.workload)
}

/// Finds the policy that makes the scope STRICT, the one in force there where there is one, and writes it down.
fn propose(mesh: &Mesh, scope: &Scope) -> Result<(PeerAuthentication, Remedy), Unclear> {
    let (policy, mut remedy) = proposed(mesh, scope)?;
    if matches!(scope, Scope::Workload(_)) && scope.is_of_root(mesh) {
        remedy.summary = format!(
            "In the root namespace no policy acts for single workloads, Istio ignores it: only the whole mesh can become STRICT. {}",
            remedy.summary
        );
    }
    Ok((policy, remedy))
}

fn proposed(mesh: &Mesh, scope: &Scope) -> Result<(PeerAuthentication, Remedy), Unclear> {
    let (namespace, own, selector) = match scope {
        Scope::Mesh => {
            let root = mesh.config.root_namespace.clone();
            (root.clone(), for_namespace(mesh, &root), Labels::new())
        }
        Scope::Namespace(namespace) => {
            if !describe::known(mesh, Subject::Namespace).contains(namespace) {
                return Err(describe::unknown(mesh, Subject::Namespace, namespace));
            }
            (namespace.clone(), for_namespace(mesh, namespace), Labels::new())
        }
        Scope::Workload(workload) => {
            let mut all = mesh.pods.iter().chain(mesh.machines());
            let pod = all.find(|pod| !pod.ended && name(pod) == *workload);
            let pod = pod.ok_or_else(|| describe::unknown(mesh, Subject::Workload, workload))?;
            if scope.is_of_root(mesh) {
                return proposed(mesh, &Scope::Mesh);
            }
            let own = chosen_for_workload(mesh, &pod.meta.namespace, &pod.meta.labels);
            let label = pod.own_label().map(|(key, value)| (key.clone(), value.clone()));
            (pod.meta.namespace.to_string(), own, label.into_iter().collect())
        }
    };
    if let Some(own) = own {
        let patch = || Patch::of(&own.meta).set("/spec/mtls/mode", ServerMode::Strict.name()).yaml();
        let strict = own.mode == Some(ServerMode::Strict);
        let remedy = Remedy {
            summary: if strict {
                format!("{} is STRICT already: there is nothing to change.", own.meta.id())
            } else {
                format!("Let {} be STRICT.", own.meta.id())
            },
            resource: Some(own.meta.id()),
            file: Some(own.meta.file.to_string()),
            line: Some(own.mode_line).filter(|line| *line > 0),
            // A patch without the mode would leave nothing but a name, and applied as a whole object undo the mode.
            yaml: (!strict).then(patch),
            values: None,
        };
        return Ok((PeerAuthentication { mode: Some(ServerMode::Strict), ..own.clone() }, remedy));
    }
    let taken: BTreeSet<&str> = mesh
        .peer_authentications
        .iter()
        .filter(|policy| *policy.meta.namespace == *namespace)
        .map(|policy| &*policy.meta.name)
        .collect();
    let base = match scope {
        Scope::Mesh | Scope::Namespace(_) => "default",
        Scope::Workload(workload) => workload.rsplit('/').next().unwrap_or(workload),
    };
    let names = std::iter::once(base.to_owned()).chain((2..).map(|number| format!("{base}-{number}")));
    let name = names.into_iter().find(|name| !taken.contains(name.as_str())).unwrap_or_default();
    let mut patch = Patch::create("security.istio.io/v1", "PeerAuthentication", &namespace, &name);
    for (key, value) in &selector {
        patch = patch.set(&format!("/spec/selector/matchLabels/{}", part(key)), value.as_str());
    }
    let patch = patch.set("/spec/mtls/mode", ServerMode::Strict.name());
    let meta = Meta {
        version: "security.istio.io/v1".into(),
        kind: "PeerAuthentication".into(),
        namespace: namespace.as_str().into(),
        name: name.as_str().into(),
        labels: Labels::new(),
        annotations: Labels::new(),
        created: None,
        file: "the proposal".into(),
        line: 1,
        source: None,
    };
    let remedy = Remedy {
        summary: format!("Add {}.", meta.id()),
        resource: Some(meta.id()),
        file: None,
        line: None,
        yaml: Some(patch.yaml()),
        values: None,
    };
    let policy = PeerAuthentication {
        meta,
        selector,
        selector_line: 1,
        mode: Some(ServerMode::Strict),
        mode_line: 1,
        ports: BTreeMap::new(),
        has_ports: false,
        ports_line: 1,
    };
    Ok((policy, remedy))
}
