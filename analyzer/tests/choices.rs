//! Of several declarations that could count: which one does, and what comes of those that all may.

mod meshes;

use meshes::{
    BARE, HTTP, PROXY, answer, check, client, load, load_refused, object, pod, server, service, spec,
};
use serde_json::{Value, json};

const TO: &str = "10.1.0.1:80";

fn rule(name: &str, age: u8, more: &str) -> String {
    let created = format!(", creationTimestamp: '2026-01-{age:02}T00:00:00Z'");
    object("DestinationRule", name, "web", &created, &format!("spec: {{host: server, {more}}}"))
}

/// What a client of Services is told, whose server is one pod.
fn told(documents: &[&str]) -> Value {
    let (client, server, service) = (client(), server(1), service(HTTP));
    let all = [&[client.as_str(), &server, &service], documents].concat();
    answer(&load_refused(&all), "10.0.0.1", "10.0.1.1:8080", None)
}

#[test]
fn of_subsets_that_differ_each_may_come_and_the_weakest_is_named() {
    let routes = "hosts: [server], http: [{route: [\
                  {destination: {host: server, subset: v1}, weight: 1}, {destination: {host: server, subset: v2}, weight: 1}]}]";
    let routes = spec("VirtualService", "server", "web", routes);
    let told = |first: &str, second: &str| {
        let subset = |name: &str, tls: &str| {
            let policy =
                if tls.is_empty() { String::new() } else { format!(", trafficPolicy: {{tls: {{{tls}}}}}") };
            format!("{{name: {name}, labels: {{app: server}}{policy}}}")
        };
        let subsets = format!("subsets: [{}, {}]", subset("v1", first), subset("v2", second));
        let told = told(&[&rule("server", 1, &subsets), &routes]);
        json!([told["client_tls"], told["client_tls_from"], told["client_wire"], told["sni"]])
    };
    let own = "DestinationRule/web/server";
    let (plain, simple, other) = ("mode: DISABLE", "mode: SIMPLE, sni: a", "mode: SIMPLE, sni: b");
    assert_eq!(told(plain, ""), json!([null, own, ["plaintext", "mtls"], null]));
    assert_eq!(told("", plain), json!([null, own, ["plaintext", "mtls"], null]));
    assert_eq!(told(simple, ""), json!([null, own, ["tls", "mtls"], null]));
    assert_eq!(told("", simple), json!([null, "auto-mtls", ["tls", "mtls"], null]));
    assert_eq!(told(simple, simple), json!(["SIMPLE", own, ["tls"], "a"]));
    assert_eq!(told(simple, other), json!(["SIMPLE", own, ["tls"], null]));
}

#[test]
fn sidecars_skip_a_credential_where_it_would_be_used() {
    for (mode, credential, more, expected) in [
        ("SIMPLE", "own", "", "DISABLE"),
        ("MUTUAL", "own", "", "DISABLE"),
        ("ISTIO_MUTUAL", "own", "", "ISTIO_MUTUAL"),
        ("SIMPLE", "configmap://own", "", "SIMPLE"),
        ("SIMPLE", "own", "workloadSelector: {matchLabels: {app: client}}, ", "SIMPLE"),
        ("MUTUAL", "own", "workloadSelector: {matchLabels: {app: client}}, ", "MUTUAL"),
    ] {
        let tls = format!("{more}trafficPolicy: {{tls: {{mode: {mode}, credentialName: '{credential}'}}}}");
        let told = told(&[&rule("server", 1, &tls)]);
        assert_eq!(told["client_tls"], expected, "{mode} {credential} {more}");
    }
}

