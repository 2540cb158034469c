//! Which DestinationRule acts for a client, over small meshes written out here.

#![expect(clippy::unwrap_used, reason = "a test may stop at what it cannot read")]

use analyzer::explain::{Question, explain};
use analyzer::mesh::{Manifest, Mesh};
use analyzer::report::Expected;
use flow::Endpoint;

const BASE: &str = "
apiVersion: v1
kind: Pod
metadata: {name: client-0, namespace: web, labels: {app: client, security.istio.io/tlsMode: istio}}
spec: {containers: [{name: app}, {name: istio-proxy, args: [proxy, sidecar]}]}
status: {podIP: 10.0.0.1}
---
apiVersion: v1
kind: Pod
metadata: {name: shop-0, namespace: shop, labels: {app: shop, version: v1, security.istio.io/tlsMode: istio}}
spec: {containers: [{name: app}, {name: istio-proxy, args: [proxy, sidecar]}]}
status: {podIP: 10.0.0.2}
---
apiVersion: v1
kind: Service
metadata: {name: shop, namespace: shop}
spec: {clusterIP: 10.96.0.2, selector: {app: shop}, ports: [{name: http, port: 80, targetPort: 8080}]}
";

const HOST: &str = "shop.shop.svc.cluster.local";

fn rule(place: &str, name: &str, age: u8, spec: &str) -> String {
    format!(
        "
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: {name}, namespace: {place}, creationTimestamp: '2026-01-{age:02}T00:00:00Z'}}
spec: {{{spec}}}
"
    )
}

fn tls(place: &str, name: &str, age: u8, host: &str, export: &str, mode: &str) -> String {
    rule(
        place,
        name,
        age,
        &format!(
            "host: '{host}', exportTo: [{export}], \
             trafficPolicy: {{tls: {{mode: {mode}, clientCertificate: /cert, privateKey: /key}}}}"
        ),
    )
}

#[track_caller]
fn ask(documents: &[&str], to: &str, sni: Option<&str>) -> Expected {
    let text = [&[BASE], documents].concat().join("---");
    let (mesh, errors) = Mesh::load(vec![Manifest { file: "mesh.yaml".into(), text }]);
    assert_eq!(errors, []);
    let to: std::net::SocketAddr = to.parse().unwrap();
    let question = Question {
        from: "10.0.0.1".parse().unwrap(),
        to: Endpoint { ip: to.ip(), port: to.port() },
        sni: sni.map(str::to_owned),
    };
    explain(&mesh, &question).expected
}

#[track_caller]
fn check(documents: &[&str], tls: &str, from: &str) {
    let answer = ask(documents, "10.0.0.2:8080", None);
    let got = (answer.client_tls.map(|tls| tls.to_string()), answer.client_tls_from);
    assert_eq!(got, (Some(tls.to_owned()), from.to_owned()));
}

#[test]
fn a_rule_for_other_namespaces_only_is_not_found_at_home() {
    check(&[&tls("web", "away", 1, HOST, "shop", "DISABLE")], "ISTIO_MUTUAL", "auto-mtls");
    check(&[&tls("web", "home", 1, HOST, "shop, web", "DISABLE")], "DISABLE", "DestinationRule/web/home");
}

#[test]
fn the_most_specific_host_is_found_before_its_export_counts() {
    let exact = tls("shop", "exact", 1, HOST, "other", "SIMPLE");
    let wildcard = tls("shop", "wildcard", 1, "*.cluster.local", "'*'", "DISABLE");
    let root = tls("istio-system", "root", 1, "*.local", "'*'", "MUTUAL");
    check(&[&wildcard, &root], "DISABLE", "DestinationRule/shop/wildcard");
    check(&[&exact, &wildcard, &root], "MUTUAL", "DestinationRule/istio-system/root");
    // Rules that are private to their namespace hide nothing from others.
    let private = tls("shop", "exact", 1, HOST, "'.'", "SIMPLE");
    check(&[&private, &wildcard, &root], "DISABLE", "DestinationRule/shop/wildcard");
}

#[test]
fn a_private_default_counts_for_rules_without_export() {
    let config = "
apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data: {mesh: 'defaultDestinationRuleExportTo: [\".\"]'}
";
    let rule = tls("shop", "rule", 1, HOST, "", "DISABLE");
    check(&[&rule], "DISABLE", "DestinationRule/shop/rule");
    check(&[&rule, config], "ISTIO_MUTUAL", "auto-mtls");
}

