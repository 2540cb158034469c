//! Declarations without the pods that they are for: what can be said of them, and what cannot.

mod meshes;

use analyzer::lint::lint;
use analyzer::report::Severity;
use meshes::{BARE, CREATED, found, load, object, spec};

#[test]
fn what_is_not_there_is_missing_in_a_cluster_and_unknown_in_a_repository() {
    let policy = "spec: {selector: {matchLabels: {app: nobody}}, mtls: {mode: STRICT}}";
    let gateway = "spec: {selector: {istio: nobody}, servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ['*']}]}";
    let rule = "spec: {host: nobody.web.svc.cluster.local}";
    for (id, kind, spec) in [
        ("PA05", "PeerAuthentication", policy),
        ("GW09", "Gateway", gateway),
        ("DR01", "DestinationRule", rule),
    ] {
        found(id, &[&object(kind, "x", "web", "", spec)], false);
        found(id, &[&object(kind, "x", "web", CREATED, spec)], true);
    }
    // Pods are declared together with their Services.
    let pod = object("Pod", "p", "web", "", &format!("spec: {{{BARE}}}\nstatus: {{podIP: 10.0.9.1}}"));
    found("DR01", &[&object("DestinationRule", "x", "web", "", rule), &pod], true);
}

#[test]
fn services_tell_of_gateways_whose_pods_are_not_declared() {
    let front = spec(
        "Service",
        "gw",
        "infra",
        "clusterIP: 10.96.0.9, selector: {istio: gw, app: gw}, ports: [{name: http, port: 80, targetPort: 8080}]",
    );
    let gateway = |label: &str, port: u16| {
        let server = format!("{{port: {{number: {port}, name: http, protocol: HTTP}}, hosts: ['*']}}");
        spec("Gateway", "g", "web", &format!("selector: {{istio: {label}}}, servers: [{server}]"))
    };
    for (label, port, nobody, unexposed) in
        [("gw", 80, false, false), ("gw", 81, false, true), ("other", 80, true, false)]
    {
        found("GW09", &[&gateway(label, port), &front], nobody);
        found("GW10", &[&gateway(label, port), &front], unexposed);
    }
    // A pod that has no address yet is led to by its labels.
    let waiting = object(
        "Pod",
        "gw-0",
        "infra",
        ", labels: {istio: gw, app: gw}",
        "spec: {containers: [{name: istio-proxy, args: [proxy, router]}]}",
    );
    found("GW10", &[&gateway("gw", 81), &front, &waiting], true);
    found("GW10", &[&gateway("gw", 80), &front, &waiting], false);
}

#[test]
fn a_deployment_tells_of_the_pods_that_it_makes() {
    let other = object("Pod", "other-0", "web", CREATED, "spec: {containers: [{name: app}]}");
    let makes = |namespace: &str| {
        let template =
            "template: {metadata: {labels: {app: a, tier: front}}, spec: {containers: [{name: app}]}}";
        spec("Deployment", "a", namespace, &format!("selector: {{matchLabels: {{app: a}}}}, {template}"))
    };
    let policy = |label: &str| {
        let spec = format!("spec: {{selector: {{matchLabels: {{{label}}}}}, mtls: {{mode: STRICT}}}}");
        object("PeerAuthentication", "x", "web", CREATED, &spec)
    };
    let gateway = |label: &str| {
        let server = "{port: {number: 80, name: http, protocol: HTTP}, hosts: ['*']}";
        object(
            "Gateway",
            "g",
            "web",
            CREATED,
            &format!("spec: {{selector: {{{label}}}, servers: [{server}]}}"),
        )
    };
    for (label, namespace, of_namespace, anywhere) in [
        ("app: a", "web", true, true),
        ("tier: front", "web", true, true),
        ("app: b", "web", false, false),
        ("app: a", "far", false, true),
    ] {
        found("PA05", &[&other, &makes(namespace), &policy(label)], !of_namespace);
        found("GW09", &[&other, &makes(namespace), &gateway(label)], !anywhere);
    }
}

#[test]
fn the_same_selector_finds_the_same_pods() {
    let service = |name: &str, namespace: &str, app: &str, target: u16| {
        let ports = format!("ports: [{{name: {name}, port: 80, targetPort: {target}}}]");
        spec("Service", name, namespace, &format!("clusterIP: 10.96.0.9, selector: {{app: {app}}}, {ports}"))
    };
    let http = service("http", "web", "a", 8080);
    for (other, twice) in [
        (service("tcp", "web", "a", 8080), true),
        (service("tcp", "web", "a", 8081), false),
        (service("tcp", "web", "b", 8080), false),
        (service("tcp", "other", "a", 8080), false),
    ] {
        found("PN03", &[&http, &other], twice);
    }
    let sidecar = |name: &str, app: &str| {
        let selector = format!("workloadSelector: {{labels: {{app: {app}}}}}");
        spec("Sidecar", name, "web", &format!("{selector}, egress: [{{hosts: ['./*']}}]"))
    };
    found("SC03", &[&sidecar("x", "a"), &sidecar("y", "a")], true);
    found("SC03", &[&sidecar("x", "a"), &sidecar("y", "b")], false);
}

