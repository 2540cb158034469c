//! One thing wrong at a time, and what is right beside it.

use super::*;

/// The reasons for which an object with this spec is refused.
fn refused(kind: &str, spec: &str) -> Vec<Refusal> {
    let group = if kind == "PeerAuthentication" { "security.istio.io" } else { "networking.istio.io" };
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
    check("{host: a, trafficPolicy: {tls: {mode: SIMPLE, caCrl: f}}}", &["caCrl needs"]);
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
    check("{outboundTrafficPolicy: {mode: ALLOW_ANY, egressProxy: {host: a}}}", &[]);
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
    check(&with("http: [{route: [], redirect: {uri: /}}, {delegate: {name: d}}, {directResponse: {}}]"), &[]);
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
fn workload_entries() {
    let check = |spec: &str, reasons: &[&str]| check("WorkloadEntry", spec, reasons);
    check("{address: 10.0.0.1, ports: {http: 80}}", &[]);
    check("{address: a.b}", &[]);
    check("{network: far}", &[]);
    check("{labels: {a: b}}", &["address is missing"]);
    check("{address: 'a b'}", &["neither an address"]);
    check("{address: 10.0.0.1, ports: {h_p: 80}}", &["no DNS label"]);
}

#[test]
fn a_dry_run_of_anything_but_an_authorization_policy_is_refused() {
    let object = |kind: &str| {
        let text =
            "metadata: {name: a, annotations: {istio.io/dry-run: 'true'}}\nspec: {mtls: {mode: STRICT}}";
        refusals("security.istio.io", kind, "shop", &serde_saphyr::from_str(text).unwrap())
    };
    assert_eq!(object("PeerAuthentication").len(), 1);
    assert_eq!(object("AuthorizationPolicy"), []);
}
