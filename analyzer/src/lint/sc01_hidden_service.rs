//! SC01: What a workload is known to call is hidden from it.

use std::collections::{BTreeMap, BTreeSet};

#[cfg(test)]
use crate::lint::Broken;
use crate::lint::survey::Survey;
use crate::lint::survey::destination_rules::{host_of, written};
use crate::lint::{Problem, Rule, agree, names};
use crate::mesh::meta::Meta;
use crate::mesh::sidecar::{Egress, Sidecar, listed};
use crate::mesh::{HostService, Mesh, Owner};
use crate::patch::{Patch, part};
use crate::policy::visibility::{Hidden, full_name, names_host, visible};
use crate::report::Severity;
use serde_json::{Value, json};

pub(super) const RULE: Rule = Rule {
    id: "SC01",
    severity: Severity::Medium,
    title: "A service that is hidden from its client",
    page: include_str!("../../../docs/findings/SC01.md"),
    check,
    #[cfg(test)]
    broken: Broken {
        replace: &[],
        add: "apiVersion: networking.istio.io/v1\nkind: Sidecar\nmetadata: {name: broken, namespace: shop, creationTimestamp: '2026-02-01T00:00:00Z'}\nspec: {egress: [{hosts: ['./*', istio-system/*]}]}\n---\napiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: broken, namespace: shop, creationTimestamp: '2026-02-01T00:00:00Z'}\nspec: {host: store.data.svc.cluster.local, trafficPolicy: {tls: {mode: ISTIO_MUTUAL}}}",
        also: &[],
    },
};

fn check(survey: &Survey<'_>) -> Vec<Problem> {
    let mesh = survey.mesh;
    let mut found: BTreeMap<(String, &str), Call<'_>> = BTreeMap::new();
    for Caller { namespace, account, host: name, by } in calls(mesh).chain(let_in(mesh)) {
        let Some(pods) = survey.sidecars.get(namespace) else { continue };
        let pods = || pods.iter().filter(|(_, pod)| account.is_none_or(|own| *own == *pod.service_account));
        // Patterns say nothing of a single service.
        let hosts = survey.hosts.covered(&name).into_iter().filter(|_| !name.starts_with('*'));
        for host in hosts.filter(|host| *host.namespace != *namespace) {
            let Some(port) = host.ports.first() else { continue };
            for (workload, pod) in pods() {
                let Err(hidden) = visible(mesh, Some(pod), namespace, host, port.number) else { continue };
                let call = Call { host, hidden, namespace, by, pods: BTreeSet::new() };
                let Some(meta) = call.hidden_by() else { continue };
                let entry = found.entry((meta.id(), host.host.as_str())).or_insert(call);
                entry.pods.insert(workload.clone());
            }
        }
    }
    found.into_values().filter_map(|call| call.problem(mesh)).collect()
}

/// A service, and clients that are known to call it and cannot see it.
struct Call<'a> {
    host: &'a HostService,
    hidden: Hidden<'a>,
    namespace: &'a str,
    /// What tells that it is called.
    by: &'a Meta,
    pods: BTreeSet<String>,
}

