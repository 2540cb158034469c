//! One thing wrong at a time, and what is right beside it.

use super::*;

mod listeners;
mod policies;
mod routes;

/// The reasons for which an object with this spec is refused.
fn refused(kind: &str, spec: &str) -> Vec<Refusal> {
    let group = match kind {
        "PeerAuthentication" => "security.istio.io",
        "Gateway of the Gateway API" | "BackendTLSPolicy" => "gateway.networking.k8s.io",
        _ => "networking.istio.io",
    };
    let kind = kind.split(' ').next().unwrap_or_default();
    let text = format!("metadata: {{name: a, namespace: shop}}\nspec: {spec}");
    refusals(group, kind, "shop", &serde_saphyr::from_str(&text).unwrap())
}

/// Holds that a spec is refused for exactly these reasons, each known by a part of it.
fn check(kind: &str, spec: &str, reasons: &[&str]) {
    let found = refused(kind, spec);
    let fits = found.len() == reasons.len()
        && found.iter().zip(reasons).all(|(refusal, reason)| refusal.why.contains(reason));
    assert!(fits, "{kind} {spec}: {found:?} rather than {reasons:?}");
}

#[test]
fn durations_are_read_exactly() {
    for (text, span) in [
        ("1h30m", Some(5_400_000_000_000)),
        ("1.5s", Some(1_500_000_000)),
        ("2.000000005s", Some(2_000_000_005)),
        (".5ms", Some(500_000)),
        ("0s", Some(0)),
        ("", None),
        ("1", None),
        ("-1s", None),
        (".s", None),
        ("1.2.3s", None),
        ("99999999999999999999999999999999999999999h", None),
    ] {
        assert_eq!(nanoseconds(text), span, "{text}");
    }
}

#[test]
fn peer_authentications() {
    let check = |spec: &str, reasons: &[&str]| check("PeerAuthentication", spec, reasons);
    check("{mtls: {mode: STRICT}}", &[]);
    check("{selector: {matchLabels: {app: a}}, portLevelMtls: {80: {mode: STRICT}}}", &[]);
    check("{portLevelMtls: {80: {mode: STRICT}}}", &["needs a selector"]);
    check("{selector: {}, portLevelMtls: {80: {}}}", &["needs a selector"]);
    check("{selector: {matchLabels: {app: a}}, portLevelMtls: {}}", &["portLevelMtls is empty"]);
    check("{portLevelMtls: null}", &[]);
    check("{selector: {matchLabels: {app: 'a*'}}}", &["wildcard"]);
    check("{selector: {matchLabels: {'': a}}}", &["empty key"]);
}

