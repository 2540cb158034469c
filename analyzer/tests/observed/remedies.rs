//! A remedy's YAML, applied to the mesh that was broken, mends what it says it mends, and breaks nothing else.

use std::path::Path;

use analyzer::report::{Expected, ServerMode};
use flow::{ClientAuth, Flow, Outcome, Protocol, Reason, Security, TlsSession, TlsVersion};
use serde_json::Value;

use super::{
    FRONT, INGRESS, JOB, ORDERS, PLAIN, SEARCH, SEARCH_HTTPS, STOCK, STRANGER, TO_ORDERS, TO_SEARCH, VAULT,
    and, clean, exactly, fine, flow, istio, judge, mutual, one_way, session, unanswered, with,
};

pub(crate) fn documents(text: &str) -> Vec<Value> {
    text.split("---\n")
        .filter(|document| !document.trim().is_empty())
        .map(|document| serde_saphyr::from_str(document).unwrap())
        .collect()
}

pub(crate) fn identity(document: &Value) -> [Option<&str>; 3] {
    ["/kind", "/metadata/name", "/metadata/namespace"]
        .map(|field| document.pointer(field).and_then(Value::as_str))
}

/// Applies a merge patch (RFC 7386).
pub(crate) fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(changes) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = serde_json::json!({});
    }
    let entries = target.as_object_mut().unwrap();
    for (key, change) in changes {
        if change.is_null() {
            entries.remove(key);
        } else {
            merge(entries.entry(key.clone()).or_insert(Value::Null), change);
        }
    }
}

pub(crate) fn written(documents: &[Value]) -> String {
    documents.iter().map(|document| format!("{document}\n")).collect::<Vec<_>>().join("---\n")
}

/// Applies a remedy: a change to a document of the same name, or a document to add.
fn apply(mesh: &str, remedy: &str) -> String {
    let mut documents = documents(mesh);
    let patch: Value = serde_saphyr::from_str(remedy).unwrap();
    match documents.iter_mut().find(|document| identity(document) == identity(&patch)) {
        Some(document) => merge(document, &patch),
        None => documents.push(patch),
    }
    written(&documents)
}

/// `broken` must be exactly `id`; once its remedy is applied, nothing is wrong with `mended`.
#[track_caller]
fn mends(id: &str, mesh: &str, broken: &Flow, mended: &Flow) -> Expected {
    let remedy = exactly(id, mesh, broken).remedy;
    assert!(remedy.resource.is_some());
    let mesh = apply(mesh, &remedy.yaml.unwrap());
    Expected::clone(&fine(&mesh, mended).expected.unwrap())
}

/// A mesh of `testdata/policy`.
fn case(name: &str) -> String {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata/policy").join(name).join("resources.yaml");
    std::fs::read_to_string(path).unwrap()
}

fn mesh_mtls(outcome: Outcome) -> Security {
    mutual(TlsSession { outcome, sni: None, ..istio("") })
}

/// Restarts a pod of the clean mesh: where its namespace asks for it, the injector gives it a sidecar.
pub(crate) fn restarted(mesh: &str, pod: &str) -> String {
    let mut documents = documents(mesh);
    let namespace = documents
        .iter()
        .find(|document| identity(document)[..2] == [Some("Pod"), Some(pod)])
        .and_then(|document| identity(document)[2])
        .unwrap()
        .to_owned();
    let asked = documents.iter().any(|document| {
        identity(document)[..2] == [Some("Namespace"), Some(&namespace)]
            && document.pointer("/metadata/labels/istio-injection").is_some_and(|label| label == "enabled")
    });
    assert!(asked, "nothing asks for a sidecar in {namespace}");
    let pod =
        documents.iter_mut().find(|document| identity(document)[..2] == [Some("Pod"), Some(pod)]).unwrap();
    merge(pod, &serde_json::json!({"metadata": {"labels": {"security.istio.io/tlsMode": "istio"}}}));
    let containers = pod.pointer_mut("/spec/containers").unwrap().as_array_mut().unwrap();
    containers.push(serde_json::json!({"name": "istio-proxy", "args": ["proxy", "sidecar"]}));
    written(&documents)
}

#[track_caller]
fn mends_by_injection(id: &str, mesh: &str, broken: &Flow, pod: &str, mended: &Flow) {
    let remedy = exactly(id, mesh, broken).remedy;
    let labelled = apply(mesh, &remedy.yaml.unwrap());
    fine(&restarted(&labelled, pod), mended);
}