impl<'a> Call<'a> {
    fn hidden_by(&self) -> Option<&'a Meta> {
        match self.hidden {
            Hidden::NotExported(meta) => meta,
            Hidden::NotImported(sidecar) => Some(&sidecar.meta),
            Hidden::NotReady
            | Hidden::OtherNetwork(_)
            | Hidden::OtherNode
            | Hidden::NotResolved(_)
            | Hidden::Undiscovered
            | Hidden::Displaced(_) => None,
        }
    }

    fn problem(&self, mesh: &Mesh) -> Option<Problem> {
        let meta = self.hidden_by()?;
        let registry_only = match self.hidden {
            Hidden::NotImported(sidecar) => sidecar.registry_only,
            Hidden::NotExported(_)
            | Hidden::NotReady
            | Hidden::OtherNetwork(_)
            | Hidden::OtherNode
            | Hidden::NotResolved(_)
            | Hidden::Undiscovered
            | Hidden::Displaced(_) => None,
        };
        let then = if registry_only.unwrap_or(mesh.config.registry_only) {
            "the traffic is dropped"
        } else {
            "the traffic passes as the application sends it, without mTLS and without any rule"
        };
        let message = format!(
            "{} hides {} from {}, which {} it by {}: {then}",
            meta.id(),
            self.host.host,
            names(self.pods.iter().cloned()),
            agree(self.pods.len(), "calls", "call"),
            self.by.id()
        );
        let remedy = match self.hidden {
            Hidden::NotImported(sidecar) if self.is_left_out(mesh, sidecar) => {
                "Take out of the Sidecar's egress what leaves the host out, and list the host."
            }
            Hidden::NotImported(_) => "List the host in the Sidecar's egress.",
            Hidden::NotExported(_)
            | Hidden::NotReady
            | Hidden::OtherNetwork(_)
            | Hidden::OtherNode
            | Hidden::NotResolved(_)
            | Hidden::Undiscovered
            | Hidden::Displaced(_) => "Export the host to the client's namespace.",
        };
        Some(Problem::at(meta, meta.line, message, remedy).yaml(self.patch(meta)))
    }

    /// Tells whether a host of an egress list, as it is written, leaves this one out.
    fn leaves_out(&self, host: &str) -> bool {
        let (pattern, excludes) = listed(host);
        excludes && names_host(&pattern, &self.host.namespace, &self.host.host, self.namespace)
    }

    fn is_left_out(&self, mesh: &Mesh, sidecar: &Sidecar) -> bool {
        let own = |entry: &Egress| {
            entry.excludes && names_host(&entry.host, &self.host.namespace, &self.host.host, self.namespace)
        };
        mesh.control_plane.version.leaves_hosts_out() && sidecar.egress.iter().flatten().any(own)
    }

    fn patch(&self, meta: &Meta) -> String {
        let patch = Patch::of(meta);
        if matches!(self.hidden, Hidden::NotImported(_)) {
            let entry = format!("{}/{}", self.host.namespace, self.host.host);
            // An entry without a port is for all ports.
            let entries = patch.get("/spec/egress").and_then(Value::as_array);
            let place =
                entries.and_then(|entries| entries.iter().position(|entry| entry.get("port").is_none()));
            return match place {
                Some(place) => {
                    let pointer = format!("/spec/egress/{place}/hosts");
                    let hosts = patch.get(&pointer).and_then(Value::as_array).into_iter().flatten();
                    let kept = hosts.filter(|host| !host.as_str().is_some_and(|host| self.leaves_out(host)));
                    let list: Vec<Value> = kept.cloned().chain([json!(entry)]).collect();
                    patch.set(&pointer, list)
                }
                None => patch.set("/spec/egress/-", json!({"hosts": [entry]})),
            }
            .yaml();
        }
        let mut to: Vec<&str> = self.host.export_to.iter().map(String::as_str).collect();
        to.push(self.namespace);
        match self.host.owner {
            Owner::Service(_) => {
                let pointer = format!("/metadata/annotations/{}", part("networking.istio.io/exportTo"));
                patch.set(&pointer, to.join(",")).yaml()
            }
            Owner::Entry(_) => patch.set("/spec/exportTo", json!(to)).yaml(),
        }
    }
}

/// Workloads that are known to call a host.
struct Caller<'a> {
    namespace: &'a str,
    /// Their service account; absent for all workloads of the namespace.
    account: Option<&'a str>,
    host: String,
    /// The resource that says so.
    by: &'a Meta,
}

/// The identities that AuthorizationPolicies let in, as callers of the one Service that leads to the policy's workloads. Where
/// there are several, which of them is called nobody says.
fn let_in(mesh: &Mesh) -> impl Iterator<Item = Caller<'_>> {
    let root = mesh.config.root_namespace.as_str();
    let policies = mesh.authorization_policies.iter();
    policies.filter(move |policy| !policy.callers.is_empty() && &*policy.meta.namespace != root).flat_map(
        |policy| {
            let namespace = &*policy.meta.namespace;
            let pods = policy.selector.iter().flat_map(|selector| mesh.pods_with(namespace, selector));
            let hosts: BTreeSet<&str> = pods
                .flat_map(|(_, pod)| mesh.hosts_of(pod))
                .filter(|host| *host.namespace == *namespace)
                .map(|host| host.host.as_str())
                .collect();
            let host = hosts.first().filter(|_| hosts.len() == 1).map(|host| (*host).to_owned());
            let callers = host.into_iter().flat_map(|host| {
                policy.callers.iter().filter_map(move |principal| {
                    let (namespace, account) = principal.split_once("/ns/")?.1.split_once("/sa/")?;
                    let host = host.clone();
                    Some(Caller { namespace, account: Some(account), host, by: &policy.meta })
                })
            });
            callers.collect::<Vec<_>>()
        },
    )
}

/// What namespaces are known to call: the targets of their routes, and the hosts that they wrote rules for.
fn calls(mesh: &Mesh) -> impl Iterator<Item = Caller<'_>> {
    let domain = &mesh.config.domain;
    let routes = mesh.virtual_services.iter().filter(|routes| routes.is_for_mesh()).flat_map(move |routes| {
        let targets = routes.routes.iter().flat_map(|route| &route.destinations);
        targets.map(move |to| (full_name(&to.host, &routes.meta.namespace, domain), &routes.meta))
    });
    let rules = written(mesh).map(|rule| (host_of(mesh, rule), &rule.meta));
    let root = mesh.config.root_namespace.as_str();
    routes.chain(rules).filter(move |(_, meta)| &*meta.namespace != root).map(|(host, by)| Caller {
        namespace: &by.namespace,
        account: None,
        host,
        by,
    })
}
