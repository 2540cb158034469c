//! VirtualServices: whom they lead where.

use serde_json::json;

use super::meshes::{HTTP, PROXY, check, client, found, object, pod, server, service, spec};

/// `sidecar_simulation_test.go`, `TestSidecarRoutes`.
#[test]
fn routes_of_a_namespace_that_is_not_imported_lead_to_no_subset() {
    let routes = spec(
        "VirtualService",
        "server",
        "other",
        "hosts: ['*.cluster.local'], http: [{route: [{destination: {host: server.web.svc.cluster.local, subset: v1}}]}]",
    );
    let rule = spec(
        "DestinationRule",
        "own",
        "web",
        "host: server, subsets: [{name: v1, labels: {app: server}, trafficPolicy: {tls: {mode: DISABLE}}}]",
    );
    let sidecar = |hosts: &str| spec("Sidecar", "own", "web", &format!("egress: [{{hosts: [{hosts}]}}]"));
    for (hosts, tls) in [
        ("'*/*'", "DISABLE"),
        ("'web/*', 'other/server.web.svc.cluster.local'", "DISABLE"),
        ("'web/*'", "ISTIO_MUTUAL"),
    ] {
        let documents = [client(), server(1), service(HTTP), routes.clone(), rule.clone(), sidecar(hosts)];
        let documents: Vec<&str> = documents.iter().map(String::as_str).collect();
        check(&documents, "10.0.1.1:8080", None, &json!({"client_tls": tls}));
    }
}

/// `tls_test.go`, `TestMatchTLS` and `TestMatchTCP`; `route.go`, `sourceMatchHTTP`.
#[test]
fn a_route_for_other_clients_leads_nowhere() {
    let rule = spec(
        "DestinationRule",
        "own",
        "web",
        "host: server, subsets: [{name: v1, labels: {app: server}, trafficPolicy: {tls: {mode: DISABLE}}}]",
    );
    let (off, auto) = ("DISABLE", "ISTIO_MUTUAL");
    for (kind, ports, matches, tls) in [
        ("http", HTTP, "sourceNamespace: web", off),
        ("http", HTTP, "sourceNamespace: other", auto),
        ("http", HTTP, "sourceLabels: {app: client}", off),
        ("http", HTTP, "sourceLabels: {app: client, tier: front}", auto),
        ("http", HTTP, "sourceLabels: {app: other}}, {sourceNamespace: web", off),
        ("http", HTTP, "sourceLabels: {app: other}}, {uri: {prefix: /}", off),
        ("http", HTTP, "sourceLabels: {app: other}, gateways: [mesh]", off),
        ("tcp", "{name: tcp, port: 80, targetPort: 8080}", "sourceNamespace: web", off),
        ("tcp", "{name: tcp, port: 80, targetPort: 8080}", "sourceNamespace: other, gateways: [mesh]", auto),
        (
            "tls",
            "{name: tls, port: 80, targetPort: 8080}",
            "sniHosts: [server], sourceNamespace: other",
            auto,
        ),
    ] {
        let route = format!(
            "{kind}: [{{match: [{{{matches}}}], route: [{{destination: {{host: server, subset: v1}}}}]}}]"
        );
        let routes = spec("VirtualService", "own", "web", &format!("hosts: [server], {route}"));
        let documents = [client(), server(1), service(ports), rule.clone(), routes];
        let documents: Vec<&str> = documents.iter().map(String::as_str).collect();
        check(&documents, "10.0.1.1:8080", None, &json!({"client_tls": tls}));
    }
}

