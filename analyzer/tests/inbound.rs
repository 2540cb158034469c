//! What a destination is declared to accept, over small meshes written out here.

#![expect(clippy::unwrap_used, reason = "a test may stop at what it cannot read")]

use analyzer::explain::{Question, explain};
use analyzer::mesh::{Manifest, Mesh};
use flow::Endpoint;
use serde_json::{Value, json};

const SIDECAR: &str = "containers: [{name: app}, {name: istio-proxy, args: [proxy, sidecar]}]";

const AMBIENT: &str = "ambient.istio.io/redirection: enabled";

fn pod(name: &str, ip: &str, metadata: &str, spec: &str) -> String {
    format!(
        "
apiVersion: v1
kind: Pod
metadata: {{name: {name}, namespace: web, {metadata}}}
spec: {{{spec}}}
status: {{podIP: {ip}, phase: Running}}
"
    )
}

fn client(spec: &str) -> String {
    pod("client-0", "10.0.0.1", "labels: {app: client}", spec)
}

fn server(annotations: &str) -> String {
    let metadata =
        format!("labels: {{app: server, security.istio.io/tlsMode: istio}}, annotations: {{{annotations}}}");
    pod("server-0", "10.0.0.2", &metadata, SIDECAR)
}

fn service(ports: &str) -> String {
    format!(
        "
apiVersion: v1
kind: Service
metadata: {{name: server, namespace: web}}
spec: {{clusterIP: 10.96.0.2, selector: {{app: server}}, ports: [{ports}]}}
"
    )
}

fn policy(name: &str, spec: &str) -> String {
    format!(
        "
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {{name: {name}, namespace: web}}
spec: {{{spec}}}
"
    )
}

#[track_caller]
fn check(documents: &[&str], to: &str, expected: &Value) {
    let text = documents.join("---");
    let (mesh, errors) = Mesh::load(vec![Manifest { file: "mesh.yaml".into(), text }]);
    assert_eq!(errors, []);
    let to: std::net::SocketAddr = to.parse().unwrap();
    let question = Question {
        from: "10.0.0.1".parse().unwrap(),
        to: Endpoint { ip: to.ip(), port: to.port() },
        sni: None,
    };
    let answer = serde_json::to_value(explain(&mesh, &question)).unwrap();
    for (key, value) in expected.as_object().unwrap() {
        assert_eq!(&answer[key], value, "{key} at {to}");
    }
}

#[test]
fn ports_are_excluded_from_the_whole_range_and_never_from_a_list() {
    let strict = policy("strict", "mtls: {mode: STRICT}");
    let enforced = json!({"server_mode": "STRICT", "istio_mtls": "required"});
    let open = json!({"server_mode": null, "server_mode_from": "default", "istio_mtls": "unterminated"});
    for (annotations, port, expected) in [
        ("", 8080, &enforced),
        ("traffic.sidecar.istio.io/excludeInboundPorts: '8080, 9090'", 9090, &open),
        ("traffic.sidecar.istio.io/includeInboundPorts: '8080'", 8080, &enforced),
        ("traffic.sidecar.istio.io/includeInboundPorts: '8080'", 9090, &open),
        ("traffic.sidecar.istio.io/includeInboundPorts: ''", 8080, &open),
        (
            "traffic.sidecar.istio.io/includeInboundPorts: '8080', \
             traffic.sidecar.istio.io/excludeInboundPorts: '8080'",
            8080,
            &enforced,
        ),
        (
            "traffic.sidecar.istio.io/includeInboundPorts: '*', \
             traffic.sidecar.istio.io/excludeInboundPorts: '8080'",
            8080,
            &open,
        ),
        ("traffic.sidecar.istio.io/excludeInterfaces: 'net1, eth0'", 8080, &open),
        ("traffic.sidecar.istio.io/excludeInterfaces: net1", 8080, &enforced),
        ("sidecar.istio.io/interceptionMode: NONE", 8080, &open),
    ] {
        check(&[&client(SIDECAR), &server(annotations), &strict], &format!("10.0.0.2:{port}"), expected);
    }
}

#[test]
fn what_the_application_decides_depends_on_it() {
    let service = service("{port: 80, targetPort: 8080, name: tcp}");
    let off = "
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: plain, namespace: web}
spec: {host: server, trafficPolicy: {tls: {mode: DISABLE}}}
";
    let strict = policy("strict", "mtls: {mode: STRICT}");
    let all = json!(["plaintext", "tls", "mtls"]);
    let expected = json!({"client_tls": "DISABLE", "client_wire": all, "conflict": null});
    check(&[&client(SIDECAR), &server(""), &service, off, &strict], "10.0.0.2:8080", &expected);
    let expected = json!({"client_tls": "DISABLE", "client_wire": all, "conflict": false});
    check(&[&client(SIDECAR), &server(""), &service, off], "10.0.0.2:8080", &expected);
}