#[test]
fn rules_are_merged_where_one_is_for_all_whom_the_other_is_for() {
    let policy = |mode: &str| format!("trafficPolicy: {{tls: {{mode: {mode}}}}}");
    let selecting = |app: &str| format!("workloadSelector: {{matchLabels: {{app: {app}}}}}");
    let told = |first: &str, second: &str| {
        let told = told(&[&rule("old", 1, first), &rule("new", 2, second)]);
        json!([told["client_tls"], told["client_tls_from"]])
    };
    let (old, new) = ("DestinationRule/web/old", "DestinationRule/web/new");
    // One that says nothing of its export is for all: a private one is kept apart from it, and comes last.
    let private = format!("exportTo: ['.'], {}", policy("SIMPLE"));
    assert_eq!(told(&policy("DISABLE"), &private), json!(["SIMPLE", new]));
    assert_eq!(told(&policy("DISABLE"), &policy("SIMPLE")), json!(["DISABLE", old]));
    // Rules for the same workloads are merged, and those for others are not.
    let with = |app: &str| format!("{}, {}", selecting(app), policy("DISABLE"));
    assert_eq!(told(&selecting("client"), &with("client")), json!(["DISABLE", new]));
    assert_eq!(told(&selecting("client"), &with("other")), json!(["ISTIO_MUTUAL", "auto-mtls"]));
    // Merged into one for other workloads, a rule for all of the namespace still stands for itself.
    let private = format!("exportTo: ['.'], {}", policy("SIMPLE"));
    assert_eq!(told(&with("other"), &private), json!(["SIMPLE", new]));
}

#[test]
fn a_rule_that_says_whom_it_is_for_needs_no_default() {
    let config = |to: &str| {
        let data = format!("data: {{mesh: 'defaultDestinationRuleExportTo: [\"{to}\"]'}}");
        object("ConfigMap", "istio", "istio-system", "", &data).replace("networking.istio.io/v1", "v1")
    };
    let client = client().replace("namespace: web", "namespace: other");
    let (server, service) = (server(1), service(HTTP));
    let known = |export: &str, default: &str| {
        let rule = rule("own", 1, &format!("{export}trafficPolicy: {{tls: {{mode: DISABLE}}}}"));
        let mesh = load(&[&client, &server, &service, &rule, &config(default)]);
        answer(&mesh, "10.0.0.1", "10.0.1.1:8080", None)["client_tls"].clone()
    };
    assert_eq!(known("", "*"), "DISABLE");
    assert_eq!(known("", "."), "ISTIO_MUTUAL");
    assert_eq!(known("exportTo: ['*'], ", "."), "DISABLE");
    assert_eq!(known("exportTo: ['.'], ", "*"), "ISTIO_MUTUAL");
}

#[test]
fn a_headless_service_gets_mtls_where_every_endpoint_takes_it() {
    let service = spec(
        "Service",
        "server",
        "web",
        &format!("clusterIP: None, selector: {{app: server}}, ports: [{HTTP}]"),
    );
    let bare = server(3).replace("security.istio.io/tlsMode: istio", "version: v2");
    let known = |documents: &[&str]| {
        let client = client();
        let all = [&[client.as_str(), &service], documents].concat();
        answer(&load(&all), "10.0.0.1", "10.0.1.1:8080", None)["client_tls"].clone()
    };
    assert_eq!(known(&[&server(1)]), "ISTIO_MUTUAL");
    assert_eq!(known(&[&server(1), &server(2)]), "ISTIO_MUTUAL");
    assert_eq!(known(&[&server(1), &bare]), "DISABLE");
    assert_eq!(known(&[&server(1), &server(2), &bare]), "DISABLE");
}

#[test]
fn who_dials_hbone_itself_is_taken_for_it_where_the_pod_has_it() {
    let ambient =
        pod("ambient-0", "10.0.3.1", ", annotations: {ambient.istio.io/redirection: enabled}", BARE);
    let bare = pod("bare-0", "10.0.3.2", "", BARE);
    let mesh = load(&[&client(), &ambient, &bare]);
    let told = |to: &str| answer(&mesh, "10.0.0.1", to, None)["client_tls_from"].clone();
    assert_eq!(told("10.0.3.1:15008"), "hbone");
    assert_eq!(told("10.0.3.1:8080"), "default");
    assert_eq!(told("10.0.3.2:15008"), "default");
}

fn entry(namespace: &str, age: u8, address: &str, export: &str) -> String {
    let created = format!(", creationTimestamp: '2026-01-{age:02}T00:00:00Z'");
    let entry = format!(
        "spec: {{hosts: [a.example.com], location: MESH_INTERNAL, resolution: STATIC, exportTo: [{export}], \
         ports: [{{number: 80, name: http, protocol: HTTP}}], \
         endpoints: [{{address: {address}, labels: {{security.istio.io/tlsMode: istio}}}}]}}"
    );
    object("ServiceEntry", "entry", namespace, &created, &entry)
}

