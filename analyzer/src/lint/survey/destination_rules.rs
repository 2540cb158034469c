//! DestinationRules as people wrote them: their tls blocks, their hosts, who uses them, and what changes a block.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::lint::Problem;
use crate::lint::survey::Survey;
use crate::mesh::destination_rule::{DestinationRule, TlsSettings, TrafficPolicy};
use crate::mesh::pod::Pod;
use crate::mesh::service::Protocol;
use crate::mesh::service_entry::ServiceEntry;
use crate::mesh::{Behind, HostService, Mesh};
use crate::patch::Patch;
use crate::policy::Trace;
use crate::policy::auto_mtls::{self, AutoMtls, Circumstances};
use crate::policy::destination_rule::{Acting, acting, full_host};
use crate::policy::visibility::{covers, visible};
use crate::report::ClientTls;

/// The rules that people wrote: BackendTLSPolicies stand beside them under their own kind.
pub(crate) fn written(mesh: &Mesh) -> impl Iterator<Item = &DestinationRule> {
    mesh.destination_rules.iter().filter(|rule| &*rule.meta.kind == "DestinationRule")
}

/// A tls block of a rule, and where it stands.
pub(crate) struct Block<'a> {
    pub(crate) rule: &'a DestinationRule,
    pub(crate) tls: &'a TlsSettings,
    /// Its JSON pointer in the document.
    pub(crate) pointer: String,
    /// Its mode as citations name it.
    field: String,
    /// The tls block above a port's entry: without one of its own, the entry would not inherit it.
    above: Option<&'a TlsSettings>,
}

/// A rule's policies: its own and its subsets', each with its JSON pointer.
pub(crate) fn policies(rule: &DestinationRule) -> impl Iterator<Item = (String, &TrafficPolicy)> {
    let own = rule.policy.iter().map(|policy| ("/spec/trafficPolicy".to_owned(), policy));
    own.chain(rule.subsets.iter().filter_map(|subset| {
        let policy = subset.policy.as_ref()?;
        Some((format!("/spec/subsets/{}/trafficPolicy", subset.place), policy))
    }))
}

/// Every tls block of a rule: at the top, in subsets, at ports.
pub(crate) fn blocks(rule: &DestinationRule) -> Vec<Block<'_>> {
    let own = rule
        .policy
        .iter()
        .map(|policy| ("/spec/trafficPolicy".to_owned(), "spec.trafficPolicy".to_owned(), policy, top(rule)));
    let subsets = rule.subsets.iter().filter_map(|subset| {
        let policy = subset.policy.as_ref()?;
        Some((
            format!("/spec/subsets/{}/trafficPolicy", subset.place),
            format!("spec.subsets[{}].trafficPolicy", subset.name),
            policy,
            policy.tls.as_ref().or_else(|| top(rule)),
        ))
    });
    let mut blocks = Vec::new();
    for (pointer, field, policy, above) in own.chain(subsets) {
        if let Some(tls) = &policy.tls {
            blocks.push(Block {
                rule,
                tls,
                pointer: format!("{pointer}/tls"),
                field: format!("{field}.tls.mode"),
                above: None,
            });
        }
        for (place, entry) in policy.ports.iter().enumerate() {
            if let Some(tls) = &entry.tls {
                let port = entry.port.unwrap_or_default();
                blocks.push(Block {
                    rule,
                    tls,
                    pointer: format!("{pointer}/portLevelSettings/{place}/tls"),
                    field: format!("{field}.portLevelSettings[{port}].tls.mode"),
                    above,
                });
            }
        }
    }
    blocks
}

