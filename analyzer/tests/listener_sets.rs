//! ListenerSets and XBackends of the Gateway API: `pilot/pkg/config/kube/gateway/testdata`, `listenerset*.yaml` and
//! `xbackend.yaml`.

mod meshes;

use analyzer::mesh::{Manifest, Mesh};
use meshes::{ask, client, load, object, pod, spec};
use serde_json::{Value, json};

/// The pod that istiod makes for the Gateway `edge`, in `web`.
fn router() -> String {
    let labels = ", labels: {gateway.networking.k8s.io/gateway-name: edge, gateway.istio.io/managed: istio.io-gateway-controller}";
    pod("edge-istio-1", "10.0.3.1", labels, "containers: [{name: istio-proxy, args: [proxy, router]}]")
}

fn api(kind: &str, name: &str, namespace: &str, spec: &str) -> String {
    let version = if kind.starts_with('X') {
        "gateway.networking.x-k8s.io/v1alpha1"
    } else {
        "gateway.networking.k8s.io/v1"
    };
    format!(
        "\napiVersion: {version}\nkind: {kind}\nmetadata: {{name: {name}, namespace: {namespace}}}\nspec: {{{spec}}}\n"
    )
}

fn edge(more: &str) -> String {
    let own = "{name: own, port: 8080, protocol: HTTP, hostname: own.example.com}";
    api("Gateway", "edge", "web", &format!("gatewayClassName: istio, listeners: [{own}]{more}"))
}

const FROM_ALL: &str = ", allowedListeners: {namespaces: {from: All}}";

const HTTPS: &str = "{name: https, port: 8443, protocol: HTTPS, hostname: a.example.com, tls: {certificateRefs: [{name: cert}]}}";

fn set(kind: &str, namespace: &str, listeners: &str) -> String {
    let parent = "parentRef: {group: gateway.networking.k8s.io, kind: Gateway, name: edge, namespace: web}";
    api(kind, "more", namespace, &format!("{parent}, listeners: [{listeners}]"))
}

fn server(from: &str, mode: &str, client_cert: &str) -> Value {
    json!({"from": from, "port_name": "https", "protocol": "HTTPS", "tls_mode": mode, "client_cert": client_cert,
        "min_version": null, "https_redirect": null})
}

#[track_caller]
fn check(documents: &[&str], to: &str, expected: &Value) {
    ask(&load(documents), "192.0.2.1", to, Some("a.example.com"), expected);
}

#[test]
fn a_listener_set_adds_to_its_gateway() {
    for kind in ["ListenerSet", "XListenerSet"] {
        for namespace in ["web", "other"] {
            let own = set(kind, namespace, HTTPS);
            let from = format!("{kind}/{namespace}/more");
            let expected = json!({"allowed": ["tls"], "gateway_server": server(&from, "SIMPLE", "none")});
            check(&[&router(), &edge(FROM_ALL), &own], "10.0.3.1:8443", &expected);
            // Its Gateway's own listener is what it was.
            check(&[&router(), &edge(FROM_ALL), &own], "10.0.3.1:8080", &json!({"allowed": ["plaintext"]}));
        }
    }
}

#[test]
fn what_a_gateway_asks_of_clients_holds_for_its_listener_sets() {
    let frontend = ", tls: {frontend: {default: {validation: {caCertificateRefs: [{group: '', kind: ConfigMap, name: ca}]}}}}";
    let expected = json!({"allowed": ["mtls"], "gateway_server": server("ListenerSet/other/more", "MUTUAL", "required")});
    let edge = edge(&format!("{FROM_ALL}{frontend}"));
    check(&[&router(), &edge, &set("ListenerSet", "other", HTTPS)], "10.0.3.1:8443", &expected);
}

#[test]
fn a_gateway_made_by_hand_takes_listener_sets_for_the_pods_of_its_service() {
    let by_hand = pod(
        "gw-0",
        "10.0.3.1",
        ", labels: {istio: gw}",
        "containers: [{name: istio-proxy, args: [proxy, router]}]",
    );
    let front = spec(
        "Service",
        "gw",
        "web",
        "clusterIP: 10.96.0.9, selector: {istio: gw}, ports: [{name: https, port: 8443, targetPort: 9443}]",
    );
    let address = format!("{FROM_ALL}, addresses: [{{type: Hostname, value: gw}}]");
    let expected = json!({"gateway_server": server("ListenerSet/other/more", "SIMPLE", "none")});
    check(
        &[&by_hand, &front, &edge(&address), &set("ListenerSet", "other", HTTPS)],
        "10.0.3.1:9443",
        &expected,
    );
}

#[test]
fn listeners_of_a_set_come_after_the_gateway_s_own() {
    let twice = "{name: twice, port: 8080, protocol: HTTP, hostname: twice.example.com}, {name: tcp, port: 8080, protocol: TCP}";
    let documents = [router(), edge(FROM_ALL), set("ListenerSet", "web", twice)];
    let documents: Vec<&str> = documents.iter().map(String::as_str).collect();
    let expected = json!({"allowed": ["plaintext"], "gateway_server": {
        "from": "Gateway/web/edge", "port_name": "own", "protocol": "HTTP", "tls_mode": null, "client_cert": "none",
        "min_version": null, "https_redirect": null}});
    check(&documents, "10.0.3.1:8080", &expected);
}