#[test]
fn rules_exported_apart_are_not_merged() {
    let old = tls("web", "old", 1, HOST, "'.'", "DISABLE");
    let new = tls("web", "new", 2, HOST, "'*'", "SIMPLE");
    check(&[&old, &new], "SIMPLE", "DestinationRule/web/new");
    let alike = tls("web", "new", 2, HOST, "'.'", "SIMPLE");
    check(&[&old, &alike], "DISABLE", "DestinationRule/web/old");
    // A rule that is exported further fills in the older one, and stands for itself elsewhere.
    let some = tls("shop", "some", 1, HOST, "web", "DISABLE");
    let more = tls("shop", "more", 2, HOST, "'web', other", "SIMPLE");
    check(&[&some, &more], "DISABLE", "DestinationRule/shop/some");
    let elsewhere = tls("shop", "some", 1, HOST, "other", "DISABLE");
    check(&[&elsewhere, &more], "SIMPLE", "DestinationRule/shop/more");
}

#[test]
fn a_selecting_rule_takes_what_it_lacks_only_from_a_private_one() {
    let own = |age| {
        rule("web", "own", age, &format!("host: {HOST}, workloadSelector: {{matchLabels: {{app: client}}}}"))
    };
    let private = tls("web", "all", 1, HOST, "'.'", "DISABLE");
    check(&[&own(1), &private], "DISABLE", "DestinationRule/web/all");
    let public = tls("web", "all", 1, HOST, "", "DISABLE");
    check(&[&own(2), &public], "ISTIO_MUTUAL", "auto-mtls");
}

#[test]
fn a_backend_tls_policy_fills_in_what_rules_leave_out() {
    let policy = |name: &str, section: &str| {
        format!(
            "
apiVersion: gateway.networking.k8s.io/v1
kind: BackendTLSPolicy
metadata: {{name: {name}, namespace: shop}}
spec:
  targetRefs: [{{group: '', kind: Service, name: shop{section}}}]
  validation: {{hostname: shop.example.com, wellKnownCACertificates: System}}
"
        )
    };
    let (whole, port) = (policy("whole", ""), policy("port", ", sectionName: http"));
    let from = "BackendTLSPolicy/shop/whole";
    check(&[&whole], "SIMPLE", from);
    let plain =
        rule("shop", "lb", 1, &format!("host: {HOST}, trafficPolicy: {{loadBalancer: {{simple: RANDOM}}}}"));
    check(&[&whole, &plain], "SIMPLE", from);
    check(&[&whole, &tls("shop", "own", 1, HOST, "", "DISABLE")], "DISABLE", "DestinationRule/shop/own");
    check(&[&whole, &tls("shop", "own", 1, HOST, "'*'", "DISABLE")], "DISABLE", "DestinationRule/shop/own");
    check(&[&whole, &port], "SIMPLE", "BackendTLSPolicy/shop/port");
}

#[test]
fn plain_bytes_of_an_undeclared_port_depend_on_the_application() {
    let service = "
apiVersion: v1
kind: Service
metadata: {name: raw, namespace: shop}
spec: {clusterIP: 10.96.0.3, selector: {app: shop}, ports: [{name: tcp, port: 90, targetPort: 9090}]}
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: shop}
spec: {mtls: {mode: STRICT}}
";
    let plain = tls("web", "plain", 1, "*.local", "", "DISABLE");
    assert_eq!(ask(&[service, &plain], "10.0.0.2:9090", None).conflict, None);
    assert_eq!(ask(&[service, &plain], "10.0.0.2:8080", None).conflict, Some(true));
}

#[test]
fn an_endpoint_tells_which_of_the_routed_subsets_is_meant() {
    let routes = format!(
        "
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: shop, namespace: shop}}
spec:
  hosts: [{HOST}]
  http: [{{route: [{{destination: {{host: {HOST}, subset: v1}}, weight: 1}}, {{destination: {{host: {HOST}, subset: v2}}, weight: 1}}]}}]
"
    );
    let subsets = rule(
        "shop",
        "subsets",
        1,
        &format!(
            "host: {HOST}, subsets: [{{name: v1, labels: {{version: v1}}, trafficPolicy: {{tls: {{mode: DISABLE}}}}}}, \
             {{name: v2, labels: {{version: v2}}}}]"
        ),
    );
    check(&[&routes, &subsets], "DISABLE", "DestinationRule/shop/subsets");
    check(&[&subsets], "ISTIO_MUTUAL", "auto-mtls");
}

