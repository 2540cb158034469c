//! Who is led through a waypoint, and who reaches its endpoints directly.

use serde_json::{Value, json};

use super::meshes::{BARE, HTTP, PROXY, all, answer, ask, found, istiod, load, object, pod, service, spec};

const REDIRECTED: &str = ", annotations: {ambient.istio.io/redirection: enabled}";

fn client() -> String {
    pod("client-0", "10.0.0.1", REDIRECTED, BARE)
}

fn gateway() -> String {
    pod("gateway-0", "10.0.0.2", "", "containers: [{name: istio-proxy, args: [proxy, router]}]")
}

fn sidecar() -> String {
    pod("sidecar-0", "10.0.0.3", ", labels: {security.istio.io/tlsMode: istio}", PROXY)
}

/// A server without a proxy: all that reaches it by HBONE reaches a waypoint.
fn server(labels: &str) -> String {
    pod("server-1", "10.0.1.1", &format!(", labels: {{app: server{labels}}}"), BARE)
}

fn labelled(service: &str, labels: &str) -> String {
    service.replacen("namespace: web", &format!("namespace: web, labels: {{{labels}}}"), 1)
}

fn namespace(name: &str, labels: &str) -> String {
    format!("\napiVersion: v1\nkind: Namespace\nmetadata: {{name: {name}, labels: {{{labels}}}}}\n")
}

fn waypoint(namespace: &str, traffic: &str, from: &str) -> String {
    let listener =
        format!("{{name: mesh, port: 15008, protocol: HBONE, allowedRoutes: {{namespaces: {from}}}}}");
    format!(
        "\napiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {{name: way, namespace: {namespace}, labels: {{{traffic}}}}}\nspec: {{gatewayClassName: istio-waypoint, listeners: [{listener}]}}\n"
    )
}

const SAME: &str = "{from: Same}";
const USE: &str = "istio.io/use-waypoint: way";
const VIA: &str = "10.96.0.2:80";
const DIRECT: &str = "10.0.1.1:8080";

fn hbone() -> Value {
    json!({"client_tls": "ISTIO_MUTUAL", "client_tls_from": "hbone", "client_wire": ["mtls"], "conflict": false})
}

fn bytes() -> Value {
    json!({"client_tls": null, "client_tls_from": "default", "client_wire": all()})
}

/// `waypoints_test.go` and `ambientindex_test.go`, `TestAmbientIndex_WaypointForWorkloadTraffic`.
#[test]
fn a_waypoint_takes_what_it_is_for() {
    for (traffic, via, direct) in [
        ("", true, false),
        ("istio.io/waypoint-for: service", true, false),
        ("istio.io/waypoint-for: all", true, true),
        ("istio.io/waypoint-for: workload", false, true),
        ("istio.io/waypoint-for: none", false, false),
    ] {
        let mesh = load(&[
            &client(),
            &server(""),
            &service(HTTP),
            &namespace("web", USE),
            &waypoint("web", traffic, SAME),
        ]);
        ask(&mesh, "10.0.0.1", VIA, None, &if via { hbone() } else { bytes() });
        // Who dials the Service is not led through a workload's waypoint: only where it has one too, nothing comes directly.
        ask(&mesh, "10.0.0.1", DIRECT, None, &if via && direct { hbone() } else { bytes() });
        let alone = load(&[&client(), &server(""), &namespace("web", USE), &waypoint("web", traffic, SAME)]);
        ask(&alone, "10.0.0.1", DIRECT, None, &if direct { hbone() } else { bytes() });
    }
}