#[test]
fn policies_tell_of_workloads_that_are_not_declared() {
    let policy = |name: &str, namespace: &str, app: &str, modes: &str| {
        let selector = if app.is_empty() {
            String::new()
        } else {
            format!("selector: {{matchLabels: {{app: {app}}}}}, ")
        };
        spec("PeerAuthentication", name, namespace, &format!("{selector}{modes}"))
    };
    let off = "mtls: {mode: DISABLE}";
    let strict = "mtls: {mode: STRICT}";
    let port = "portLevelMtls: {8080: {mode: STRICT}}";
    for (above, below, id, expected) in [
        (policy("ns", "web", "", off), policy("own", "web", "a", strict), "XC04", true),
        (policy("mesh", "istio-system", "", off), policy("own", "web", "a", port), "XC04", true),
        (policy("ns", "other", "", off), policy("own", "web", "a", strict), "XC04", false),
        (policy("ns", "web", "", strict), policy("own", "web", "a", strict), "XC04", false),
        (policy("ns", "web", "", off), policy("own", "istio-system", "a", strict), "XC04", false),
        (policy("x", "web", "a", off), policy("y", "web", "a", strict), "PA03", true),
        (policy("x", "web", "a", off), policy("y", "web", "b", strict), "PA03", false),
        (policy("x", "web", "a", off), policy("y", "other", "a", strict), "PA03", false),
        (policy("x", "web", "", off), policy("y", "other", "", strict), "PA09", true),
        (policy("x", "web", "", strict), policy("y", "other", "a", port), "PA09", false),
        (policy("x", "istio-system", "a", off), policy("y", "web", "", strict), "PA09", false),
    ] {
        found(id, &[&above, &below], expected);
    }
    // A rule that sends Istio mTLS all the same mends what DISABLE above STRICT breaks.
    let service =
        spec("Service", "a", "web", "clusterIP: 10.96.0.9, selector: {app: a}, ports: [{port: 80}]");
    let rule = spec("DestinationRule", "a", "web", "host: a, trafficPolicy: {tls: {mode: ISTIO_MUTUAL}}");
    let documents = [policy("ns", "web", "", off), policy("own", "web", "a", strict), service, rule];
    let documents: Vec<&str> = documents.iter().map(String::as_str).collect();
    found("XC04", &documents, false);
}

#[test]
fn strict_for_the_whole_mesh_is_only_worth_knowing_outside_it() {
    let bare = |namespace: &str| {
        object("Pod", "p", namespace, "", &format!("spec: {{{BARE}}}\nstatus: {{podIP: 10.0.9.1}}"))
    };
    let mesh = spec("PeerAuthentication", "mesh", "istio-system", "mtls: {mode: STRICT}");
    let own = spec("PeerAuthentication", "own", "tools", "mtls: {mode: STRICT}");
    for (policy, namespace, severity) in [
        (&mesh, "tools", Some(Severity::Info)),
        (&mesh, "kube-system", None),
        (&own, "tools", Some(Severity::High)),
    ] {
        let findings = lint(&load(&[policy, &bare(namespace)]));
        let rated = findings.iter().find(|finding| finding.id == "PA07").map(|finding| finding.severity);
        assert_eq!(rated, severity, "{namespace}");
    }
}

#[test]
fn kubernetes_own_services_are_left_alone() {
    let dns = |namespace: &str| {
        spec("Service", "dns", namespace, "clusterIP: 10.96.0.10, ports: [{name: dns-tcp, port: 5353}]")
    };
    found("PN01", &[&dns("web")], true);
    found("PN01", &[&dns("kube-system")], false);
    // `testdata/service-no-port-name-system-namespace.yaml` of Istio's analyzers.
    for label in ["istio: xxx", "release: istio", "gateway.istio.io/managed: istio.io-mesh-controller"] {
        let own = format!("namespace: web, labels: {{{label}}}");
        found("PN01", &[&dns("web").replace("namespace: web", &own)], false);
    }
    let own = |namespace: &str| {
        let status = "status: {podIP: 10.0.9.1}";
        object("Pod", "p", namespace, "", &format!("spec: {{{BARE}}}\n{status}"))
    };
    let labelled = |namespace: &str| {
        format!(
            "\napiVersion: v1\nkind: Namespace\nmetadata: {{name: {namespace}, labels: {{istio-injection: enabled}}}}\n"
        )
    };
    for (namespace, missing) in [("web", true), ("local-path-storage", false)] {
        found("IN01", &[&labelled(namespace), &own(namespace)], missing);
    }
}

/// The task "Egress Gateways with TLS Origination": the gateway takes requests apart, and the rule encrypts them again.
#[test]
fn a_rule_for_the_requests_of_a_gateway_wraps_no_tls() {
    let entry = spec(
        "ServiceEntry",
        "api",
        "web",
        "hosts: [api.example.com], resolution: DNS, \
         ports: [{number: 80, name: http, protocol: HTTP}, {number: 443, name: https, protocol: HTTPS}]",
    );
    let rule = spec(
        "DestinationRule",
        "api",
        "web",
        "host: api.example.com, trafficPolicy: {portLevelSettings: [{port: {number: 443}, tls: {mode: SIMPLE}}]}",
    );
    let routes = |gateways: &str, kind: &str, port: u16| {
        let matches = if kind == "tls" { "match: [{sniHosts: [api.example.com]}], " } else { "" };
        let destination = format!("destination: {{host: api.example.com, port: {{number: {port}}}}}");
        spec(
            "VirtualService",
            "api",
            "web",
            &format!(
                "hosts: [api.example.com], gateways: [{gateways}], {kind}: [{{{matches}route: [{{{destination}}}]}}]"
            ),
        )
    };
    found("SE02", &[&entry, &rule], true);
    for (gateways, kind, port, wrapped) in [
        ("egress, mesh", "http", 443, false),
        ("mesh", "http", 443, true),
        ("egress", "tls", 443, true),
        ("egress", "http", 80, true),
    ] {
        found("SE02", &[&entry, &rule, &routes(gateways, kind, port)], wrapped);
    }
}
