//! Certificates of Gateways, listeners of Sidecars and what names routes by SNI. The values are those of Istio's own
//! `TestValidateTlsOptions`, `TestValidateSidecar` and `TestValidateWildcardDomainForVirtualServiceBoundToGateway`.

use super::check;

const FILES: &str = "serverCertificate: c, privateKey: k";

#[test]
fn a_server_has_its_certificates_from_one_place() {
    let tls = |text: &str, reasons: &[&str]| {
        let server =
            format!("{{hosts: [a.b], port: {{number: 443, name: a, protocol: HTTPS}}, tls: {text}}}");
        check("Gateway", &format!("{{servers: [{server}]}}"), reasons);
    };
    let (name, names) = ("credentialName: c", "credentialNames: [c]");
    let pairs = &format!("tlsCertificates: [{{{FILES}}}, {{{FILES}}}, {{{FILES}}}]");
    for mode in ["SIMPLE", "MUTUAL", "OPTIONAL_MUTUAL", "PASSTHROUGH"] {
        for one in [FILES, name, names, pairs] {
            tls(&format!("{{mode: {mode}, {one}, caCertificates: a}}"), &[]);
        }
        for (one, other) in [(FILES, name), (FILES, names), (FILES, pairs.as_str()), (name, names)] {
            tls(&format!("{{mode: {mode}, {one}, {other}, caCertificates: a}}"), &["more than one of"]);
        }
    }
    tls("{mode: SIMPLE, credentialName: c, privateKey: k}", &[]);
    for half in ["serverCertificate: c", "privateKey: k"] {
        let text = format!("{{mode: SIMPLE, tlsCertificates: [{{{FILES}}}, {{{half}}}]}}");
        tls(&text, &["SIMPLE needs serverCertificate"]);
    }
    tls(&format!("{{mode: MUTUAL, {pairs}}}"), &["MUTUAL needs caCertificates"]);
    tls(&format!("{{mode: ISTIO_MUTUAL, {names}}}"), &["takes no credentialNames"]);
    tls(&format!("{{mode: ISTIO_MUTUAL, {pairs}}}"), &["takes no tlsCertificates"]);
}

#[test]
fn a_sidecar_s_listeners() {
    let tls = |text: &str, reasons: &[&str]| {
        let tls = format!("{{mode: SIMPLE, {text}}}");
        check(
            "Sidecar",
            &format!("{{ingress: [{{port: {{number: 80, protocol: TLS}}, tls: {tls}}}]}}"),
            reasons,
        );
    };
    tls(FILES, &[]);
    tls("credentialNames: [c]", &["credentialNames has no meaning"]);
    tls(&format!("tlsCertificates: [{{{FILES}}}]"), &["tlsCertificates has no meaning"]);
    let pool = |text: &str, reasons: &[&str]| check("Sidecar", &format!("{{{text}}}"), reasons);
    pool("inboundConnectionPool: {tcp: {maxConnections: 1}}", &[]);
    pool("inboundConnectionPool: {}", &["neither http nor tcp"]);
    pool("ingress: [{port: {number: 80}, connectionPool: {tcp: {maxConnections: -1}}}]", &["is negative"]);
}

#[test]
fn only_egress_listens_on_sockets() {
    let own = |text: &str| format!("{{port: {{protocol: HTTP, name: uds}}, hosts: ['*/*'], {text}}}");
    let egress = |entries: &[&str], reasons: &[&str]| {
        let entries: Vec<String> = entries.iter().map(|text| own(text)).collect();
        check("Sidecar", &format!("{{egress: [{}]}}", entries.join(", ")), reasons);
    };
    egress(&["bind: 'unix:///a'", "bind: 'unix:///b', captureMode: NONE"], &[]);
    egress(&["bind: 'unix:///a'", "bind: 'unix:///a'"], &["another entry has 'unix:///a'"]);
    egress(&["bind: 'unix:///a', captureMode: IPTABLES"], &["nothing is redirected to a socket"]);
    egress(&["bind: 'unix://a'"], &["no whole path"]);
    egress(&["bind: 10.0.0.1"], &["0 is for sockets only"]);
    let ingress = "{ingress: [{port: {protocol: HTTP, name: uds}, bind: 'unix:///a'}]}";
    check("Sidecar", ingress, &["number 0 is no port", "'unix:///a' is no address"]);
}

#[test]
fn an_egress_proxy_is_a_host_with_a_port() {
    let proxy = |text: &str, reasons: &[&str]| {
        check(
            "Sidecar",
            &format!("{{outboundTrafficPolicy: {{mode: ALLOW_ANY, egressProxy: {text}}}}}"),
            reasons,
        );
    };
    proxy("{host: foo.bar, subset: shiny, port: {number: 5000}}", &[]);
    proxy("{host: foo.bar}", &["has no port"]);
    proxy("{host: 'foobar*123', port: {number: 5000}}", &["no whole name"]);
    proxy("{host: foo.bar, port: {}}", &["port 0 is no port"]);
}

#[test]
fn istio_s_own_names_are_for_routes_by_sni() {
    let route = "route: [{destination: {host: a}}]";
    let bound = |host: &str, reasons: &[&str]| {
        let tls = format!("tls: [{{match: [{{sniHosts: [{host}]}}], {route}}}]");
        check("VirtualService", &format!("{{hosts: [{host}], gateways: [ns/g], {tls}}}"), reasons);
    };
    bound("outbound_.80_._.e2e.foobar.mesh", &[]);
    bound("outbound_.80_.v1_.a.b", &[]);
    for host in [
        "neverbound_.80_._.e2e.foobar.mesh",
        "outbound_.thisIsNotAPort_._.e2e.foobar.mesh",
        "outbound_.80_._.1",
        "outbound_.80",
    ] {
        bound(host, &["no DNS label", "no DNS label"]);
    }
    let http = format!("{{hosts: [outbound_.80_._.a.b], gateways: [ns/g], http: [{{{route}}}]}}");
    check("VirtualService", &http, &["no DNS label"]);
}

#[test]
fn gateways_are_checked_up_to_the_first_without_a_namespace() {
    for (gateways, reasons) in [
        ("[ns/g, mesh]", [].as_slice()),
        ("[ns/g_, mesh]", &["namespace/name"]),
        ("[mesh, ns/g_]", &[]),
        ("['b@d', mesh]", &["no DNS label"]),
        ("[mesh, 'b@d']", &[]),
    ] {
        let spec = format!("{{hosts: [a.b], gateways: {gateways}, http: [{{redirect: {{uri: /}}}}]}}");
        check("VirtualService", &spec, reasons);
    }
}

#[test]
fn dns_takes_names_and_addresses() {
    let entry = |endpoint: &str, resolution: &str, reasons: &[&str]| {
        let ports = "ports: [{number: 80, name: http, protocol: HTTP}]";
        let rest = format!("resolution: {resolution}, endpoints: [{{{endpoint}}}]");
        check("ServiceEntry", &format!("{{hosts: ['*.a.b'], {ports}, {rest}}}"), reasons);
    };
    for (endpoint, dns) in [
        ("address: 10.0.0.1", [].as_slice()),
        ("address: 'unix:///a/b'", &["DNS takes addresses"]),
        ("network: far", &["DNS takes addresses"]),
    ] {
        entry(endpoint, "DNS", dns);
        entry(endpoint, "STATIC", &[]);
    }
}
