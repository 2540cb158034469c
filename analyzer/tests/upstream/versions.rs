//! What changed between versions of Istio.

use analyzer::mesh::control_plane::IstioVersion;
use serde_json::json;

use super::backend_policy;
use super::meshes::{HTTP, PROXY, all, ask, client, istiod, load, object, pod, server, service, spec};

#[test]
fn before_1_31_a_backend_tls_policy_is_the_oldest_rule() {
    let policy = backend_policy("group: '', kind: Service, name: server");
    let rule = spec("DestinationRule", "own", "web", "host: server, trafficPolicy: {tls: {mode: DISABLE}}");
    let mut mesh = load(&[&client(), &server(1), &service(HTTP), &policy, &rule]);
    let (own, theirs) = ("DestinationRule/web/own", "BackendTLSPolicy/web/policy");
    for (minor, from) in [(32, own), (31, own), (30, theirs)] {
        mesh.control_plane.version = IstioVersion::new(1, minor);
        ask(&mesh, "10.0.0.1", "10.0.1.1:8080", None, &json!({"client_tls_from": from}));
    }
}

#[test]
fn since_1_30_a_client_does_not_know_the_policies_of_a_hidden_namespace() {
    let far = object(
        "Pod",
        "far-0",
        "far",
        ", labels: {app: far, security.istio.io/tlsMode: istio}",
        &format!("spec: {{{PROXY}}}\nstatus: {{podIP: 10.0.2.1}}"),
    );
    let service = spec(
        "Service",
        "far",
        "far",
        "clusterIP: 10.96.0.9, selector: {app: far}, ports: [{name: http, port: 80, targetPort: 8080}]",
    );
    let off = spec("PeerAuthentication", "off", "far", "mtls: {mode: DISABLE}");
    let sidecar = |hosts: &str| spec("Sidecar", "own", "web", &format!("egress: [{{hosts: [{hosts}]}}]"));
    let routes = spec(
        "VirtualService",
        "far",
        "web",
        "hosts: [far.example.com], http: [{route: [{destination: {host: far.far.svc.cluster.local}}]}]",
    );
    for (hosts, minor, tls) in [
        ("./*", 30, "ISTIO_MUTUAL"),
        ("./*", 29, "DISABLE"),
        ("'./*', 'far/*'", 30, "DISABLE"),
        ("'*/*'", 30, "DISABLE"),
    ] {
        let mut mesh = load(&[&client(), &far, &service, &off, &sidecar(hosts), &routes]);
        mesh.control_plane.version = IstioVersion::new(1, minor);
        ask(&mesh, "10.0.0.1", "10.0.2.1:8080", None, &json!({"client_tls": tls, "server_mode": "DISABLE"}));
    }
}

#[test]
fn since_1_31_the_endpoints_of_a_subset_follow_the_top_too() {
    let rule = spec(
        "DestinationRule",
        "own",
        "web",
        "host: server, trafficPolicy: {tls: {mode: DISABLE}, portLevelSettings: [{port: {number: 80}, loadBalancer: {simple: RANDOM}}]}, \
         subsets: [{name: v1, labels: {app: server}}]",
    );
    let mut mesh = load(&[&client(), &server(1), &service(HTTP), &rule]);
    let sni = Some("outbound_.80_.v1_.server.web.svc.cluster.local");
    for (minor, tls) in [(31, "DISABLE"), (30, "ISTIO_MUTUAL")] {
        mesh.control_plane.version = IstioVersion::new(1, minor);
        ask(&mesh, "10.0.0.1", "10.0.1.1:8080", sni, &json!({"client_tls": tls}));
    }
}

#[test]
fn the_version_is_istiod_s_and_not_the_proxies() {
    let old = pod("old-0", "10.0.0.8", "", "containers: [{name: istio-proxy, image: 'istio/proxyv2:1.5.0'}]");
    assert_eq!(load(&[&old]).control_plane.version, IstioVersion::NEWEST);
    assert_eq!(load(&[&old, &istiod("1.29.6", "")]).control_plane.version, IstioVersion::new(1, 29));
    assert_eq!(load(&[&istiod("latest", "")]).control_plane.version, IstioVersion::NEWEST);
    let pinned = istiod("1.29.6@sha256:0123", "");
    assert_eq!(load(&[&pinned]).control_plane.version, IstioVersion::new(1, 29));
    let revision =
        istiod("latest", "").replace("name: istiod,", "name: istiod, labels: {istio.io/rev: 1-28-10},");
    assert_eq!(load(&[&revision]).control_plane.version, IstioVersion::new(1, 28));
}

#[test]
fn before_1_6_only_declared_container_ports_reach_the_sidecar() {
    let mut mesh = load(&[&client(), &server(1)]);
    let (enforced, open) = (json!({"server_mode": "PERMISSIVE"}), json!({"server_mode": null}));
    for (minor, port, expected) in [(5, 8080, &enforced), (5, 9090, &open), (6, 9090, &enforced)] {
        mesh.control_plane.version = IstioVersion::new(1, minor);
        ask(&mesh, "10.0.0.1", &format!("10.0.1.1:{port}"), None, expected);
    }
}

#[test]
fn before_1_10_ports_outside_every_service_refused_tls() {
    let mut mesh = load(&[&client(), &server(1), &service("{name: tcp, port: 90, targetPort: 9090}")]);
    for (minor, port, allowed) in
        [(9, 8080, json!(["plaintext", "mtls"])), (9, 9090, all()), (10, 8080, all())]
    {
        mesh.control_plane.version = IstioVersion::new(1, minor);
        ask(&mesh, "10.0.0.1", &format!("10.0.1.1:{port}"), None, &json!({"allowed": allowed}));
    }
}

#[test]
fn before_1_12_auto_mtls_asked_namespaces_only() {
    let off = spec(
        "PeerAuthentication",
        "off",
        "web",
        "selector: {matchLabels: {app: server}}, mtls: {mode: DISABLE}",
    );
    let mut mesh = load(&[&client(), &server(1), &service(HTTP), &off]);
    for (minor, tls) in [(11, "ISTIO_MUTUAL"), (12, "DISABLE")] {
        mesh.control_plane.version = IstioVersion::new(1, minor);
        ask(&mesh, "10.0.0.1", "10.0.1.1:8080", None, &json!({"client_tls": tls}));
    }
}
