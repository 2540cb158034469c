//! A clean mesh has no finding; one thing broken gives exactly that finding and its unavoidable companions.

use super::lint;
use crate::mesh::{Manifest, Mesh};

const CLEAN: &str = include_str!("../../../testdata/lint/clean.yaml");

fn ids(text: &str) -> Vec<String> {
    let (mesh, errors) = Mesh::load(vec![Manifest { file: "mesh.yaml".to_owned(), text: text.to_owned() }]);
    assert!(errors.iter().all(|error| !error.fatal), "{errors:?}");
    let mut ids: Vec<String> = lint(&mesh).into_iter().map(|finding| finding.id).collect();
    ids.sort();
    ids.dedup();
    ids
}

/// Replaces `from` in the clean mesh and adds a document.
fn check(from: &str, to: &str, more: &str, expected: &[&str]) {
    assert!(CLEAN.contains(from), "the clean mesh has no {from}");
    let broken = format!("{}\n---\n{more}\n", CLEAN.replace(from, to));
    assert_eq!(ids(&broken), expected, "{from} -> {to} + {more}");
}

fn policy(namespace: &str, spec: &str) -> String {
    format!(
        "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {{name: broken, namespace: {namespace}, creationTimestamp: '2026-02-01T00:00:00Z'}}\nspec: {spec}"
    )
}

fn rule(spec: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {{name: broken, namespace: shop, creationTimestamp: '2026-02-01T00:00:00Z'}}\nspec: {spec}"
    )
}

#[test]
fn the_clean_mesh_has_no_finding() {
    assert_eq!(ids(CLEAN), Vec::<String>::new());
}

#[test]
fn broken_peer_authentications() {
    for (namespace, spec, expected) in [
        ("shop", "{mtls: {mode: STRICT}, portLevelMtls: {8080: {mode: STRICT}}}", &["PA01"][..]),
        ("istio-system", "{mtls: {mode: STRICT}}", &["PA02"]),
        ("istio-system", "{selector: {matchLabels: {app: web}}, mtls: {mode: STRICT}}", &["PA04"]),
        ("shop", "{selector: {matchLabels: {app: nobody}}, mtls: {mode: STRICT}}", &["PA05"]),
        ("shop", "{selector: {matchLabels: {app: web}}, portLevelMtls: {80: {mode: DISABLE}}}", &["PA06"]),
        ("shop", "{mtls: {mode: PERMISSIVE}}", &["PA08"]),
        ("shop", "{mtls: {mode: DISABLE}}", &["PA09"]),
    ] {
        check("name: web", "name: web", &policy(namespace, spec), expected);
    }
}

#[test]
fn broken_destination_rules() {
    for (spec, expected) in [
        ("{host: web, trafficPolicy: {tls: {mode: DISABLE}}}", &["DR12", "XC01"][..]),
        ("{host: web, trafficPolicy: {tls: {}}}", &["DR02", "DR12", "XC01"]),
        ("{host: nobody, trafficPolicy: {tls: {mode: ISTIO_MUTUAL}}}", &["DR01"]),
        ("{host: web, trafficPolicy: {tls: {mode: SIMPLE, caCertificates: /ca}}}", &["XC03"]),
        ("{host: api.bank.example, trafficPolicy: {tls: {mode: ISTIO_MUTUAL}}}", &["DR09"]),
        ("{host: api.bank.example, trafficPolicy: {tls: {mode: SIMPLE, caCertificates: /ca}}}", &["SE02"]),
        (
            "{host: web, trafficPolicy: {tls: {mode: ISTIO_MUTUAL}, portLevelSettings: [{port: {number: 80}}]}}",
            &["DR05"],
        ),
    ] {
        check("name: web", "name: web", &rule(spec), expected);
    }
}

#[test]
fn broken_gateways_and_ports() {
    for (from, to, expected) in [
        ("mode: SIMPLE, ", "", &["GW03"][..]),
        ("tls: {mode: SIMPLE, credentialName: shop}", "", &["GW01"]),
        ("    tls: {httpsRedirect: true}\n", "", &["GW13"]),
        ("mode: SIMPLE, credentialName: shop", "mode: MUTUAL", &["GW14"]),
        ("mode: SIMPLE, ", "mode: OPTIONAL_MUTUAL, ", &["GW16"]),
        ("mode: SIMPLE, ", "mode: SIMPLE, minProtocolVersion: TLSV1_0, ", &["GW12"]),
        ("    app: ingress\n  servers", "    app: nobody\n  servers", &["GW09"]),
        ("  http:\n  - route", "  tls:\n  - route", &["GW04"]),
        ("  - name: grpc", "  - name: rpc", &["PN01"]),
        (
            "  - {number: 443, name: https, protocol: HTTPS}",
            "  - {number: 443, name: http, protocol: HTTP}",
            &["SE01"],
        ),
    ] {
        let expected: Vec<&str> = expected.to_vec();
        check(from, to, "", &expected);
    }
}

#[test]
fn broken_ambient_workloads() {
    let ambient = "apiVersion: v1\nkind: Pod\nmetadata: {name: z-0, namespace: shop, labels: {app: z}, annotations: {ambient.istio.io/redirection: enabled}}\nspec: {containers: [{name: app, ports: [{containerPort: 7000}]}]}\nstatus: {podIP: 10.0.9.9}";
    // The clean mesh is STRICT, and its sidecars take no HBONE.
    check("name: web", "name: web", ambient, &["AB04"]);
    let off = policy("shop", "{selector: {matchLabels: {app: z}}, mtls: {mode: DISABLE}}");
    check("name: web", "name: web", &format!("{ambient}\n---\n{off}"), &["AB01", "AB04"]);
}

#[test]
fn broken_sidecars() {
    let sidecar = |name: &str, spec: &str| {
        format!(
            "apiVersion: networking.istio.io/v1\nkind: Sidecar\nmetadata: {{name: {name}, namespace: shop, creationTimestamp: '2026-02-01T00:00:00Z'}}\nspec: {spec}"
        )
    };
    let one = "{workloadSelector: {labels: {app: web}}, egress: [{hosts: ['*/*']}]}";
    check("name: web", "name: web", &sidecar("a", one), &[]);
    let two = format!("{}\n---\n{}", sidecar("a", one), sidecar("b", one));
    check("name: web", "name: web", &two, &["SC03"]);
    let ingress = "{workloadSelector: {labels: {app: web}}, ingress: [{port: {number: 7070, protocol: HTTP, name: x}, tls: {mode: SIMPLE}}]}";
    check("name: web", "name: web", &sidecar("a", ingress), &["SC02", "SC04"]);
}
