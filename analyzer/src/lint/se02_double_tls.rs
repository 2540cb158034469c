//! SE02: The application's TLS gets wrapped in TLS again.

#[cfg(test)]
use crate::lint::Broken;
use crate::lint::survey::Survey;
use crate::lint::survey::destination_rules::originator;
use crate::lint::survey::service_entries::each_port;
use crate::lint::{Problem, Rule};
use crate::mesh::Mesh;
use crate::mesh::destination_rule::DestinationRule;
use crate::mesh::service_entry::{EntryPort, ServiceEntry};
use crate::mesh::virtual_service::{Destination, RouteKind};
use crate::patch::{self, Patch};
use crate::policy::visibility::full_name;
use crate::report::{ClientTls, Severity};

pub(super) const RULE: Rule = Rule {
    id: "SE02",
    severity: Severity::High,
    title: "TLS originated around an HTTPS port",
    page: include_str!("../../../docs/findings/SE02.md"),
    check,
    #[cfg(test)]
    broken: Broken {
        replace: &[],
        add: "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: broken, namespace: shop, creationTimestamp: '2026-02-01T00:00:00Z'}\nspec: {host: api.bank.example, trafficPolicy: {tls: {mode: SIMPLE, caCertificates: /ca}}}",
        also: &[],
    },
};

fn check(survey: &Survey<'_>) -> Vec<Problem> {
    each_port(survey, |entry, port| {
        if !port.protocol.is_tls() || for_requests_of_a_gateway(survey.mesh, entry, port) {
            return None;
        }
        let rule = entry.hosts.iter().find_map(|host| {
            originator(survey, entry, host, port.number, &[ClientTls::Simple, ClientTls::Mutual])
        })?;
        let message = format!(
            "{} declares port {} as {}, and {} originates TLS for it as well: TLS in TLS, which the server refuses",
            entry.meta.id(),
            port.number,
            port.protocol,
            rule.meta.id()
        );
        let wire = port.target.unwrap_or(port.number);
        let remedy = format!(
            "Let applications send HTTP to port {PLAIN} with targetPort {wire}; or, where they send HTTPS, remove the rule's tls block."
        );
        Some(Problem::at(&entry.meta, port.line, message, remedy).yaml(plain(entry, port, rule)))
    })
}

/// Tells whether a gateway sends requests to the port, which it took apart before: the layout of the task Egress Gateways with
/// TLS Origination. The rule is meant for them.
fn for_requests_of_a_gateway(mesh: &Mesh, entry: &ServiceEntry, port: &EntryPort) -> bool {
    let is_gateway = |name: &str| name != "mesh";
    let of_gateway = |names: &[String]| names.iter().any(|name| is_gateway(name));
    entry.hosts.iter().any(|host| {
        mesh.routes_to(host).filter(|routes| of_gateway(&routes.gateways)).any(|routes| {
            let to_port = |to: &Destination| {
                full_name(&to.host, &routes.meta.namespace, &mesh.config.domain) == *host
                    && to.port.is_none_or(|number| number == port.number)
            };
            routes.routes.iter().any(|route| {
                route.kind == RouteKind::Http
                    && route.takes(|one| one.is_at(is_gateway))
                    && route.destinations.iter().any(to_port)
            })
        })
    })
}

/// The port that applications send plain HTTP to.
const PLAIN: u16 = 80;

/// Declares HTTP in front of the TLS port, and keeps the rule's entry for the port with it.
fn plain(entry: &ServiceEntry, port: &EntryPort, rule: &DestinationRule) -> String {
    let wire = port.target.unwrap_or(port.number);
    let own = Patch::of(&entry.meta);
    let declared = match entry.ports.iter().find(|other| other.number == PLAIN) {
        Some(other) => own
            .set(&format!("/spec/ports/{}/protocol", other.place), "HTTP")
            .set(&format!("/spec/ports/{}/targetPort", other.place), wire)
            .remove(&format!("/spec/ports/{}", port.place)),
        None => own
            .set(&format!("/spec/ports/{}/number", port.place), PLAIN)
            .set(&format!("/spec/ports/{}/protocol", port.place), "HTTP")
            .set(&format!("/spec/ports/{}/targetPort", port.place), wire),
    };
    let entries = rule.policy.iter().flat_map(|policy| &policy.ports);
    let of_port = entries.enumerate().find(|(_, entry)| entry.port == Some(port.number));
    let moved = of_port.map(|(place, _)| {
        let pointer = format!("/spec/trafficPolicy/portLevelSettings/{place}/port/number");
        Patch::of(&rule.meta).set(&pointer, PLAIN).yaml()
    });
    patch::together([declared.yaml()].into_iter().chain(moved))
}