/// `sidecar.go`, `serviceMatchingVirtualServicePorts`.
#[test]
fn a_virtual_service_brings_the_ports_that_it_names() {
    let far =
        |kind: &str, name: &str, more: &str| object(kind, name, "far", "", &format!("spec: {{{more}}}"));
    let server =
        pod("server-1", "10.0.1.1", ", labels: {app: server, security.istio.io/tlsMode: istio}", PROXY)
            .replace("namespace: web", "namespace: far");
    let ports = format!("{HTTP}, {{name: tcp, port: 90, targetPort: 9090}}");
    let service = far(
        "Service",
        "server",
        &format!("clusterIP: 10.96.0.2, selector: {{app: server}}, ports: [{ports}]"),
    );
    let sidecar = |port: &str| spec("Sidecar", "own", "web", &format!("egress: [{{hosts: ['./*']{port}}}]"));
    let routes = |port: &str| {
        let to = format!("destination: {{host: server.far.svc.cluster.local{port}}}");
        spec(
            "VirtualService",
            "own",
            "web",
            &format!("hosts: [own.example.com], http: [{{route: [{{{to}}}]}}]"),
        )
    };
    let entry = ", port: {number: 90, name: tcp, protocol: TCP}";
    for (listener, port, http, tcp) in [
        ("", "", true, true),
        ("", ", port: {number: 80}", true, false),
        ("", ", port: {number: 90}", false, true),
        (entry, "", false, true),
        (entry, ", port: {number: 80}", false, true),
    ] {
        let documents = [client(), server.clone(), service.clone(), sidecar(listener), routes(port)];
        let documents: Vec<&str> = documents.iter().map(String::as_str).collect();
        for (wire, known) in [(8080, http), (9090, tcp)] {
            let tls = if known { json!("ISTIO_MUTUAL") } else { json!(null) };
            check(&documents, &format!("10.0.1.1:{wire}"), None, &json!({"client_tls": tls}));
        }
    }
}

/// `push_context.go`, `virtualServiceDestinationsFilteredBySourceNamespace`.
#[test]
fn a_virtual_service_brings_what_it_mirrors_to_and_what_its_routes_for_the_client_lead_to() {
    let far =
        |kind: &str, name: &str, more: &str| object(kind, name, "far", "", &format!("spec: {{{more}}}"));
    let server =
        pod("server-1", "10.0.1.1", ", labels: {app: server, security.istio.io/tlsMode: istio}", PROXY)
            .replace("namespace: web", "namespace: far");
    let service = far(
        "Service",
        "server",
        &format!("clusterIP: 10.96.0.2, selector: {{app: server}}, ports: [{HTTP}]"),
    );
    let sidecar = |port: &str| spec("Sidecar", "own", "web", &format!("egress: [{{{port}hosts: ['./*']}}]"));
    let to = |host: &str| format!("route: [{{destination: {{host: {host}}}}}]");
    let server_name = "server.far.svc.cluster.local";
    for (route, known) in [
        (to("own"), false),
        (format!("{}, mirror: {{host: {server_name}}}", to("own")), true),
        (format!("{}, mirrors: [{{destination: {{host: {server_name}}}}}]", to("own")), true),
        (format!("match: [{{sourceNamespace: web}}], {}", to(server_name)), true),
        (format!("match: [{{sourceNamespace: far}}], {}", to(server_name)), false),
        (format!("match: [{{sourceNamespace: far}}, {{}}], {}", to(server_name)), false),
        (format!("match: [{{sourceLabels: {{app: other}}}}], {}", to(server_name)), true),
    ] {
        let routes =
            spec("VirtualService", "own", "web", &format!("hosts: [own.example.com], http: [{{{route}}}]"));
        let tls = if known { json!("ISTIO_MUTUAL") } else { json!(null) };
        for port in ["", "port: {number: 80, protocol: HTTP, name: http}, "] {
            let documents = [&client(), &server, &service, &sidecar(port), &routes];
            let documents = documents.map(String::as_str);
            check(&documents, "10.0.1.1:8080", None, &json!({"client_tls": tls}));
        }
    }
}

#[test]
fn a_mirror_has_a_subset_like_any_destination() {
    let rule = spec(
        "DestinationRule",
        "own",
        "web",
        "host: server, subsets: [{name: v1, labels: {app: server}, trafficPolicy: {tls: {mode: DISABLE}}}]",
    );
    let route = "hosts: [other], http: [{route: [{destination: {host: other}}]";
    for (mirror, tls) in [
        ("", "ISTIO_MUTUAL"),
        (", mirror: {host: server, subset: v1}", "DISABLE"),
        (", mirrors: [{destination: {host: server, subset: v1}, percentage: {value: 5}}]", "DISABLE"),
    ] {
        let routes = spec("VirtualService", "own", "web", &format!("{route}{mirror}}}]"));
        check(
            &[&client(), &server(1), &service(HTTP), &rule, &routes],
            "10.0.1.1:8080",
            None,
            &json!({"client_tls": tls}),
        );
    }
}