const GATEWAY: &str = "
apiVersion: v1
kind: Pod
metadata: {name: gw-0, namespace: infra, labels: {istio: gw}}
spec: {containers: [{name: istio-proxy, args: [proxy, router]}]}
status: {podIP: 10.0.0.9}
---
apiVersion: v1
kind: Service
metadata: {name: gw, namespace: infra}
spec: {clusterIP: 10.96.0.9, selector: {istio: gw}, ports: [{name: https, port: 443, targetPort: 8443}]}
";

#[test]
fn an_auto_passthrough_server_takes_the_services_that_its_hosts_cover() {
    let gateway = "
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: east-west, namespace: infra}
spec:
  selector: {istio: gw}
  servers: [{port: {number: 15443, name: tls, protocol: TLS}, tls: {mode: AUTO_PASSTHROUGH}, hosts: ['*.local']}]
";
    let server = |sni| ask(&[GATEWAY, gateway], "10.0.0.9:15443", sni).gateway_server;
    assert!(server(Some("outbound_.80_._.shop.shop.svc.cluster.local")).is_some());
    assert!(server(Some("outbound_.80_._.shop.example.com")).is_none());
    assert!(server(Some("shop.local")).is_none());
    // Of a host that is declared there is a chain for each port and subset.
    assert!(server(Some("outbound_.81_._.shop.shop.svc.cluster.local")).is_none());
    assert!(server(Some("outbound_.80_.v9_.shop.shop.svc.cluster.local")).is_none());
    assert!(server(Some("outbound_.80_._.elsewhere.shop.svc.cluster.local")).is_some());
    // A service whose endpoints are all on another network is reached by Istio mTLS through it.
    let remote = "
apiVersion: v1
kind: Service
metadata: {name: far, namespace: shop}
spec: {clusterIP: 10.96.0.7, ports: [{name: http, port: 80}]}
";
    let sni = "outbound_.80_._.far.shop.svc.cluster.local";
    let answer = ask(&[GATEWAY, gateway, remote], "10.0.0.9:15443", Some(sni));
    assert_eq!(answer.client_tls_from, "auto-mtls");
    assert_eq!(answer.sni.as_deref(), Some(sni));
}

#[test]
fn a_gateway_of_the_gateway_api_may_name_the_service_of_its_pods() {
    let gateway = |address: &str| {
        format!(
            "
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {{name: manual, namespace: infra}}
spec:
  gatewayClassName: istio
  addresses: [{{type: Hostname, value: {address}}}]
  listeners: [{{name: https, port: 443, protocol: HTTPS, tls: {{certificateRefs: [{{name: cert}}]}}}}]
"
        )
    };
    for (address, found) in [("gw.infra.svc.cluster.local", true), ("gw", true), ("other", false)] {
        let answer = ask(&[GATEWAY, &gateway(address)], "10.0.0.9:8443", Some("a.example.com"));
        assert_eq!(answer.gateway_server.is_some(), found, "{address}");
    }
}

#[test]
fn the_mesh_says_what_gateways_negotiate_at_least() {
    let gateway = |mode: &str, version: &str| {
        format!(
            "
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {{name: gw, namespace: infra}}
spec:
  selector: {{istio: gw}}
  servers:
  - {{port: {{number: 443, name: https, protocol: HTTPS}}, hosts: ['*'], tls: {{mode: {mode}, credentialName: cert}}}}
---
apiVersion: v1
kind: ConfigMap
metadata: {{name: istio, namespace: istio-system}}
data: {{mesh: 'tlsDefaults: {{minProtocolVersion: {version}}}'}}
"
        )
    };
    let least = |mode: &str, version: &str| {
        let answer = ask(&[GATEWAY, &gateway(mode, version)], "10.0.0.9:8443", Some("a.example.com"));
        answer.gateway_server.unwrap().min_version
    };
    assert_eq!(least("SIMPLE", "TLSV1_3").as_deref(), Some("TLSV1_3"));
    assert_eq!(least("PASSTHROUGH", "TLSV1_3"), None);
    // Protocol buffers in JSON may have a value's number for its name.
    assert_eq!(least("SIMPLE", "2").as_deref(), Some("TLSV1_3"));
    assert_eq!(least("SIMPLE", "1").as_deref(), Some("TLSV1_2"));
    assert_eq!(least("SIMPLE", "TLS_AUTO"), None);
    assert_eq!(least("SIMPLE", "0"), None);
    // A server's own TLS_AUTO says nothing.
    let server = "SIMPLE, minProtocolVersion: TLS_AUTO";
    assert_eq!(least(server, "TLSV1_3").as_deref(), Some("TLSV1_3"));
}

