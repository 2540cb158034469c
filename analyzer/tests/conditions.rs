//! What the conditions of findings count, and what they do not.

mod meshes;

use analyzer::lint::lint;
use meshes::{BARE, HTTP, client, load, object, pod, server, service, spec};

/// Only a cluster's API server sets it.
const CREATED: &str = ", creationTimestamp: '2026-01-01T00:00:00Z'";

#[track_caller]
fn found(id: &str, documents: &[&str], expected: bool) {
    let ids: Vec<String> = lint(&load(documents)).into_iter().map(|finding| finding.id).collect();
    assert_eq!(ids.iter().any(|own| own == id), expected, "{id} in {ids:?}");
}

#[test]
fn workloads_outside_kubernetes_are_selected_like_pods() {
    let selector = "spec: {selector: {matchLabels: {app: vm}}, mtls: {mode: STRICT}}";
    let policy = object("PeerAuthentication", "own", "web", CREATED, selector);
    let machine = |namespace: &str, app: &str| {
        spec("WorkloadEntry", "vm-0", namespace, &format!("address: 10.1.0.1, labels: {{app: {app}}}"))
    };
    let entry = spec(
        "ServiceEntry",
        "vm",
        "web",
        "hosts: [vm.example.com], location: MESH_INTERNAL, resolution: STATIC, \
         ports: [{number: 80, name: http, protocol: HTTP}], endpoints: [{address: 10.1.0.1, labels: {app: vm}}]",
    );
    found("PA05", &[&client(), &policy], true);
    for (workload, nobody) in [
        (machine("web", "vm"), false),
        (machine("web", "other"), true),
        (machine("other", "vm"), true),
        (entry, false),
    ] {
        found("PA05", &[&client(), &policy, &workload], nobody);
    }
}

#[test]
fn a_client_that_no_service_leads_to_is_nothing_to_connect_to() {
    let bare = pod("job-0", "10.0.4.1", "", BARE);
    let bare = bare.replace("namespace: web", "namespace: batch");
    let strict = spec(
        "PeerAuthentication",
        "own",
        "web",
        "selector: {matchLabels: {app: server}}, mtls: {mode: STRICT}",
    );
    // The client's own ports are PERMISSIVE.
    let (client, server, served) = (client(), server(1), service(HTTP));
    found("XC05", &[&bare, &client, &server, &served, &strict], true);
    found("XC05", &[&bare, &client, &server, &strict], false);
    let own = served.replace("name: server", "name: own").replace("app: server", "app: client");
    found("XC05", &[&bare, &client, &server, &served, &strict, &own], false);
}

fn ambient() -> String {
    pod(
        "server-1",
        "10.0.1.1",
        ", labels: {app: server}, annotations: {ambient.istio.io/redirection: enabled}",
        BARE,
    )
}

#[test]
fn peers_that_are_not_declared_may_speak_hbone() {
    let policy = |peer: &str| {
        let ingress = format!("ingress: [{{from: [{peer}], ports: [{{port: 8080}}]}}]");
        let text = spec("NetworkPolicy", "own", "web", &format!("podSelector: {{}}, {ingress}"));
        text.replace("networking.istio.io", "networking.k8s.io")
    };
    let bare = pod("job-0", "10.0.4.1", ", labels: {app: job}", BARE);
    for (peer, blocked) in [
        ("{podSelector: {matchLabels: {app: server}}}", true),
        ("{podSelector: {matchLabels: {app: unseen}}}", true),
        ("{namespaceSelector: {matchLabels: {name: unseen}}}", true),
        ("{podSelector: {matchLabels: {app: job}}}", false),
        ("{ipBlock: {cidr: 192.0.2.0/24}}", false),
    ] {
        found("AB02", &[&ambient(), &bare, &policy(peer)], blocked);
    }
}

#[test]
fn ambient_clients_ignore_every_tls_block() {
    let rule = |policy: &str| spec("DestinationRule", "own", "web", &format!("host: server{policy}"));
    for (policy, ignored) in [
        (", trafficPolicy: {tls: {mode: ISTIO_MUTUAL}}", true),
        (", trafficPolicy: {tls: {mode: DISABLE}}", true),
        (", trafficPolicy: {connectionPool: {}}", false),
    ] {
        found("AB03", &[&ambient(), &service(HTTP), &rule(policy)], ignored);
        found("AB03", &[&client(), &server(1), &service(HTTP), &rule(policy)], false);
    }
}

#[test]
fn a_trust_domain_of_its_own_without_an_alias_may_have_been_changed() {
    let config =
        |mesh: &str| object("ConfigMap", "istio", "istio-system", "", &format!("data: {{mesh: '{mesh}'}}"));
    for (mesh, changed) in [
        ("trustDomain: new.example", true),
        ("{trustDomain: new.example, trustDomainAliases: [cluster.local]}", false),
        ("{trustDomain: new.example, trustDomainAliases: [old.example]}", false),
        ("trustDomain: cluster.local", false),
        ("enableAutoMtls: true", false),
    ] {
        found("MC01", &[&config(mesh).replace("networking.istio.io/v1", "v1")], changed);
    }
}