/// `waypoints.go`, `fetchWaypointForTarget`, `GetUseWaypoint`: the object's own label comes before its namespace's.
#[test]
fn a_waypoint_is_named_by_the_service_else_by_its_namespace() {
    let own = |labels: &str| labelled(&service(HTTP), labels);
    let there = "istio.io/use-waypoint: way, istio.io/use-waypoint-namespace: infra";
    let selected = "{from: Selector, selector: {matchLabels: {team: a}}}";
    let here = waypoint("web", "", SAME);
    for (service, labels, waypoint, expected) in [
        (own(USE), "", here.clone(), true),
        (own("istio.io/use-waypoint: none"), USE, here.clone(), false),
        (own("istio.io/use-waypoint: other"), USE, here.clone(), false),
        (own("gateway.istio.io/managed: istio.io-mesh-controller"), USE, here, false),
        (own(there), "team: a", waypoint("infra", "", SAME), false),
        (own(there), "team: a", waypoint("infra", "", "{from: All}"), true),
        (own(there), "team: a", waypoint("infra", "", selected), true),
        (own(there), "team: b", waypoint("infra", "", selected), false),
    ] {
        let mesh = load(&[&client(), &server(""), &service, &namespace("web", labels), &waypoint]);
        ask(&mesh, "10.0.0.1", VIA, None, &if expected { hbone() } else { bytes() });
    }
}

/// `waypoints.go`, `gatewayToWaypointTransform`, `makeAllowedRoutes`; `waypoints_test.go`, `TestMakeAllowedRoutes`.
#[test]
fn a_waypoint_takes_nothing_before_it_has_an_address_and_whom_its_listener_lets_in() {
    let there = format!("{USE}, istio.io/use-waypoint-namespace: infra");
    let listener = |protocol: &str, port: u16, from: &str| {
        format!(
            "{{name: l{port}, protocol: {protocol}, port: {port}, allowedRoutes: {{namespaces: {{from: {from}}}}}}}"
        )
    };
    let gateway = |binding: &str, listeners: &[String], status: &str| {
        let metadata = format!("{{name: way, namespace: infra, annotations: {{{binding}}}}}");
        let listeners = listeners.join(", ");
        format!(
            "\napiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {metadata}\nspec: {{gatewayClassName: other, listeners: [{listeners}]}}\n{status}\n"
        )
    };
    let hbone = |from: &str| listener("HBONE", 15008, from);
    let proxy = |port: u16, from: &str| listener("istio.io/PROXY", port, from);
    let bound = "ambient.istio.io/waypoint-inbound-binding: PROXY/15088";
    let any = "ambient.istio.io/waypoint-inbound-binding: PROXY";
    for (binding, listeners, status, expected) in [
        ("", vec![hbone("All")], "", true),
        ("", vec![hbone("All")], "status: {addresses: [{value: 10.96.0.9}]}", true),
        ("", vec![hbone("All")], "status: {conditions: []}", false),
        ("", vec![hbone("All")], "status: {addresses: []}", false),
        ("", vec![listener("HBONE", 15009, "All")], "", false),
        (bound, vec![proxy(15089, "All"), proxy(15088, "Same")], "", false),
        (bound, vec![proxy(15089, "Same"), proxy(15088, "All")], "", true),
        (any, vec![proxy(15015, "All")], "", true),
        (any, vec![hbone("All")], "", true),
    ] {
        let mesh = load(&[
            &client(),
            &server(""),
            &labelled(&service(HTTP), &there),
            &gateway(binding, &listeners, status),
        ]);
        ask(&mesh, "10.0.0.1", VIA, None, &if expected { self::hbone() } else { bytes() });
    }
}

