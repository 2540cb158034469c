//! A folder of policies, rules and Services without any pod: what clients and servers are declared to do to each other.

mod meshes;

use analyzer::lint::lint;
use meshes::{load, spec};

const OFF: &str = "host: HOST, trafficPolicy: {tls: {mode: DISABLE}}";
const MUTUAL: &str = "host: HOST, trafficPolicy: {tls: {mode: ISTIO_MUTUAL}}";
const SIMPLE: &str = "host: HOST, trafficPolicy: {tls: {mode: SIMPLE, caCertificates: /ca.pem}}";

fn policy(namespace: &str, app: &str, modes: &str) -> String {
    let selector =
        if app.is_empty() { String::new() } else { format!("selector: {{matchLabels: {{app: {app}}}}}, ") };
    let name = if app.is_empty() { "default" } else { app };
    spec("PeerAuthentication", name, namespace, &format!("{selector}mtls: {{mode: {modes}}}"))
}

fn rule(text: &str, namespace: &str, host: &str) -> String {
    spec("DestinationRule", "rule", namespace, &text.replace("HOST", host))
}

fn service(selector: &str, ports: &str) -> String {
    let addresses = "clusterIP: 10.96.0.9";
    spec("Service", "a", "web", &format!("{addresses}, selector: {{{selector}}}, ports: [{ports}]"))
}

const PORT: &str = "{name: http, port: 80, targetPort: 8080}";

fn namespace(labels: &str) -> String {
    format!("\napiVersion: v1\nkind: Namespace\nmetadata: {{name: web, labels: {{{labels}}}}}\n")
}

fn auto_mtls_off() -> String {
    "\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: istio, namespace: istio-system}\ndata: {mesh: 'enableAutoMtls: false'}\n"
        .to_owned()
}

/// The ids found of those that two sides make together.
fn found(documents: &[String]) -> Vec<String> {
    let documents: Vec<&str> = documents.iter().map(String::as_str).collect();
    let asked = ["AM01", "DR12", "DR13", "GW18", "PA06", "XC01", "XC02", "XC03"];
    let mut ids: Vec<String> = lint(&load(&documents)).into_iter().map(|finding| finding.id).collect();
    ids.retain(|id| asked.contains(&id.as_str()));
    ids.dedup();
    ids
}

#[track_caller]
fn check(documents: &[String], expected: &[&str]) {
    assert_eq!(found(documents), expected, "{documents:#?}");
}

#[test]
fn a_rule_contradicts_the_policy_of_the_service_that_it_is_for() {
    let a = || service("app: a", PORT);
    for (text, mode, expected) in [
        (OFF, "STRICT", &["XC01", "DR12"][..]),
        (OFF, "PERMISSIVE", &["DR12"]),
        (OFF, "DISABLE", &[]),
        (MUTUAL, "DISABLE", &["XC02", "DR13"]),
        (MUTUAL, "STRICT", &[]),
        (SIMPLE, "STRICT", &["XC03"]),
        (SIMPLE, "PERMISSIVE", &["XC03"]),
        (SIMPLE, "DISABLE", &["XC03"]),
    ] {
        check(&[a(), policy("web", "", mode), rule(text, "shop", "a.web.svc.cluster.local")], expected);
        check(&[a(), policy("istio-system", "", mode), rule(text, "web", "a")], expected);
        check(&[a(), policy("istio-system", "", mode), rule(text, "istio-system", "'*.local'")], expected);
        check(&[a(), policy("other", "", mode), rule(text, "web", "a")], &[]);
    }
    // To a port that is not HTTP a server that is not STRICT lets TLS through.
    let tcp = || service("app: a", "{name: tcp, port: 80, targetPort: 8080}");
    check(&[tcp(), policy("web", "", "PERMISSIVE"), rule(SIMPLE, "web", "a")], &[]);
    check(&[tcp(), policy("web", "", "STRICT"), rule(SIMPLE, "web", "a")], &["XC03"]);
}

#[test]
fn a_rule_contradicts_the_policy_of_a_namespace_whose_services_are_not_declared() {
    for (host, expected) in [
        ("a.web.svc.cluster.local", &["XC01", "DR12"][..]),
        ("'*.web.svc.cluster.local'", &["XC01", "DR12"]),
        ("'*.local'", &["XC01", "DR12"]),
        ("a.other.svc.cluster.local", &[]),
        ("a.web", &[]),
        ("example.com", &[]),
    ] {
        check(&[policy("web", "", "STRICT"), rule(OFF, "shop", host)], expected);
    }
    check(&[policy("istio-system", "", "STRICT"), rule(OFF, "shop", "'*.local'")], &["XC01", "DR12"]);
    check(
        &[policy("web", "", "DISABLE"), rule(MUTUAL, "shop", "'*.web.svc.cluster.local'")],
        &["XC02", "DR13"],
    );
    // Whom the narrower policy is for is not known.
    check(
        &[
            policy("web", "", "STRICT"),
            policy("web", "a", "DISABLE"),
            rule(OFF, "shop", "a.web.svc.cluster.local"),
        ],
        &[],
    );
}