#[test]
fn ob01_and_ob05_and_ob02_a_pod_gets_a_sidecar() {
    let strict = with(
        &clean(),
        "namespace: legacy}\nspec: {mtls: {mode: PERMISSIVE}}",
        "namespace: legacy}\nspec: {mtls: {mode: STRICT}}",
    );
    let to_stock = mutual(istio("outbound_.80_._.stock.legacy.svc.cluster.local"));
    mends_by_injection("OB01", &strict, &flow(FRONT, STOCK, PLAIN), "stock", &flow(FRONT, STOCK, to_stock));
    let to_search = || flow(JOB, SEARCH, mutual(istio(TO_SEARCH)));
    mends_by_injection("OB05", &clean(), &flow(JOB, SEARCH, PLAIN), "job", &to_search());
    let to_orders = flow(JOB, ORDERS, mutual(istio(TO_ORDERS)));
    mends_by_injection("OB02", &clean(), &unanswered(flow(JOB, ORDERS, PLAIN)), "job", &to_orders);
    let one_way = flow(JOB, ORDERS, one_way(session(&["h2"], None)));
    mends_by_injection("OB03", &clean(), &one_way, "job", &to_orders);
}

#[test]
fn a_pod_that_opted_out_is_labelled_itself() {
    let out = with(
        &clean(),
        "labels: {app: job}, annotations: {}",
        "labels: {app: job}, annotations: {sidecar.istio.io/inject: 'false'}",
    );
    let remedy = exactly("OB05", &out, &flow(JOB, SEARCH, PLAIN)).remedy;
    assert_eq!(remedy.resource.as_deref(), Some("Pod/batch/job"));
    assert!(remedy.yaml.unwrap().contains("sidecar.istio.io/inject"));
}

#[test]
fn a_client_joins_the_mesh_as_others_did() {
    let joined = |label: &str, summary: &str| {
        let labels = format!("{{name: web, labels: {{{label}}}}}");
        let mesh = with(&clean(), "{name: web, labels: {}}", &labels);
        let remedy = exactly("OB05", &mesh, &flow(JOB, SEARCH, PLAIN)).remedy;
        assert!(remedy.summary.starts_with(summary), "{remedy:?}");
        assert!(remedy.yaml.unwrap().contains(label), "{label}");
    };
    joined("istio.io/rev: stable", "Give batch/job a sidecar");
    joined("istio.io/dataplane-mode: ambient", "Put batch/job into the ambient mesh");
}

#[test]
fn ob02_and_ob03_a_rule_that_switches_mtls_off() {
    let (from, to) = ("10.20.134.11", "10.20.134.21:8080");
    let mesh = case("005-client-rule-disables-tls-to-strict-server");
    let mended = flow(from, to, mesh_mtls(Outcome::Established));
    let expected = mends("OB02", &mesh, &unanswered(flow(from, to, PLAIN)), &mended);
    assert_eq!(expected.conflict, Some(false));
    let simple = with(&mesh, "mode: DISABLE", "mode: SIMPLE\n      caCertificates: /etc/ca.pem");
    let found = exactly("OB03", &simple, &flow(from, to, one_way(session(&["h2"], None)))).remedy;
    assert!(found.file.as_deref() == Some("mesh.yaml") && found.line.is_some());
    let yaml = found.yaml.unwrap();
    assert!(yaml.contains("caCertificates: null"), "what belongs to SIMPLE goes: {yaml}");
    fine(&apply(&simple, &yaml), &mended);
}

#[test]
fn one_port_s_entry_of_a_rule_is_changed_and_the_others_stay() {
    let (from, to) = ("10.20.134.11", "10.20.134.21:8080");
    let mesh = with(
        &case("005-client-rule-disables-tls-to-strict-server"),
        "  trafficPolicy:\n    tls:\n      mode: DISABLE\n",
        "  trafficPolicy:\n    portLevelSettings:\n    - port:\n        number: 9\n      tls:\n        mode: SIMPLE\n    - port:\n        number: 80\n      tls:\n        mode: DISABLE\n",
    );
    let broken = unanswered(flow(from, to, PLAIN));
    mends("OB02", &mesh, &broken, &flow(from, to, mesh_mtls(Outcome::Established)));
    let yaml = exactly("OB02", &mesh, &broken).remedy.yaml.unwrap();
    assert!(yaml.contains("SIMPLE"), "the other port's entry stays: {yaml}");
}

#[test]
fn a_rule_for_many_hosts_stays_and_a_nearer_one_is_added() {
    let plain = and(
        &clean(),
        "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: all, namespace: web}\nspec: {host: '*.local', trafficPolicy: {tls: {mode: DISABLE}}}",
    );
    let broken = unanswered(flow(FRONT, ORDERS, PLAIN));
    let remedy = exactly("OB02", &plain, &broken).remedy;
    assert_eq!(remedy.resource.as_deref(), Some("DestinationRule/web/orders-istio-mutual"));
    mends("OB02", &plain, &broken, &flow(FRONT, ORDERS, mutual(istio(TO_ORDERS))));
}