/// `endpoint_builder.go`, `findServiceWaypoint`; `waypoint_test.go`, `TestIngressUseWaypoint`; istio/istio pull requests 52985
/// and 54483.
#[test]
fn gateways_go_through_the_waypoint_where_that_is_asked_for() {
    let asks = "istio.io/ingress-use-waypoint: 'true'";
    let both = format!("{USE}, {asks}");
    let denies = format!("{USE}, istio.io/ingress-use-waypoint: 'false'");
    let off = "{name: ENABLE_INGRESS_WAYPOINT_ROUTING, value: 'false'}";
    let without = "{name: PILOT_ENABLE_AMBIENT, value: 'false'}";
    let headless = service(HTTP).replace("10.96.0.2", "None");
    let (hbone, plain) = (hbone(), json!({"client_tls": "DISABLE", "client_tls_from": "auto-mtls"}));
    for (own, of_namespace, service, istiod, expected) in [
        (USE, "", service(HTTP), istiod("1.30.3", ""), false),
        (&*both, "", service(HTTP), istiod("1.30.3", ""), true),
        (&*both, "", service(HTTP), istiod("1.24.0", ""), true),
        (&*both, "", service(HTTP), istiod("1.23.0", ""), false),
        (USE, asks, service(HTTP), istiod("1.25.0", ""), true),
        (USE, asks, service(HTTP), istiod("1.24.0", ""), false),
        (&*denies, asks, service(HTTP), istiod("1.30.3", ""), false),
        (&*both, "", service(HTTP), istiod("1.30.3", off), false),
        (&*both, "", service(HTTP), istiod("1.30.3", without), false),
        (&*both, "", headless, istiod("1.30.3", ""), false),
        (asks, "", service(HTTP), istiod("1.30.3", ""), false),
    ] {
        let mesh = load(&[
            &gateway(),
            &server(""),
            &labelled(&service, own),
            &namespace("web", of_namespace),
            &waypoint("web", "", SAME),
            &istiod,
        ]);
        ask(&mesh, "10.0.0.2", DIRECT, None, if expected { &hbone } else { &plain });
    }
}

/// Istio: `ENABLE_SIDECAR_WAYPOINT_ROUTING`.
#[test]
fn sidecars_go_through_the_waypoint_where_istiod_is_told_to() {
    let on = "{name: ENABLE_SIDECAR_WAYPOINT_ROUTING, value: 'true'}";
    for (env, from) in [("", "auto-mtls"), (on, "hbone")] {
        let mesh = load(&[
            &sidecar(),
            &server(""),
            &labelled(&service(HTTP), USE),
            &waypoint("web", "", SAME),
            &istiod("1.32.0", env),
        ]);
        ask(&mesh, "10.0.0.3", DIRECT, None, &json!({"client_tls_from": from}));
    }
}

/// An entry's own address is dialled as a Service's is; a range is none.
#[test]
fn an_egress_waypoint_stands_before_the_addresses_of_its_entry() {
    let entry = |address: &str| {
        object(
            "ServiceEntry",
            "api",
            "web",
            &format!(", labels: {{{USE}}}"),
            &format!(
                "spec: {{hosts: [api.example.com], addresses: [{address}], resolution: STATIC, endpoints: [{{address: 192.0.2.9}}], ports: [{{number: 80, name: http, protocol: HTTP}}]}}"
            ),
        )
    };
    for (address, expected) in [("192.0.2.1", hbone()), ("192.0.2.0/24", bytes())] {
        let mesh = load(&[&client(), &entry(address), &waypoint("web", "", SAME)]);
        ask(&mesh, "10.0.0.1", "192.0.2.1:80", None, &expected);
    }
}

#[test]
fn an_answer_names_the_waypoint() {
    let mesh = load(&[&client(), &server(""), &labelled(&service(HTTP), USE), &waypoint("web", "", SAME)]);
    let steps = answer(&mesh, "10.0.0.1", DIRECT, None);
    let effect = steps["because"][0]["effect"].as_str().unwrap_or_default();
    assert!(effect.contains("through the waypoint Gateway/web/way"), "{steps:#}");
    assert_eq!(steps["because"][0]["rule"], "ambient.waypoint");
}

/// AB03: only where a waypoint takes what is for the host, its rule acts.
#[test]
fn a_rule_acts_behind_a_waypoint_that_takes_the_service() {
    let rule = spec("DestinationRule", "own", "web", "host: server, trafficPolicy: {tls: {mode: SIMPLE}}");
    for (traffic, expected) in [("service", false), ("workload", true)] {
        let labels = format!("istio.io/waypoint-for: {traffic}");
        let service = labelled(&service(HTTP), USE);
        found("AB03", &[&client(), &server(""), &service, &waypoint("web", &labels, SAME), &rule], expected);
    }
    found("AB03", &[&client(), &server(""), &labelled(&service(HTTP), USE), &rule], true);
}