#[test]
fn lint_asks_for_the_clients_that_routes_are_for() {
    let rule = spec(
        "DestinationRule",
        "own",
        "web",
        "host: server, subsets: [{name: v1, labels: {app: server}, trafficPolicy: {tls: {mode: DISABLE}}}]",
    );
    let strict = spec("PeerAuthentication", "strict", "web", "mtls: {mode: STRICT}");
    let one = |number: u8, namespace: &str, app: &str| {
        let labels = format!(", labels: {{app: {app}, security.istio.io/tlsMode: istio}}");
        pod(&format!("{app}-{number}"), &format!("10.0.2.{number}"), &labels, PROXY)
            .replace("namespace: web", &format!("namespace: {namespace}"))
    };
    let clients = [one(1, "any", "client"), one(2, "any", "odd"), one(3, "zone", "client")];
    for (matches, expected) in [
        ("sourceLabels: {app: odd}", true),
        ("sourceLabels: {app: none}", false),
        ("sourceNamespace: zone", true),
        ("sourceNamespace: none", false),
    ] {
        let name = "server.web.svc.cluster.local";
        let to = format!("route: [{{destination: {{host: {name}, subset: v1}}}}]");
        let routes = format!("hosts: [{name}], http: [{{match: [{{{matches}}}], {to}}}]");
        let routes = spec("VirtualService", "own", "web", &routes);
        let mut documents = vec![server(1), service(HTTP), rule.clone(), strict.clone(), routes];
        documents.extend(clients.clone());
        let documents: Vec<&str> = documents.iter().map(String::as_str).collect();
        found("XC01", &documents, expected);
    }
}

const SUBSETS: &str = "host: server, trafficPolicy: {tls: {mode: DISABLE}}, subsets: [{name: v1, labels: {app: server}, \
     trafficPolicy: {tls: {mode: ISTIO_MUTUAL}}}]";

const TCP: &str = "{name: tcp, port: 80, targetPort: 8080}";

const TLS: &str = "{name: tls, port: 80, targetPort: 8080}";

/// Asks for what a client sends to a server whose subset `v1` is ISTIO_MUTUAL, and all else DISABLE; both where routes lead to both.
#[track_caller]
fn sends(ports: &str, routes: &[String], v1: impl Into<Option<bool>>) {
    let rule = spec("DestinationRule", "own", "web", SUBSETS);
    let documents = [client(), server(1), service(ports), rule];
    let documents: Vec<&str> = documents.iter().chain(routes).map(String::as_str).collect();
    let expected = match v1.into() {
        Some(true) => json!({"client_tls": "ISTIO_MUTUAL", "client_wire": ["mtls"]}),
        Some(false) => json!({"client_tls": "DISABLE"}),
        None => {
            let wire =
                if ports == TCP { json!(["plaintext", "tls", "mtls"]) } else { json!(["plaintext", "mtls"]) };
            json!({"client_tls": null, "client_tls_from": "DestinationRule/web/own", "client_wire": wire, "sni": null})
        }
    };
    check(&documents, "10.0.1.1:8080", None, &expected);
}