#[test]
fn an_outbound_policy_without_a_mode_knows_the_registry_only() {
    let sidecar = "
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: default, namespace: web}
spec: {outboundTrafficPolicy: {}}
";
    assert_eq!(ask(&[sidecar], "192.0.2.1:443", None).client_wire, []);
    assert_eq!(ask(&[], "192.0.2.1:443", None).client_wire.len(), 3);
    let whole_mesh = |config: &str| {
        let config = format!(
            "\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: istio, namespace: istio-system}}\ndata: {{mesh: '{config}'}}"
        );
        ask(&[&config], "192.0.2.1:443", None).client_wire.len()
    };
    assert_eq!(whole_mesh("outboundTrafficPolicy: {}"), 0);
    assert_eq!(whole_mesh("outboundTrafficPolicy: {mode: REGISTRY_ONLY}"), 0);
    assert_eq!(whole_mesh("outboundTrafficPolicy: {mode: ALLOW_ANY}"), 3);
    // Protocol buffers in JSON may have a value's number for its name.
    assert_eq!(whole_mesh("outboundTrafficPolicy: {mode: 0}"), 0);
    assert_eq!(whole_mesh("outboundTrafficPolicy: {mode: 1}"), 3);
    assert_eq!(whole_mesh("outboundTrafficPolicy:"), 3);
}

const EGRESS: &str = "
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: egress, namespace: web}
spec:
  selector: {istio: gw}
  servers: [{port: {number: 443, name: https, protocol: HTTPS}, tls: {mode: ISTIO_MUTUAL}, hosts: [api.example.com]}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: api, namespace: web}
spec:
  hosts: [api.example.com]
  gateways: [mesh, egress]
  http:
  - match: [{gateways: [mesh], port: 80}]
    route: [{destination: {host: gw.infra.svc.cluster.local, subset: api, port: {number: 443}}}]
  - match: [{gateways: [egress], port: 443}]
    route: [{destination: {host: shop.shop.svc.cluster.local, subset: v1}}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: api, namespace: web}
spec:
  host: gw.infra.svc.cluster.local
  subsets:
  - name: api
    trafficPolicy: {portLevelSettings: [{port: {number: 443}, tls: {mode: ISTIO_MUTUAL, sni: api.example.com}}]}
";

#[test]
fn a_route_to_an_egress_gateway_names_the_subset_that_secures_it() {
    let answer = ask(&[GATEWAY, EGRESS], "10.0.0.9:8443", Some("api.example.com"));
    assert_eq!(answer.client_tls_from, "DestinationRule/web/api");
    assert_eq!(answer.sni.as_deref(), Some("api.example.com"));
    assert_eq!(answer.conflict, Some(false));
    // The route that is bound to the gateway is none of the sidecar's.
    let subsets = rule(
        "shop",
        "shop",
        1,
        &format!("host: {HOST}, subsets: [{{name: v1, trafficPolicy: {{tls: {{mode: SIMPLE}}}}}}]"),
    );
    check(&[GATEWAY, EGRESS, &subsets], "ISTIO_MUTUAL", "auto-mtls");
}

#[test]
fn who_is_asked_about_calls_what_is_hidden() {
    let sidecar = |mode: &str| {
        format!(
            "
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {{name: default, namespace: web}}
spec: {{egress: [{{hosts: ['./*']}}], outboundTrafficPolicy: {{mode: {mode}}}}}
"
        )
    };
    let found = |documents: &[&str], to: &str| {
        let text = [&[BASE], documents].concat().join("---");
        let (mesh, _) = Mesh::load(vec![Manifest { file: "mesh.yaml".into(), text }]);
        let to: std::net::SocketAddr = to.parse().unwrap();
        let to = Endpoint { ip: to.ip(), port: to.port() };
        explain(&mesh, &Question { from: "10.0.0.1".parse().unwrap(), to, sni: None }).lint
    };
    let hidden = |lint: Vec<String>| lint.iter().any(|id| id == "SC01");
    for mode in ["ALLOW_ANY", "REGISTRY_ONLY"] {
        assert!(hidden(found(&[&sidecar(mode)], "10.0.0.2:8080")), "{mode}");
        // What nobody declares is not hidden.
        assert!(!hidden(found(&[&sidecar(mode)], "192.0.2.1:443")), "{mode}");
    }
    assert!(!hidden(found(&[], "10.0.0.2:8080")));
}