#[test]
fn a_waypoint_takes_hbone_alone_and_no_peer_authentication() {
    let client =
        pod("client-0", "10.0.0.1", &format!("annotations: {{{AMBIENT}}}"), "containers: [{name: app}]");
    let labels = "labels: {gateway.istio.io/managed: istio.io-mesh-controller, \
                  gateway.networking.k8s.io/gateway-name: waypoint}";
    let waypoint =
        pod("waypoint-0", "10.0.0.3", labels, "containers: [{name: istio-proxy, args: [proxy, waypoint]}]");
    let strict = policy("strict", "mtls: {mode: STRICT}");
    let documents = [client.as_str(), &waypoint, &strict];
    let expected = json!({
        "server_mode": null, "server_mode_from": "default", "allowed": ["mtls"], "istio_mtls": "required",
        "client_tls": "ISTIO_MUTUAL", "client_tls_from": "hbone", "conflict": false,
    });
    check(&documents, "10.0.0.3:15008", &expected);
    check(&documents, "10.0.0.3:8080", &json!({"server_mode": null, "allowed": [], "istio_mtls": "none"}));
    check(&documents, "10.0.0.3:15021", &json!({"allowed": ["plaintext", "tls", "mtls"]}));
}

#[test]
fn ztunnel_takes_disable_for_permissive() {
    let client = client("containers: [{name: app}]");
    let metadata = format!("labels: {{app: server}}, annotations: {{{AMBIENT}}}");
    let server = pod("server-0", "10.0.0.2", &metadata, "containers: [{name: app}]");
    let off = policy("none", "mtls: {mode: DISABLE}");
    let expected = json!({
        "server_mode": "PERMISSIVE", "server_mode_from": "PeerAuthentication/web/none",
        "allowed": ["plaintext", "tls", "mtls"], "istio_mtls": "unterminated",
    });
    check(&[&client, &server, &off], "10.0.0.2:8080", &expected);
    let expected = json!({"server_mode": "PERMISSIVE", "allowed": ["mtls"], "istio_mtls": "required"});
    check(&[&client, &server, &off], "10.0.0.2:15008", &expected);
}

#[test]
fn ztunnel_is_not_told_of_all_that_is_strict() {
    const LABELS: &str = "selector: {matchLabels: {app: server}}";
    const ELSEWHERE: &str = "mtls: {mode: UNSET}, portLevelMtls: {9090: {mode: PERMISSIVE}}";
    let client = client("containers: [{name: app}]");
    let metadata = format!("labels: {{app: server}}, annotations: {{{AMBIENT}}}");
    let server = pod("server-0", "10.0.0.2", &metadata, "containers: [{name: app}]");
    for (mesh, between, own, strict) in [
        ("STRICT", None, "mtls: {mode: PERMISSIVE}, portLevelMtls: {8080: {mode: STRICT}}", false),
        ("STRICT", None, "mtls: {mode: DISABLE}, portLevelMtls: {8080: {mode: STRICT}}", false),
        ("STRICT", Some("UNSET"), "mtls: {mode: PERMISSIVE}, portLevelMtls: {8080: {mode: STRICT}}", false),
        ("STRICT", Some("STRICT"), "mtls: {mode: PERMISSIVE}, portLevelMtls: {8080: {mode: STRICT}}", true),
        ("PERMISSIVE", None, "mtls: {mode: PERMISSIVE}, portLevelMtls: {8080: {mode: STRICT}}", true),
        ("STRICT", None, "mtls: {mode: STRICT}, portLevelMtls: {9090: {mode: PERMISSIVE}}", true),
        ("STRICT", None, "portLevelMtls: {8080: {mode: STRICT}}", true),
        ("STRICT", None, ELSEWHERE, true),
        ("STRICT", Some("UNSET"), ELSEWHERE, false),
        ("STRICT", Some("STRICT"), ELSEWHERE, true),
        ("STRICT", Some("UNSET"), "portLevelMtls: {9090: {mode: DISABLE}}", true),
    ] {
        let of_mesh = policy("mesh", &format!("mtls: {{mode: {mesh}}}"))
            .replace("namespace: web", "namespace: istio-system");
        let between = between
            .map_or_else(|| "\n".to_owned(), |mode| policy("between", &format!("mtls: {{mode: {mode}}}")));
        let own = policy("own", &format!("{LABELS}, {own}"));
        let allowed = if strict { json!([]) } else { json!(["plaintext", "tls", "mtls"]) };
        let mode = if strict { "STRICT" } else { "PERMISSIVE" };
        let expected = json!({"allowed": allowed, "server_mode": mode});
        check(&[&client, &server, &of_mesh, &between, &own], "10.0.0.2:8080", &expected);
    }
}