#[test]
fn ob02_a_port_is_opened_and_what_else_the_workload_declares_stays() {
    // A client of another network has no proxy: only the port can be opened to it.
    let outside = |to: &str| unanswered(flow("203.0.113.7", to, PLAIN));
    let mesh = case("003-workload-permissive-in-strict-mesh").replace("mode: PERMISSIVE", "mode: STRICT");
    let ledger = "10.20.132.21:7777";
    let expected = mends("OB02", &mesh, &outside(ledger), &outside(ledger));
    assert_eq!(expected.server_mode, Some(ServerMode::Permissive));
    assert_eq!(expected.server_mode_from, "PeerAuthentication/pay/ledger");

    // The workload's policy in this mesh gives way to one that declares another port as well.
    let own = "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata:\n  name: own\n  namespace: pay\n  \
               creationTimestamp: '2026-01-01T00:00:00Z'\nspec:\n  selector:\n    matchLabels:\n      app: ledger\n  mtls:\n    \
               mode: STRICT\n  portLevelMtls:\n    9999:\n      mode: DISABLE\n";
    let named = "kind: PeerAuthentication\nmetadata:\n  name: ledger\n";
    let others: Vec<_> = mesh.split("---\n").filter(|document| !document.contains(named)).collect();
    let mesh = format!("{}---\n{own}", others.join("---\n"));
    mends("OB02", &mesh, &outside(ledger), &outside(ledger));
    let remedy = exactly("OB02", &mesh, &outside(ledger)).remedy;
    assert_eq!(remedy.resource.as_deref(), Some("PeerAuthentication/pay/own"));
    let mended = apply(&mesh, &remedy.yaml.unwrap());
    let mode = |to: &str| judge(&mended, &outside(to)).expected.unwrap().server_mode;
    assert_eq!(mode("10.20.132.21:9999"), Some(ServerMode::Disable));
    assert_eq!(mode("10.20.132.21:1234"), Some(ServerMode::Strict));
}

#[test]
fn ob02_a_workload_without_a_policy_of_its_own_gets_one() {
    let outside = unanswered(flow(STRANGER, ORDERS, PLAIN));
    let expected = mends("OB02", &clean(), &outside, &outside);
    assert_eq!(expected.server_mode_from, "PeerAuthentication/shop/orders-8080");
}

#[test]
fn ob06_a_rule_that_sends_mtls_to_a_server_without_proxy() {
    let (from, to) = ("10.20.135.11", "10.20.135.21:8080");
    let failed = TlsSession { outcome: Outcome::Failed, sni: None, ..istio("") };
    let broken = flow(from, to, Security::Tls(failed.into(), ClientAuth::Hidden(Reason::Refused)));
    let mesh = case("006-istio-mutual-to-server-without-proxy");
    let expected = mends("OB06", &mesh, &broken, &flow(from, to, PLAIN));
    assert_eq!(expected.conflict, Some(false));
}

#[test]
fn ob07_and_ob08_the_port_s_protocol_is_declared() {
    let tls = flow(JOB, SEARCH, one_way(session(&["h2"], None)));
    mends("OB07", &clean(), &tls, &tls);
    let plain = Flow { protocol: Some(Protocol::Http1), ..unanswered(flow(JOB, SEARCH_HTTPS, PLAIN)) };
    let expected = mends("OB08", &clean(), &plain, &plain);
    assert_eq!(expected.protocol.as_deref(), Some("HTTP"));
    // The port of a ServiceEntry has a field for it.
    let out = Flow { protocol: Some(Protocol::Redis), ..flow(FRONT, "203.0.113.10:443", PLAIN) };
    let expected = mends("OB08", &clean(), &out, &out);
    assert_eq!(expected.protocol.as_deref(), Some("TCP"));
}

#[test]
fn ob09_a_gateway_that_is_meant_to_take_clients_without_a_certificate() {
    let partner = |outcome| one_way(TlsSession { outcome, ..session(&["h2"], Some("partner.example.com")) });
    let refused = flow(STRANGER, INGRESS, partner(Outcome::Failed));
    let remedy = exactly("OB09", &clean(), &refused).remedy;
    assert_eq!(remedy.resource.as_deref(), Some("Gateway/istio-system/partners"));
    let taken = flow(STRANGER, INGRESS, partner(Outcome::Established));
    let expected = mends("OB09", &clean(), &refused, &taken);
    let server = expected.gateway_server.unwrap();
    assert_eq!(server.tls_mode.as_deref(), Some("OPTIONAL_MUTUAL"));
    assert_eq!(server.min_version.as_deref(), Some("TLSV1_2"), "what else the server declares stays");
}

