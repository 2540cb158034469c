//! What the conditions of findings count, and what they do not.

mod meshes;

use analyzer::lint::lint;
use meshes::{BARE, CREATED, HTTP, check, client, found, load, object, pod, server, service, spec};
use serde_json::{Value, json};

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
fn a_policy_that_lets_nothing_through_blocks_hbone_too() {
    let policy = |name: &str, rules: &str| {
        let text = spec("NetworkPolicy", name, "web", &format!("podSelector: {{}}, {rules}"));
        text.replace("networking.istio.io", "networking.k8s.io")
    };
    for (rules, blocked) in [
        ("policyTypes: [Ingress]", true),
        ("ingress: []", true),
        ("policyTypes: [Egress]", true),
        ("policyTypes: [Egress], egress: [{}]", false),
        ("ingress: [{}]", false),
    ] {
        found("AB02", &[&ambient(), &policy("own", rules)], blocked);
        // Another policy opens it again, and sidecars need no HBONE.
        let hbone = "policyTypes: [Ingress, Egress], ingress: [{ports: [{port: 15008}]}], egress: [{ports: [{port: 15008}]}]";
        found("AB02", &[&ambient(), &policy("own", rules), &policy("hbone", hbone)], false);
        found("AB02", &[&server(1), &policy("own", rules)], false);
    }
}

#[test]
fn ambient_clients_ignore_every_tls_block() {
    let rule = |policy: &str| spec("DestinationRule", "own", "web", &format!("host: server{policy}"));
    let caller = ambient().replace("server", "caller").replace("10.0.1.", "10.0.2.");
    for (policy, ignored) in [
        (", trafficPolicy: {tls: {mode: ISTIO_MUTUAL}}", true),
        (", trafficPolicy: {tls: {mode: DISABLE}}", true),
        (", trafficPolicy: {connectionPool: {tcp: {}}}", false),
    ] {
        found("AB03", &[&ambient(), &caller, &service(HTTP), &rule(policy)], ignored);
        // A server is no client of its own; the members of a headless service are each other's.
        found("AB03", &[&ambient(), &service(HTTP), &rule(policy)], false);
        let headless = service(HTTP).replace("10.96.0.2", "None");
        found("AB03", &[&ambient(), &headless, &rule(policy)], ignored);
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
        // As the protocol buffer has the names.
        ("trust_domain: new.example", true),
        ("{trust_domain: new.example, trust_domain_aliases: [cluster.local]}", false),
        ("enableAutoMtls: true", false),
    ] {
        found("MC01", &[&config(mesh).replace("networking.istio.io/v1", "v1")], changed);
    }
}

#[test]
fn a_namespace_that_says_nothing_is_worth_knowing_before_it_has_pods() {
    let namespace = |name: &str, labels: &str| {
        format!("\napiVersion: v1\nkind: Namespace\nmetadata: {{name: {name}, labels: {{{labels}}}}}\n")
    };
    for (name, labels, silent) in [
        ("shop", "", true),
        ("shop", "istio-injection: enabled", false),
        ("shop", "istio-injection: disabled", false),
        ("shop", "istio.io/rev: stable", false),
        ("shop", "istio.io/dataplane-mode: ambient", false),
        ("kube-system", "", false),
        ("istio-system", "", false),
        // Its pods have proxies all the same.
        ("web", "", false),
    ] {
        found("IN01", &[&namespace(name, labels), &client()], silent);
    }
}

/// Istio: `tcpDNSAutoAssignedMultiHost`: each host has addresses of its own.
#[test]
fn an_assigned_address_stands_for_its_host() {
    let ports = "ports: [{number: 9000, name: tls, protocol: TLS}]";
    let hosts = "{host: db.example.com, value: 240.240.0.1}, {host: db.example.com, value: '2001:2::1'}, \
                 {host: log.example.com, value: 240.240.0.2}";
    let entry = |more: &str| {
        let hosts_of = format!("hosts: [db.example.com, log.example.com], {ports}, resolution: DNS{more}");
        object(
            "ServiceEntry",
            "db",
            "web",
            "",
            &format!("spec: {{{hosts_of}}}\nstatus: {{addresses: [{hosts}]}}"),
        )
    };
    let rule =
        spec("DestinationRule", "db", "web", "host: db.example.com, trafficPolicy: {tls: {mode: SIMPLE}}");
    let capture = "\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: istio, namespace: istio-system}\n\
                   data: {mesh: '{defaultConfig: {proxyMetadata: {ISTIO_META_DNS_CAPTURE: \"true\"}}}'}\n";
    let written = ", addresses: [192.0.2.9]";
    for (more, config, to, simple) in [
        ("", capture, "240.240.0.1:9000", true),
        ("", capture, "[2001:2::1]:9000", true),
        ("", capture, "240.240.0.2:9000", false),
        ("", capture, "240.240.0.1:9001", false),
        ("", "", "240.240.0.1:9000", false),
        (written, capture, "240.240.0.1:9000", false),
    ] {
        let mode = if simple { json!("SIMPLE") } else { Value::Null };
        let documents = [client(), entry(more), rule.clone(), config.to_owned()];
        let documents: Vec<&str> =
            documents.iter().map(String::as_str).filter(|text| !text.is_empty()).collect();
        check(&documents, to, None, &json!({"client_tls": mode}));
    }
}

