//! Ambient pods, waypoints and HBONE.

use serde_json::{Value, json};

use super::meshes::{
    BARE, HTTP, PROXY, all, ask, check, client, found, istiod, load, object, pod, service, spec,
};

#[test]
fn an_ambient_pod_may_leave_inbound_connections_to_its_application() {
    let strict = spec("PeerAuthentication", "strict", "web", "mtls: {mode: STRICT}");
    let pod = |bypass: &str| {
        let metadata = format!(
            ", annotations: {{ambient.istio.io/redirection: enabled, ambient.istio.io/bypass-inbound-capture: '{bypass}'}}"
        );
        pod("edge-0", "10.0.1.9", &metadata, BARE)
    };
    let open = json!({"server_mode": null, "server_mode_from": "default", "allowed": all()});
    let closed = json!({"server_mode": "STRICT", "allowed": []});
    for (bypass, expected) in [("true", &open), ("false", &closed)] {
        let mesh = load(&[&client(), &pod(bypass), &strict]);
        ask(&mesh, "10.0.0.1", "10.0.1.9:8080", None, expected);
        ask(&mesh, "10.0.0.1", "10.0.1.9:15008", None, &json!({"allowed": ["mtls"]}));
    }
}

/// `cluster_tls_test.go`, `TestApplyUpstreamTLSSettingsHBONE`: HBONE is outermost, whatever a rule puts inside.
#[test]
fn a_rule_s_own_tls_goes_inside_hbone() {
    let ambient = ", labels: {app: server}, annotations: {ambient.istio.io/redirection: enabled}";
    let server = pod("server-1", "10.0.1.1", ambient, BARE);
    let rule = |mode: &str| {
        spec(
            "DestinationRule",
            "own",
            "web",
            &format!("host: server, trafficPolicy: {{tls: {{mode: {mode}}}}}"),
        )
    };
    let inside = json!({"client_tls_from": "hbone", "client_wire": ["mtls"], "conflict": false});
    for mode in ["DISABLE", "SIMPLE", "ISTIO_MUTUAL"] {
        check(&[&client(), &server, &service(HTTP), &rule(mode)], "10.0.1.1:8080", None, &inside);
    }
    let without = istiod("1.30.3", "{name: PILOT_ENABLE_AMBIENT, value: 'false'}");
    let plain = json!({"client_tls": "DISABLE", "client_wire": ["plaintext"]});
    check(&[&client(), &server, &service(HTTP), &rule("DISABLE"), &without], "10.0.1.1:8080", None, &plain);
}

#[test]
fn hbone_to_ambient_pods_takes_an_istiod_that_knows_it() {
    let metadata = ", labels: {app: server}, annotations: {ambient.istio.io/redirection: enabled}";
    let ambient = pod("server-1", "10.0.1.1", metadata, BARE);
    let off = "{name: PILOT_ENABLE_AMBIENT, value: 'false'}";
    for (env, tls, from) in [("", "ISTIO_MUTUAL", "hbone"), (off, "DISABLE", "auto-mtls")] {
        let mesh = load(&[&client(), &ambient, &service(HTTP), &istiod("1.30.3", env)]);
        ask(&mesh, "10.0.0.1", "10.0.1.1:8080", None, &json!({"client_tls": tls, "client_tls_from": from}));
    }
}

/// `cluster_tls_test.go`, `TestApplyUpstreamTLSSettingsHBONE`; istio/istio pull request 54914 (1.25) and issue 54921.
#[test]
fn hbone_takes_the_place_of_istio_mtls_where_the_client_has_endpoints() {
    let metadata = ", labels: {app: server}, annotations: {ambient.istio.io/redirection: enabled}";
    let ambient = pod("server-1", "10.0.1.1", metadata, BARE);
    let gateway = pod("client-0", "10.0.0.1", "", "containers: [{name: istio-proxy, args: [proxy, router]}]");
    let rule = |policy: &str| {
        spec("DestinationRule", "own", "web", &format!("host: server, trafficPolicy: {{{policy}}}"))
    };
    let mutual = rule("tls: {mode: ISTIO_MUTUAL}");
    let headless = service(HTTP).replace("10.96.0.2", "None");
    let from = |documents: &[&str], tls: &str, from: &str| {
        check(documents, "10.0.1.1:8080", None, &json!({"client_tls": tls, "client_tls_from": from}));
    };
    for client in [&client(), &gateway] {
        from(&[client, &ambient, &service(HTTP), &mutual], "ISTIO_MUTUAL", "hbone");
    }
    found("XC02", &[&client(), &ambient, &service(HTTP), &mutual], false);
    for (version, from, conflict) in [("1.24.6", "DestinationRule/web/own", true), ("1.25.0", "hbone", false)]
    {
        let documents = [&*client(), &ambient, &service(HTTP), &mutual, &istiod(version, "")];
        let expected = json!({"client_tls": "ISTIO_MUTUAL", "client_tls_from": from, "conflict": conflict});
        check(&documents, "10.0.1.1:8080", None, &expected);
        found("XC02", &documents, conflict);
    }
    // The address that the client dialled leads to no endpoint that tells of HBONE.
    from(&[&client(), &ambient, &headless], "DISABLE", "auto-mtls");
    from(&[&client(), &ambient, &headless, &mutual], "ISTIO_MUTUAL", "DestinationRule/web/own");
    from(&[&gateway, &ambient, &headless], "ISTIO_MUTUAL", "hbone");
    let passed = rule("loadBalancer: {simple: PASSTHROUGH}");
    from(&[&client(), &ambient, &service(HTTP), &passed], "DISABLE", "auto-mtls");
}