/// One server has the port for itself, and a client that names no host is closed all the same.
#[test]
fn gw08_a_server_that_needs_sni_serves_every_host() {
    let second = "  - port: {number: 443, name: tls-through, protocol: TLS}\n    hosts: [through.example.com]\n    tls: {mode: PASSTHROUGH}\n";
    let alone = with(&clean(), second, "");
    let optional = alone.replace("mode: MUTUAL", "mode: OPTIONAL_MUTUAL");
    let nameless = |outcome| one_way(TlsSession { outcome, ..session(&["h2"], None) });
    let unanswered = TlsSession { outcome: Outcome::Failed, version: None, ..session(&["h2"], None) };
    let refused = flow(STRANGER, INGRESS, one_way(unanswered));
    mends("GW08", &optional, &refused, &flow(STRANGER, INGRESS, nameless(Outcome::Established)));
    fine(&optional, &flow(STRANGER, INGRESS, nameless(Outcome::Established)));
    let named =
        one_way(TlsSession { outcome: Outcome::Failed, ..session(&["h2"], Some("partner.example.com")) });
    fine(&optional, &flow(STRANGER, INGRESS, named));
    // A server that answered has been chosen: the handshake failed for another reason.
    fine(&optional, &flow(STRANGER, INGRESS, nameless(Outcome::Failed)));
    // Which of several servers was meant, nobody knows.
    assert_eq!(exactly("GW08", &clean(), &refused).remedy.yaml, None);
    // Whether a ClientHello that was not seen named a host, neither.
    let unseen = one_way(TlsSession { outcome: Outcome::Failed, ..TlsSession::default() });
    fine(&optional, &flow(STRANGER, INGRESS, unseen));
}

#[test]
fn pn02_a_port_where_the_server_was_seen_to_speak_first_is_declared() {
    let port = "{name: tcp-feed, port: 9000, targetPort: 9000}, {name: https";
    let undeclared = with(&clean(), port, "{name: feed, port: 9000, targetPort: 9000}, {name: https");
    let said =
        |protocol| Flow { protocol: Some(protocol), ..flow(FRONT, super::SEARCH_TCP, mutual(istio(""))) };
    let mail = said(Protocol::Smtp);
    mends("PN02", &undeclared, &mail, &mail);
    fine(&clean(), &mail);
    fine(&undeclared, &said(Protocol::Redis));
}

#[test]
fn ob11_tls_is_originated_once() {
    let mesh = with(&clean(), "tls: {mode: DISABLE}", "tls: {mode: SIMPLE}");
    let own = flow(FRONT, "127.0.0.1:15001", one_way(session(&["h2"], Some("api.example.com"))));
    let yaml = exactly("OB11", &mesh, &own).remedy.yaml.unwrap();
    fine(&apply(&mesh, &yaml), &own);
}

#[test]
fn ob18_and_ob23_the_annotations_that_lead_around_the_proxy_go() {
    let out = with(
        &clean(),
        "labels: {app: vault, security.istio.io/tlsMode: istio}, annotations: {}",
        "labels: {app: vault, security.istio.io/tlsMode: istio}, annotations: {traffic.sidecar.istio.io/excludeOutboundPorts: '8443', keep: this}",
    );
    let unknown = flow(VAULT, "192.0.2.9:8443", PLAIN);
    let found = exactly("OB23", &out, &unknown);
    assert!(found.message.contains("excludeOutboundPorts lists 8443"), "{}", found.message);
    let mended = apply(&out, &found.remedy.yaml.unwrap());
    assert!(mended.contains("keep") && !mended.contains("excludeOutboundPorts"));
    let expected = judge(&mended, &unknown);
    assert!(
        expected.violations[0].message.contains("should have dropped it"),
        "the proxy has it now, and drops it"
    );

    let front = "labels: {app: front, security.istio.io/tlsMode: istio}, annotations: {";
    let around = format!("{front}traffic.sidecar.istio.io/excludeOutboundPorts: '443'");
    let around = with(&with(&clean(), front, &around), "match: [{port: 8443", "match: [{port: 443");
    let api = one_way(session(&["h2"], Some("api.example.com")));
    let bypass = flow(FRONT, "203.0.113.10:443", api.clone());
    mends("OB18", &around, &bypass, &flow(FRONT, "10.1.0.61:8443", api));
}

