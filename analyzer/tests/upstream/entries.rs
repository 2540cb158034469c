//! Hosts that no selector of pods stands behind: ServiceEntries, WorkloadEntries, external names, BackendTLSPolicies for them.

use serde_json::json;

use super::meshes::{BARE, HTTP, all, ask, check, client, load, object, pod, server, service, spec};
use super::{backend_policy, outside};

#[test]
fn an_external_name_stands_outside_and_has_no_endpoints() {
    let alias = spec(
        "Service",
        "alias",
        "web",
        "type: ExternalName, externalName: api.example.com, selector: {app: server}, \
         ports: [{name: tcp, port: 8080}]",
    );
    let (client, server) = (client(), server(1));
    let mesh = load(&[&client, &server, &alias]);
    let host = mesh.hosts.iter().find(|host| host.host == "alias.web.svc.cluster.local").unwrap();
    assert!(host.external);
    assert_eq!(host.endpoints, []);
    // The pod that it seems to select is a pod of no Service.
    ask(&mesh, "10.0.0.1", "10.0.1.1:8080", None, &json!({"protocol": null, "client_tls": null}));
}

#[test]
fn an_alias_leads_to_what_it_names() {
    let alias =
        spec("Service", "alias", "web", "type: ExternalName, externalName: server.web.svc.cluster.local");
    let expected =
        json!({"client_tls": "ISTIO_MUTUAL", "sni": "outbound_.80_._.server.web.svc.cluster.local"});
    check(&[&client(), &server(1), &service(HTTP), &alias], "10.0.1.1:8080", None, &expected);
}

#[test]
fn a_backend_tls_policy_may_be_for_a_service_entry() {
    let entry = outside(
        "{number: 443, name: http, protocol: HTTP}, {number: 80, name: plain, protocol: HTTP}",
        ", resolution: DNS",
    );
    let secured = json!({"client_tls": "SIMPLE", "client_tls_from": "BackendTLSPolicy/web/policy", "sni": "tls.example.com"});
    let plain = json!({"client_tls": null, "client_tls_from": "default", "client_wire": ["plaintext"]});
    let name = Some("api.example.com");
    let reference = "group: networking.istio.io, kind: ServiceEntry, name: api";
    for (section, at_443, at_80) in [
        ("", &secured, &secured),
        (", sectionName: http", &secured, &plain),
        (", sectionName: missing", &plain, &plain),
    ] {
        let policy = backend_policy(&format!("{reference}{section}"));
        let mesh = load(&[&client(), &entry, &policy]);
        ask(&mesh, "10.0.0.1", "192.0.2.1:443", name, at_443);
        ask(&mesh, "10.0.0.1", "192.0.2.1:80", name, at_80);
    }
}

/// `testdata/backend-tls-policy-ignored.yaml` of `pilot/pkg/config/kube/gateway`.
#[test]
fn a_backend_tls_policy_may_be_left_to_another_controller() {
    let policy = backend_policy("group: '', kind: Service, name: server");
    let annotated = |value: &str| {
        policy.replace(
            "namespace: web",
            &format!("namespace: web, annotations: {{istio.io/ignore-policy-attachment: '{value}'}}"),
        )
    };
    for (value, from) in [("true", "auto-mtls"), ("false", "BackendTLSPolicy/web/policy")] {
        let expected = json!({"client_tls_from": from});
        check(&[&client(), &server(1), &service(HTTP), &annotated(value)], "10.0.1.1:8080", None, &expected);
    }
}

#[test]
fn a_tcp_entry_without_addresses_takes_its_whole_port() {
    let rule =
        spec("DestinationRule", "api", "web", "host: api.example.com, trafficPolicy: {tls: {mode: SIMPLE}}");
    let tcp = "{number: 9000, name: tcp, protocol: TCP}";
    let taken = json!({"client_tls": "SIMPLE", "client_wire": ["tls"], "protocol": "TCP"});
    let unknown = json!({"client_tls": null, "client_wire": all(), "protocol": null});
    for (ports, more, expected) in [
        (tcp, "", &taken),
        (tcp, ", resolution: DNS", &taken),
        (tcp, ", addresses: [192.0.2.9]", &unknown),
        (tcp, ", resolution: STATIC, endpoints: [{address: 192.0.2.9}]", &unknown),
        ("{number: 9000, name: http, protocol: HTTP}", "", &unknown),
        ("{number: 9001, name: tcp, protocol: TCP}", "", &unknown),
    ] {
        check(&[&client(), &outside(ports, more), &rule], "192.0.2.1:9000", None, expected);
    }
}

#[test]
fn one_entry_with_two_ports_for_443_is_meant_by_the_one_that_originates_tls() {
    let entry = outside(
        "{number: 80, name: http, protocol: HTTP, targetPort: 443}, {number: 443, name: https, protocol: HTTPS}",
        ", resolution: STATIC, endpoints: [{address: 192.0.2.9}]",
    );
    let rule = spec(
        "DestinationRule",
        "api",
        "web",
        "host: api.example.com, trafficPolicy: {portLevelSettings: [{port: {number: 80}, tls: {mode: SIMPLE}}]}",
    );
    let originated = json!({"client_tls": "SIMPLE", "client_wire": ["tls"], "sni": "api.example.com"});
    check(&[&client(), &entry, &rule], "192.0.2.9:443", None, &originated);
    let as_it_is = json!({"client_tls": null, "client_wire": ["tls", "mtls"]});
    check(&[&client(), &entry], "192.0.2.9:443", None, &as_it_is);
}