/// Checks every tls block of every rule. One patch mends all the broken blocks of a rule: each finding of the rule has it,
/// because a patch replaces the lists that several of them may stand in.
pub(crate) fn each_block<'a>(
    survey: &Survey<'a>,
    broken: impl Fn(&Block<'a>) -> Option<Problem>,
    mend: impl Fn(Patch, &Block<'a>) -> Patch,
) -> Vec<Problem> {
    let mut problems = Vec::new();
    for rule in written(survey.mesh) {
        let blocks = blocks(rule);
        let found: Vec<_> = blocks.iter().filter_map(|block| Some((block, broken(block)?))).collect();
        if found.is_empty() {
            continue;
        }
        let patch = found.iter().fold(Patch::of(&rule.meta), |patch, (block, _)| mend(patch, block));
        let yaml = patch.yaml();
        problems.extend(found.into_iter().map(|(_, problem)| problem.yaml(yaml.clone())));
    }
    problems
}

/// Finds the block that a citation names.
pub(crate) fn block_at<'a>(mesh: &'a Mesh, id: &str, field: &str) -> Option<Block<'a>> {
    let rule = written(mesh).find(|rule| rule.meta.id() == id)?;
    blocks(rule).into_iter().find(|block| block.field == field)
}

impl Block<'_> {
    /// Makes clients send Istio mTLS: the mode is set where every server that the rule covers takes it, else left to
    /// auto mTLS, which looks at each server.
    pub(crate) fn to_mesh_mtls(&self, survey: &Survey<'_>, patch: Patch) -> Patch {
        let auto = survey.mesh.config.auto_mtls;
        if all_take_mtls(survey, self.rule) || !auto || self.above.is_some() {
            patch.set(&self.pointer, json!({"mode": "ISTIO_MUTUAL"}))
        } else {
            patch.remove(&self.pointer)
        }
    }

    /// Stops clients from sending TLS that the server cannot take: auto mTLS decides, or DISABLE where it would not.
    pub(crate) fn to_automatic(&self, mesh: &Mesh, patch: Patch) -> Patch {
        if mesh.config.auto_mtls && self.above.is_none() {
            patch.remove(&self.pointer)
        } else {
            patch.set(&self.pointer, json!({"mode": "DISABLE"}))
        }
    }
}

impl Block<'_> {
    /// Replaces the block.
    pub(crate) fn set(&self, patch: Patch, tls: Value) -> Patch {
        patch.set(&self.pointer, tls)
    }

    /// Returns the block as it was written.
    pub(crate) fn written(&self) -> Value {
        Patch::of(&self.rule.meta).get(&self.pointer).cloned().unwrap_or_else(|| json!({}))
    }

    /// Returns the block with another mode.
    pub(crate) fn with_mode(&self, mode: ClientTls) -> Value {
        let mut tls = self.written();
        if let Value::Object(fields) = &mut tls {
            fields.insert("mode".to_owned(), mode.name().into());
        }
        tls
    }
}

/// Namespaces with a client among these workloads for which `wanted` holds, with the rule that acts there for a host. Namespaces that
/// nothing tells apart are asked by one of their clients; the host's own is asked by each.
pub(crate) fn client_namespaces<'a>(
    survey: &Survey<'a>,
    workloads: &BTreeMap<&'a str, BTreeMap<String, &'a Pod>>,
    host: &'a HostService,
    wanted: impl Fn(&Pod, Option<&Acting<'a>>) -> bool,
) -> BTreeSet<&'a str> {
    let mesh = survey.mesh;
    let Some(port) = host.ports.first() else { return BTreeSet::new() };
    let ask = |namespace: &str, pod: &Pod| {
        visible(mesh, Some(pod), namespace, host, port.number).is_ok()
            && wanted(pod, acting(mesh, Some(pod), namespace, host, &mut Trace::unheard()).as_ref())
    };
    let mut others = None;
    let mut answer = |namespace: &str, pods: &BTreeMap<String, &Pod>| {
        if survey.is_apart(host, namespace) {
            return pods.values().any(|pod| ask(namespace, pod));
        }
        *others.get_or_insert_with(|| pods.values().next().is_some_and(|pod| ask(namespace, pod)))
    };
    let clients = workloads.iter().filter(|(namespace, pods)| answer(namespace, pods));
    clients.map(|(namespace, _)| *namespace).collect()
}

