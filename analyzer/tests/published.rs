//! What a Service is published at outside the cluster: external addresses, load balancers, node ports.

mod meshes;

use meshes::{all, ask, client, load, object, pod, server, spec};
use serde_json::json;

#[test]
fn what_a_service_is_published_at_stands_for_its_pods() {
    let node = "\napiVersion: v1\nkind: Node\nmetadata: {name: n1}\nstatus: {addresses: [{type: InternalIP, address: 192.0.2.10}]}\n";
    let published = object(
        "Service",
        "server",
        "web",
        "",
        "spec: {clusterIP: 10.96.0.2, selector: {app: server}, externalIPs: [198.51.100.7], \
         ports: [{name: http, port: 80, targetPort: 8080, nodePort: 30080}]}\n\
         status: {loadBalancer: {ingress: [{ip: 198.51.100.9}]}}",
    );
    let strict = spec("PeerAuthentication", "strict", "web", "mtls: {mode: STRICT}");
    let mesh = load(&[&client(), &server(1), &published, node, &strict]);
    let enforced = json!({
        "server_mode": "STRICT", "allowed": ["mtls"], "istio_mtls": "required", "protocol": "HTTP",
        // The proxy of a client in the mesh does not know the address.
        "client_tls": null, "client_tls_from": "default", "client_wire": all(), "conflict": null,
    });
    let unknown = json!({"server_mode": null, "allowed": all(), "protocol": null});
    for (to, expected) in [
        ("198.51.100.7:80", &enforced),
        ("198.51.100.9:80", &enforced),
        ("192.0.2.10:30080", &enforced),
        ("198.51.100.7:8080", &unknown),
        ("198.51.100.9:30080", &unknown),
        ("192.0.2.10:80", &unknown),
        ("192.0.2.11:30080", &unknown),
    ] {
        ask(&mesh, "10.0.0.1", to, None, expected);
    }
    // A gateway's load balancer is where the gateway's servers are.
    let front = published
        .replace("app: server", "istio: gw")
        .replace("port: 80, targetPort: 8080", "port: 443, targetPort: 8443");
    let gateway = spec(
        "Gateway",
        "gw",
        "web",
        "selector: {istio: gw}, servers: [{port: {number: 443, name: https, protocol: HTTPS}, hosts: [a.example.com], \
         tls: {mode: SIMPLE, credentialName: c}}]",
    );
    let router = pod(
        "gw-0",
        "10.0.3.1",
        ", labels: {istio: gw}",
        "containers: [{name: istio-proxy, args: [proxy, router]}]",
    );
    let mesh = load(&[&router, &front, &gateway]);
    ask(&mesh, "203.0.113.9", "198.51.100.9:443", Some("a.example.com"), &json!({"allowed": ["tls"]}));
    ask(&mesh, "203.0.113.9", "198.51.100.9:443", Some("b.example.com"), &json!({"allowed": []}));
}

#[test]
fn a_port_of_its_node_leads_to_the_pod_behind() {
    let gateway = spec(
        "Gateway",
        "gw",
        "web",
        "selector: {istio: gw}, servers: [{port: {number: 8443, name: https, protocol: HTTPS}, hosts: ['*'], \
         tls: {mode: SIMPLE, credentialName: c}}]",
    );
    let router = pod(
        "gw-0",
        "10.0.3.1",
        ", labels: {istio: gw}",
        "containers: [{name: istio-proxy, args: [proxy, router], ports: [{containerPort: 8443, hostPort: 443}, \
         {containerPort: 8080, hostPort: 80, hostIP: 192.0.2.77}, {containerPort: 8443, hostPort: 444, protocol: UDP}]}]",
    )
    .replace("podIP:", "hostIP: 192.0.2.10, podIP:");
    let mesh = load(&[&router, &gateway]);
    let served = json!({"allowed": ["tls"]});
    let unknown = json!({"allowed": all()});
    for (to, expected) in [
        ("192.0.2.10:443", &served),
        ("10.0.3.1:8443", &served),
        // Only the ports that are named, on the addresses that they are named for.
        ("192.0.2.10:8443", &unknown),
        ("192.0.2.10:444", &unknown),
        ("192.0.2.10:80", &unknown),
        ("192.0.2.11:443", &unknown),
        ("192.0.2.77:80", &json!({"allowed": []})),
    ] {
        ask(&mesh, "203.0.113.9", to, None, expected);
    }
    // The proxy of a client in the mesh knows no port of a node: what takes all of its port decides what is sent.
    let entry = spec(
        "ServiceEntry",
        "all",
        "web",
        "hosts: [db.example], ports: [{number: 443, name: tcp, protocol: TCP}], resolution: DNS",
    );
    let rule =
        spec("DestinationRule", "all", "web", "host: db.example, trafficPolicy: {tls: {mode: SIMPLE}}");
    let caught = load(&[&client(), &router, &gateway, &entry, &rule]);
    let expected =
        json!({"client_tls": "SIMPLE", "client_wire": ["tls"], "allowed": ["tls"], "protocol": null});
    ask(&caught, "10.0.0.1", "192.0.2.10:443", None, &expected);
    // Of two pods that claim the port nobody knows which has it.
    let other = router.replace("gw-0", "gw-1").replace("10.0.3.1", "10.0.3.2");
    let mesh = load(&[&router, &other, &gateway]);
    ask(&mesh, "203.0.113.9", "192.0.2.10:443", None, &unknown);
}