#[test]
fn destination_rules() {
    let check = |spec: &str, reasons: &[&str]| check("DestinationRule", spec, reasons);
    check("{host: a}", &[]);
    check("{host: '*.local', trafficPolicy: {tls: {mode: ISTIO_MUTUAL}}}", &[]);
    check("{host: 'a_b'}", &["no DNS label"]);
    check("{host: a, trafficPolicy: {}}", &["trafficPolicy has no field"]);
    check("{host: a, trafficPolicy: {portLevelSettings: [{port: {number: 80}}]}}", &["nothing but its port"]);
    check("{host: a, trafficPolicy: {portLevelSettings: [{tls: {}}]}}", &["has no port"]);
    check("{host: a, trafficPolicy: {connectionPool: {}}}", &["neither http nor tcp"]);
    let pool =
        "{host: a, trafficPolicy: {portLevelSettings: [{port: {number: 80}, connectionPool: {tcp: {}}}]}}";
    check(pool, &[]);
    check(&pool.replace("tcp: {}", ""), &["portLevelSettings[0].connectionPool"]);
    check("{host: a, trafficPolicy: {tunnel: {}, proxyProtocol: {}}}", &["both tunnel and proxyProtocol"]);
    check("{host: a, trafficPolicy: {tls: {mode: MUTUAL}}}", &["MUTUAL needs"]);
    check("{host: a, trafficPolicy: {tls: {mode: MUTUAL, clientCertificate: c}}}", &["MUTUAL needs"]);
    check("{host: a, trafficPolicy: {tls: {mode: MUTUAL, clientCertificate: c, privateKey: k}}}", &[]);
    check("{host: a, trafficPolicy: {tls: {mode: MUTUAL, credentialName: c}}}", &[]);
    for file in ["clientCertificate", "privateKey", "caCertificates", "caCrl"] {
        let spec =
            format!("{{host: a, trafficPolicy: {{tls: {{mode: SIMPLE, credentialName: c, {file}: f}}}}}}");
        check(&spec, &[file]);
    }
    check("{host: a, trafficPolicy: {tls: {mode: SIMPLE, caCrl: f}}}", &[]);
    for (map, reasons) in [("ca", [].as_slice()), ("shop/ca", &[]), ("other/ca", &["of another namespace"])] {
        let spec = format!(
            "{{host: a, trafficPolicy: {{tls: {{mode: SIMPLE, credentialName: 'configmap://{map}'}}}}}}"
        );
        check(&spec, reasons);
    }
    let verify = "says both how to verify";
    for (own, refused) in [
        ("mode: SIMPLE, caCertificates: f", true),
        ("mode: SIMPLE, credentialName: c", true),
        ("mode: SIMPLE, subjectAltNames: [a]", true),
        ("mode: SIMPLE", false),
        ("mode: MUTUAL, credentialName: c", false),
        ("mode: MUTUAL, credentialName: c, subjectAltNames: [a]", true),
        ("mode: ISTIO_MUTUAL, subjectAltNames: [a]", false),
    ] {
        let spec = format!("{{host: a, trafficPolicy: {{tls: {{insecureSkipVerify: true, {own}}}}}}}");
        let reasons = [verify];
        check(&spec, if refused { &reasons } else { &[] });
    }
    check("{host: a, subsets: [{name: v1}, {name: v2, trafficPolicy: {tls: {mode: DISABLE}}}]}", &[]);
    check("{host: a, subsets: [{name: v1}, {name: v1}]}", &["another subset"]);
    check("{host: a, subsets: [{}, {name: v_1}]}", &["name ''", "name 'v_1'"]);
    check(
        "{host: a, subsets: [{name: v1, trafficPolicy: {tls: {mode: MUTUAL}}}]}",
        &["subsets[0].trafficPolicy.tls"],
    );
    check(
        "{host: a, trafficPolicy: {connectionPool: {tcp: {connectTimeout: 0s}}}}",
        &["connectTimeout '0s'"],
    );
    check("{host: a, trafficPolicy: {outlierDetection: {interval: 30s}}}", &[]);
    check("{host: a, exportTo: ['.', shop]}", &["twice"]);
    check("{host: a, exportTo: ['*', other]}", &["beside others"]);
    check("{host: a, exportTo: ['~']}", &["for ServiceEntries only"]);
    check("{host: a, exportTo: ['a b']}", &["name of a namespace"]);
    check("{host: a, exportTo: ['.'], workloadSelector: {matchLabels: {a: b}}}", &[]);
    check(
        "{host: a, exportTo: ['*'], workloadSelector: {matchLabels: {a: b}}}",
        &["beyond its own namespace"],
    );
}

