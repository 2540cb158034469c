//! Gateways and their ports.

use serde_json::json;

use super::backend_policy;
use super::meshes::{HTTP, all, ask, istiod, load, object, pod, server, service, spec};

/// `testdata/frontend-tls-invalid.yaml` of `pilot/pkg/config/kube/gateway`.
#[test]
fn a_listener_whose_ca_istio_cannot_read_is_left_out() {
    let managed = gateway_pod("", "").replace("istio: gw", "gateway.networking.k8s.io/gateway-name: gw");
    let gateway = |refs: &str| {
        let listener = "{name: https, port: 8443, protocol: HTTPS, tls: {certificateRefs: [{name: c}]}}";
        let validation = format!("validation: {{caCertificateRefs: [{refs}]}}");
        let frontend =
            format!("frontend: {{default: {{{}}}}}", if refs.is_empty() { "" } else { &validation });
        let text = spec("Gateway", "gw", "web", &format!("listeners: [{listener}], tls: {{{frontend}}}"));
        text.replace("networking.istio.io", "gateway.networking.k8s.io")
    };
    for (refs, allowed) in [
        ("", json!(["tls"])),
        ("{name: ca}", json!(["mtls"])),
        ("{kind: ConfigMap, name: ca}", json!(["mtls"])),
        ("{kind: Secret, name: ca}", json!(["mtls"])),
        ("{kind: Service, name: ca}", json!([])),
        ("{name: ca}, {name: other}", json!([])),
    ] {
        let mesh = load(&[&managed, &gateway(refs)]);
        ask(&mesh, "10.0.0.1", "10.0.3.1:8443", None, &json!({"allowed": allowed}));
    }
}

fn gateway_pod(env: &str, more: &str) -> String {
    let container = format!("{{name: istio-proxy, args: [proxy, router], env: [{env}]}}");
    pod("gw-0", "10.0.3.1", ", labels: {istio: gw}", &format!("containers: [{container}]{more}"))
}

fn gateway(metadata: &str, selector: &str, port: u16) -> String {
    let server = format!("{{port: {{number: {port}, name: http, protocol: HTTP}}, hosts: ['*']}}");
    object(
        "Gateway",
        "gw",
        "web",
        metadata,
        &format!("spec: {{selector: {{{selector}}}, servers: [{server}]}}"),
    )
}

#[test]
fn an_unprivileged_gateway_opens_no_port_below_1024() {
    let gateway = gateway("", "istio: gw", 80);
    for (env, open) in [("", true), ("{name: ISTIO_META_UNPRIVILEGED_POD, value: 'true'}", false)] {
        let mesh = load(&[&gateway_pod(env, ""), &gateway]);
        let host = analyzer::policy::gateway::servers_on(&mesh, &mesh.pods[0], 80);
        assert_eq!(!host.is_empty(), open, "{env}");
    }
}

#[test]
fn a_gateway_of_the_host_network_need_not_declare_its_ports() {
    let pod = gateway_pod("", ", hostNetwork: true");
    let gateway = gateway("", "istio: gw", 8080);
    let expected = json!({"allowed": ["plaintext"]});
    let mesh = load(&[&pod, &gateway]);
    ask(&mesh, "10.0.0.1", "10.0.3.1:8080", None, &expected);
    ask(&mesh, "10.0.0.1", "10.0.3.1:8081", None, &json!({"gateway_server": null, "allowed": all()}));
}

fn ports_of_gateway(name: &str, metadata: &str, target: u16, age: u8) -> String {
    let ports = format!("ports: [{{number: 80, targetPort: {target}, name: http, protocol: HTTP}}]");
    let endpoints = "endpoints: [{address: 10.0.3.1, labels: {istio: gw}}]";
    object(
        "ServiceEntry",
        name,
        "web",
        &format!(", creationTimestamp: '2026-01-0{age}T00:00:00Z'{metadata}"),
        &format!(
            "spec: {{hosts: [{name}.example.com], {ports}, resolution: STATIC, location: MESH_INTERNAL, {endpoints}}}"
        ),
    )
}

/// `gateway_simulation_test.go`, `TestDisablePortTranslation` and `TestTargetPort`.
#[test]
fn a_gateway_s_port_is_looked_up_in_what_leads_to_its_pod() {
    let disabled = ", labels: {experimental.istio.io/disable-gateway-port-translation: 'true'}";
    let first = ports_of_gateway("a", disabled, 8081, 1);
    let second = ports_of_gateway("b", "", 8080, 2);
    let third = ports_of_gateway("c", "", 8082, 3);
    let mesh = load(&[&gateway_pod("", ""), &gateway("", "istio: gw", 80), &first, &second, &third]);
    let served = json!({"allowed": ["plaintext"]});
    let nothing = json!({"allowed": [], "gateway_server": null});
    for (port, expected) in [(8080, &served), (8081, &nothing), (8082, &nothing), (80, &nothing)] {
        ask(&mesh, "10.0.0.1", &format!("10.0.3.1:{port}"), None, expected);
    }
    // A Gateway that names its Services has all of their ports, and no other.
    let named = ", annotations: {internal.istio.io/gateway-service: 'b.example.com,c.example.com'}";
    for (number, open) in [(80, true), (443, false)] {
        let mesh = load(&[&gateway_pod("", ""), &gateway(named, "", number), &first, &second, &third]);
        let expected = if open { &served } else { &nothing };
        ask(&mesh, "10.0.0.1", "10.0.3.1:8080", None, expected);
        ask(&mesh, "10.0.0.1", "10.0.3.1:8082", None, expected);
        ask(&mesh, "10.0.0.1", "10.0.3.1:443", None, &nothing);
    }
}

#[test]
fn gateways_may_be_bound_to_their_namespace() {
    let gateway = gateway("", "istio: gw", 8080).replace("namespace: web", "namespace: other");
    let on = "{name: PILOT_SCOPE_GATEWAY_TO_NAMESPACE, value: 'true'}";
    for (env, allowed) in [("", json!(["plaintext"])), (on, json!([]))] {
        let mesh = load(&[&gateway_pod("", ""), &gateway, &istiod("1.30.3", env)]);
        ask(&mesh, "10.0.0.1", "10.0.3.1:8080", None, &json!({"allowed": allowed}));
    }
}

/// `testdata/backend-tls-client-cert.yaml`: istiod reports on the certificate and gives it to no proxy.
#[test]
fn a_gateway_s_own_certificate_for_backends_is_not_sent() {
    let labels = ", labels: {gateway.networking.k8s.io/gateway-name: edge}";
    let edge = pod("edge-0", "10.0.3.1", labels, "containers: [{name: istio-proxy, args: [proxy, router]}]");
    let gateway = "\napiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {name: edge, namespace: web}\nspec: {gatewayClassName: istio, tls: {backend: {clientCertificateRef: {kind: Secret, name: own}}}, listeners: [{name: a, port: 8080, protocol: HTTP}]}\n";
    let policy = backend_policy("group: '', kind: Service, name: server");
    let mesh = load(&[&edge, gateway, &server(1), &service(HTTP), &policy]);
    let simple = json!({"client_tls": "SIMPLE", "client_tls_from": "BackendTLSPolicy/web/policy", "client_wire": ["tls"]});
    ask(&mesh, "10.0.3.1", "10.0.1.1:8080", None, &simple);
}
