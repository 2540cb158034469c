//! The changes that several rules propose: each to the very resource, with what else it holds.

use crate::lint::survey::injection::could_have_proxy;
use crate::mesh::Owner;
use crate::mesh::destination_rule::{DestinationRule, PortPolicy, TrafficPolicy};
use crate::mesh::gateway::ServerTlsMode;
use crate::mesh::joining::{DATAPLANE, INJECT, ambient, labelled, mesh_label};
use crate::mesh::meta::Meta;
use crate::mesh::peer_authentication::PeerAuthentication;
use crate::mesh::pod::Pod;
use crate::patch::{Patch, PodPatch, mesh_config, part};
use crate::policy::peer_authentication::chosen_for_workload;
use crate::policy::visibility::covers;
use crate::report::{Citation, ClientTls, Party, PartyKind, ServerMode};
use crate::violation::{Case, Change, restart};
use serde_json::json;

impl Change {
    pub(super) fn of(meta: &Meta, line: u32, yaml: String) -> Self {
        Self {
            resource: meta.id(),
            file: Some(meta.file.to_string()),
            line: Some(line).filter(|line| *line > 0),
            yaml,
        }
    }

    pub(super) fn new(resource: String, yaml: String) -> Self {
        Self { resource, file: None, line: None, yaml }
    }
}

/// Changes the mode of the tls block that decides what the client's proxy sends. A rule for many hosts stays as it is: a
/// nearer one is put before it, for the other hosts are not what is broken.
pub(super) fn client_mode(case: &Case<'_>, mode: &str) -> Option<Change> {
    let (rule, _) = case.client_block()?;
    if !rule.host.starts_with('*') {
        return mode_in(case, &rule.meta.id(), &case.expectation.because, mode);
    }
    let behind = case.mesh.behind(case.flow.server.ip, case.flow.server.port);
    let host = behind.iter().map(|behind| &behind.host.host).find(|host| covers(&rule.host, host))?;
    let name = format!("{}-{}", host.split('.').next()?, mode.to_ascii_lowercase().replace('_', "-"));
    let namespace = &*rule.meta.namespace;
    let mut patch = Patch::create("networking.istio.io/v1", "DestinationRule", namespace, &name)
        .set("/spec/host", host.as_str())
        .set("/spec/trafficPolicy/tls/mode", mode);
    if !rule.export_to.is_empty() {
        patch = patch.set("/spec/exportTo", rule.export_to.clone());
    }
    if let Some(selector) = &rule.workload_selector {
        patch = patch.set("/spec/workloadSelector/matchLabels", serde_json::json!(selector));
    }
    Some(Change::new(format!("DestinationRule/{namespace}/{name}"), patch.yaml()))
}

/// Changes the mode of the tls block of a rule that is cited to decide: at the top, in the entry of a port or in a subset.
/// Fields that belong to another mode go with it.
pub(super) fn mode_in(case: &Case<'_>, rule: &str, because: &[Citation], mode: &str) -> Option<Change> {
    let rule = case.mesh.destination_rule(rule).filter(|one| !one.is_backend_policy())?;
    let line = because
        .iter()
        .rfind(|step| {
            step.resource == rule.meta.id()
                && matches!(&*step.rule, "destination-rule.mode" | "destination-rule.credential-name")
        })?
        .line?;
    let block = block_at(rule, line)?;
    Some(Change::of(
        &rule.meta,
        line,
        Patch::of(&rule.meta).set(&block, serde_json::json!({ "mode": mode })).yaml(),
    ))
}

/// Finds the pointer of the tls block whose mode (or, where none is written, whose own line) is this one.
fn block_at(rule: &DestinationRule, line: u32) -> Option<String> {
    let top = rule.policy.iter().map(|policy| ("/spec/trafficPolicy".to_owned(), policy));
    let subsets = rule.subsets.iter().enumerate().filter_map(|(place, subset)| {
        Some((format!("/spec/subsets/{place}/trafficPolicy"), subset.policy.as_ref()?))
    });
    top.chain(subsets).find_map(|(path, policy)| in_policy(policy, line).map(|rest| format!("{path}{rest}")))
}

fn in_policy(policy: &TrafficPolicy, line: u32) -> Option<String> {
    if policy.tls.as_ref().is_some_and(|tls| tls.line == line) {
        return Some("/tls".to_owned());
    }
    let stands = |entry: &PortPolicy| entry.tls.as_ref().is_some_and(|tls| tls.line == line);
    policy.ports.iter().position(stands).map(|place| format!("/portLevelSettings/{place}/tls"))
}

/// Changes a policy's own mode.
pub(super) fn mode_of(policy: &PeerAuthentication, mode: ServerMode) -> Change {
    let yaml = Patch::of(&policy.meta).set("/spec/mtls/mode", mode.name()).yaml();
    Change::of(&policy.meta, policy.mode_line, yaml)
}