#[test]
fn a_nearer_rule_hides_the_one_that_contradicts() {
    let nearer = spec("DestinationRule", "nearer", "istio-system", "host: '*.web.svc.cluster.local'");
    let far = rule(OFF, "istio-system", "'*.local'");
    check(&[service("app: a", PORT), policy("web", "", "STRICT"), far, nearer], &[]);
}

#[test]
fn whether_a_policy_is_for_the_pods_of_a_service_their_labels_tell() {
    let off = || rule(OFF, "web", "a");
    let strict = || policy("web", "", "STRICT");
    let with = |own: &str, other: String| {
        check(&[service(own, PORT), strict(), off(), other.clone()], &[]);
        check(&[service(own, PORT), policy("web", "", "PERMISSIVE"), off(), other], &[]);
    };
    // For these very pods, or for some of them.
    check(
        &[service("app: a", PORT), policy("web", "", "PERMISSIVE"), policy("web", "a", "STRICT"), off()],
        &["XC01", "DR12"],
    );
    check(&[service("app: a", PORT), strict(), policy("web", "a", "PERMISSIVE"), off()], &["DR12"]);
    let canary = spec(
        "PeerAuthentication",
        "canary",
        "web",
        "selector: {matchLabels: {app: a, version: v2}}, mtls: {mode: STRICT}",
    );
    check(&[service("app: a", PORT), policy("web", "", "PERMISSIVE"), canary, off()], &["XC01", "DR12"]);
    // For others, and for pods of which nobody knows whether they are these.
    check(&[service("app: a", PORT), strict(), policy("web", "b", "DISABLE"), off()], &["XC01", "DR12"]);
    with("tier: front", policy("web", "a", "DISABLE"));
}

#[test]
fn a_port_of_its_own_mode_counts_by_the_containers_number() {
    let strict = |port: u16| {
        let ports = format!("portLevelMtls: {{{port}: {{mode: STRICT}}}}");
        spec(
            "PeerAuthentication",
            "p",
            "web",
            &format!("selector: {{matchLabels: {{app: a}}}}, mtls: {{mode: DISABLE}}, {ports}"),
        )
    };
    let off = || rule(OFF, "web", "a");
    check(&[service("app: a", PORT), strict(8080), off()], &["XC01", "DR12"]);
    check(&[service("app: a", PORT), strict(9090), off()], &[]);
    let by_name = || service("app: a", "{name: http, port: 80, targetPort: web}");
    check(&[by_name(), strict(8080), off()], &[]);
    let ports = "mtls: {mode: STRICT}, portLevelMtls: {8080: {mode: DISABLE}}";
    let but_one =
        spec("PeerAuthentication", "p", "web", &format!("selector: {{matchLabels: {{app: a}}}}, {ports}"));
    check(&[by_name(), but_one.clone(), off()], &[]);
    check(
        &[service("app: a", "{name: http, port: 80, targetPort: 9090}"), but_one, off()],
        &["XC01", "DR12"],
    );
    check(&[by_name(), policy("web", "", "STRICT"), off()], &["XC01", "DR12"]);
}

#[test]
fn nothing_is_said_of_pods_that_nobody_says_have_sidecars() {
    let documents = |labels: &str| vec![service("app: a", PORT), namespace(labels), rule(OFF, "web", "a")];
    check(&documents("team: web"), &[]);
    check(&documents("istio-injection: enabled"), &["DR12"]);
    check(&documents("istio.io/rev: stable"), &["DR12"]);
    for labels in ["istio-injection: disabled", "istio.io/dataplane-mode: ambient"] {
        let mut all = documents(labels);
        all.push(policy("istio-system", "", "STRICT"));
        check(&all, &[]);
    }
    // The control plane's own Services are no servers of the mesh.
    let istiod = spec(
        "Service",
        "istiod",
        "istio-system",
        "clusterIP: 10.96.0.9, selector: {app: istiod}, ports: [{port: 15012}]",
    );
    let off = rule(OFF, "istio-system", "istiod");
    check(&[istiod, policy("istio-system", "", "STRICT"), off], &[]);
}

#[test]
fn auto_mtls_that_is_off_leaves_strict_servers_without_clients() {
    let strict = || policy("istio-system", "", "STRICT");
    check(&[auto_mtls_off(), strict()], &["XC01", "AM01"]);
    check(&[auto_mtls_off(), policy("web", "", "STRICT")], &["XC01", "AM01"]);
    check(&[auto_mtls_off(), strict(), service("app: a", PORT)], &["XC01", "AM01"]);
    check(&[auto_mtls_off(), strict(), rule(MUTUAL, "istio-system", "'*.local'")], &[]);
    check(&[auto_mtls_off(), strict(), service("app: a", PORT), rule(MUTUAL, "web", "a")], &[]);
    check(&[auto_mtls_off(), policy("istio-system", "", "PERMISSIVE")], &[]);
    check(&[strict()], &[]);
}

