//! What brings connections to a proxy: redirection in the pod, and routes to a gateway.

mod meshes;

use meshes::{HTTP, PROXY, all, check, client, object, pod, server, service, spec};
use serde_json::json;

#[test]
fn the_bytes_that_routes_bring_to_an_egress_gateway_are_those_of_their_kind() {
    let gateway = object(
        "Pod",
        "egress-0",
        "istio-system",
        ", labels: {istio: egress}",
        "spec: {containers: [{name: istio-proxy, args: [proxy, router]}]}\nstatus: {podIP: 10.0.1.9}",
    );
    let service = object(
        "Service",
        "egress",
        "istio-system",
        "",
        "spec: {clusterIP: 10.96.0.9, selector: {istio: egress}, ports: [{name: https, port: 443, targetPort: 8443}]}",
    );
    let routes = |kind: &str, conditions: &str| {
        let to = "route: [{destination: {host: egress.istio-system.svc.cluster.local, port: {number: 443}}}]";
        let spec =
            format!("spec: {{hosts: [api.example.com], {kind}: [{{match: [{{{conditions}}}], {to}}}]}}");
        object("VirtualService", "out", "web", "", &spec)
    };
    let elsewhere = "sourceLabels: {app: other}, port: 80";
    for (routes, wire) in [
        (routes("http", "port: 80"), json!(["plaintext"])),
        (routes("tls", "port: 443, sniHosts: [api.example.com]"), json!(["tls", "mtls"])),
        (routes("tcp", "port: 9000"), all()),
        // Without a route for this client the port's own protocol tells.
        (routes("http", elsewhere), json!(["tls", "mtls"])),
    ] {
        let expected = json!({"client_tls": "DISABLE", "client_tls_from": "auto-mtls", "client_wire": wire});
        check(&[&client(), &gateway, &service, &routes], "10.0.1.9:8443", None, &expected);
    }
}

#[test]
fn a_pod_that_does_not_say_is_redirected_as_the_mesh_says() {
    let config = |mode: &str| {
        format!(
            "\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: istio, namespace: istio-system}}\ndata:\n  mesh: |\n    defaultConfig: {{interceptionMode: {mode}}}\n"
        )
    };
    let mode = |annotation: &str, mode: &str| format!(", annotations: {{{annotation}: '{mode}'}}");
    let own = "sidecar.istio.io/interceptionMode";
    let whole = "proxy.istio.io/config";
    let enforced = json!({"server_mode": "PERMISSIVE"});
    let open = json!({"server_mode": null});
    for (config, annotations, expected) in [
        (config("NONE"), String::new(), &open),
        (config("2"), String::new(), &open),
        (config("TPROXY"), String::new(), &enforced),
        (config("NONE"), mode(own, "REDIRECT"), &enforced),
        (config("REDIRECT"), mode(own, "NONE"), &open),
        (config("REDIRECT"), mode(whole, "interceptionMode: NONE"), &open),
        (config("NONE"), mode(whole, "interceptionMode: REDIRECT"), &enforced),
        (config("NONE"), mode(whole, "concurrency: 2"), &open),
    ] {
        let server = pod("server-1", "10.0.1.1", &format!(", labels: {{app: server}}{annotations}"), PROXY);
        check(&[&client(), &server, &config], "10.0.1.1:8080", None, expected);
    }
    // What the injector wrote tells too, and a client that is not redirected decides for itself.
    let proxy = "containers: [{name: app}, {name: istio-proxy, args: [proxy, sidecar], env: [{name: ISTIO_META_INTERCEPTION_MODE, value: NONE}]}]";
    let client = pod("client-0", "10.0.0.1", "", proxy);
    let expected = json!({"client_tls": null, "client_wire": all()});
    check(&[&client, &server(1), &service(HTTP)], "10.0.1.1:8080", None, &expected);
}