#[test]
fn an_address_that_istio_assigned_tells_a_tcp_entry_apart() {
    let entry = |more: &str, status: &str| {
        let ports = "ports: [{number: 9000, name: tcp, protocol: TCP}]";
        let text = format!("spec: {{hosts: [db.example.com], {ports}{more}}}\n{status}");
        object("ServiceEntry", "db", "web", "", &text)
    };
    let capture = "\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: istio, namespace: istio-system}\n\
                   data: {mesh: '{defaultConfig: {proxyMetadata: {ISTIO_META_DNS_CAPTURE: \"true\"}}}'}\n";
    let assigned = "status: {addresses: [{host: db.example.com, value: 240.240.0.1}]}";
    let (dns, none) = (", resolution: DNS", "");
    for (more, status, config, whole) in [
        (dns, assigned, capture, false),
        (dns, "", capture, false),
        (none, assigned, capture, false),
        (none, "", capture, true),
        (dns, assigned, "", true),
    ] {
        let documents: Vec<String> = [client(), entry(more, status)]
            .into_iter()
            .chain((!config.is_empty()).then(|| config.to_owned()))
            .collect();
        let documents: Vec<&str> = documents.iter().map(String::as_str).collect();
        found("SE07", &documents, whole);
        // The entry's port is known for any address only where it takes them all.
        let protocol = if whole { json!("TCP") } else { Value::Null };
        check(&documents, "192.0.2.1:9000", None, &json!({"protocol": protocol}));
    }
}

#[test]
fn istio_names_the_ports_of_the_services_that_it_makes() {
    let ports = "ports: [{name: mesh, port: 15008, appProtocol: hbone}, {name: odd, port: 9000}]";
    for (label, undeclared) in
        [("", true), (", labels: {gateway.istio.io/managed: istio.io-mesh-controller}", false)]
    {
        let service = object("Service", "waypoint", "web", label, &format!("spec: {{{ports}}}"));
        found("PN01", &[&service], undeclared);
    }
}

#[test]
fn one_workload_has_no_proxy_and_two_have_none() {
    let namespace =
        "\napiVersion: v1\nkind: Namespace\nmetadata: {name: web, labels: {istio-injection: enabled}}\n";
    let strict = spec("PeerAuthentication", "own", "web", "mtls: {mode: STRICT}");
    let bare = |name: &str, ip: &str| pod(name, ip, &format!(", labels: {{app: {name}}}"), BARE);
    let message = |id: &str, documents: &[&str]| {
        let findings = lint(&load(documents));
        findings.into_iter().find(|finding| finding.id == id).map(|finding| finding.message)
    };
    let (one, two) = (bare("job", "10.0.4.1"), bare("mail", "10.0.4.2"));
    let (server, own) = (server(1), service(HTTP));
    for (id, alone, together) in [
        ("IN01", "web/job has no proxy, though", "web/job, web/mail have no proxy, though"),
        ("XC05", "STRICT: it can connect", "STRICT: they can connect"),
    ] {
        let some = message(id, &[namespace, &strict, &server, &own, &one]).unwrap_or_default();
        assert!(some.contains(alone), "{some}");
        let more = message(id, &[namespace, &strict, &server, &own, &one, &two]).unwrap_or_default();
        assert!(more.contains(together), "{more}");
    }
    let open = message("PA08", &[&server, &own]).unwrap_or_default();
    assert!(open.contains("web/server takes plaintext"), "{open}");
}

