//! What `describe` says of a small mesh written out here.

#![expect(clippy::unwrap_used, reason = "a test may stop at what it cannot read")]

use analyzer::describe::{Description, Subject, describe, known};
use analyzer::mesh::{Manifest, Mesh};
use analyzer::report::{ClientTls, ServerMode};

const MESH: &str = "
apiVersion: v1
kind: Namespace
metadata: {name: catalog, labels: {istio-injection: enabled}}
---
apiVersion: v1
kind: Pod
metadata: {name: search-1, namespace: catalog, labels: {app: search, service.istio.io/canonical-name: search, security.istio.io/tlsMode: istio}}
spec: {containers: [{name: app, ports: [{containerPort: 8080}]}, {name: istio-proxy, args: [proxy, sidecar], ports: [{containerPort: 15090}]}]}
status: {podIP: 10.0.1.1}
---
apiVersion: v1
kind: Pod
metadata: {name: search-2, namespace: catalog, labels: {app: search, service.istio.io/canonical-name: search}}
spec: {containers: [{name: app, ports: [{containerPort: 8080}]}]}
status: {podIP: 10.0.1.2}
---
apiVersion: v1
kind: Service
metadata: {name: search, namespace: catalog}
spec: {clusterIP: 10.9.0.1, selector: {app: search}, ports: [{name: http, port: 9090, targetPort: 8080}]}
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: istio-system}
spec: {mtls: {mode: STRICT}}
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: search, namespace: catalog}
spec:
  selector: {matchLabels: {app: search}}
  portLevelMtls:
    8080:
      mode: PERMISSIVE
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: search-lb, namespace: web}
spec:
  host: search.catalog.svc.cluster.local
  trafficPolicy:
    tls:
      mode: DISABLE
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: public, namespace: istio-system, uid: stored-before-the-webhook}
spec:
  selector: {app: search}
  servers:
  - port: {number: 443, name: https, protocol: HTTPS}
    hosts: ['*.example.com']
    tls: {mode: SIMPLE, credentialName: cert}
  - port: {number: 444, name: broken, protocol: HTTPS}
    hosts: ['*']
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: shop, namespace: web}
spec:
  hosts: [shop.example.com]
  gateways: [istio-system/public]
  http: [{route: [{destination: {host: search.catalog.svc.cluster.local}}]}]
";

fn described(subject: Subject, name: &str) -> Description {
    let (mesh, errors) = Mesh::load(vec![Manifest { file: "mesh.yaml".into(), text: MESH.into() }]);
    assert_eq!(errors, []);
    for name in known(&mesh, subject) {
        describe(&mesh, subject, &name).unwrap();
    }
    describe(&mesh, subject, name).unwrap()
}

#[test]
fn a_workload_shows_what_holds_at_each_port_and_who_decides() {
    let search = described(Subject::Workload, "catalog/search");
    let ports: Vec<_> = search
        .ports
        .iter()
        .map(|state| (state.service_port, state.port, state.mode.mode, state.mode.line, state.pods))
        .collect();
    assert_eq!(
        ports,
        [(Some(9090), 8080, Some(ServerMode::Permissive), Some(35), 1), (Some(9090), 8080, None, None, 1)],
        "the proxy's own port 15090 is no port of the workload"
    );
    assert_eq!(search.services, ["Service/catalog/search"]);
    let rule = &search.destination_rules[0];
    assert_eq!(
        (rule.place.line, rule.tls, rule.ports.as_slice(), rule.acts_for.as_slice()),
        (44, Some(ClientTls::Disable), &[9090][..], &["web".to_owned()][..])
    );
    assert!(search.findings.iter().all(|finding| finding.line.is_some()), "{:?}", search.findings);
    assert!(search.findings.iter().any(|finding| finding.id == "IN01" || finding.id == "PA07"));
}

#[test]
fn a_service_and_its_workload_agree() {
    let service = described(Subject::Service, "search.catalog");
    assert_eq!((service.name.as_str(), service.pods.len()), ("catalog/search", 2));
    assert_eq!(service.ports, described(Subject::Workload, "catalog/search").ports);
    assert_eq!(service.declared.unwrap().resource, "Service/catalog/search");
}

#[test]
fn a_namespace_shows_its_mode_and_its_workloads() {
    let catalog = described(Subject::Namespace, "catalog");
    let mode = catalog.mode.unwrap();
    assert_eq!((mode.mode, mode.line), (Some(ServerMode::Strict), Some(26)));
    assert_eq!(catalog.workloads[0].pods, 2);
    assert_eq!(catalog.workloads[0].proxies.len(), 2);
}

#[test]
fn a_gateway_shows_its_servers_and_what_istio_rejects() {
    let public = described(Subject::Gateway, "public");
    let servers: Vec<_> = public
        .servers
        .iter()
        .map(|server| (server.port, server.tls_mode.as_deref(), server.rejected.is_some()))
        .collect();
    assert_eq!(servers, [(443, Some("SIMPLE"), false), (444, None, true)]);
    assert_eq!(public.resources[0].resource, "VirtualService/web/shop");
}

#[test]
fn unknown_names_come_with_near_ones() {
    let (mesh, _) = Mesh::load(vec![Manifest { file: "mesh.yaml".into(), text: MESH.into() }]);
    for (subject, name, near) in [
        (
            Subject::Workload,
            "catalog/serach",
            "no workload of the declarations; did you mean catalog/search?",
        ),
        (Subject::Service, "serach", "no service of the declarations; did you mean catalog/search?"),
        (Subject::Namespace, "catlog", "did you mean catalog?"),
        (Subject::Gateway, "web/public", "did you mean istio-system/public?"),
    ] {
        let message = describe(&mesh, subject, name).unwrap_err().to_string();
        assert!(message.contains(near), "{message}");
    }
}
