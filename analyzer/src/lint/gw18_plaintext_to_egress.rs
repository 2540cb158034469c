//! GW18: Sidecars send to an egress gateway, which they reach in plaintext unless both sides say ISTIO_MUTUAL.

#[cfg(test)]
use crate::lint::Broken;
use crate::lint::survey::Survey;
use crate::lint::survey::gateways::{at, from_gateway_api};
use crate::lint::{Problem, Rule};
use crate::mesh::destination_rule::DestinationRule;
use crate::mesh::gateway::{Gateway, Server, ServerTlsMode};
use crate::mesh::virtual_service::{RouteKind, VirtualService};
use crate::mesh::{HostService, Mesh};
use crate::patch::{self, Patch};
use crate::policy::Trace;
use crate::policy::destination_rule::{acting, tls_block};
use crate::policy::gateway::configures;
use crate::policy::visibility::{covers, full_name};
use crate::report::{ClientTls, PartyKind, Severity};
use serde_json::{Value, json};
use std::collections::{BTreeSet, HashMap};

pub(super) const RULE: Rule = Rule {
    id: "GW18",
    severity: Severity::High,
    title: "Plaintext to an egress gateway",
    page: include_str!("../../../docs/findings/GW18.md"),
    check,
    #[cfg(test)]
    broken: Broken {
        replace: &[],
        add: "apiVersion: v1\nkind: Pod\nmetadata: {name: egress-0, namespace: istio-system, labels: {app: egress}}\nspec: {serviceAccountName: egress, containers: [{name: istio-proxy, args: [proxy, router], ports: [{containerPort: 8080}]}]}\nstatus: {podIP: 10.0.0.6}\n---\napiVersion: v1\nkind: Service\nmetadata: {name: egress, namespace: istio-system, creationTimestamp: '2026-01-01T00:00:00Z'}\nspec: {clusterIP: 10.96.0.6, selector: {app: egress}, ports: [{name: http2, port: 80, targetPort: 8080}]}\n---\napiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {name: egress, namespace: istio-system, creationTimestamp: '2026-01-01T00:00:00Z'}\nspec: {selector: {app: egress}, servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: [api.bank.example]}]}\n---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: bank, namespace: shop}\nspec: {hosts: [api.bank.example], gateways: [mesh, istio-system/egress], http: [{match: [{gateways: [mesh], port: 80}], route: [{destination: {host: egress.istio-system.svc.cluster.local, port: {number: 80}}}]}, {match: [{gateways: [istio-system/egress], port: 80}], route: [{destination: {host: api.bank.example, port: {number: 443}}}]}]}",
        also: &[],
    },
};

fn check(survey: &Survey<'_>) -> Vec<Problem> {
    let mesh = survey.meant();
    let pods = || mesh.pods.iter().filter(|pod| pod.proxy == PartyKind::Gateway && !pod.ended);
    // The hosts that are gateways, with the Gateways that configure them.
    let mut gateways: HashMap<&str, (&HostService, Vec<&Gateway>)> = HashMap::new();
    for gateway in &mesh.gateways {
        let own = pods().filter(|pod| configures(mesh, gateway, pod));
        for host in own.flat_map(|pod| mesh.hosts_of(pod)) {
            let (_, own) = gateways.entry(&host.host).or_insert_with(|| (host, Vec::new()));
            if !own.iter().any(|known| std::ptr::eq(*known, gateway)) {
                own.push(gateway);
            }
        }
    }
    let mut seen = BTreeSet::new();
    let mut problems = Vec::new();
    for routes in mesh.virtual_services.iter().filter(|routes| routes.is_for_mesh()) {
        // What tls routes lead on is encrypted by the application.
        let from_mesh = routes.routes.iter().filter(|route| {
            route.kind != RouteKind::Tls && route.takes(|one| one.is_at(|name| name == "mesh"))
        });
        for route in from_mesh {
            for to in &route.destinations {
                let name = full_name(&to.host, &routes.meta.namespace, &mesh.config.domain);
                let Some((host, configured)) = gateways.get(name.as_str()) else { continue };
                let port = to.port.or_else(|| host.ports.first().map(|port| port.number)).unwrap_or(80);
                let servers: Vec<(&Gateway, &Server)> = configured
                    .iter()
                    .flat_map(|gateway| gateway.servers.iter().map(|server| (*gateway, server)))
                    .filter(|(_, server)| server.port == port && serves(server, routes))
                    .collect();
                if servers.is_empty() || !seen.insert((routes.meta.id(), name, port, to.subset.clone())) {
                    continue;
                }
                let leg = Leg { routes, host, port, subset: to.subset.as_deref(), servers };
                let missing = match (leg.rule_is_mutual(mesh), leg.plain().is_empty()) {
                    (true, true) => continue,
                    (true, false) => "the Gateway's server is not ISTIO_MUTUAL",
                    (false, true) => "no DestinationRule sets ISTIO_MUTUAL",
                    (false, false) => "neither a DestinationRule nor the Gateway's server sets ISTIO_MUTUAL",
                };
                let message = format!(
                    "{} sends sidecars to the gateway {}:{port}, but {missing}: the first leg is plaintext or fails",
                    routes.meta.id(),
                    host.host
                );
                let remedy =
                    "Set ISTIO_MUTUAL on the rule for the gateway's Service and on the Gateway's server.";
                let problem = Problem::at(&routes.meta, route.line, message, remedy);
                let by_api = leg.servers.iter().any(|(gateway, _)| from_gateway_api(gateway));
                problems.push(if by_api { problem } else { problem.yaml(leg.mutual(mesh)) });
            }
        }
    }
    problems
}