#[test]
fn a_gateway_takes_the_listener_sets_of_the_namespaces_that_it_lets_in() {
    let labelled = "\napiVersion: v1\nkind: Namespace\nmetadata: {name: other, labels: {team: a}}\n";
    let selector = |team: &str| {
        format!(
            ", allowedListeners: {{namespaces: {{from: Selector, selector: {{matchLabels: {{team: {team}}}}}}}}}"
        )
    };
    let from = |word: &str| format!(", allowedListeners: {{namespaces: {{from: {word}}}}}");
    for (allowed, namespace, takes) in [
        ("", "web", false),
        (&*from("None"), "web", false),
        (&*from("Same"), "web", true),
        (&*from("Same"), "other", false),
        (&*from("All"), "other", true),
        (&*selector("a"), "other", true),
        (&*selector("b"), "other", false),
        (&*selector("a"), "web", false),
    ] {
        let documents = [router(), edge(allowed), set("ListenerSet", namespace, HTTPS), labelled.to_owned()];
        let (mesh, errors) =
            Mesh::load(vec![Manifest { file: "mesh.yaml".into(), text: documents.join("---") }]);
        let expected = if takes { json!(["tls"]) } else { json!([]) };
        ask(&mesh, "192.0.2.1", "10.0.3.1:8443", Some("a.example.com"), &json!({"allowed": expected}));
        let said = errors.iter().filter(|error| error.message.contains("does not let its namespace in"));
        assert_eq!(said.count(), usize::from(!takes), "{allowed} {namespace}: {errors:?}");
    }
}

#[test]
fn a_listener_set_without_a_gateway_that_takes_any_is_named() {
    let waypoint = edge(FROM_ALL).replace("gatewayClassName: istio,", "gatewayClassName: istio-waypoint,");
    for (parent, why) in
        [("", "its parent is no Gateway that is here"), (&*waypoint, "its parent is a waypoint")]
    {
        let text = [&set("ListenerSet", "web", HTTPS), parent].join("---");
        let (_, errors) = Mesh::load(vec![Manifest { file: "mesh.yaml".into(), text }]);
        let [error] = &errors[..] else { panic!("{errors:?}") };
        assert!(error.message.contains(why) && !error.fatal, "{error:?}");
    }
}

#[test]
fn an_x_backend_originates_tls_for_the_port_of_its_host() {
    let entry = |port: u16, name: &str| format!("{{number: {port}, name: {name}, protocol: HTTP}}");
    let entry = spec(
        "ServiceEntry",
        "own",
        "web",
        &format!(
            "hosts: [a.example.net], resolution: STATIC, location: MESH_EXTERNAL, endpoints: [{{address: 192.0.2.9}}], ports: [{}, {}]",
            entry(8443, "one"),
            entry(8080, "two")
        ),
    );
    let backend = |tls: &str| {
        let host = "type: ExternalHostname, externalHostname: {hostname: a.example.net}";
        api("XBackend", "own", "web", &format!("{host}, port: {{port: 8443}}, protocol: HTTP{tls}"))
    };
    let sent = |tls: &str, port: u16, expected: Value| {
        meshes::check(&[&client(), &entry, &backend(tls)], &format!("192.0.2.9:{port}"), None, &expected);
    };
    let from = "XBackend/web/own";
    let simple = |sni: &str| json!({"client_tls": "SIMPLE", "client_tls_from": from, "client_wire": ["tls"], "sni": sni});
    let none = json!({"client_tls": null, "client_tls_from": "default", "client_wire": ["plaintext"]});
    sent(", tls: {mode: ServerOnly}", 8443, simple("a.example.net"));
    sent(", tls: {mode: ServerOnly, validation: {hostname: b.example.net}}", 8443, simple("b.example.net"));
    sent(", tls: {mode: ServerOnly}", 8080, none.clone());
    let other = backend(", tls: {mode: ServerOnly}").replace("{port: 8443}", "{number: 8443}");
    meshes::check(&[&client(), &entry, &other], "192.0.2.9:8443", None, &simple("a.example.net"));
    meshes::check(&[&client(), &entry, &other], "192.0.2.9:8080", None, &none);
    sent("", 8443, none.clone());
    sent(", tls: {mode: ClientAndServer, clientCertificateRef: {name: cert}}", 8443, none);
    // Its entry for the port comes before what a user's rule says of all ports.
    let own = object(
        "DestinationRule",
        "own",
        "web",
        "",
        "spec: {host: a.example.net, trafficPolicy: {tls: {mode: DISABLE}}}",
    );
    let documents = [client(), entry, backend(", tls: {mode: ServerOnly}"), own];
    let documents: Vec<&str> = documents.iter().map(String::as_str).collect();
    meshes::check(&documents, "192.0.2.9:8443", None, &json!({"client_tls_from": from}));
}

#[test]
fn a_listener_that_istiod_cannot_serve_is_left_out() {
    let gateway = |listener: &str| {
        api(
            "Gateway",
            "edge",
            "web",
            &format!("gatewayClassName: istio, listeners: [{{name: a, port: 8080, {listener}}}]"),
        )
    };
    let certificate = |kind: &str| format!("protocol: HTTPS, tls: {{certificateRefs: [{{{kind}name: c}}]}}");
    for (listener, allowed) in [
        ("protocol: HTTP".to_owned(), json!(["plaintext"])),
        ("protocol: http".to_owned(), json!([])),
        ("protocol: UDP".to_owned(), json!([])),
        ("protocol: example.com/own".to_owned(), json!([])),
        (certificate(""), json!(["tls"])),
        (certificate("kind: Secret, "), json!(["tls"])),
        (certificate("kind: ConfigMap, "), json!([])),
    ] {
        check(&[&router(), &gateway(&listener)], "10.0.3.1:8080", &json!({"allowed": allowed}));
    }
}
