//! Which network an endpoint and a client are of, and which gateways lead to another: from there endpoints are reached by those alone.

mod meshes;

use meshes::{BARE, HTTP, PROXY, all, check, client, istiod, object, pod, server, service, spec};
use serde_json::json;

const FAR: &str = ", labels: {app: server, security.istio.io/tlsMode: istio, topology.istio.io/network: far}";

/// MeshNetworks with a gateway of `far`, and these endpoints of it.
fn networks(endpoints: &str) -> String {
    let far = format!("far: {{endpoints: [{endpoints}], gateways: [{{address: 192.0.2.9, port: 15443}}]}}");
    format!(
        "\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: istio, namespace: istio-system}}\ndata:\n  mesh: ''\n  meshNetworks: |\n    networks:\n      {far}\n"
    )
}

/// The client whose proxy is in the network `near`.
fn near() -> String {
    client().replace("{app: client", "{topology.istio.io/network: near, app: client")
}

/// Demands that the client sends to the endpoint itself, or does not.
#[track_caller]
fn sends(documents: &[&str], direct: bool) {
    let documents: Vec<&str> = documents.iter().copied().filter(|text| !text.is_empty()).collect();
    let from = if direct { "auto-mtls" } else { "default" };
    check(&documents, "10.0.1.1:8080", None, &json!({"client_tls_from": from}));
}

/// Istio: `pilot/pkg/serviceregistry/kube/controller/network.go`, `Network`, `networkFromMeshNetworks`.
#[test]
fn a_pod_is_of_its_own_network_then_the_namespace_s_then_the_cluster_s_then_its_address_s() {
    let system = |network: &str| {
        let labels = format!("{{topology.istio.io/network: {network}}}");
        format!("\napiVersion: v1\nkind: Namespace\nmetadata: {{name: istio-system, labels: {labels}}}\n")
    };
    let (range, other) = (networks("{fromCidr: 10.0.1.0/24}"), networks("{fromCidr: 10.0.7.0/24}"));
    let wide = range.replace("far: {e", "near: {endpoints: [{fromCidr: 10.0.1.1/32}]}\n      far: {e");
    let own = networks("{fromRegistry: Kubernetes}");
    let second = networks("{fromRegistry: second}");
    let both = range.replace("far: {e", "near: {endpoints: [{fromRegistry: Kubernetes}]}\n      far: {e");
    let named = istiod("1.30.0", "{name: CLUSTER_ID, value: second}");
    let labelled = pod("server-1", "10.0.1.1", FAR, PROXY);
    for (networks, server, beside, direct) in [
        (&range, server(1), String::new(), false),
        (&other, server(1), String::new(), true),
        // Of two ranges the widest counts.
        (&wide, server(1), String::new(), false),
        (&own, server(1), String::new(), false),
        (&second, server(1), String::new(), true),
        (&second, server(1), named.clone(), false),
        (&own, server(1), named, true),
        (&both, server(1), String::new(), true),
        (&range, server(1), system("near"), true),
        (&other, labelled, system("near"), false),
    ] {
        sends(&[&near(), &server, &service(HTTP), networks, &beside], direct);
    }
}

#[test]
fn a_proxy_may_say_which_network_it_is_in() {
    let said = |network: &str| {
        client().replace(
            "args: [proxy, sidecar]",
            &format!("args: [proxy, sidecar], env: [{{name: ISTIO_META_NETWORK, value: {network}}}]"),
        )
    };
    let server = pod("server-1", "10.0.1.1", FAR, PROXY);
    for (client, direct) in [(said("near"), false), (said("far"), true), (client(), false)] {
        sends(&[&client, &server, &service(HTTP), &networks("")], direct);
    }
}

/// Istio: `pilot/pkg/serviceregistry/serviceentry/workloadentry.go`, `workloadEntryNetwork`.
#[test]
fn a_workload_entry_is_of_the_network_that_it_names() {
    let host = "hosts: [vm.example.com], location: MESH_INTERNAL, resolution: STATIC, ports: [{number: 80, name: http, protocol: HTTP, targetPort: 8080}]";
    let machine = |more: &str| {
        spec(
            "WorkloadEntry",
            "vm",
            "web",
            &format!("address: 10.0.1.1, serviceAccount: vm, labels: {{app: vm}}{more}"),
        )
    };
    let selected =
        spec("ServiceEntry", "vm", "web", &format!("{host}, workloadSelector: {{labels: {{app: vm}}}}"));
    let inline = spec(
        "ServiceEntry",
        "vm",
        "web",
        &format!("{host}, endpoints: [{{address: 10.0.1.1, serviceAccount: vm, network: far}}]"),
    );
    let range = networks("{fromCidr: 10.0.1.0/24}");
    for (entry, machine, direct) in [
        (&selected, machine(", network: far"), false),
        (&selected, machine(", network: near"), true),
        (&selected, machine(", network: without-gateway"), true),
        // Neither its address nor a label tells.
        (&selected, machine(""), true),
        (&inline, String::new(), false),
    ] {
        sends(&[&near(), entry, &machine, &range], direct);
    }
}