#[test]
fn a_workload_outside_kubernetes_enforces_its_mode_too() {
    let entry = "
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: vm, namespace: web}
spec:
  hosts: [vm.web.internal]
  addresses: [10.200.0.1]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{number: 80, name: http, protocol: HTTP, targetPort: 8080}]
  workloadSelector: {labels: {app: vm}}
";
    let workload = |account: &str| {
        format!(
            "
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {{name: vm-0, namespace: web}}
spec: {{address: 10.1.0.1, labels: {{app: vm}}{account}}}
"
        )
    };
    let strict = policy("vm", "selector: {matchLabels: {app: vm}}, mtls: {mode: STRICT}");
    let (client, vm) = (client(SIDECAR), workload(", serviceAccount: vm"));
    let expected = json!({
        "server_mode": "STRICT", "server_mode_from": "PeerAuthentication/web/vm", "allowed": ["mtls"],
        "istio_mtls": "required", "client_tls": "ISTIO_MUTUAL", "client_tls_from": "auto-mtls",
        "conflict": false, "protocol": "HTTP",
    });
    check(&[&client, entry, &vm, &strict], "10.1.0.1:8080", &expected);
    check(&[&client, entry, &vm, &strict], "10.200.0.1:80", &expected);
    let expected = json!({"server_mode": "PERMISSIVE", "allowed": ["plaintext", "mtls"]});
    check(&[&client, entry, &vm], "10.1.0.1:8080", &expected);
    // Without a service account nothing says that it has a proxy.
    let expected = json!({"server_mode": null, "client_tls": "DISABLE", "istio_mtls": "unterminated"});
    check(&[&client, entry, &workload(""), &strict], "10.1.0.1:8080", &expected);
}

#[test]
fn a_udp_port_says_so() {
    let service = service("{port: 53, name: dns, protocol: UDP}, {port: 80, name: udp-x}");
    let (client, server) = (client(SIDECAR), server(""));
    let documents = [client.as_str(), &server, &service];
    check(&documents, "10.0.0.2:53", &json!({"protocol": "UDP"}));
    check(&documents, "10.0.0.2:80", &json!({"protocol": "UDP", "allowed": ["plaintext", "tls", "mtls"]}));
    check(&documents, "10.96.0.2:53", &json!({"protocol": "UDP"}));
    check(&documents, "10.0.0.2:81", &json!({"protocol": null}));
}

#[test]
fn a_pod_that_has_ended_has_no_address() {
    let ended = pod("job-0", "10.0.0.2", "labels: {app: server}", "containers: [{name: app}]")
        .replace("Running", "Succeeded");
    check(&[&client(SIDECAR), &ended, &server("")], "10.0.0.2:80", &json!({"server_mode": "PERMISSIVE"}));
}

#[test]
fn a_gateways_label_is_enough() {
    let labels = "labels: {gateway.networking.k8s.io/gateway-name: gw}";
    let gateway = pod("gw-0", "10.0.0.2", labels, "containers: [{name: proxy}]");
    let strict = policy("strict", "mtls: {mode: STRICT}");
    let expected = json!({"server_mode": null, "allowed": [], "istio_mtls": "none"});
    check(&[&client(SIDECAR), &gateway, &strict], "10.0.0.2:80", &expected);
}

#[test]
fn a_waypoint_is_known_by_its_gateways_class() {
    let gateway = "
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: wp, namespace: web}
spec: {gatewayClassName: istio-waypoint, listeners: [{name: mesh, port: 15008, protocol: HBONE}]}
";
    let labels = "labels: {gateway.networking.k8s.io/gateway-name: wp}";
    let proxy = "containers: [{name: istio-proxy, args: [proxy, router]}]";
    let waypoint = pod("wp-0", "10.0.0.3", labels, proxy);
    let expected = json!({"allowed": ["mtls"], "istio_mtls": "required", "gateway_server": null});
    check(&[&client(SIDECAR), &waypoint, gateway], "10.0.0.3:15008", &expected);
}