#[test]
fn gateways() {
    let server = |text: &str| format!("{{servers: [{{hosts: [a.b], {text}}}]}}");
    let check = |spec: &str, reasons: &[&str]| check("Gateway", spec, reasons);
    check(&server("port: {number: 80, name: http, protocol: HTTP}"), &[]);
    check("{selector: {a: b}}", &["servers is empty"]);
    check("{servers: [{port: {number: 80, name: http, protocol: HTTP}}]}", &["hosts is empty"]);
    check(&server("tls: {mode: PASSTHROUGH}"), &["port is missing"]);
    check(&server("port: {number: 80, protocol: HTTP}"), &["port.name is missing"]);
    check(&server("port: {name: http, protocol: HTTP}"), &["number 0 is no port"]);
    check(&server("port: {number: 80, name: http}"), &["protocol '' is unknown"]);
    check(&server("port: {number: 80, name: http, protocol: HTTP, targetPort: 1}"), &["targetPort"]);
    check(&server("bind: unix:///a/b, port: {name: http, protocol: HTTP}"), &[]);
    check(&server("bind: unix:///a/b, port: {number: 80, name: http, protocol: HTTP}"), &["both a socket"]);
    check(&server("bind: here, port: {number: 80, name: http, protocol: HTTP}"), &["no address"]);
    let http = |tls: &str| server(&format!("port: {{number: 80, name: http, protocol: HTTP}}, tls: {tls}"));
    check(&http("{httpsRedirect: true}"), &[]);
    check(&http("{mode: SIMPLE, credentialName: c}"), &["no more than httpsRedirect"]);
    check(
        &server("port: {number: 80, name: tcp, protocol: TCP}, tls: {httpsRedirect: true}"),
        &["no more than httpsRedirect"],
    );
    let https =
        |tls: &str| server(&format!("port: {{number: 443, name: https, protocol: HTTPS}}, tls: {tls}"));
    check(&server("port: {number: 443, name: https, protocol: HTTPS}"), &["need a tls block"]);
    for good in [
        "{mode: PASSTHROUGH}",
        "{mode: SIMPLE, credentialName: c}",
        "{mode: SIMPLE, credentialNames: [c]}",
        "{mode: SIMPLE, serverCertificate: c, privateKey: k}",
        "{mode: SIMPLE, tlsCertificates: [{serverCertificate: c, privateKey: k}]}",
        "{mode: MUTUAL, serverCertificate: c, privateKey: k, caCertificates: a}",
        "{mode: ISTIO_MUTUAL}",
        "{}",
    ] {
        check(&https(good), &[]);
    }
    check(&https("{mode: SIMPLE}"), &["SIMPLE needs serverCertificate"]);
    check(&https("{mode: MUTUAL, serverCertificate: c, privateKey: k}"), &["MUTUAL needs caCertificates"]);
    check(&https("{mode: OPTIONAL_MUTUAL}"), &["needs serverCertificate", "needs caCertificates"]);
    check(&https("{mode: ISTIO_MUTUAL, credentialName: c}"), &["takes no credentialName"]);
    check(&https("{mode: SIMPLE, serverCertificate: c, privateKey: k, caCrl: r}"), &["no caCrl"]);
    let two = "{servers: [{hosts: [a.b], port: {number: 80, name: x, protocol: HTTP}}, \
               {hosts: ['./a.b'], port: {number: 81, name: x, protocol: HTTP}}]}";
    check(two, &["another server's port"]);
}

#[test]
fn what_has_an_id_says_it() {
    let server = |protocol: &str, tls: &str| {
        format!("{{servers: [{{hosts: [a.b], port: {{number: 443, name: a, protocol: {protocol}}}{tls}}}]}}")
    };
    for (kind, spec, id) in [
        ("PeerAuthentication", "{portLevelMtls: {80: {}}}".to_owned(), "PA01"),
        ("DestinationRule", "{host: a, trafficPolicy: {tls: {mode: MUTUAL}}}".to_owned(), "DR11"),
        ("Gateway", server("TLS", ""), "GW01"),
        ("Gateway", server("TCP", ", tls: {mode: PASSTHROUGH}"), "GW02"),
        ("Gateway", server("TLS", ", tls: {mode: MUTUAL, serverCertificate: c, privateKey: k}"), "GW14"),
    ] {
        let ids: Vec<_> = refused(kind, &spec).into_iter().map(|refusal| refusal.finding).collect();
        assert_eq!(ids, [Some(id)], "{kind} {spec}");
    }
}