#[test]
fn a_sidecar_that_offers_both_is_reached_by_its_own_mtls() {
    let metadata =
        ", labels: {app: server, security.istio.io/tlsMode: istio, networking.istio.io/tunnel: http}";
    let both = pod("server-1", "10.0.1.1", metadata, PROXY);
    let on = "{name: PILOT_PREFER_SENDING_HBONE, value: 'true'}";
    for (env, from) in [("", "auto-mtls"), (on, "hbone")] {
        let mesh = load(&[&client(), &both, &service(HTTP), &istiod("1.30.3", env)]);
        ask(&mesh, "10.0.0.1", "10.0.1.1:8080", None, &json!({"client_tls_from": from}));
    }
}

/// `cluster_waypoint.go`, `buildWaypointTLSContext`; `endpoint_builder.go`, `buildEnvoyLbEndpoint`.
#[test]
fn a_waypoint_speaks_hbone_or_what_a_rule_originates() {
    let labels = ", labels: {gateway.networking.k8s.io/gateway-name: way, gateway.networking.k8s.io/gateway-class-name: istio-waypoint}";
    let waypoint =
        pod("client-0", "10.0.0.1", labels, "containers: [{name: istio-proxy, args: [proxy, waypoint]}]");
    let sidecar = |tunnel: &str| {
        let labels = format!(", labels: {{app: server, security.istio.io/tlsMode: istio{tunnel}}}");
        pod("server-1", "10.0.1.1", &labels, PROXY)
    };
    let rule = |mode: &str, more: &str| {
        spec(
            "DestinationRule",
            "own",
            "web",
            &format!("host: server, trafficPolicy: {{tls: {{mode: {mode}{more}}}}}"),
        )
    };
    let strict = spec("PeerAuthentication", "own", "web", "mtls: {mode: STRICT}");
    let service = service(HTTP);
    let says = |documents: &[&str], tls: Value, from: &str, wire: Value, conflict: bool| {
        let expected =
            json!({"client_tls": tls, "client_tls_from": from, "client_wire": wire, "conflict": conflict});
        let all: Vec<&str> =
            [&*waypoint, &service, &strict].into_iter().chain(documents.iter().copied()).collect();
        check(&all, "10.0.1.1:8080", None, &expected);
    };
    let own = "DestinationRule/web/own";
    let (plain, tunnel) = (sidecar(""), sidecar(", networking.istio.io/tunnel: http"));
    says(&[&plain], json!(null), "default", json!(["plaintext"]), true);
    says(&[&tunnel], json!("ISTIO_MUTUAL"), "hbone", json!(["mtls"]), false);
    says(&[&tunnel, &rule("ISTIO_MUTUAL", "")], json!("ISTIO_MUTUAL"), "hbone", json!(["mtls"]), false);
    says(&[&plain, &rule("ISTIO_MUTUAL", "")], json!("DISABLE"), own, json!(["plaintext"]), true);
    says(&[&plain, &rule("SIMPLE", ", credentialName: ca")], json!("SIMPLE"), own, json!(["tls"]), true);
    says(&[&plain, &rule("MUTUAL", ", credentialName: own")], json!("MUTUAL"), own, json!(["mtls"]), false);
}