/// Tells whether a host is routed through a gateway, which then is the one that uses the rules for it.
pub(crate) fn through_gateway(mesh: &Mesh, host: &str) -> bool {
    mesh.virtual_services.iter().filter(|routes| routes.is_for_mesh()).any(|routes| {
        routes.routes.iter().any(|route| {
            let named = route.matches.iter().flat_map(|one| &one.gateways);
            let at_gateway = named.chain(&routes.gateways).any(|name| name != "mesh");
            at_gateway && route.destinations.iter().any(|to| covers(host, &to.host))
        })
    })
}

/// Writes a rule for one host beside a rule for many, with the same visibility.
pub(crate) fn narrower(mesh: &Mesh, rule: &DestinationRule, host: &str, tls: Value) -> Patch {
    let namespace = &*rule.meta.namespace;
    let base = host.trim_start_matches("*.").replace('.', "-");
    let patch = named_rule(mesh, namespace, base.trim_end_matches("-svc-cluster-local"))
        .set("/spec/host", host)
        .set("/spec/trafficPolicy/tls", tls);
    if rule.export_to.is_empty() { patch } else { patch.set("/spec/exportTo", rule.export_to.clone()) }
}

/// Starts a DestinationRule under a name that is still free.
pub(crate) fn named_rule(mesh: &Mesh, namespace: &str, base: &str) -> Patch {
    let taken: BTreeSet<&str> = written(mesh)
        .filter(|rule| &*rule.meta.namespace == namespace)
        .map(|rule| &*rule.meta.name)
        .collect();
    let mut name = base.to_owned();
    let mut number = 1_u32;
    while taken.contains(name.as_str()) {
        number = number.saturating_add(1);
        name = format!("{base}-{number}");
    }
    Patch::create("networking.istio.io/v1", "DestinationRule", namespace, &name)
}

/// Tells whether every server that a rule covers is in the mesh and takes Istio mTLS.
pub(crate) fn all_take_mtls(survey: &Survey<'_>, rule: &DestinationRule) -> bool {
    let covered = survey.hosts.covered(&host_of(survey.mesh, rule));
    !covered.is_empty()
        && covered.iter().all(|host| {
            !host.external
                && !host.endpoints.is_empty()
                && host.endpoints.iter().all(|endpoint| endpoint.tls_mode_istio)
        })
}

/// Returns what clients send to a host where no rule has a tls block; DISABLE in a mesh without any client.
pub(crate) fn by_itself(survey: &Survey<'_>, host: &HostService) -> ClientTls {
    let client = survey.sidecars.values().find_map(|pods| pods.values().next());
    let (Some(client), Some(port)) = (client, host.ports.first()) else { return ClientTls::Disable };
    let behind = Behind { host, port, endpoint: None };
    match auto_mtls::decide(survey.mesh, client, &behind, Circumstances::default(), &mut Trace::unheard()) {
        AutoMtls::Mutual => ClientTls::IstioMutual,
        AutoMtls::Plain | AutoMtls::NotApplicable => ClientTls::Disable,
    }
}

/// Returns the tls block that suits a host outside the mesh: SIMPLE where its clients speak plaintext to a TLS port, else
/// none, because they bring their own TLS or the port has none.
pub(crate) fn outside_tls(host: &HostService) -> Option<Value> {
    let originate = host.ports.iter().any(|port| {
        let wire = host.endpoints.iter().find_map(|endpoint| endpoint.ports.get(&port.number).copied());
        let tls = [443, 8443].contains(&wire.unwrap_or(port.target)) || [443, 8443].contains(&port.number);
        tls && !port.protocol.is_tls() && port.protocol != Protocol::Udp
    });
    originate.then(|| verified(json!({"mode": "SIMPLE"}), &host.host))
}