/// Tells whether a server has a host of the routes.
fn serves(server: &Server, routes: &VirtualService) -> bool {
    routes.hosts.iter().any(|host| server.hosts.iter().any(|own| covers(own, host)))
}

/// The way from sidecars to a gateway's port.
struct Leg<'a> {
    routes: &'a VirtualService,
    host: &'a HostService,
    port: u16,
    subset: Option<&'a str>,
    servers: Vec<(&'a Gateway, &'a Server)>,
}

impl<'a> Leg<'a> {
    fn rule_is_mutual(&self, mesh: &Mesh) -> bool {
        let trace = &mut Trace::unheard();
        acting(mesh, None, &self.routes.meta.namespace, self.host, trace)
            .and_then(|acting| tls_block(&acting, self.port, self.subset, trace))
            .is_some_and(|block| block.tls.mode == ClientTls::IstioMutual)
    }

    /// The servers that take no mesh certificates.
    fn plain(&self) -> Vec<(&'a Gateway, &'a Server)> {
        let plain = |server: &Server| server.tls_in_force() != Some(ServerTlsMode::IstioMutual);
        self.servers.iter().copied().filter(|(_, server)| plain(server)).collect()
    }

    /// Sets ISTIO_MUTUAL on both sides.
    fn mutual(&self, mesh: &Mesh) -> String {
        let mut gateways: Vec<(&Gateway, Patch)> = Vec::new();
        for (gateway, server) in self.plain() {
            let protocol =
                if server.protocol.is_http() || server.protocol.name() == "HTTPS" { "HTTPS" } else { "TLS" };
            let set = |patch: Patch| {
                patch
                    .set(&at(server, "/port/protocol"), protocol)
                    .set(&at(server, "/tls"), json!({"mode": "ISTIO_MUTUAL"}))
            };
            match gateways.iter_mut().find(|(known, _)| std::ptr::eq(*known, gateway)) {
                Some((_, patch)) => *patch = set(patch.clone()),
                None => gateways.push((gateway, set(Patch::of(&gateway.meta)))),
            }
        }
        let rule = (!self.rule_is_mutual(mesh)).then(|| self.rule(mesh));
        patch::together(gateways.iter().map(|(_, patch)| patch.yaml()).chain(rule))
    }

    /// Sets ISTIO_MUTUAL at the port of the rule that acts, else of a new one for the gateway's Service.
    fn rule(&self, mesh: &Mesh) -> String {
        let entry = json!({"port": {"number": self.port}, "tls": self.tls()});
        let trace = &mut Trace::unheard();
        let acting = acting(mesh, None, &self.routes.meta.namespace, self.host, trace);
        let Some(rule) = acting.map(|acting| acting.rule).filter(|rule| !rule.is_backend_policy()) else {
            let name = self.host.host.split('.').next().unwrap_or_default();
            return Patch::create("networking.istio.io/v1", "DestinationRule", &self.host.namespace, name)
                .set("/spec/host", self.host.host.as_str())
                .set("/spec/trafficPolicy/portLevelSettings", json!([entry]))
                .yaml();
        };
        let (policy, settings) = self.level(rule);
        let known = policy.and_then(|ports| ports.iter().position(|entry| *entry == Some(self.port)));
        let patch = Patch::of(&rule.meta);
        match known {
            Some(place) => patch.set(&format!("{settings}/{place}/tls"), self.tls()).yaml(),
            None => patch.set(&format!("{settings}/-"), entry).yaml(),
        }
    }

    /// The port settings that count for the route: its subset's, else the rule's own.
    fn level(&self, rule: &DestinationRule) -> (Option<Vec<Option<u16>>>, String) {
        let ports = |policy: &crate::mesh::destination_rule::TrafficPolicy| {
            policy.ports.iter().map(|entry| entry.port).collect::<Vec<_>>()
        };
        let subset = self
            .subset
            .and_then(|name| rule.subsets.iter().enumerate().find(|(_, subset)| subset.name == name));
        match subset {
            Some((place, subset)) => (
                subset.policy.as_ref().map(ports),
                format!("/spec/subsets/{place}/trafficPolicy/portLevelSettings"),
            ),
            None => (rule.policy.as_ref().map(ports), "/spec/trafficPolicy/portLevelSettings".to_owned()),
        }
    }

    /// The server is found by its host: the SNI has to name it, unless any will do.
    fn tls(&self) -> Value {
        let any = self.servers.iter().all(|(_, server)| server.hosts.iter().any(|host| host == "*"));
        match self.routes.hosts.iter().find(|host| !host.starts_with('*')).filter(|_| !any) {
            Some(host) => json!({"mode": "ISTIO_MUTUAL", "sni": host}),
            None => json!({"mode": "ISTIO_MUTUAL"}),
        }
    }
}