/// `tls_test.go`, `TestMatchTLS` and `TestMatchTCP`; `route.go`, `TranslateRouteMatch`.
#[test]
fn the_parts_of_a_match_count_together() {
    for (kind, ports, matches, v1) in [
        ("http", HTTP, "{port: 80}", true),
        ("http", HTTP, "{port: 81}", false),
        ("http", HTTP, "{port: 81}, {port: 80, uri: {prefix: /a}}", true),
        ("http", HTTP, "{port: 80, sourceLabels: {app: other}}, {port: 81}", false),
        ("http", HTTP, "{port: 80, gateways: [web/front]}, {port: 81, gateways: [mesh]}", false),
        ("http", HTTP, "{gateways: [web/front]}, {port: 80}", true),
        ("tcp", TCP, "{port: 81}", false),
        ("tcp", TCP, "{destinationSubnets: [10.96.0.0/16]}", true),
        ("tcp", TCP, "{destinationSubnets: [10.96.0.2]}", true),
        // The endpoint is not what the client dialled.
        ("tcp", TCP, "{destinationSubnets: [10.0.1.0/24]}", false),
        ("tcp", TLS, "{port: 80}", false),
        ("tls", TLS, "{port: 81, sniHosts: [server.web.svc.cluster.local]}", false),
        ("tls", TLS, "{port: 80, sniHosts: [server.web.svc.cluster.local]}", true),
    ] {
        let hosts = "hosts: [server.web.svc.cluster.local]";
        let route = format!(
            "{kind}: [{{match: [{matches}], route: [{{destination: {{host: server, subset: v1}}}}]}}]"
        );
        sends(ports, &[spec("VirtualService", "own", "web", &format!("{hosts}, {route}"))], v1);
    }
}

/// `route.go`, `BuildHTTPRoutesForVirtualService`; `tls.go`, `buildSidecarOutboundTCPFilterChainOpts`.
#[test]
fn what_takes_everything_leaves_nothing_to_later_routes() {
    let to = |subset: &str| format!("route: [{{destination: {{host: server{subset}}}}}]");
    let (first, other) = (to(", subset: v1"), to(""));
    for (kind, ports, before, v1) in [
        ("http", HTTP, "", Some(true)),
        ("http", HTTP, "match: [{uri: {prefix: /}}], ", Some(true)),
        ("http", HTTP, "match: [{port: 80}], ", Some(true)),
        ("http", HTTP, "match: [{uri: {prefix: /a}}], ", None),
        ("http", HTTP, "match: [{headers: {x: {exact: y}}}], ", None),
        ("tcp", TCP, "", Some(true)),
        ("tcp", TCP, "match: [{destinationSubnets: [10.96.0.0/16]}], ", None),
        ("tls", TLS, "match: [{sniHosts: [server.web.svc.cluster.local]}], ", Some(true)),
    ] {
        let later = if kind == "tls" { "match: [{sniHosts: [server.web.svc.cluster.local]}], " } else { "" };
        let hosts = "hosts: [server.web.svc.cluster.local]";
        let routes = format!("{hosts}, {kind}: [{{{before}{first}}}, {{{later}{other}}}]");
        sends(ports, &[spec("VirtualService", "own", "web", &routes)], v1);
    }
}

/// `route.go`, `applyHTTPRouteDestination`.
#[test]
fn a_destination_without_a_weight_beside_others_gets_nothing() {
    let to = |v1: &str, other: &str| {
        format!(
            "hosts: [server], http: [{{route: [{{destination: {{host: server, subset: v1}}{v1}}}, \
             {{destination: {{host: server}}{other}}}]}}]"
        )
    };
    for (routes, v1) in [
        (to(", weight: 100", ", weight: 0"), Some(true)),
        (to(", weight: 100", ""), Some(true)),
        (to(", weight: 0", ", weight: 100"), Some(false)),
        (to(", weight: 50", ", weight: 50"), None),
    ] {
        sends(HTTP, &[spec("VirtualService", "own", "web", &routes)], v1);
    }
}

/// `virtualservice_test.go`, `TestMergeVirtualServices`.
#[test]
fn a_virtual_service_takes_the_routes_of_those_that_it_delegates_to() {
    let root = |more: &str| {
        let routes = format!("hosts: [server.web.svc.cluster.local], http: [{{{more}}}]");
        spec("VirtualService", "root", "other", &routes)
    };
    let delegate = |more: &str| {
        let route = "route: [{destination: {host: server, subset: v1}}]";
        spec("VirtualService", "leaf", "web", &format!("http: [{{{more}{route}}}]"))
    };
    let named = "delegate: {name: leaf, namespace: web}";
    for (routes, v1) in [
        (vec![root(named), delegate("")], true),
        (
            vec![
                root(&format!("match: [{{port: 80}}], {named}")),
                delegate("match: [{uri: {prefix: /a}}], "),
            ],
            true,
        ),
        (vec![root(&format!("match: [{{port: 81}}], {named}")), delegate("")], false),
        (vec![root(&format!("match: [{{port: 80}}], {named}")), delegate("match: [{port: 81}], ")], false),
        // Without a namespace its own is meant.
        (vec![root("delegate: {name: leaf}"), delegate("")], false),
        (vec![root(named), delegate("").replace("http:", "exportTo: [.], http:")], false),
        (vec![root(named), delegate("").replace("http:", "exportTo: [other], http:")], true),
        (vec![root(named)], false),
        // Nobody asks for it.
        (vec![delegate("")], false),
    ] {
        sends(HTTP, &routes, v1);
    }
}