#[test]
fn service_entries() {
    let check = |spec: &str, reasons: &[&str]| check("ServiceEntry", spec, reasons);
    let ports = "ports: [{number: 443, name: tls, protocol: TLS}]";
    let with = |text: &str| format!("{{hosts: [a.b], {ports}, {text}}}");
    check(&with("resolution: DNS, exportTo: ['~']"), &[]);
    check("{ports: []}", &["hosts is empty"]);
    check("{hosts: ['*']}", &["'*' is no host"]);
    check(&with("addresses: [10.0.0.0/8], resolution: STATIC"), &[]);
    check(&with("addresses: [10.0.0.0/8], resolution: DNS"), &["ranges go with"]);
    check(&with("addresses: [here]"), &["no address and no range"]);
    check(&with("endpoints: [{address: 10.0.0.1}]"), &["another resolution than NONE"]);
    check(&with("resolution: STATIC, endpoints: [{address: 10.0.0.1, ports: {tls: 8443}}]"), &[]);
    check(&with("resolution: STATIC, endpoints: [{address: c.d}]"), &["'c.d' is no address"]);
    check(&with("resolution: STATIC, endpoints: [{}]"), &["address is missing"]);
    check(&with("resolution: STATIC, endpoints: [{network: far}]"), &[]);
    check(
        &with("resolution: STATIC, endpoints: [{address: 'unix:///a', ports: {tls: 1}}]"),
        &["beside a socket"],
    );
    check(&with("resolution: DNS, endpoints: [{address: c.d, ports: {http: 80}}]"), &["has no port 'http'"]);
    check(&with("resolution: DNS, endpoints: [{address: c.d, ports: {tls: 0}}]"), &["tls 0 is no port"]);
    check(
        &with("resolution: DNS_ROUND_ROBIN, endpoints: [{address: c.d}, {address: e.f}]"),
        &["one endpoint"],
    );
    check(&with("workloadSelector: {labels: {a: b}}, resolution: STATIC"), &[]);
    check(
        &with("workloadSelector: {labels: {a: b}}, resolution: STATIC, endpoints: [{address: 10.0.0.1}]"),
        &["both workloadSelector"],
    );
    check(
        "{hosts: ['*.a.b'], resolution: DNS, ports: [{number: 443, name: tls, protocol: TLS}]}",
        &["whole names only"],
    );
    check(
        "{hosts: [a.b], ports: [{number: 1, name: a}, {number: 1, name: a}]}",
        &["called 'a'", "another port has 1"],
    );
    check("{hosts: [a.b], ports: [{name: a}]}", &["number 0 is no port"]);
    check(
        "{hosts: [a.b], ports: [{number: 1, name: a, protocol: QUIC, targetPort: 70000}]}",
        &["70000", "'QUIC'"],
    );
    let two = |protocol: &str, resolution: &str| {
        format!(
            "{{hosts: [a.b, c.d], resolution: {resolution}, ports: [{{number: 1, name: a, protocol: {protocol}}}]}}"
        )
    };
    check(&two("TCP", "NONE"), &[]);
    check(&two("HTTPS", "DNS"), &[]);
    check(&two("TCP", "DNS"), &["tell several hosts apart"]);
}