#[test]
fn an_east_west_gateway_of_ztunnels_takes_hbone() {
    let labels = ", labels: {gateway.networking.k8s.io/gateway-name: ew, gateway.istio.io/managed: istio.io-eastwest-controller}";
    let gateway = pod("ew-1", "10.0.3.1", labels, "containers: [{name: istio-proxy}]");
    check(&[&client(), &gateway], "10.0.3.1:15008", None, &json!({"allowed": ["mtls"], "server_mode": null}));
    // `pilot/pkg/config/kube/gateway/testdata`, `east-west-ambient.yaml`: other listeners are like any gateway's.
    let listeners = "{name: mesh, port: 15008, protocol: HBONE, tls: {mode: Terminate, options: {gateway.istio.io/tls-terminate-mode: ISTIO_MUTUAL}}}, {name: tls, port: 6443, protocol: TLS, tls: {mode: Passthrough}}";
    let declared = |class: &str| {
        format!(
            "\napiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {{name: ew, namespace: web}}\nspec: {{gatewayClassName: {class}, listeners: [{listeners}]}}\n"
        )
    };
    let waypoint = gateway.replace("eastwest-controller", "mesh-controller");
    for (pod, class, port, allowed) in [
        (&gateway, "istio-east-west", 15008, json!(["mtls"])),
        (&gateway, "istio-east-west", 6443, json!(["tls", "mtls"])),
        (&gateway, "istio-east-west", 6444, json!([])),
        (&waypoint, "istio-waypoint", 6443, json!([])),
    ] {
        let documents = [&*client(), pod, &declared(class)];
        check(&documents, &format!("10.0.3.1:{port}"), Some("a.example.com"), &json!({"allowed": allowed}));
    }
}

/// `pilot/pkg/serviceregistry/ambient/workloads.go`, `setTunnelProtocol`: the annotation and the label say of a machine what they
/// say of a pod.
#[test]
fn a_machine_may_be_behind_a_ztunnel_or_take_hbone_itself() {
    let ambient = pod("client-0", "10.0.0.1", ", annotations: {ambient.istio.io/redirection: enabled}", BARE);
    let sidecar = pod("client-1", "10.0.0.2", ", labels: {app: client}", PROXY);
    let entry = "hosts: [vm.example.com], location: MESH_INTERNAL, resolution: STATIC, ports: [{number: 80, name: http, protocol: HTTP, targetPort: 8080}]";
    let entry =
        spec("ServiceEntry", "vm", "web", &format!("{entry}, workloadSelector: {{labels: {{app: vm}}}}"));
    let strict = spec("PeerAuthentication", "strict", "web", "mtls: {mode: STRICT}");
    let machine = |metadata: &str, more: &str| {
        let rest = format!("spec: {{address: 10.1.0.1, labels: {{app: vm}}{more}}}");
        object("WorkloadEntry", "vm-0", "web", metadata, &rest)
    };
    let redirected = ", annotations: {ambient.istio.io/redirection: enabled}";
    let tunnel = ", labels: {networking.istio.io/tunnel: http}";
    let account = ", serviceAccount: vm";
    let hbone = json!({"client_tls_from": "hbone", "client_wire": ["mtls"], "conflict": false});
    let bytes = json!({"client_tls": null, "client_wire": all()});
    for (metadata, expected) in [(redirected, &hbone), (tunnel, &hbone), ("", &bytes)] {
        let mesh = load(&[&ambient, &entry, &machine(metadata, account), &strict]);
        ask(&mesh, "10.0.0.1", "10.1.0.1:8080", None, expected);
    }
    for metadata in [redirected, tunnel] {
        let mesh = load(&[&ambient, &sidecar, &entry, &machine(metadata, account), &strict]);
        let taken = json!({"client_tls_from": "hbone", "allowed": ["mtls"], "istio_mtls": "required"});
        ask(&mesh, "10.0.0.1", "10.1.0.1:15008", None, &taken);
    }
    let mesh = load(&[&ambient, &entry, &machine(redirected, account), &strict]);
    ask(&mesh, "192.0.2.1", "10.1.0.1:8080", None, &json!({"server_mode": "STRICT", "allowed": []}));
    // It is a client of the mesh as well.
    ask(&mesh, "10.1.0.1", "10.0.0.1:15008", None, &json!({"client_tls_from": "hbone"}));
    // Sidecars take it for one of theirs by its service account, and reach it by HBONE without.
    for (more, from) in [(account, "auto-mtls"), ("", "hbone")] {
        let mesh = load(&[&sidecar, &entry, &machine(redirected, more)]);
        ask(
            &mesh,
            "10.0.0.2",
            "10.1.0.1:8080",
            None,
            &json!({"client_tls_from": from, "client_wire": ["mtls"]}),
        );
    }
}

/// `manifests/charts/ztunnel/templates/daemonset.yaml`: its container has the name of a sidecar's.
#[test]
fn a_ztunnel_is_no_sidecar() {
    let args = "containers: [{name: istio-proxy, args: [proxy, ztunnel]}]";
    let strict = "\napiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: strict, namespace: web}\nspec: {mtls: {mode: STRICT}}\n";
    let ztunnel = pod("ztunnel-0", "10.0.5.1", "", args);
    let open = json!({"server_mode": null, "allowed": all()});
    check(&[&client(), &ztunnel, strict], "10.0.5.1:8080", None, &open);
    for id in ["PA07", "IN01", "XC05"] {
        found(
            id,
            &[
                &ztunnel,
                strict,
                "\napiVersion: v1\nkind: Namespace\nmetadata: {name: web, labels: {istio.io/dataplane-mode: ambient}}\n",
            ],
            false,
        );
    }
}