/// Makes a tls block verify the server: by the system's roots, and by its name.
pub(crate) fn verified(mut tls: Value, host: &str) -> Value {
    if let Value::Object(fields) = &mut tls {
        fields.remove("insecureSkipVerify");
        let named =
            |value: Option<&Value>| value.and_then(Value::as_str).is_some_and(|text| !text.is_empty());
        if !named(fields.get("caCertificates")) && !named(fields.get("credentialName")) {
            fields.insert("caCertificates".to_owned(), "system".into());
        }
        if !host.starts_with('*') && !fields.contains_key("subjectAltNames") {
            fields.insert("subjectAltNames".to_owned(), json!([host]));
        }
    }
    tls
}

/// Tells whether a rule is the one of its namespace that counts for a host: no other names it more closely.
pub(crate) fn is_closest(mesh: &Mesh, rule: &DestinationRule, host: &str) -> bool {
    let closeness = |rule: &DestinationRule| {
        let own = host_of(mesh, rule);
        covers(&own, host).then(|| (!own.starts_with('*'), own.len()))
    };
    let own = closeness(rule);
    !written(mesh).any(|other| other.meta.namespace == rule.meta.namespace && closeness(other) > own)
}

/// Returns the namespaces that a rule is exported to; one for workloads is for its own namespace alone.
pub(crate) fn export_set(rule: &DestinationRule) -> BTreeSet<&str> {
    if rule.workload_selector.is_some() {
        BTreeSet::from(["."])
    } else {
        rule.export_to.iter().map(String::as_str).collect()
    }
}

/// Returns a rule's host as a full name.
pub(crate) fn host_of(mesh: &Mesh, rule: &DestinationRule) -> String {
    full_host(rule, &mesh.config.domain)
}

/// Returns the tls block at the top.
pub(crate) fn top(rule: &DestinationRule) -> Option<&TlsSettings> {
    rule.policy.as_ref()?.tls.as_ref()
}

/// Returns a rule that originates TLS in one of the modes to a ServiceEntry's host at a port, for some client.
pub(crate) fn originator<'a>(
    survey: &Survey<'a>,
    entry: &ServiceEntry,
    host: &str,
    port: u16,
    modes: &[ClientTls],
) -> Option<&'a DestinationRule> {
    let mesh = survey.mesh;
    let rules =
        mesh.destination_rules.iter().filter(|rule| covers(&full_host(rule, &mesh.config.domain), host));
    let mut originating = rules.filter(|rule| {
        policies(rule).any(|(_, policy)| {
            let block = match policy.for_port(port) {
                Some(entry) => entry.tls.as_ref(),
                None => policy.tls.as_ref(),
            };
            block.is_some_and(|tls| modes.contains(&tls.mode))
        })
    });
    originating.find(|rule| is_used(survey, &entry.meta.namespace, host, rule))
}

/// Tells whether a rule acts for some client of a host that a namespace declares: for one with a sidecar that knows the host. Where
/// there is none, or gateways may be the clients, any rule counts.
fn is_used(survey: &Survey<'_>, namespace: &str, host: &str, rule: &DestinationRule) -> bool {
    let mut hosts = survey.mesh.hosts.iter();
    let Some(host) = hosts.find(|own| own.host == host && *own.namespace == *namespace) else { return true };
    let clients = |wanted: &dyn Fn(Option<&Acting<'_>>) -> bool| {
        client_namespaces(survey, &survey.sidecars, host, |_, acting| wanted(acting))
    };
    let acts = |acting: Option<&Acting<'_>>| {
        let rules = acting.into_iter().flat_map(|acting| acting.merged.iter().chain(&acting.backends));
        rules.into_iter().any(|own| std::ptr::eq(*own, rule))
    };
    !survey.gateway_pods.is_empty() || !clients(&acts).is_empty() || clients(&|_| true).is_empty()
}