#[test]
fn a_workload_outside_kubernetes_is_a_client_with_a_proxy() {
    let entry = |more: &str| {
        spec("WorkloadEntry", "vm-0", "web", &format!("address: 10.1.0.1, labels: {{app: vm}}{more}"))
    };
    let mutual = json!({"client_tls": "ISTIO_MUTUAL", "client_tls_from": "auto-mtls", "conflict": false});
    let bare = json!({"client_tls": null, "client_tls_from": "default"});
    for (more, expected) in [(", serviceAccount: vm", &mutual), ("", &bare)] {
        let mesh = load(&[&server(1), &service(HTTP), &entry(more)]);
        ask(&mesh, "10.1.0.1", "10.0.1.1:8080", None, expected);
    }
}

#[test]
fn a_service_selects_workloads_outside_kubernetes_too() {
    let entry = spec(
        "WorkloadEntry",
        "vm-0",
        "web",
        "address: 10.1.0.1, labels: {app: server}, serviceAccount: vm, ports: {http: 9080}",
    );
    let expected = json!({"client_tls": "ISTIO_MUTUAL", "server_mode": "PERMISSIVE", "protocol": "HTTP"});
    check(&[&client(), &service(HTTP), &entry], "10.1.0.1:9080", None, &expected);
    let unknown = json!({"client_tls": null, "server_mode": null});
    check(&[&client(), &service(HTTP), &entry], "10.1.0.1:8080", None, &unknown);
}

#[test]
fn labels_of_a_workload_entry_come_before_those_of_its_spec() {
    let entry = |outer: &str, inner: &str| {
        let spec = format!("spec: {{address: 10.1.0.1, labels: {{{inner}}}}}");
        object("WorkloadEntry", "vm-0", "web", &format!(", labels: {{{outer}}}"), &spec)
    };
    let mutual = json!({"client_tls": "ISTIO_MUTUAL", "client_tls_from": "auto-mtls"});
    let plain = json!({"client_tls": "DISABLE", "client_tls_from": "auto-mtls"});
    let unknown = json!({"client_tls": null, "client_tls_from": "default"});
    let (on, off) = ("security.istio.io/tlsMode: istio", "security.istio.io/tlsMode: disabled");
    for (outer, inner, expected) in [
        (format!("app: server, {on}"), "app: other".to_owned(), &mutual),
        (on.to_owned(), format!("app: server, {off}"), &mutual),
        (off.to_owned(), format!("app: server, {on}"), &plain),
        ("app: other".to_owned(), format!("app: server, {on}"), &unknown),
    ] {
        check(&[&client(), &service(HTTP), &entry(&outer, &inner)], "10.1.0.1:8080", None, expected);
    }
}

#[test]
fn endpoints_follow_the_tls_block_above_a_port_entry_without_one() {
    let rule = |top: &str| {
        spec(
            "DestinationRule",
            "own",
            "web",
            &format!(
                "host: server, trafficPolicy: {{{top}portLevelSettings: [{{port: {{number: 80}}, loadBalancer: {{simple: RANDOM}}}}]}}"
            ),
        )
    };
    let bare = pod("server-2", "10.0.1.2", ", labels: {app: server}", BARE);
    for (top, with_proxy, without) in [
        ("", "ISTIO_MUTUAL", "DISABLE"),
        ("tls: {mode: DISABLE}, ", "DISABLE", "DISABLE"),
        ("tls: {mode: SIMPLE}, ", "DISABLE", "DISABLE"),
        // What the endpoint can do counts even so: `endpoint_builder.go`, `buildEnvoyLbEndpoint`.
        ("tls: {mode: ISTIO_MUTUAL}, ", "ISTIO_MUTUAL", "DISABLE"),
    ] {
        let mesh = load(&[&client(), &server(1), &bare, &service(HTTP), &rule(top)]);
        let expected = |tls: &str| json!({"client_tls": tls, "client_tls_from": "auto-mtls"});
        ask(&mesh, "10.0.0.1", "10.0.1.1:8080", None, &expected(with_proxy));
        ask(&mesh, "10.0.0.1", "10.0.1.2:8080", None, &expected(without));
    }
}