#[test]
fn an_istio_sni_tells_what_is_meant_behind_another_network_s_gateway() {
    let sni = Some("outbound_.80_._.server.web.svc.cluster.local");
    let off = spec("PeerAuthentication", "off", "web", "mtls: {mode: DISABLE}");
    let auto = json!({
        "server_mode": null, "client_tls": "ISTIO_MUTUAL", "client_tls_from": "auto-mtls", "sni": sni,
        "allowed": ["mtls"], "istio_mtls": "accepted", "client_wire": ["mtls"], "conflict": false,
    });
    let unknown = json!({"client_tls": null, "client_tls_from": "default", "istio_mtls": "unterminated"});
    let (client, server, service) = (client(), server(1), service(HTTP));
    let documents: [&str; 3] = [&client, &server, &service];
    check(&documents, "192.0.2.9:15443", sni, &auto);
    check(&[&client, &service], "192.0.2.9:15443", sni, &auto);
    // Not by any other port, nor without such a name, nor of a host that is not known.
    check(&documents, "192.0.2.9:443", sni, &unknown);
    check(&documents, "192.0.2.9:15443", Some("server.web.svc.cluster.local"), &unknown);
    check(&documents, "192.0.2.9:15443", None, &unknown);
    let other = Some("outbound_.80_._.other.web.svc.cluster.local");
    check(&documents, "192.0.2.9:15443", other, &unknown);
    // Unless MeshNetworks names a gateway there.
    let networks = "
apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data:
  mesh: ''
  meshNetworks: |
    networks:
      far: {endpoints: [{fromCidr: 192.168.0.0/16}], gateways: [{address: 192.0.2.9, port: 443}]}
      near: {endpoints: [{fromRegistry: Kubernetes}], gateways: [{registryServiceName: ew.web.svc.cluster.local, port: 443}, {address: ew.example.com, port: 443}]}
";
    let named = [&*client, &*server, &*service, networks];
    check(&named, "192.0.2.9:443", sni, &auto);
    check(&named, "192.0.2.8:443", sni, &unknown);
    check(&named, "192.0.2.9:443", None, &unknown);
    // Or a Service is one, by its label or by MeshNetworks, whose pods are in another cluster.
    let far = |labels: &str, port: u16| {
        let ports = format!("ports: [{{name: tls, port: {port}, targetPort: 15443}}]");
        let status = "status: {loadBalancer: {ingress: [{ip: 192.0.2.9}]}}";
        object("Service", "ew", "web", labels, &format!("spec: {{clusterIP: 10.96.0.9, {ports}}}\n{status}"))
    };
    let network = ", labels: {topology.istio.io/network: far}";
    let at_443 = ", labels: {topology.istio.io/network: far, networking.istio.io/gatewayPort: '443'}";
    let by_name = networks.replace("192.0.2.9", "192.0.2.7");
    // `network.go`, `reloadMeshNetworks`: it is a Service of the clusters that the network names.
    let of_another = by_name.replace("fromRegistry: Kubernetes", "fromRegistry: other");
    let of_none = by_name.replace("fromRegistry: Kubernetes", "fromCidr: 192.0.0.0/24");
    for (service_of, networks, to, expected) in [
        (far(network, 15443), "", "192.0.2.9:15443", &auto),
        (far(at_443, 443), "", "192.0.2.9:443", &auto),
        (far(network, 443), "", "192.0.2.9:443", &unknown),
        (far("", 443), "", "192.0.2.9:443", &unknown),
        (far("", 443), &*by_name, "192.0.2.9:443", &auto),
        (far("", 443), &*of_another, "192.0.2.9:443", &unknown),
        (far("", 443), &*of_none, "192.0.2.9:443", &unknown),
    ] {
        let documents = [&*client, &*server, &*service, &*service_of, networks];
        let declared: Vec<&str> = documents.into_iter().filter(|text| !text.is_empty()).collect();
        check(&declared, to, sni, expected);
    }
    // Where auto mTLS is off for the host, no endpoint of another network is known.
    let plain = json!({"client_tls": "DISABLE", "client_tls_from": "auto-mtls", "conflict": true});
    check(&[&client, &server, &service, &off], "192.0.2.9:15443", sni, &plain);
    // A gateway that is known is the same by its pod's address and by its Service's.
    let labels = ", labels: {istio: ew}";
    let gateway = pod("ew-0", "10.0.3.1", labels, "containers: [{name: istio-proxy, args: [proxy, router]}]");
    let front = spec(
        "Service",
        "ew",
        "web",
        "clusterIP: 10.96.0.3, selector: {istio: ew}, ports: [{name: tls, port: 15443}]",
    );
    let passing = spec(
        "Gateway",
        "ew",
        "web",
        "selector: {istio: ew}, servers: [{port: {number: 15443, name: tls, protocol: TLS}, hosts: ['*.local'], tls: {mode: AUTO_PASSTHROUGH}}]",
    );
    for to in ["10.0.3.1:15443", "10.96.0.3:15443"] {
        let known = [&*client, &*server, &*service, &*gateway, &*front, &*passing];
        check(&known, to, sni, &auto);
    }
}