#[test]
fn sidecars() {
    let check = |spec: &str, reasons: &[&str]| check("Sidecar", spec, reasons);
    check("{egress: [{hosts: ['./*', 'istio-system/*']}]}", &[]);
    check("{workloadSelector: {labels: {a: b}}}", &["says nothing"]);
    check("{outboundTrafficPolicy: {}}", &[]);
    check("{outboundTrafficPolicy: {mode: ALLOW_ANY_DYNAMIC_DNS}}", &["for the mesh alone"]);
    check("{outboundTrafficPolicy: {egressProxy: {host: a}}}", &["ALLOW_ANY only"]);
    check("{egress: [{}]}", &["hosts is empty"]);
    check("{egress: [{hosts: [a.b]}]}", &["namespace/host"]);
    check("{egress: [{hosts: ['*/*']}, {port: {number: 80}, hosts: ['*/*']}]}", &["comes last"]);
    check("{egress: [{port: {number: 80}, hosts: ['*/*']}, {hosts: ['*/*']}]}", &[]);
    check("{ingress: [{}]}", &["port is missing"]);
    check(
        "{ingress: [{port: {number: 80, protocol: HTTP}}, {port: {number: 80}}]}",
        &["another entry has 80"],
    );
    check("{ingress: [{port: {number: 80, protocol: X}, bind: here}]}", &["'X'", "no address"]);
    let tls = |text: &str| format!("{{ingress: [{{port: {{number: 80, protocol: TLS}}, tls: {text}}}]}}");
    check(&tls("{mode: SIMPLE, serverCertificate: c, privateKey: k}"), &[]);
    check(&tls("{mode: ISTIO_MUTUAL}"), &["for Gateways"]);
    check(&tls("{mode: SIMPLE, credentialName: c}"), &["credentialName has no meaning"]);
    check(&tls("{mode: SIMPLE}"), &["SIMPLE needs"]);
    check(&tls("{subjectAltNames: [a], httpsRedirect: true}"), &["subjectAltNames", "httpsRedirect"]);
    check(&tls("{subjectAltNames: [], credentialName: '', httpsRedirect: false}"), &[]);
    check("{ingress: [{port: {number: 80, protocol: HTTP}, tls: {}}]}", &["neither HTTPS nor TLS"]);
    for (to, refused) in [
        ("127.0.0.1:80", false),
        (":80", false),
        ("'[::1]:80'", false),
        ("unix:///a/b", false),
        ("10.0.0.1:80", true),
        ("127.0.0.1", true),
        ("127.0.0.1:0", true),
    ] {
        let reasons = ["no port of the pod itself"];
        let spec = format!("{{ingress: [{{port: {{number: 80}}, defaultEndpoint: {to}}}]}}");
        check(&spec, if refused { &reasons } else { &[] });
    }
}

#[test]
fn virtual_services() {
    let check = |spec: &str, reasons: &[&str]| check("VirtualService", spec, reasons);
    let route = "route: [{destination: {host: a}}]";
    let with = |text: &str| format!("{{hosts: [a.b], {text}}}");
    check(&with(&format!("http: [{{{route}}}]")), &[]);
    check(&with("gateways: [mesh]"), &["no http, tls or tcp"]);
    check(&with("http: [{match: [{port: 80}]}]"), &["no route, redirect"]);
    let ends =
        "http: [{route: [], redirect: {uri: /}}, {delegate: {name: d}}, {directResponse: {status: 200}}]";
    check(&with(ends), &[]);
    check(&with(&format!("http: [{{{route}, redirect: {{uri: /}}}}]")), &["both route and redirect"]);
    check(&with(&format!("http: [{{{route}, delegate: {{name: d}}}}]")), &["both route and delegate"]);
    let weighted = |one: &str, other: &str| {
        let to = |more: &str| format!("{{destination: {{host: a}}{more}}}");
        with(&format!("tcp: [{{route: [{}, {}]}}]", to(one), to(other)))
    };
    check(&weighted("", ""), &["several destinations and no weight"]);
    check(&weighted(", weight: 0", ", weight: 1"), &[]);
    check(&weighted(", weight: -1", ", weight: 1"), &["negative weight"]);
    check(&with("tcp: [{route: [{destination: {host: a, port: {}}}]}]"), &["port 0 is no port"]);
    check(&with("tcp: [{route: [{destination: {host: a, port: {number: 80}}}]}]"), &[]);
    check(&format!("{{http: [{{{route}}}]}}"), &[]);
    check(&format!("{{gateways: [g], http: [{{{route}}}]}}"), &["only http routes are delegated"]);
    check(&format!("{{hosts: ['*'], http: [{{{route}}}]}}"), &["not for the mesh"]);
    check(&format!("{{hosts: ['*'], gateways: [shop/g], http: [{{{route}}}]}}"), &[]);
    check(&format!("{{hosts: ['*'], gateways: [shop/g, mesh], http: [{{{route}}}]}}"), &["not for the mesh"]);
    check(&format!("{{hosts: ['*.b', a.b], http: [{{{route}}}]}}"), &["the same to a route"]);
    check(&format!("{{hosts: [10.0.0.1], tcp: [{{{route}}}]}}"), &[]);
    check(&format!("{{hosts: [a.b], gateways: [a/b/c], tcp: [{{{route}}}]}}"), &["namespace/name"]);
    check(&with(&format!("tls: [{{match: [{{sniHosts: [a.b]}}], {route}}}]")), &[]);
    check(&with(&format!("tls: [{{{route}}}]")), &["match is empty"]);
    check(&with(&format!("tls: [{{match: [{{port: 443}}], {route}}}]")), &["no sniHosts"]);
    check(&with(&format!("tls: [{{match: [{{sniHosts: [c.d]}}], {route}}}]")), &["within none"]);
    check(&with("tcp: [{match: [{port: 1}]}]"), &["route is empty"]);
    check(&with("tcp: [{route: [{weight: 1}]}]"), &["no destination"]);
    check(&with("http: [{route: [{destination: {host: '*'}}]}]"), &["no destination"]);
    let cluster = "outbound_.80_._.a.b";
    check(
        &format!(
            "{{hosts: [{cluster}], gateways: [g], tls: [{{match: [{{sniHosts: [{cluster}]}}], {route}}}]}}"
        ),
        &[],
    );
    check(&format!("{{hosts: [{cluster}], tcp: [{{{route}}}]}}"), &["no DNS label"]);
}

