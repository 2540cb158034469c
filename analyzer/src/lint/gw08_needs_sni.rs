//! GW08: A server that is chosen by SNI, behind a balancer that sends none.

#[cfg(test)]
use crate::lint::Broken;
use crate::lint::survey::Survey;
use crate::lint::survey::gateways::{
    at, each_tls, from_gateway_api, named, pods, services, terminates, together,
};
use crate::lint::{Problem, Rule, names};
use crate::mesh::gateway::{Gateway, Server};
use crate::mesh::service::Service;
use crate::patch::{Patch, part};
use crate::report::Severity;

pub(crate) const RULE: Rule = Rule {
    id: "GW08",
    severity: Severity::Low,
    title: "A server that needs SNI behind a balancer that sends none",
    page: include_str!("../../../docs/findings/GW08.md"),
    check,
    #[cfg(test)]
    broken: Broken {
        replace: &[(
            "  name: ingress\n  namespace: istio-system\n  creationTimestamp",
            "  name: ingress\n  namespace: istio-system\n  annotations: {service.beta.kubernetes.io/aws-load-balancer-ssl-cert: 'arn:aws:acm:a:1:certificate/b', service.beta.kubernetes.io/aws-load-balancer-backend-protocol: ssl}\n  creationTimestamp",
        )],
        add: "",
        also: &[],
    },
};

const AWS: &str = "service.beta.kubernetes.io/aws-load-balancer-";

fn check(survey: &Survey<'_>) -> Vec<Problem> {
    each_tls(survey, |gateway, server, _| {
        if server.hosts.iter().any(|host| host == "*") {
            return None;
        }
        let service = pods(survey, gateway)
            .flat_map(|pod| services(survey.mesh, pod))
            .find(|service| opens_new_tls(service, server.port))?;
        let message = format!(
            "{} is chosen by SNI ({}), but the balancer of {} ends TLS and opens its own without SNI: connections are refused",
            named(gateway, server),
            names(server.hosts.clone()),
            service.meta.id()
        );
        let problem = |remedy: &str| Problem::at(&gateway.meta, server.line, message.clone(), remedy);
        Some(if terminates(server) && !from_gateway_api(gateway) && is_alone(survey, gateway, server) {
            let patch = Patch::of(&gateway.meta).set(&at(server, "/hosts"), vec!["*"]);
            problem("Serve every host, and leave it to the routes to tell them apart.").yaml(patch.yaml())
        } else {
            let place = |name: &str| format!("/metadata/annotations/{}", part(&format!("{AWS}{name}")));
            let patch =
                Patch::of(&service.meta).remove(&place("ssl-cert")).set(&place("backend-protocol"), "tcp");
            problem("Have the balancer pass TLS on, so that the SNI of the client arrives.")
                .yaml(patch.yaml())
        })
    })
}

/// Tells whether a Service's balancer ends the client's TLS and speaks TLS of its own to the pods.
fn opens_new_tls(service: &Service, port: u16) -> bool {
    let value = |name: &str| service.meta.annotations.get(&format!("{AWS}{name}"));
    let tls = value("backend-protocol")
        .is_some_and(|protocol| matches!(protocol.as_str(), "https" | "ssl" | "tls"));
    let listed = value("ssl-ports").is_none_or(|list| {
        let name = service.port(port).and_then(|port| port.name.as_deref());
        list.split(',')
            .map(str::trim)
            .any(|entry| entry == "*" || Some(entry) == name || entry.parse() == Ok(port))
    });
    value("ssl-cert").is_some() && tls && listed && service.port(port).is_some()
}

/// Tells whether no other TLS server of the pods has the port.
fn is_alone(survey: &Survey<'_>, gateway: &Gateway, server: &Server) -> bool {
    let others = survey.mesh.gateways.iter().filter(|other| together(survey, gateway, other));
    others.flat_map(|other| &other.servers).all(|other| {
        std::ptr::eq(other, server) || other.port != server.port || other.tls_in_force().is_none()
    })
}