#[test]
fn a_host_that_the_client_does_not_see_takes_the_place_of_none() {
    let known = |documents: &[&str], to: &str| {
        let client = client();
        answer(&load(&[&[client.as_str()], documents].concat()), "10.0.0.1", to, None)["client_tls"].clone()
    };
    let later = entry("shop", 2, TO.trim_end_matches(":80"), "'*'");
    assert_eq!(known(&[&later], TO), "ISTIO_MUTUAL");
    // An older one that is private to another namespace, one that all see, and the client's own, be it younger.
    assert_eq!(known(&[&later, &entry("old", 1, "10.1.0.2", "'.'")], TO), "ISTIO_MUTUAL");
    assert_eq!(known(&[&later, &entry("old", 1, "10.1.0.2", "'*'")], TO), Value::Null);
    assert_eq!(known(&[&later, &entry("old", 1, "10.1.0.2", "'*'")], "10.1.0.2:80"), "ISTIO_MUTUAL");
    assert_eq!(known(&[&later, &entry("web", 3, "10.1.0.2", "'*'")], TO), Value::Null);
    // What is exported to few comes before what all see.
    assert_eq!(known(&[&later, &entry("old", 3, "10.1.0.2", "web")], TO), Value::Null);
}

/// A client of another namespace than the Service's, limited by a Sidecar of its own namespace.
fn limited(documents: &[&str], from: &str) -> Value {
    let gateway = "containers: [{name: istio-proxy, args: [proxy, router]}]";
    let gateway = pod("gateway-0", "10.0.0.9", ", labels: {app: gateway}", gateway);
    let metadata = ", labels: {app: shop, security.istio.io/tlsMode: istio}";
    let shop = pod("shop-0", "10.0.1.1", metadata, PROXY).replace("namespace: web", "namespace: shop");
    let service = spec(
        "Service",
        "shop",
        "shop",
        &format!("selector: {{app: shop}}, clusterIP: 10.96.0.3, ports: [{HTTP}]"),
    );
    let client = client();
    let all = [&[client.as_str(), &gateway, &shop, &service], documents].concat();
    answer(&load(&all), from, "10.0.1.1:8080", None)["client_tls"].clone()
}

#[test]
fn a_sidecar_limits_the_workloads_that_it_selects_and_no_gateway() {
    let sidecar =
        |selector: &str| spec("Sidecar", "own", "web", &format!("{selector}egress: [{{hosts: ['./*']}}]"));
    let of = |app: &str| sidecar(&format!("workloadSelector: {{labels: {{app: {app}}}}}, "));
    let (client, gateway) = ("10.0.0.1", "10.0.0.9");
    assert_eq!(limited(&[], client), "ISTIO_MUTUAL");
    assert_eq!(limited(&[&sidecar("")], client), Value::Null);
    assert_eq!(limited(&[&of("client")], client), Value::Null);
    assert_eq!(limited(&[&of("other")], client), "ISTIO_MUTUAL");
    assert_eq!(limited(&[&sidecar("")], gateway), "ISTIO_MUTUAL");
}

#[test]
fn routes_of_gateways_alone_bring_no_host_to_a_client() {
    let sidecar = spec("Sidecar", "own", "web", "egress: [{hosts: ['./*']}]");
    let routes = |more: &str| {
        let routes = "http: [{route: [{destination: {host: shop.shop.svc.cluster.local}}]}]";
        spec("VirtualService", "routes", "web", &format!("hosts: [a.example.com], {more}{routes}"))
    };
    let known = |more: &str| limited(&[&sidecar, &routes(more)], "10.0.0.1");
    assert_eq!(known(""), "ISTIO_MUTUAL");
    assert_eq!(known("gateways: [front, mesh], "), "ISTIO_MUTUAL");
    assert_eq!(known("gateways: [front], "), Value::Null);
}

#[test]
fn a_client_s_mode_is_asked_of_the_endpoint() {
    // A Service's port that is not the pod's: by it nobody knows the pod's address.
    let documents = [client(), server(1), service(HTTP)];
    let documents: Vec<&str> = documents.iter().map(String::as_str).collect();
    check(
        &documents,
        "10.0.1.1:8080",
        None,
        &json!({"client_tls": "ISTIO_MUTUAL", "client_tls_from": "auto-mtls"}),
    );
    check(&documents, "10.0.1.1:80", None, &json!({"client_tls": null, "client_tls_from": "default"}));
}