#[test]
fn http_routes() {
    let check = |text: &str, reasons: &[&str]| {
        let route = "route: [{destination: {host: a}}]";
        let text = text.replace("ROUTE", route);
        check("VirtualService", &format!("{{hosts: [a.b], http: [{{{text}}}]}}"), reasons);
    };
    check("redirect: {uri: /}, fault: {abort: {httpStatus: 500}}", &["both fault and redirect"]);
    check("redirect: {uri: /}, rewrite: {uri: /}", &["both rewrite and redirect"]);
    check("directResponse: {status: 200}, ROUTE", &["both route and directResponse"]);
    check("directResponse: {status: 200}, delegate: {name: d}", &[]);
    check("redirect: {}", &["neither uri, authority"]);
    check("redirect: {port: 80}", &[]);
    check("redirect: {uri: /, redirectCode: 200, scheme: ftp}", &["no 3xx", "neither http nor https"]);
    check("directResponse: {status: 99}", &["no HTTP status"]);
    check("ROUTE, fault: {}", &["neither abort nor delay"]);
    check("ROUTE, fault: {delay: {fixedDelay: 5s}, abort: {httpStatus: 700}}", &["no HTTP status"]);
    check("ROUTE, mirror: {host: b}, mirrors: [{destination: {host: c}}]", &["both mirror and mirrors"]);
    check("ROUTE, mirrors: [{}]", &["mirrors has no destination"]);
    check("ROUTE, mirror: {host: '*'}", &["mirror: '*'"]);
    check("ROUTE, rewrite: {}", &["neither uri, uriRegexRewrite"]);
    check("ROUTE, rewrite: {uri: /, uriRegexRewrite: {match: a, rewrite: b}}", &["both uri and"]);
    check("ROUTE, rewrite: {authority: a}, headers: {request: {set: {Host: b}}}", &["the host twice"]);
    check("ROUTE, rewrite: {authority: a}, headers: {request: {set: {x: b}}}", &[]);
    check("ROUTE, retries: {attempts: 3, perTryTimeout: 2s, retryOn: 5xx}", &[]);
    check("ROUTE, retries: {attempts: 0}", &[]);
    check("ROUTE, retries: {attempts: 0, retryOn: 5xx}", &["and not to"]);
    check("ROUTE, retries: {attempts: -1}", &["negative"]);
    for (timeout, refused) in [
        ("10s", false),
        ("1h30m", false),
        ("1.5s", false),
        ("1ms", false),
        ("0s", true),
        ("10us", true),
        ("10", true),
        ("", true),
    ] {
        let reasons = ["no duration"];
        check(&format!("ROUTE, timeout: '{timeout}'"), if refused { &reasons } else { &[] });
    }
    check("ROUTE, match: [{uri: {prefix: ''}}, {uri: {regex: ''}}]", &["uri matches an empty text"]);
    check(
        "ROUTE, match: [{method: {prefix: ''}, headers: {'': {exact: a}}}]",
        &["method", "no name of a header"],
    );
    check("ROUTE, match: [{port: 70000}]", &["match.port 70000"]);
    check("ROUTE, match: [{sourceLabels: {'a b': c, d: 'e f'}}]", &["no key", "no value"]);
    check(
        "ROUTE, match: [{sourceNamespace: a_b}, {gateways: [a/b/c]}]",
        &["sourceNamespace", "spec.gateways"],
    );
}