#[test]
fn outbound_exclusions_name_what_the_application_dials() {
    let service = service("{port: 80, targetPort: 8080, name: http}");
    let mutual = json!({"client_tls": "ISTIO_MUTUAL", "client_tls_from": "auto-mtls"});
    let open = json!({"client_tls": null, "client_tls_from": "default"});
    for (annotation, expected) in [
        ("excludeOutboundPorts: '80'", &open),
        ("excludeOutboundPorts: '8080'", &mutual),
        ("excludeOutboundIPRanges: 10.96.0.0/16", &open),
        ("excludeOutboundIPRanges: 10.0.0.0/24", &mutual),
        ("includeOutboundIPRanges: 10.96.0.0/16", &mutual),
        ("includeOutboundIPRanges: 10.0.0.0/24", &open),
        ("includeOutboundIPRanges: ''", &open),
        ("excludeInterfaces: eth0", &open),
    ] {
        let metadata = format!("annotations: {{traffic.sidecar.istio.io/{annotation}}}");
        let client = pod("client-0", "10.0.0.1", &metadata, SIDECAR);
        check(&[&client, &server(""), &service], "10.0.0.2:8080", expected);
    }
    // Without an address of its own the Service is dialled by the pods'.
    let headless =
        service.replace("clusterIP: 10.96.0.2", "clusterIP: None").replace("port: 80, ", "port: 8080, ");
    let client = pod(
        "client-0",
        "10.0.0.1",
        "annotations: {traffic.sidecar.istio.io/excludeOutboundIPRanges: 10.0.0.2/32}",
        SIDECAR,
    );
    check(&[&client, &server(""), &headless], "10.0.0.2:8080", &open);
}

#[test]
fn an_empty_egress_list_hides_nothing() {
    let service = service("{port: 80, targetPort: 8080, name: http}");
    let sidecar = |egress: &str| {
        format!(
            "
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {{name: own, namespace: web}}
spec: {{egress: {egress}, outboundTrafficPolicy: {{mode: ALLOW_ANY}}}}
"
        )
    };
    let (client, server) = (client(SIDECAR), server(""));
    let ask = |egress: &str, expected: &Value| {
        check(&[&client, &server, &service, &sidecar(egress)], "10.0.0.2:8080", expected);
    };
    ask("[]", &json!({"client_tls": "ISTIO_MUTUAL"}));
    ask("[{hosts: ['other/*']}]", &json!({"client_tls": null}));
}

#[test]
fn behind_one_address_only_what_every_pod_accepts_is_declared() {
    let other = server("").replace("server-0", "server-1").replace("10.0.0.2", "10.0.0.3");
    let other = other.replace("{app: server, ", "{app: server, version: v2, ");
    let documents = |all: &str, own: &str| {
        let own =
            policy("own", &format!("selector: {{matchLabels: {{version: v2}}}}, mtls: {{mode: {own}}}"));
        let parts =
            [client(SIDECAR), server(""), other.clone(), service("{port: 80, targetPort: 8080, name: http}")];
        let all = policy("all", &format!("mtls: {{mode: {all}}}"));
        parts.into_iter().chain([all, own]).collect::<Vec<_>>()
    };
    // Of one mode that several policies set it is still said that it is that mode.
    for (all, own, mode, allowed, istio_mtls) in [
        ("STRICT", "STRICT", json!("STRICT"), json!(["mtls"]), "required"),
        ("STRICT", "DISABLE", json!(null), json!([]), "unterminated"),
        ("DISABLE", "STRICT", json!(null), json!([]), "unterminated"),
        ("STRICT", "PERMISSIVE", json!(null), json!(["mtls"]), "accepted"),
        ("PERMISSIVE", "STRICT", json!(null), json!(["mtls"]), "accepted"),
        ("PERMISSIVE", "DISABLE", json!(null), json!(["plaintext"]), "unterminated"),
    ] {
        let documents = documents(all, own);
        let documents: Vec<&str> = documents.iter().map(String::as_str).collect();
        let expected = json!({"server_mode": mode, "allowed": allowed, "istio_mtls": istio_mtls});
        check(&documents, "10.96.0.2:80", &expected);
    }
}

#[test]
fn a_gateway_answers_at_its_own_ports_where_no_server_is_theirs() {
    let gateway =
        pod("gateway-0", "10.0.0.9", "", "containers: [{name: istio-proxy, args: [proxy, router]}]");
    let documents = [client(SIDECAR), gateway];
    let documents: Vec<&str> = documents.iter().map(String::as_str).collect();
    check(&documents, "10.0.0.9:15021", &json!({"allowed": ["plaintext", "tls", "mtls"]}));
    check(&documents, "10.0.0.9:15022", &json!({"allowed": []}));
}