#[test]
fn pods_of_one_workload_that_differ_are_all_asked() {
    let rule = |tls: &str| {
        spec("DestinationRule", "own", "web", &format!("host: server, trafficPolicy: {{tls: {tls}}}"))
    };
    let other = |metadata: &str| {
        let labels = "labels: {app: server, security.istio.io/tlsMode: istio";
        server(2)
            .replace("labels: {app: server, security.istio.io/tlsMode: istio", &format!("{metadata}{labels}"))
    };
    let excluded = other("annotations: {traffic.sidecar.istio.io/excludeInboundPorts: '8080'}, ");
    found("XC07", &[&client(), &server(1), &excluded, &service(HTTP)], true);
    found("XC07", &[&client(), &server(1), &other(""), &service(HTTP)], false);
    // A port that the proxy does not take is nothing that a client's TLS breaks at.
    found("XC03", &[&client(), &excluded, &service(HTTP), &rule("{mode: SIMPLE}")], false);
    let first = excluded.replace("server-2", "server-0").replace("10.0.1.2", "10.0.1.0");
    found("XC03", &[&client(), &first, &server(1), &service(HTTP), &rule("{mode: SIMPLE}")], true);
    let new = server(2).replace("{app: server, ", "{app: server, version: v2, ");
    let selector = "selector: {matchLabels: {version: v2}}, mtls: {mode: STRICT}";
    let policy = spec("PeerAuthentication", "own", "web", selector);
    let (client, old, served, plain) = (client(), server(1), service(HTTP), rule("{mode: DISABLE}"));
    found("XC01", &[&client, &old, &new, &served, &policy, &plain], true);
    found("XC01", &[&client, &old, &served, &policy, &plain], false);
}

#[test]
fn tls_is_refused_by_what_the_proxy_takes_the_port_for() {
    let rule = spec("DestinationRule", "own", "web", "host: server, trafficPolicy: {tls: {mode: SIMPLE}}");
    let other = |name: &str, created: &str| {
        let ports = format!(
            "clusterIP: 10.96.0.3, selector: {{app: server}}, ports: [{{name: {name}, port: 80, targetPort: 8080}}]"
        );
        object("Service", "other", "web", created, &format!("spec: {{{ports}}}"))
    };
    let newer = |ports: &str| {
        service(ports).replace(
            "name: server, namespace: web",
            "name: server, namespace: web, creationTimestamp: '2026-02-01T00:00:00Z'",
        )
    };
    let tcp = "{name: tcp, port: 80, targetPort: 8080}";
    found("XC03", &[&client(), &server(1), &newer(HTTP), &other("tcp", CREATED), &rule], false);
    found("XC03", &[&client(), &server(1), &newer(tcp), &other("http", CREATED), &rule], true);
    let ingress = |protocol: &str| {
        let port = format!("{{number: 8080, name: in, protocol: {protocol}}}");
        let text = format!(
            "workloadSelector: {{labels: {{app: server}}}}, ingress: [{{port: {port}, defaultEndpoint: '127.0.0.1:8080'}}]"
        );
        spec("Sidecar", "own", "web", &text)
    };
    found("XC03", &[&client(), &server(1), &service(HTTP), &ingress("TCP"), &rule], false);
    found("XC03", &[&client(), &server(1), &service(tcp), &ingress("HTTP"), &rule], true);
}

#[test]
fn findings_name_the_same_pod_whatever_the_order_of_the_documents() {
    let labels = "labels: {app: server, security.istio.io/tlsMode: ";
    let first = server(1)
        .replace("labels: {app: server, security.istio.io/tlsMode: istio", &format!("{labels}disabled"));
    let second = first.replace("server-1", "server-2").replace("10.0.1.1", "10.0.1.2");
    let named = |documents: &[&str]| {
        lint(&load(documents))
            .into_iter()
            .filter(|finding| finding.id == "AM02")
            .map(|finding| finding.resource)
            .collect::<Vec<_>>()
    };
    assert_eq!(named(&[&first, &second]), ["Pod/web/server-1"]);
    assert_eq!(named(&[&second, &first]), ["Pod/web/server-1"]);
}

#[test]
fn a_mode_for_ambient_pods_without_declared_ports_is_ignored_all_the_same() {
    for (mode, ignored) in [("DISABLE", true), ("PERMISSIVE", false)] {
        let policy = spec("PeerAuthentication", "own", "web", &format!("mtls: {{mode: {mode}}}"));
        found("AB01", &[&ambient(), &policy], ignored);
    }
}