/// `conversion.go`, `convertWorkloadInstanceToServiceInstance`.
#[test]
fn a_service_entry_reaches_the_port_that_a_pod_names_alike() {
    let ports = "ports: [{name: http, containerPort: 8080}, {name: admin, containerPort: 9000}]";
    let containers =
        format!("containers: [{{name: app, {ports}}}, {{name: istio-proxy, args: [proxy, sidecar]}}]");
    let labels = ", labels: {app: server, security.istio.io/tlsMode: istio}";
    let server = pod("server-1", "10.0.1.1", labels, &containers);
    let entry = |port: &str| {
        let selector = "workloadSelector: {labels: {app: server}}";
        let rest = format!(
            "location: MESH_INTERNAL, resolution: STATIC, {selector}, ports: [{{{port}, protocol: HTTP}}]"
        );
        spec("ServiceEntry", "own", "web", &format!("hosts: [own.example.com], {rest}"))
    };
    for (port, wire) in [
        ("number: 80, name: http", 8080),
        ("number: 80, name: http, targetPort: 7777", 8080),
        ("number: 80, name: web, targetPort: 9000", 9000),
        ("number: 9000, name: web", 9000),
    ] {
        let reached = json!({"client_tls": "ISTIO_MUTUAL", "protocol": "HTTP"});
        check(&[&client(), &server, &entry(port)], &format!("10.0.1.1:{wire}"), None, &reached);
    }
}

/// `serviceentry_simulation_test.go`, `TestServiceEntry`.
#[test]
fn of_overlapping_ranges_the_longest_prefix_is_meant() {
    let entry = |name: &str, addresses: &str| {
        let ports = "ports: [{number: 9999, name: tcp, protocol: TCP}]";
        spec(
            "ServiceEntry",
            name,
            "web",
            &format!("hosts: [{name}.somedomain], addresses: [{addresses}], {ports}"),
        )
    };
    let rule = |name: &str, mode: &str| {
        let tls = format!("tls: {{mode: {mode}}}");
        spec("DestinationRule", name, "web", &format!("host: {name}.somedomain, trafficPolicy: {{{tls}}}"))
    };
    let (one, two) = (rule("blah1", "DISABLE"), rule("blah2", "SIMPLE"));
    let wide = entry("blah1", "'1234:1f1:123:123:f816:3eff:feb8:2287/16'");
    let narrow = entry("blah2", "'1234:1f1:123:123:f816:3eff:febf:57ce/32'");
    let mesh = load(&[&client(), &wide, &narrow, &one, &two]);
    let to = "[1234:1f1:123:123:f816:3eff:febf:57ce]:9999";
    ask(&mesh, "10.0.0.1", to, None, &json!({"client_tls_from": "DestinationRule/web/blah2"}));
    let to = "[1234::1]:9999";
    ask(&mesh, "10.0.0.1", to, None, &json!({"client_tls_from": "DestinationRule/web/blah1"}));
    // An address that both have is the older one's.
    let (first, second) = (entry("blah1", "1.1.1.1"), entry("blah2", "2.2.2.2, 1.1.1.1"));
    let mesh = load(&[&client(), &first, &second, &one, &two]);
    for (to, name) in [("1.1.1.1:9999", "blah1"), ("2.2.2.2:9999", "blah2")] {
        let from = format!("DestinationRule/web/{name}");
        ask(&mesh, "10.0.0.1", to, None, &json!({"client_tls_from": from}));
    }
}

#[test]
fn a_backend_tls_policy_lies_under_rules_that_are_exported_alike() {
    let policy = backend_policy("group: '', kind: Service, name: server");
    let rule = |export: &str| {
        let policy = "trafficPolicy: {loadBalancer: {simple: RANDOM}}";
        spec("DestinationRule", "own", "web", &format!("host: server, {policy}{export}"))
    };
    for (export, tls) in
        [("", "SIMPLE"), (", exportTo: ['*']", "ISTIO_MUTUAL"), (", exportTo: [far]", "SIMPLE")]
    {
        check(
            &[&client(), &server(1), &service(HTTP), &policy, &rule(export)],
            "10.0.1.1:8080",
            None,
            &json!({"client_tls": tls}),
        );
    }
}

#[test]
fn a_service_of_kubernetes_comes_before_entries_of_its_name() {
    let squatter = |namespace: &str| {
        let created = ", creationTimestamp: '2026-01-01T00:00:00Z'";
        let rest = "spec: {hosts: [server.web.svc.cluster.local], ports: [{number: 80, name: http, protocol: HTTP}], location: MESH_INTERNAL, resolution: STATIC, endpoints: [{address: 10.1.0.1, serviceAccount: vm}]}";
        object("ServiceEntry", "squatter", namespace, created, rest)
    };
    let other = "\napiVersion: v1\nkind: Pod\nmetadata: {name: client-9, namespace: far, labels: {security.istio.io/tlsMode: istio}}\nspec: {containers: [{name: app}, {name: istio-proxy, args: [proxy, sidecar]}]}\nstatus: {podIP: 10.0.9.9}\n";
    let (known, unknown) = (json!({"client_tls": "ISTIO_MUTUAL"}), json!({"client_tls": null}));
    for (namespace, at_service, at_entry) in [("shop", &known, &unknown), ("far", &unknown, &known)] {
        let mesh = load(&[other, &server(1), &service(HTTP), &squatter(namespace)]);
        ask(&mesh, "10.0.9.9", "10.0.1.1:8080", None, at_service);
        ask(&mesh, "10.0.9.9", "10.1.0.1:80", None, at_entry);
    }
}