/// `tls.go`, `getConfigsForHost`: every VirtualService for a host has a say on its connections, the nearest alone on its requests.
#[test]
fn several_virtual_services_count_for_connections_and_one_for_requests() {
    let routes = |name: &str, host: &str, export: &str, age: u8, rest: &str| {
        let created = format!(", creationTimestamp: '2026-01-0{age}T00:00:00Z'");
        let spec = format!("spec: {{hosts: ['{host}'], exportTo: ['{export}'], {rest}}}");
        object("VirtualService", name, "web", &created, &spec)
    };
    let to = |kind: &str, subset: &str| {
        format!("{kind}: [{{route: [{{destination: {{host: server{subset}}}}}]}}]")
    };
    let (v1, top) = (", subset: v1", "");
    let (exact, wide) = ("server.web.svc.cluster.local", "*.web.svc.cluster.local");
    for (ports, one, other, expected) in [
        // The routes of another kind leave the connections to the pattern.
        (TCP, routes("a", exact, "*", 1, &to("http", top)), routes("b", wide, "*", 2, &to("tcp", v1)), true),
        (TCP, routes("a", exact, "*", 2, &to("tcp", top)), routes("b", wide, "*", 1, &to("tcp", v1)), true),
        (TCP, routes("a", exact, "*", 1, &to("tcp", top)), routes("b", wide, "*", 2, &to("tcp", v1)), false),
        (TCP, routes("a", exact, "*", 1, &to("tcp", top)), routes("b", wide, ".", 2, &to("tcp", v1)), true),
        (
            HTTP,
            routes("a", exact, "*", 2, &to("http", top)),
            routes("b", wide, "*", 1, &to("http", v1)),
            false,
        ),
        (
            HTTP,
            routes("a", exact, "*", 2, &to("http", v1)),
            routes("b", wide, "*", 1, &to("http", top)),
            true,
        ),
        (
            HTTP,
            routes("a", exact, "*", 2, &to("http", top)),
            routes("b", exact, "*", 1, &to("http", v1)),
            true,
        ),
    ] {
        sends(ports, &[one, other], expected);
    }
}

/// A request that is routed to plaintext fails at a STRICT server, whatever the others are.
#[test]
fn what_some_requests_are_sent_in_is_held_against_the_server() {
    let strict = spec("PeerAuthentication", "strict", "web", "mtls: {mode: STRICT}");
    let rest = "{route: [{destination: {host: server}}]}";
    let routes = |first: &str| {
        spec("VirtualService", "own", "web", &format!("hosts: [server], http: [{first}{rest}]"))
    };
    let v1 = "{match: [{uri: {prefix: /a}}], route: [{destination: {host: server, subset: v1}}]}, ";
    let other = SUBSETS.replace("DISABLE", "SIMPLE");
    let swapped =
        SUBSETS.replace("DISABLE", "X").replace("ISTIO_MUTUAL", "DISABLE").replace('X', "ISTIO_MUTUAL");
    for (rule, first, expected) in
        [(SUBSETS, v1, true), (&swapped, v1, true), (&swapped, "", false), (&other, v1, false)]
    {
        let rule = spec("DestinationRule", "own", "web", rule);
        let documents = [client(), server(1), service(HTTP), rule, strict.clone(), routes(first)];
        let documents: Vec<&str> = documents.iter().map(String::as_str).collect();
        found("XC01", &documents, expected);
    }
}