#[test]
fn a_rule_that_no_client_of_an_external_host_uses_originates_nothing() {
    let entry = |port: &str| {
        spec(
            "ServiceEntry",
            "api",
            "web",
            &format!("hosts: [api.example.com], resolution: DNS, ports: [{port}]"),
        )
    };
    let rule = |namespace: &str| {
        spec(
            "DestinationRule",
            "api",
            namespace,
            "host: api.example.com, trafficPolicy: {tls: {mode: SIMPLE}}",
        )
    };
    let http = "{number: 80, name: http, protocol: HTTP, targetPort: 443}";
    let odd = "{number: 443, name: http, protocol: HTTP}";
    let https = "{number: 443, name: https, protocol: HTTPS}";
    for (id, port, by_default) in [("SE03", http, true), ("SE01", odd, true), ("SE02", https, false)] {
        let (client, entry) = (client(), entry(port));
        found(id, &[&client, &entry], by_default);
        found(id, &[&client, &entry, &rule("web")], !by_default);
        // Neither the client's namespace, nor the host's, nor the root.
        found(id, &[&client, &entry, &rule("other")], by_default);
        // Whoever the clients are, the rule is meant for them.
        found(id, &[&entry, &rule("other")], !by_default);
        let gateway = client
            .replace("sidecar]", "router]")
            .replace("client-0", "gateway-0")
            .replace("10.0.0.1", "10.0.0.9");
        found(id, &[&client, &gateway, &entry, &rule("other")], !by_default);
    }
}

#[test]
fn auto_mtls_is_off_only_where_the_mesh_says_so() {
    let entry = spec(
        "ServiceEntry",
        "api",
        "web",
        "hosts: [api.example.com], resolution: STATIC, ports: [{number: 8080, name: http, protocol: HTTP}], endpoints: [{address: 10.0.1.1}]",
    );
    let strict = spec("PeerAuthentication", "own", "web", "mtls: {mode: STRICT}");
    let config = object("ConfigMap", "istio", "istio-system", "", "data: {mesh: 'enableAutoMtls: false'}");
    let config = config.replace("networking.istio.io/v1", "v1");
    let documents = [client(), server(1), entry, strict, service(HTTP), config];
    let [client, server, entry, strict, service, config] = documents.each_ref().map(String::as_str);
    found("SE06", &[client, server, entry, strict], true);
    check(
        &[client, server, entry, strict],
        "10.0.1.1:8080",
        None,
        &json!({"client_tls": null, "lint": ["XC01"]}),
    );
    found("AM01", &[client, server, entry, strict], false);
    found("AM01", &[client, server, strict, service], false);
    found("AM01", &[client, server, strict, service, config], true);
}

/// A credential that nobody uses yet is worth knowing: the first sidecar would skip it. A gateway takes it.
#[test]
fn a_credential_waits_for_the_first_sidecar() {
    let rule = |namespace: &str| {
        let tls = "trafficPolicy: {tls: {mode: SIMPLE, credentialName: ca}}";
        spec("DestinationRule", "own", namespace, &format!("host: server.web.svc.cluster.local, {tls}"))
    };
    let gateway = "\napiVersion: v1\nkind: Pod\nmetadata: {name: gateway-0, namespace: shop}\nspec: {containers: [{name: istio-proxy, args: [proxy, router]}]}\nstatus: {podIP: 10.0.9.1}\n";
    let severities = |documents: &[&str]| -> Vec<String> {
        let found = lint(&load(documents)).into_iter().filter(|found| found.id == "DR07");
        found.map(|found| found.severity.name().to_owned()).collect()
    };
    let (client, server, service) = (client(), server(1), service(HTTP));
    assert_eq!(severities(&[&client, &server, &service, &rule("web")]), ["high"]);
    assert_eq!(severities(&[&client, &server, &service, &rule("shop")]), ["info"]);
    assert_eq!(severities(&[&client, &server, &service, &rule("shop"), gateway]), Vec::<String>::new());
    assert_eq!(severities(&[&client, &server, &rule("shop")]), Vec::<String>::new());
}

/// `authorization.go`, `convertPeerAuthentication`: under a mesh that is STRICT ztunnel hears nothing of this policy's workload.
#[test]
fn an_ambient_workload_takes_plaintext_where_ztunnel_hears_of_no_mode() {
    let strict = spec("PeerAuthentication", "default", "istio-system", "mtls: {mode: STRICT}");
    let unset = spec("PeerAuthentication", "unset", "web", "");
    let own = "selector: {matchLabels: {app: server}}, portLevelMtls: {9000: {mode: PERMISSIVE}}";
    let own = spec("PeerAuthentication", "own", "web", own);
    let labelled = ambient();
    found("PA08", &[&labelled, &strict, &unset], false);
    found("PA08", &[&labelled, &strict, &unset, &own], true);
    // What AB01 tells of is not told twice.
    let off = spec("PeerAuthentication", "off", "web", "mtls: {mode: DISABLE}");
    found("PA08", &[&labelled, &off], false);
    found("AB01", &[&labelled, &off], true);
}