#[test]
fn a_sidecar_that_imports_a_route_knows_where_it_leads() {
    let sidecar = "
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: default, namespace: web}
spec: {egress: [{hosts: ['./*']}]}
";
    let routes = "
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: shop, namespace: web}
spec:
  hosts: [shop.example.com]
  http: [{route: [{destination: {host: shop.shop.svc.cluster.local}}]}]
";
    assert_eq!(ask(&[sidecar], "10.0.0.2:8080", None).client_tls_from, "default");
    assert_eq!(ask(&[sidecar, routes], "10.0.0.2:8080", None).client_tls_from, "auto-mtls");
}

#[test]
fn a_sidecar_listener_with_a_port_knows_its_hosts_by_that_port_only() {
    let sidecar = |egress: &str| {
        format!(
            "
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {{name: default, namespace: web}}
spec: {{egress: [{egress}], outboundTrafficPolicy: {{mode: ALLOW_ANY}}}}
"
        )
    };
    for (egress, from) in [
        ("", "auto-mtls"),
        ("{port: {number: 80, protocol: HTTP, name: http}, hosts: ['shop/*']}", "auto-mtls"),
        ("{port: {number: 81, protocol: HTTP, name: http}, hosts: ['shop/*']}", "default"),
        ("{port: {number: 81, protocol: HTTP_PROXY, name: http}, hosts: ['shop/*']}", "auto-mtls"),
        (
            "{port: {number: 81, protocol: HTTP, name: http}, hosts: ['*/*']}, {hosts: ['shop/*']}",
            "auto-mtls",
        ),
        ("{hosts: ['web/*']}", "default"),
    ] {
        assert_eq!(ask(&[&sidecar(egress)], "10.0.0.2:8080", None).client_tls_from, from, "{egress}");
    }
}

#[test]
fn a_listener_with_several_cas_is_in_error() {
    let gateway = |cas: &str| {
        format!(
            "
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {{name: gw, namespace: infra}}
spec:
  addresses: [{{type: Hostname, value: gw}}]
  tls: {{frontend: {{default: {{{cas}}}}}}}
  listeners: [{{name: https, port: 443, protocol: HTTPS, tls: {{certificateRefs: [{{name: cert}}]}}}}]
"
        )
    };
    let mode = |cas: &str| {
        let validation = format!("validation: {{caCertificateRefs: [{cas}]}}");
        let cas = if cas.is_empty() { "" } else { &validation };
        let answer = ask(&[GATEWAY, &gateway(cas)], "10.0.0.9:8443", Some("a.example.com"));
        answer.gateway_server.and_then(|server| server.tls_mode)
    };
    assert_eq!(mode("").as_deref(), Some("SIMPLE"));
    assert_eq!(mode("{name: a}").as_deref(), Some("MUTUAL"));
    assert_eq!(mode("{name: a}, {name: b}"), None);
}

#[test]
fn the_route_of_the_host_itself_is_nearer_than_a_pattern() {
    let routes = |name: &str, host: &str, subset: &str| {
        format!(
            "
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: {name}, namespace: shop}}
spec: {{hosts: ['{host}'], http: [{{route: [{{destination: {{host: {HOST}, subset: {subset}}}}}]}}]}}
"
        )
    };
    let subsets = rule(
        "shop",
        "subsets",
        1,
        &format!(
            "host: {HOST}, subsets: [{{name: v1, trafficPolicy: {{tls: {{mode: DISABLE}}}}}}, {{name: v2}}]"
        ),
    );
    let (exact, pattern) = (routes("b", HOST, "v1"), routes("a", "*.shop.svc.cluster.local", "v2"));
    check(&[&pattern, &subsets], "ISTIO_MUTUAL", "auto-mtls");
    check(&[&pattern, &exact, &subsets], "DISABLE", "DestinationRule/shop/subsets");
}