/// `destinationrule-waypoint-workload-selector.yaml` of `pkg/config/analysis/analyzers/testdata`: the waypoint is none of the clients.
#[test]
fn a_rule_for_some_clients_is_none_for_their_waypoint() {
    let rule = |labels: &str| {
        let selector = format!("workloadSelector: {{matchLabels: {{{labels}}}}}");
        spec(
            "DestinationRule",
            "own",
            "web",
            &format!("host: server, {selector}, trafficPolicy: {{tls: {{mode: SIMPLE}}}}"),
        )
    };
    let client = pod(
        "client-0",
        "10.0.0.1",
        ", labels: {app: client}, annotations: {ambient.istio.io/redirection: enabled}",
        BARE,
    );
    let service = labelled(&service(HTTP), USE);
    let way = waypoint("web", "", SAME);
    found("AB03", &[&client, &server(""), &service, &way, &rule("app: client")], true);
    // Of clients that it is not for it is no concern.
    found("AB03", &[&client, &server(""), &service, &way, &rule("app: other")], false);
}

/// `waypoints.go`, `gatewayToWaypointTransform`, `getGatewayOrGatewayClassAnnotation`: the class says what the Gateway does not.
#[test]
fn a_class_says_what_its_waypoints_are_for() {
    let class = |metadata: &str| {
        format!(
            "\napiVersion: gateway.networking.k8s.io/v1\nkind: GatewayClass\nmetadata: {{name: istio-waypoint, {metadata}}}\nspec: {{controllerName: istio.io/mesh-controller}}\n"
        )
    };
    let traffic = |traffic: &str| class(&format!("labels: {{istio.io/waypoint-for: {traffic}}}"));
    let own = labelled(&service(HTTP), USE);
    let bound =
        waypoint("far", "", SAME).replace("port: 15008, protocol: HBONE", "port: 15009, protocol: HTTP");
    let binding = class("annotations: {ambient.istio.io/waypoint-inbound-binding: HTTP/15009}");
    let elsewhere = labelled(&service(HTTP), &format!("{USE}, istio.io/use-waypoint-namespace: far"));
    for (class, service, waypoint, via) in [
        (traffic("service"), &own, waypoint("web", "", SAME), true),
        (traffic("none"), &own, waypoint("web", "", SAME), false),
        (traffic("workload"), &own, waypoint("web", "", SAME), false),
        (traffic("none"), &own, waypoint("web", "istio.io/waypoint-for: all", SAME), true),
        (traffic("all"), &own, waypoint("web", "istio.io/waypoint-for: none", SAME), false),
        (
            traffic("none").replace("name: istio-waypoint", "name: other"),
            &own,
            waypoint("web", "", SAME),
            true,
        ),
        // Who may come is said by the listener that it is bound to.
        (binding, &elsewhere, bound.replace(SAME, "{from: All}"), true),
        (class("labels: {}"), &elsewhere, bound.replace(SAME, "{from: All}"), false),
    ] {
        let mesh = load(&[&client(), &server(""), service, &waypoint, &class]);
        ask(&mesh, "10.0.0.1", VIA, None, &if via { hbone() } else { bytes() });
    }
}

/// Release notes of 1.31: `istio-agentgateway-waypoint` is a class of waypoints too.
#[test]
fn agentgateway_may_be_a_waypoint() {
    let way = waypoint("web", "", SAME).replace("istio-waypoint", "istio-agentgateway-waypoint");
    let labels = "{gateway.networking.k8s.io/gateway-name: way, gateway.networking.k8s.io/gateway-class-name: istio-agentgateway-waypoint}";
    let instance =
        pod("way-0", "10.0.4.1", &format!(", labels: {labels}"), "containers: [{name: agentgateway}]");
    let mesh = load(&[&client(), &instance, &way]);
    let mut expected = hbone();
    expected["allowed"] = json!(["mtls"]);
    ask(&mesh, "10.0.0.1", "10.0.4.1:15008", None, &expected);
}