/// Istio: `pilot/pkg/serviceregistry/kube/controller/network.go`, `handleGatewayResource`, `getGatewayDetails`.
#[test]
fn a_gateway_or_a_service_with_the_label_of_a_network_leads_there() {
    let gateway = |labels: &str, port: u16, addresses: &str| {
        let options = "options: {gateway.istio.io/listener-protocol: auto-passthrough}";
        let listeners = format!(
            "listeners: [{{name: mtls, port: {port}, protocol: TLS, tls: {{mode: Passthrough, {options}}}}}]"
        );
        let spec = format!("spec: {{gatewayClassName: istio-remote, {listeners}, addresses: [{addresses}]}}");
        object("Gateway", "far", "istio-system", labels, &spec)
            .replace("networking.istio.io/v1", "gateway.networking.k8s.io/v1")
    };
    let service_of = |port: u16| {
        let ports = format!("ports: [{{name: tls, port: {port}}}]");
        let status = "status: {loadBalancer: {ingress: [{ip: 192.0.2.9}]}}";
        let labels = ", labels: {topology.istio.io/network: far}";
        object("Service", "ew", "web", labels, &format!("spec: {{clusterIP: 10.96.0.9, {ports}}}\n{status}"))
    };
    let label = ", labels: {topology.istio.io/network: far}";
    let address = "{type: IPAddress, value: 192.0.2.9}";
    let server = pod("server-1", "10.0.1.1", FAR, PROXY);
    for (gateway, direct) in [
        (gateway(label, 443, address), false),
        (gateway(label, 443, ""), true),
        (gateway("", 443, address), true),
        (service_of(15443), false),
        (service_of(15008), true),
        (service_of(15021), true),
    ] {
        sends(&[&near(), &server, &service(HTTP), &gateway], direct);
    }
    let sni = Some("outbound_.80_._.server.web.svc.cluster.local");
    for (labels, from) in [(label, "auto-mtls"), ("", "default")] {
        let documents = [near(), server.clone(), service(HTTP), gateway(labels, 443, address)];
        let documents: Vec<&str> = documents.iter().map(String::as_str).collect();
        check(&documents, "192.0.2.9:443", sni, &json!({"client_tls_from": from}));
    }
}

/// Istio: `getGatewayDetails`, `handleGatewayResource`: HBONE has a port of its own at such a gateway.
#[test]
fn ztunnels_reach_another_network_by_hbone_at_its_gateway() {
    let ambient = pod("client-0", "10.0.0.1", ", annotations: {ambient.istio.io/redirection: enabled}", BARE);
    let label = ", labels: {topology.istio.io/network: far}";
    let gateway = |port: u16| {
        let listener = format!("{{name: tunnel, port: {port}, protocol: HBONE}}");
        let addresses = "addresses: [{type: IPAddress, value: 192.0.2.9}]";
        let rest = format!("spec: {{gatewayClassName: istio-remote, listeners: [{listener}], {addresses}}}");
        object("Gateway", "far", "istio-system", label, &rest)
            .replace("networking.istio.io/v1", "gateway.networking.k8s.io/v1")
    };
    let service_of = |port: u16| {
        let status = "status: {loadBalancer: {ingress: [{ip: 192.0.2.9}]}}";
        let rest =
            format!("spec: {{clusterIP: 10.96.0.9, ports: [{{name: tunnel, port: {port}}}]}}\n{status}");
        object("Service", "ew", "web", label, &rest)
    };
    let tunnel = json!({
        "client_tls_from": "hbone", "client_wire": ["mtls"], "allowed": ["mtls"], "istio_mtls": "required",
    });
    let bytes = json!({"client_tls_from": "default", "client_wire": all(), "allowed": all()});
    for (gateway, port, expected) in [
        (gateway(15008), 15008, &tunnel),
        (gateway(16008), 16008, &tunnel),
        (gateway(16008), 15008, &bytes),
        (service_of(15008), 15008, &tunnel),
        (service_of(15443), 15008, &bytes),
    ] {
        check(&[&ambient, &gateway], &format!("192.0.2.9:{port}"), None, expected);
    }
}

/// Istio: pull request 58613: since 1.30 a client whose own network nobody tells is taken to be in no other. Issue 57878: since 1.29 a
/// gateway that takes HBONE alone is none to sidecars.
#[test]
fn who_has_no_network_and_what_takes_hbone_alone() {
    let server = pod("server-1", "10.0.1.1", FAR, PROXY);
    let gateway = |ports: &str| {
        let spec = format!(
            "spec: {{type: LoadBalancer, clusterIP: 10.96.0.9, selector: {{app: gateway}}, ports: [{ports}]}}"
        );
        object(
            "Service",
            "gateway",
            "istio-system",
            ", labels: {topology.istio.io/network: far}",
            &format!("{spec}\nstatus: {{loadBalancer: {{ingress: [{{ip: 192.0.2.9}}]}}}}"),
        )
    };
    let (mtls, hbone) = ("{name: mtls, port: 15443}", "{name: hbone, port: 15008}");
    let both = format!("{mtls}, {hbone}");
    let remote = spec(
        "Gateway",
        "far",
        "istio-system",
        "gatewayClassName: istio-remote, addresses: [{value: 192.0.2.9}], listeners: [{name: a, port: 15008, protocol: HBONE}]",
    )
    .replace("networking.istio.io/v1", "gateway.networking.k8s.io/v1")
    .replace("name: far,", "name: far, labels: {topology.istio.io/network: far},");
    for (client, gateway, minor, direct) in [
        (client(), gateway(mtls), 32, false),
        (client(), gateway(mtls), 30, false),
        (client(), gateway(mtls), 29, true),
        (client(), String::new(), 32, true),
        (near(), gateway(mtls), 29, false),
        (near(), gateway(hbone), 32, true),
        (near(), gateway(hbone), 29, true),
        (near(), gateway(hbone), 28, false),
        (near(), gateway(&both), 32, false),
        (near(), remote, 32, true),
    ] {
        let istiod = istiod(&format!("1.{minor}.0"), "");
        sends(&[&client, &server, &service(HTTP), &gateway, &istiod], direct);
    }
}