#[test]
fn ob14_the_server_s_own_identity_and_a_former_trust_domain_are_accepted() {
    let rule = and(
        &clean(),
        "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: orders, namespace: web}\nspec: {host: orders.shop.svc.cluster.local, trafficPolicy: {tls: {mode: ISTIO_MUTUAL, subjectAltNames: ['spiffe://corp.example/ns/shop/sa/before']}}}",
    );
    let shown = |server: &str| {
        let session = TlsSession {
            version: Some(TlsVersion::Tls12),
            cipher: Some("TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384".into()),
            server_certificate: Some(super::identity(server)),
            ..istio(TO_ORDERS)
        };
        flow(FRONT, ORDERS, mutual(session))
    };
    let own = shown("spiffe://corp.example/ns/shop/sa/orders");
    mends("OB14", &rule, &own, &own);
    let yaml = exactly("OB14", &rule, &own).remedy.yaml.unwrap();
    assert!(yaml.contains("sa/before"), "the names that are accepted stay: {yaml}");
    // Another's identity is nobody's to accept.
    let other = shown("spiffe://corp.example/ns/shop/sa/other");
    assert_eq!(exactly("OB14", &rule, &other).remedy.yaml, None);
    assert_eq!(exactly("OB14", &clean(), &other).remedy.yaml, None);

    let former = shown("spiffe://former.example/ns/shop/sa/orders");
    mends("OB14", &clean(), &former, &former);
    let yaml = exactly("OB14", &clean(), &former).remedy.yaml.unwrap();
    assert!(yaml.contains("old.example"), "the aliases that are there stay: {yaml}");
    assert_eq!(exactly("OB14", &clean(), &shown("spiffe://former.example/ns/shop/sa/x")).remedy.yaml, None);
}

#[test]
fn ob16_the_sni_that_a_rule_sets_is_left_to_istio() {
    let host = "  host: search.open.svc.cluster.local\n";
    let policy = format!("{host}  trafficPolicy: {{tls: {{mode: ISTIO_MUTUAL, sni: {TO_ORDERS}}}}}\n");
    let rule = with(&clean(), host, &policy);
    let broken = flow(FRONT, SEARCH, mutual(istio(TO_ORDERS)));
    let expected = mends("OB16", &rule, &broken, &flow(FRONT, SEARCH, mutual(istio(TO_SEARCH))));
    assert_eq!(expected.sni.as_deref(), Some(TO_SEARCH));
    // A stale endpoint no declaration mends.
    let remedy = exactly("OB16", &clean(), &broken).remedy;
    assert_eq!(remedy.yaml, None);
    assert!(remedy.summary.contains("web/front"), "{}", remedy.summary);
}

#[test]
fn ob19_the_destination_is_declared_for_its_client_alone() {
    for to in ["192.0.2.9:8080", "[2001:db8:9::9]:8080"] {
        let plain = flow(FRONT, to, PLAIN);
        let mended = apply(&clean(), &exactly("OB19", &clean(), &plain).remedy.yaml.unwrap());
        let judged = fine(&mended, &plain);
        assert_eq!(judged.expected.unwrap().protocol.as_deref(), Some("TCP"), "{to}");
        let other = to.replace("8080", "8081");
        exactly("OB19", &mended, &flow(FRONT, &other, PLAIN));
    }
}

#[test]
fn what_only_a_restart_mends_comes_with_the_command() {
    let front = "metadata: {name: front, namespace: web, ";
    let made = |kind: &str, name: &str| {
        with(
            &clean(),
            front,
            &format!(
                "{front}ownerReferences: [{{apiVersion: apps/v1, kind: {kind}, name: {name}, controller: true}}], "
            ),
        )
    };
    let stale = flow(FRONT, SEARCH, mutual(istio(TO_ORDERS)));
    for (mesh, command) in [
        (made("ReplicaSet", "front-5d8f"), "kubectl -n web rollout restart deployment/front"),
        (made("StatefulSet", "front"), "kubectl -n web rollout restart statefulset/front"),
        (made("Job", "front"), "kubectl -n web delete pod front"),
        (clean(), "create the pod of web/front anew"),
    ] {
        let summary = exactly("OB16", &mesh, &stale).remedy.summary;
        assert!(summary.contains(command), "{summary}");
    }
    // The gateway is who answered.
    let partner = one_way(session(&["h2"], Some("partner.example.com")));
    let summary = exactly("OB10", &clean(), &flow(STRANGER, INGRESS, partner)).remedy.summary;
    assert!(
        summary.contains("istioctl -n istio-system proxy-config listener ingress --port 8443"),
        "{summary}"
    );
}