/// Opens one port of the server's workload: in the workload's own policy where it has one, for policies are not merged. In
/// the root namespace no policy acts for single workloads.
pub(super) fn open_port(case: &Case<'_>) -> Option<Change> {
    let (pod, port) = case.server_pod()?;
    if *pod.meta.namespace == *case.mesh.config.root_namespace {
        return None;
    }
    let pointer = format!("/spec/portLevelMtls/{port}/mode");
    if let Some(own) = chosen_for_workload(case.mesh, &pod.meta.namespace, &pod.meta.labels) {
        let yaml = Patch::of(&own.meta).set(&pointer, ServerMode::Permissive.name()).yaml();
        return Some(Change::of(&own.meta, own.mode_line, yaml));
    }
    let (key, value) = pod.own_label()?;
    let name = format!("{}-{port}", pod.workload);
    let yaml = Patch::create("security.istio.io/v1", "PeerAuthentication", &pod.meta.namespace, &name)
        .set(&format!("/spec/selector/matchLabels/{}", part(key)), value.as_str())
        .set("/spec/mtls/mode", ServerMode::Strict.name())
        .set(&pointer, ServerMode::Permissive.name())
        .yaml();
    Some(Change::new(format!("PeerAuthentication/{}/{name}", pod.meta.namespace), yaml))
}

/// Says how a party that has no proxy comes into this mesh, as the beginning of a sentence.
pub(super) fn joining(case: &Case<'_>, party: &Party) -> String {
    if let Some(pod) = without_asked_proxy(case, party) {
        let restart = restart::of(pod, party);
        return format!("Give {} the proxy that its namespace asks for: {}", party.name(), restart.words);
    }
    match mesh_label(case.mesh) {
        (DATAPLANE, _) => format!("Put {} into the ambient mesh", party.name()),
        _ => format!("Give {} a sidecar", party.name()),
    }
}

/// Lets a party that has no proxy get one, by the label that other namespaces of this mesh have: new pods are injected. Where a
/// proxy is asked for already the pod is made anew, for it is only older than that. Absent for what is no pod.
pub(super) fn inject(case: &Case<'_>, party: &Party) -> Option<Change> {
    let namespace = party.namespace.as_deref().filter(|_| party.kind == PartyKind::NoProxy)?;
    if let Some(pod) = without_asked_proxy(case, party) {
        return restart::of(pod, party).change;
    }
    let pod = pod_of(case, party);
    let (name, value) = mesh_label(case.mesh);
    if let Some(pod) = pod.filter(|pod| opts_out(pod) && name != DATAPLANE) {
        let label = format!("/metadata/labels/{}", part(INJECT));
        return Some(of_pod(pod, Patch::of_pod(pod).set(&label, "true")));
    }
    let pointer = format!("/metadata/labels/{}", part(name));
    let Some((meta, labels)) = case.mesh.namespaces.get(namespace) else {
        let yaml = Patch::create("v1", "Namespace", "", namespace).set(&pointer, value).yaml();
        return Some(Change::new(format!("Namespace/{namespace}"), yaml));
    };
    (!labelled(labels)).then(|| Change::of(meta, meta.line, Patch::of(meta).set(&pointer, value).yaml()))
}

/// Returns the pod of a party that should have a proxy by its namespace's label and has none: it was made before the label. Of the
/// host network no pod gets one, and those that opt out get none either.
pub(super) fn without_asked_proxy<'a>(case: &Case<'a>, party: &Party) -> Option<&'a Pod> {
    let pod = pod_of(case, party).filter(|pod| could_have_proxy(case.mesh, pod) && !opts_out(pod))?;
    let (_, labels) = case.mesh.namespaces.get(&pod.meta.namespace)?;
    let stays_out = ambient(labels) && pod.meta.labels.get(DATAPLANE).is_some_and(|mode| mode == "none");
    (labelled(labels) && !stays_out).then_some(pod)
}

fn pod_of<'a>(case: &Case<'a>, party: &Party) -> Option<&'a Pod> {
    case.mesh.pod_at(party.address, Some(case.flow.server.port))
}

fn opts_out(pod: &Pod) -> bool {
    let mut own = [&pod.meta.labels, &pod.meta.annotations].into_iter();
    own.any(|own| own.get(INJECT).is_some_and(|own| own == "false"))
}

/// The annotations by which traffic that a pod sends goes around its proxy.
const AROUND: [&str; 4] = [
    "traffic.sidecar.istio.io/excludeOutboundPorts",
    "traffic.sidecar.istio.io/excludeOutboundIPRanges",
    "traffic.sidecar.istio.io/includeOutboundIPRanges",
    "traffic.sidecar.istio.io/excludeInterfaces",
];

/// Removes the annotations by which the client's pod sends around its proxy; absent where it has none.
pub(super) fn intercept(case: &Case<'_>) -> Option<Change> {
    let pod = case.mesh.client_at(case.flow.client.ip)?;
    let own: Vec<&str> = AROUND.into_iter().filter(|name| pod.meta.annotations.contains_key(*name)).collect();
    if own.is_empty() {
        return None;
    }
    let patch = own.iter().fold(Patch::of_pod(pod), |patch, name| {
        patch.remove(&format!("/metadata/annotations/{}", part(name)))
    });
    Some(of_pod(pod, patch))
}

