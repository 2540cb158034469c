//! SE03: Plaintext HTTP goes to a TLS port.

#[cfg(test)]
use crate::lint::Broken;
use crate::lint::survey::Survey;
use crate::lint::survey::destination_rules::{host_of, written};
use crate::lint::survey::service_entries::{TLS_PORTS, each_port, originates};
use crate::lint::{Problem, Rule};
use crate::mesh::Mesh;
use crate::mesh::service_entry::{EntryPort, ServiceEntry};
use crate::patch::{self, Patch};
use crate::report::Severity;
use serde_json::{Value, json};

pub(super) const RULE: Rule = Rule {
    id: "SE03",
    severity: Severity::High,
    title: "Plaintext to a TLS target port",
    page: include_str!("../../../docs/findings/SE03.md"),
    check,
    #[cfg(test)]
    broken: Broken {
        replace: &[(
            "  - {number: 443, name: https, protocol: HTTPS}",
            "  - {number: 80, name: http, protocol: HTTP, targetPort: 443}",
        )],
        add: "",
        also: &[],
    },
};

fn check(survey: &Survey<'_>) -> Vec<Problem> {
    each_port(survey, |entry, port| {
        let target = port.target.filter(|target| TLS_PORTS.contains(target))?;
        if !port.protocol.is_http() || originates(survey, entry, port) {
            return None;
        }
        let message = format!(
            "{} sends port {} to targetPort {target} as {} and nothing originates TLS: plaintext to a TLS port",
            entry.meta.id(),
            port.number,
            port.protocol
        );
        let remedy = "Originate TLS for the port with a DestinationRule.";
        let patches = entry.hosts.iter().map(|host| originated(survey.mesh, entry, port, host));
        Some(Problem::at(&entry.meta, port.line, message, remedy).yaml(patch::together(patches)))
    })
}

/// Originates TLS at one port of a host, in the host's own rule where there is one.
fn originated(mesh: &Mesh, entry: &ServiceEntry, port: &EntryPort, host: &str) -> String {
    let namespace = &entry.meta.namespace;
    let mut rules = written(mesh).filter(|rule| rule.meta.namespace == *namespace);
    let tls = tls(host);
    if let Some(rule) = rules.find(|rule| host_of(mesh, rule) == host && rule.workload_selector.is_none()) {
        let entries = rule.policy.as_ref().map_or(&[][..], |policy| policy.ports.as_slice());
        let patch = Patch::of(&rule.meta);
        let settings = "/spec/trafficPolicy/portLevelSettings";
        return match entries.iter().position(|entry| entry.port == Some(port.number)) {
            Some(place) => patch.set(&format!("{settings}/{place}/tls"), tls).yaml(),
            None => patch
                .set(&format!("{settings}/-"), json!({"port": {"number": port.number}, "tls": tls}))
                .yaml(),
        };
    }
    let plain = host.trim_start_matches("*.").replace(['.', '*'], "-");
    let taken =
        |name: &str| written(mesh).any(|rule| rule.meta.namespace == *namespace && &*rule.meta.name == name);
    let name = if taken(&plain) { format!("{plain}-tls") } else { plain };
    Patch::create("networking.istio.io/v1", "DestinationRule", namespace, &name)
        .set("/spec/host", host)
        .set("/spec/trafficPolicy/portLevelSettings", json!([{"port": {"number": port.number}, "tls": tls}]))
        .yaml()
}

/// TLS to a host outside: verified by the system's CAs, for its own name.
fn tls(host: &str) -> Value {
    if host.starts_with('*') {
        json!({"mode": "SIMPLE", "caCertificates": "system"})
    } else {
        json!({"mode": "SIMPLE", "caCertificates": "system", "sni": host, "subjectAltNames": [host]})
    }
}