#[test]
fn labels_are_spelt_as_kubernetes_has_them() {
    let check = |text: &str, reasons: &[&str]| {
        check("DestinationRule", &format!("{{host: a, subsets: [{{name: v1, labels: {text}}}]}}"), reasons);
    };
    check("{app: a, example.com/tier_1: '', version: v1.2}", &[]);
    check("{'a b': c}", &["no key"]);
    check("{-a: c, 'x/y/z': c, 'a_b/c': d}", &["'-a'", "'x/y/z'", "'a_b/c'"]);
    check("{a: 'b c', d: e-}", &["'b c'", "'e-'"]);
    check(&format!("{{a: {}}}", "b".repeat(64)), &["no value"]);
}

#[test]
fn listeners_of_the_gateway_api() {
    let check = |listeners: &str, reasons: &[&str]| {
        check("Gateway of the Gateway API", &format!("{{listeners: [{listeners}]}}"), reasons);
    };
    let of = |text: &str| format!("{{name: a, {text}}}");
    check(&of("port: 80, protocol: HTTP"), &[]);
    check("", &["listeners is empty"]);
    check(&of("protocol: HTTP"), &["port 0 is no port"]);
    check(&of("port: 80"), &["protocol is missing"]);
    check("{port: 80, protocol: HTTP}", &["name is missing"]);
    check(&of("port: 443, protocol: HTTPS, tls: {certificateRefs: [{name: c}]}"), &[]);
    check(
        &of(
            "port: 443, protocol: HTTPS, tls: {options: {gateway.istio.io/tls-terminate-mode: ISTIO_MUTUAL}}",
        ),
        &[],
    );
    check(&of("port: 443, protocol: HTTPS, tls: {}"), &["needs certificateRefs"]);
    check(&of("port: 443, protocol: TLS, tls: {mode: Passthrough}"), &[]);
    check(&of("port: 443, protocol: HTTPS, tls: {mode: Passthrough}"), &["HTTPS is terminated"]);
    check(&of("port: 443, protocol: TLS, tls: {mode: SIMPLE}"), &["neither Terminate nor"]);
    for protocol in ["HTTP", "TCP", "UDP"] {
        check(
            &of(&format!("port: 80, protocol: {protocol}, tls: {{mode: Passthrough}}")),
            &["tls is not for"],
        );
    }
    check(&of("port: 80, protocol: TCP, hostname: a.b"), &["hostname means nothing"]);
    check(&of("port: 80, protocol: HTTP, hostname: '*.a.b'"), &[]);
    check(&of("port: 80, protocol: HTTP, hostname: 'a.*.b'"), &["is no host"]);
    let two = |other: &str| format!("{{name: a, port: 80, protocol: HTTP, hostname: a.b}}, {{{other}}}");
    check(&two("name: a, port: 81, protocol: HTTP"), &["another listener is called"]);
    check(&two("name: b, port: 80, protocol: HTTP, hostname: a.b"), &["this port, protocol and hostname"]);
    check(&two("name: b, port: 80, protocol: HTTP, hostname: c.d"), &[]);
}