/// A pod's metadata is changed where it is made: in its controller's template.
fn of_pod(pod: &Pod, patch: PodPatch) -> Change {
    match &pod.controller {
        Some(controller) => Change::new(
            format!("{}/{}/{}", controller.kind, pod.meta.namespace, controller.name),
            patch.yaml(),
        ),
        None => Change::of(&pod.meta, pod.meta.line, patch.yaml()),
    }
}

/// Has the client's proxy send the SNI that Istio makes up: takes away the one that its rule sets in place of that.
pub(super) fn own_sni(case: &Case<'_>) -> Option<Change> {
    let (rule, block) = case.client_block()?;
    let seen = case.tls()?.sni.as_deref();
    if block.mode != ClientTls::IstioMutual || block.sni.as_deref() != seen {
        return None;
    }
    let pointer = format!("{}/sni", block_at(rule, block.line)?);
    Some(Change::of(&rule.meta, block.line, Patch::of(&rule.meta).remove(&pointer).yaml()))
}

/// Adds a name to those of the server that the client's rule accepts.
pub(super) fn accept_name(case: &Case<'_>, name: &str) -> Option<Change> {
    let (rule, block) = case.client_block()?;
    let pointer = format!("{}/subjectAltNames/-", block_at(rule, block.line)?);
    Some(Change::of(&rule.meta, block.line, Patch::of(&rule.meta).set(&pointer, name).yaml()))
}

/// Accepts the identities of a former trust domain; absent where no MeshConfig was read.
pub(super) fn accept_domain(case: &Case<'_>, domain: &str) -> Option<Change> {
    let config = &case.mesh.config;
    let yaml = mesh_config(config, "/trustDomainAliases/-", domain)?;
    let meta = config.meta.as_ref()?;
    Some(Change::of(meta, config.trust_domain_line.unwrap_or(meta.line), yaml))
}

/// Declares an address outside the mesh for the client's namespace alone. It is routed by the address, so that nothing else
/// on the port changes, and the name that it has to have means nothing.
pub(super) fn declare_destination(case: &Case<'_>) -> Option<Change> {
    let namespace = case.client.namespace.as_deref()?;
    let (ip, port) = (case.flow.server.ip, case.flow.server.port);
    let name = format!("external-{}", ip.to_string().replace(['.', ':'], "-"));
    let yaml = Patch::create("networking.istio.io/v1", "ServiceEntry", namespace, &format!("{name}-{port}"))
        .set("/spec/hosts", json!([format!("{name}.external")]))
        .set("/spec/addresses", json!([ip.to_string()]))
        .set("/spec/exportTo", json!(["."]))
        .set("/spec/location", "MESH_EXTERNAL")
        .set("/spec/resolution", "NONE")
        .set("/spec/ports", json!([{"number": port, "name": format!("tcp-{port}"), "protocol": "TCP"}]))
        .yaml();
    Some(Change::new(format!("ServiceEntry/{namespace}/{name}-{port}"), yaml))
}

/// Declares the protocol of the Service port, or of the ServiceEntry's, that stands behind the destination.
pub(super) fn port_protocol(case: &Case<'_>, protocol: &str) -> Option<Change> {
    let behind = case.mesh.behind(case.flow.server.ip, case.flow.server.port);
    let behind = behind.first()?;
    let meta = case.mesh.declaration(behind.host)?;
    let (numbered, field, word) = match behind.host.owner {
        Owner::Service(_) => ("port", "appProtocol", protocol.to_owned()),
        Owner::Entry(_) => ("number", "protocol", protocol.to_ascii_uppercase()),
    };
    let patch = Patch::of(meta);
    let ports = patch.get("/spec/ports")?.as_array()?;
    let place = ports.iter().position(|port| {
        port.get(numbered).and_then(serde_json::Value::as_u64) == Some(u64::from(behind.port.number))
    })?;
    let patch = patch.set(&format!("/spec/ports/{place}/{field}"), word);
    Some(Change::of(meta, behind.port.line, patch.yaml()))
}

/// Lets the gateway's server take clients without a certificate, where it requires one.
pub(super) fn optional_certificate(case: &Case<'_>) -> Option<Change> {
    let (gateway, server) = super::termination::terminating_server(case)?;
    if server.tls_in_force() != Some(ServerTlsMode::Mutual) || !gateway.meta.version.contains("istio.io/") {
        return None;
    }
    let patch = Patch::of(&gateway.meta);
    let servers = patch.get("/spec/servers")?.as_array()?;
    let place = gateway.servers.iter().position(|one| one == server)?;
    // Servers without a port are left out when they are read.
    if servers.len() != gateway.servers.len() {
        return None;
    }
    let line = server.tls.as_ref().map_or(server.line, |tls| tls.line);
    let patch = patch.set(&format!("/spec/servers/{place}/tls/mode"), ServerTlsMode::OptionalMutual.name());
    Some(Change::of(&gateway.meta, line, patch.yaml()))
}