/// `ep_filters_test.go`, `TestEndpointsByNetworkFilter`: endpoints of a network that has a gateway are replaced by it.
#[test]
fn pods_of_another_network_are_reached_through_its_gateway_alone() {
    let labelled = |pod: &str, network: &str| {
        let label = format!("labels: {{topology.istio.io/network: {network}, ");
        if network.is_empty() { pod.to_owned() } else { pod.replacen("labels: {", &label, 1) }
    };
    let gateway = |network: &str| {
        let labels = format!(", labels: {{topology.istio.io/network: {network}}}");
        let status = "status: {loadBalancer: {ingress: [{ip: 192.0.2.9}]}}";
        let ports = "ports: [{name: tls, port: 15443}]";
        object("Service", "ew", "web", &labels, &format!("spec: {{clusterIP: 10.96.0.9, {ports}}}\n{status}"))
    };
    let (far, cluster) = (
        "far",
        "\napiVersion: v1\nkind: Namespace\nmetadata: {name: istio-system, labels: {topology.istio.io/network: near}}\n",
    );
    let by_name = |endpoints: &str| {
        let networks = format!(
            "networks: {{far: {{endpoints: [{{{endpoints}}}], gateways: [{{registryServiceName: ew.web.svc.cluster.local, port: 15443}}]}}}}"
        );
        format!(
            "\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: istio, namespace: istio-system}}\ndata: {{mesh: '', meshNetworks: '{networks}'}}\n"
        )
    };
    let service_of = service(HTTP);
    let headless = service_of.replace("10.96.0.2", "None");
    for (own, theirs, service, system, gateway, direct) in [
        ("near", far, &service_of, "", gateway(far), false),
        // The network of the cluster is that of its own namespace.
        ("", far, &service_of, cluster, gateway(far), false),
        ("near", "near", &service_of, "", gateway(far), true),
        // What has none is reached from everywhere, as is a network without a gateway; from none only what has none.
        ("", far, &service_of, "", gateway(far), false),
        ("near", "", &service_of, "", gateway(far), true),
        ("near", far, &service_of, "", gateway("other"), true),
        // The Service of a network's gateway is one of the clusters that the network names.
        ("near", far, &service_of, "", by_name("fromRegistry: other"), false),
        ("near", far, &service_of, "", by_name("fromCidr: 192.168.0.0/16"), true),
        // Here the client dials the endpoint.
        ("near", far, &headless, "", gateway(far), true),
    ] {
        let documents = [
            labelled(&client(), own),
            labelled(&server(1), theirs),
            service.clone(),
            gateway,
            system.to_owned(),
        ];
        let declared: Vec<&str> =
            documents.iter().map(String::as_str).filter(|text| !text.is_empty()).collect();
        let from = if direct { "auto-mtls" } else { "default" };
        check(&declared, "10.0.1.1:8080", None, &json!({"client_tls_from": from}));
    }
}