#[test]
fn what_is_assumed_is_said() {
    let documents = [
        service("app: a", PORT),
        policy("istio-system", "", "STRICT"),
        rule(OFF, "istio-system", "'*.local'"),
    ];
    let documents: Vec<&str> = documents.iter().map(String::as_str).collect();
    let findings = lint(&load(&documents));
    for id in ["XC01", "DR12"] {
        let finding = findings.iter().find(|finding| finding.id == id).unwrap();
        let said = "if the pods there, none of which is declared, have sidecars";
        assert!(finding.message.ends_with(said), "{}", finding.message);
        assert_eq!(finding.resource, "DestinationRule/istio-system/rule");
        assert!(finding.yaml.as_deref().unwrap().contains("tls: null"), "{finding:?}");
        assert!(!format!("{finding:?}").contains("assumed"), "{finding:?}");
    }
}

#[test]
fn a_policys_port_is_the_services_own() {
    let policy = |selector: &str, port: u16| {
        spec(
            "PeerAuthentication",
            "p",
            "web",
            &format!(
                "selector: {{matchLabels: {{{selector}}}}}, portLevelMtls: {{{port}: {{mode: STRICT}}}}"
            ),
        )
    };
    for (own, selector, port, ports, expected) in [
        ("app: a", "app: a", 80, PORT, &["PA06"][..]),
        ("app: a", "'app': a, version: v1", 80, PORT, &["PA06"]),
        ("app: a", "app: a", 8080, PORT, &[]),
        ("app: a", "app: a", 9090, PORT, &[]),
        ("app: a", "app: b", 80, PORT, &[]),
        ("app: a", "tier: b", 80, PORT, &[]),
        ("app: a", "app: a", 80, "{name: http, port: 80, targetPort: web}", &[]),
        (
            "app: a",
            "app: a",
            80,
            "{name: http, port: 80, targetPort: 8080}, {name: x, port: 81, targetPort: 80}",
            &[],
        ),
    ] {
        check(&[service(own, ports), policy(selector, port)], expected);
    }
    let documents = [service("app: a", PORT), policy("app: a", 80)];
    let documents: Vec<&str> = documents.iter().map(String::as_str).collect();
    let findings = lint(&load(&documents));
    let finding = findings.iter().find(|finding| finding.id == "PA06").unwrap();
    assert!(finding.yaml.as_deref().unwrap().contains("\"8080\":\n      mode: STRICT"), "{finding:?}");
}

#[test]
fn routes_of_the_mesh_lead_to_an_egress_gateway() {
    let gateway = |tls: &str| {
        let server = format!("{{port: {{number: 80, name: a, protocol: {tls}}}, hosts: [example.com]");
        let server = if tls == "HTTPS" {
            format!("{server}, tls: {{mode: ISTIO_MUTUAL}}}}")
        } else {
            format!("{server}}}")
        };
        spec(
            "Gateway",
            "egress",
            "istio-system",
            &format!("selector: {{istio: egress}}, servers: [{server}]"),
        )
    };
    let host = "egress.istio-system.svc.cluster.local";
    let routes = |gateways: &str| {
        let to = |host: &str| format!("route: [{{destination: {{host: {host}, port: {{number: 80}}}}}}]");
        let mesh = format!("{{match: [{{gateways: [mesh], port: 80}}], {}}}", to(host));
        let out =
            format!("{{match: [{{gateways: [istio-system/egress], port: 80}}], {}}}", to("example.com"));
        spec(
            "VirtualService",
            "v",
            "web",
            &format!("hosts: [example.com], gateways: [{gateways}], http: [{mesh}, {out}]"),
        )
    };
    let both = "mesh, istio-system/egress";
    let front = || {
        let ports = "clusterIP: 10.96.0.8, selector: {istio: egress, app: egress}, ports: [{name: http, port: 80, targetPort: 8080}]";
        spec("Service", "egress", "istio-system", ports)
    };
    let mutual = || rule(MUTUAL, "web", host);
    check(&[gateway("HTTP"), routes(both)], &["GW18"]);
    check(&[gateway("HTTP"), routes(both), front()], &["GW18"]);
    check(&[gateway("HTTPS"), routes(both), front()], &["GW18"]);
    check(&[gateway("HTTP"), routes(both), mutual()], &["GW18"]);
    check(&[gateway("HTTPS"), routes(both), mutual()], &[]);
    check(&[gateway("HTTPS"), routes(both), front(), mutual()], &[]);
    check(&[gateway("HTTP"), routes("istio-system/egress")], &[]);
    check(&[gateway("HTTP"), routes("mesh")], &[]);
}