#[test]
fn client_validation_of_the_gateway_api() {
    let check = |frontend: &str, reasons: &[&str]| {
        let listener = "{name: a, port: 80, protocol: HTTP}";
        let spec = format!("{{listeners: [{listener}], tls: {{frontend: {frontend}}}}}");
        check("Gateway of the Gateway API", &spec, reasons);
    };
    check("{default: {validation: {caCertificateRefs: [{name: c}], mode: AllowInsecureFallback}}}", &[]);
    check("{default: {}}", &[]);
    check("{default: {validation: {}}}", &["needs caCertificateRefs"]);
    check("{default: {validation: {caCertificateRefs: [{name: c}], mode: Any}}}", &["'Any' is unknown"]);
    check("{perPort: [{port: 80}, {port: 80}]}", &["a port twice"]);
}

#[test]
fn backend_tls_policies() {
    let check = |targets: &str, validation: &str, reasons: &[&str]| {
        let spec = format!("{{targetRefs: [{targets}], validation: {{{validation}}}}}");
        check("BackendTLSPolicy", &spec, reasons);
    };
    let (one, good) =
        ("{group: '', kind: Service, name: a}", "hostname: a.b, wellKnownCACertificates: System");
    check(one, good, &[]);
    check(one, "hostname: a.b, caCertificateRefs: [{name: c}]", &[]);
    check("", good, &["targetRefs is empty"]);
    check(one, "wellKnownCACertificates: System", &["hostname ''"]);
    check(one, "hostname: '*.b', wellKnownCACertificates: System", &["hostname '*.b'"]);
    check(one, "hostname: a.b", &["takes either"]);
    check(one, &format!("{good}, caCertificateRefs: [{{name: c}}]"), &["takes either"]);
    let of = |section: &str| one.replace('}', &format!(", sectionName: {section}}}"));
    check(&format!("{one}, {one}"), good, &["one target twice"]);
    check(&format!("{}, {}", of("http"), of("http")), good, &["one target twice"]);
    check(&format!("{}, {}", of("http"), of("grpc")), good, &[]);
}

#[test]
fn workload_entries() {
    let check = |spec: &str, reasons: &[&str]| check("WorkloadEntry", spec, reasons);
    check("{address: 10.0.0.1, ports: {http: 80}}", &[]);
    check("{address: a.b}", &[]);
    check("{network: far}", &[]);
    check("{labels: {a: b}}", &["address is missing"]);
    check("{address: 'a b'}", &["neither an address"]);
    check("{address: 10.0.0.1, ports: {h_p: 80}}", &["no DNS label"]);
    check("{address: 10.0.0.1, labels: {a: b/c}}", &["no value of a label"]);
}

#[test]
fn a_dry_run_of_anything_but_an_authorization_policy_is_refused() {
    let object = |kind: &str, annotation: &str| {
        let text = format!("metadata: {{name: a, annotations: {{{annotation}: 'true'}}}}\nspec: {{}}");
        refusals("security.istio.io", kind, "shop", &serde_saphyr::from_str(&text).unwrap()).len()
    };
    assert_eq!(object("PeerAuthentication", "istio.io/dry-run"), 1);
    assert_eq!(object("AuthorizationPolicy", "istio.io/dry-run"), 0);
    assert_eq!(object("PeerAuthentication", "own"), 0);
    for own in ["webhook-always-reject", "parents", "parent-namespace"] {
        assert_eq!(object("AuthorizationPolicy", &format!("internal.istio.io/{own}")), 1);
    }
}
