//! What is declared is right and something does not follow: the remedy's YAML makes its pods anew, and the connection that such a
//! pod makes has no finding. Where no YAML does that, the remedy has none.

use std::sync::Arc;

use analyzer::audit::Auditor;
use analyzer::lint::lint;
use analyzer::report::{Judged, Remedy};
use flow::{Certificate, ClientAuth, Flow, Reason, Security, TlsSession, TlsVersion};
use serde_json::{Value, json};

use super::remedies::{documents, identity, merge, restarted as injected, written};
use super::{
    FRONT, INGRESS, JOB, ORDERS, PLAIN, SEARCH, STOCK, STRANGER, TO_ORDERS, TO_SEARCH, and, at, clean,
    exactly, fine, flow, identity as workload, istio, mesh, mutual, one_way, session, unanswered, with,
};

const RESTARTED_AT: &str = "kubectl.kubernetes.io/restartedAt";
/// When the pods of the clean mesh were made, and when their controllers have replaced them.
const MADE: &str = "2026-02-28T08:00:00Z";
const REPLACED: &str = "2026-03-01T13:00:00Z";

/// The mesh in which this controller made the pod.
fn made(text: &str, pod: &str, kind: &str) -> String {
    let (version, owner, label) = match kind {
        "Deployment" => ("apps/v1", "ReplicaSet", "pod-template-hash"),
        "Rollout" => ("apps/v1", "ReplicaSet", "rollouts-pod-template-hash"),
        _ => ("apps/v1", kind, "any"),
    };
    let name = if owner == "ReplicaSet" { format!("{pod}-5d8f") } else { pod.to_owned() };
    let owner = json!([{"apiVersion": version, "kind": owner, "name": name, "controller": true}]);
    let mut documents = documents(text);
    let found = documents.iter_mut().find(|one| identity(one)[..2] == [Some("Pod"), Some(pod)]);
    let metadata = json!({"ownerReferences": owner, "creationTimestamp": MADE, "labels": {label: "5d8f"}});
    merge(found.unwrap(), &json!({ "metadata": metadata }));
    written(&documents)
}

/// What the workload's controller does once the patch is applied: it replaces the pods that were made of another template, or (a
/// Rollout's) before the time.
fn replaced(text: &str, patch: &str) -> String {
    let patch: Value = serde_saphyr::from_str(patch).unwrap();
    let [kind, name, namespace] = identity(&patch).map(Option::unwrap);
    let mut documents = documents(text);
    let of_it = |one: &&mut Value| {
        let owner = |field: &str| one.pointer(&format!("/metadata/ownerReferences/0/{field}"));
        let of_set = matches!(kind, "Deployment" | "Rollout");
        identity(one)[2] == Some(namespace)
            && owner("kind").is_some_and(|owner| owner == if of_set { "ReplicaSet" } else { kind })
            && owner("name").and_then(Value::as_str).is_some_and(|owner| {
                owner == name || of_set && owner.rsplit_once('-').is_some_and(|(set, _)| set == name)
            })
    };
    let mut pods = 0;
    for pod in documents.iter_mut().filter(of_it) {
        pods += 1;
        let created = pod.pointer("/metadata/creationTimestamp").and_then(Value::as_str).unwrap();
        let stays = if kind == "Rollout" {
            at(created) >= at(patch.pointer("/spec/restartAt").unwrap().as_str().unwrap())
        } else {
            let template = patch.pointer("/spec/template/metadata").unwrap();
            let mut after = pod.clone();
            merge(&mut after["metadata"], template);
            after == *pod
        };
        if stays {
            continue;
        }
        if let Some(template) = patch.pointer("/spec/template") {
            merge(pod, template);
        }
        let (name, ip) =
            (format!("{}-anew", identity(pod)[1].unwrap()), pod.pointer("/status/podIP").unwrap());
        let ip = ip.as_str().unwrap().replace("10.1.0.", "10.1.1.");
        let anew =
            json!({"metadata": {"name": name, "creationTimestamp": REPLACED}, "status": {"podIP": ip}});
        merge(pod, &anew);
    }
    assert!(pods > 0, "{kind} {namespace}/{name} has no pods");
    written(&documents)
}

fn ids(judged: &Judged) -> Vec<&str> {
    judged.violations.iter().map(|one| one.id.as_str()).collect()
}

fn of_lint(text: &str) -> Vec<String> {
    lint(&mesh(text)).into_iter().map(|found| found.id.to_owned()).collect()
}

/// The flow as the new pod begins it, or takes it, once the controller has replaced the old one.
fn anew(old: &Flow, security: Security) -> Flow {
    let moved = |ip: std::net::IpAddr| match ip.to_string().strip_prefix("10.1.0.") {
        Some(last) => format!("10.1.1.{last}").parse().unwrap(),
        None => ip,
    };
    let mut flow = Flow { start: at(REPLACED), end: at(REPLACED), security, ..old.clone() };
    (flow.client.ip, flow.server.ip) = (moved(old.client.ip), moved(old.server.ip));
    flow
}

/// `broken` is exactly `id`, and its remedy replaces the pods. `mended` is made after that, from the new pod or to it: it has no
/// finding, nor does anything else get one.
#[track_caller]
fn mends(id: &str, text: &str, broken: &Flow, mended: &Flow) -> Remedy {
    let remedy = exactly(id, text, broken).remedy;
    let patch = remedy.yaml.clone().unwrap();
    let after = replaced(text, &patch);
    assert_ne!(after, text, "the patch replaces nothing: {patch}");
    assert_eq!(replaced(&after, &patch), after, "once is enough");
    assert_eq!(of_lint(&after), of_lint(text));
    let auditor = Auditor::with_history(mesh(text), vec![(at(REPLACED), mesh(&after))]);
    assert_eq!(ids(&auditor.judge(broken)), [id], "what was before stays");
    let judged = auditor.judge(mended);
    assert!(judged.expected.is_some(), "the new pod is known");
    assert_eq!(ids(&judged), Vec::<&str>::new(), "{}", judged.basis);
    remedy
}

/// Only one end of the flow is replaced: the other keeps its address.
fn from_new(old: &Flow, security: Security) -> Flow {
    Flow { server: old.server, ..anew(old, security) }
}

fn to_new(old: &Flow, security: Security) -> Flow {
    Flow { client: old.client, ..anew(old, security) }
}

fn with_front() -> String {
    made(&clean(), "front", "Deployment")
}

/// TLS 1.2 between two sidecars, with this certificate of the server's.
fn old(server: Certificate) -> Security {
    mutual(TlsSession {
        version: Some(TlsVersion::Tls12),
        cipher: Some("TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384".into()),
        server_certificate: Some(Arc::new(server)),
        ..istio(TO_ORDERS)
    })
}

fn of_orders(until: &str) -> Certificate {
    let issued = workload("spiffe://corp.example/ns/shop/sa/orders");
    Certificate { not_after: Some(at(until)), ..(*issued).clone() }
}

/// The pod is made anew, and the injector gives it a sidecar this time.
#[test]
fn ob01_ob02_ob03_and_ob05_a_pod_that_is_older_than_its_namespace_s_label() {
    let labelled = |namespace: &str| {
        let (bare, asks) = (format!("name: {namespace}, labels: {{}}"), "{istio-injection: enabled}");
        with(&clean(), &bare, &format!("name: {namespace}, labels: {asks}"))
    };
    let joins = |id: &str, text: &str, broken: &Flow, pod: &str, mended: &Flow| {
        let remedy = exactly(id, &made(text, pod, "Deployment"), broken).remedy;
        let after = replaced(&made(text, pod, "Deployment"), &remedy.yaml.unwrap());
        fine(&injected(&after, &format!("{pod}-anew")), mended);
        assert!(remedy.summary.contains(&format!("rollout restart deployment/{pod}")), "{}", remedy.summary);
    };
    let (job, plain) = (labelled("batch"), flow(JOB, SEARCH, PLAIN));
    joins("OB05", &job, &plain, "job", &from_new(&plain, mutual(istio(TO_SEARCH))));
    let refused = unanswered(flow(JOB, ORDERS, PLAIN));
    let mended = from_new(&flow(JOB, ORDERS, PLAIN), mutual(istio(TO_ORDERS)));
    joins("OB02", &job, &refused, "job", &mended);
    joins("OB03", &job, &flow(JOB, ORDERS, one_way(session(&["h2"], None))), "job", &mended);
    let permissive = "namespace: legacy}\nspec: {mtls: {mode: PERMISSIVE}}";
    let strict = with(&labelled("legacy"), permissive, "namespace: legacy}\nspec: {mtls: {mode: STRICT}}");
    let to_stock = flow(FRONT, STOCK, PLAIN);
    let mended = to_new(&to_stock, mutual(istio("outbound_.80_._.stock.legacy.svc.cluster.local")));
    joins("OB01", &strict, &to_stock, "stock", &mended);

    // Nothing makes the pod anew by itself.
    let alone = exactly("OB05", &job, &plain).remedy;
    assert_eq!(alone.yaml, None);
    assert!(alone.summary.contains("create the pod of batch/job anew"), "{}", alone.summary);
}

#[test]
fn ob01_a_sidecar_that_does_not_enforce_strict() {
    let broken = flow(FRONT, ORDERS, PLAIN);
    let text = made(&clean(), "orders", "Deployment");
    mends("OB01", &text, &broken, &to_new(&broken, mutual(istio(TO_ORDERS))));
}

#[test]
fn ob04_a_client_whose_proxy_is_stale() {
    let broken = flow(FRONT, SEARCH, PLAIN);
    for kind in ["Deployment", "StatefulSet", "DaemonSet", "Rollout"] {
        let text = made(&clean(), "front", kind);
        let remedy = mends("OB04", &text, &broken, &from_new(&broken, mutual(istio(TO_SEARCH))));
        assert_eq!(remedy.resource, Some(format!("{kind}/web/front")));
    }
}

/// The proxy of an ambient pod is its node's ztunnel, be the pod made by whatever.
#[test]
fn ob04_and_ob12_an_ambient_pod_whose_ztunnel_is_stale() {
    let ztunnel = |number: u8, node: &str| {
        let container = "{name: istio-proxy, args: [proxy, ztunnel]}";
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: ztunnel-{number}, namespace: istio-system}}\nspec: {{nodeName: {node}, containers: [{container}]}}\nstatus: {{podIP: 10.1.0.9{number}}}"
        )
    };
    let takes_hbone = with(
        &clean(),
        "name: search, namespace: open, labels: {",
        "name: search, namespace: open, labels: {networking.istio.io/tunnel: http, ",
    );
    let placed = with(
        &takes_hbone,
        "spec: {serviceAccountName: left,",
        "spec: {nodeName: b, serviceAccountName: left,",
    );
    let text = and(&and(&placed, &ztunnel(0, "a")), &ztunnel(1, "b"));
    let text = made(&made(&text, "ztunnel-1", "DaemonSet"), "left", "Deployment");
    let broken = flow("10.1.0.70", SEARCH, PLAIN);
    let later = |flow: Flow| Flow { start: at(REPLACED), end: at(REPLACED), ..flow };
    let mended = later(flow("10.1.0.70", "10.1.0.30:15008", mutual(session(&["h2"], None))));
    let remedy = mends("OB04", &text, &broken, &mended);
    assert_eq!(remedy.resource.as_deref(), Some("DaemonSet/istio-system/ztunnel-1"));
    assert!(remedy.summary.contains("restart ztunnel on the node of mist/left (kubectl -n istio-system rollout restart daemonset/ztunnel-1)"), "{}", remedy.summary);

    let lower =
        with(&text, "minProtocolVersion: TLSV1_2, cipherSuites", "minProtocolVersion: TLSV1_3, cipherSuites");
    let to_left = |session| flow("10.1.0.71", "10.1.0.70:15008", mutual(session));
    let twelve = TlsSession { version: Some(TlsVersion::Tls12), ..session(&["h2"], None) };
    let remedy = mends("OB12", &lower, &to_left(twelve.clone()), &later(to_left(session(&["h2"], None))));
    assert_eq!(remedy.resource.as_deref(), Some("DaemonSet/istio-system/ztunnel-1"));

    // Where no ztunnel is declared, the words name the one of the chart.
    let lower = with(
        &clean(),
        "minProtocolVersion: TLSV1_2, cipherSuites",
        "minProtocolVersion: TLSV1_3, cipherSuites",
    );
    let remedy = exactly("OB12", &lower, &to_left(twelve)).remedy;
    assert_eq!(remedy.yaml, None);
    assert!(
        remedy.summary.contains("kubectl -n istio-system rollout restart daemonset/ztunnel)"),
        "{}",
        remedy.summary
    );
}

#[test]
fn ob10_a_gateway_that_has_not_loaded_its_server() {
    let partner = || session(&["h2"], Some("partner.example.com"));
    let broken = flow(STRANGER, INGRESS, one_way(partner()));
    let text = made(&clean(), "ingress", "Deployment");
    let remedy = mends("OB10", &text, &broken, &to_new(&broken, mutual(partner())));
    assert_eq!(remedy.resource.as_deref(), Some("Deployment/istio-system/ingress"));
}

#[test]
fn ob12_and_ob13_the_proxy_that_does_not_hold_to_the_bounds() {
    let text = made(&clean(), "orders", "StatefulSet");
    let lower =
        with(&text, "minProtocolVersion: TLSV1_2, cipherSuites", "minProtocolVersion: TLSV1_3, cipherSuites");
    let broken = flow(FRONT, ORDERS, old(of_orders("2026-03-02T00:00:00Z")));
    let mended = to_new(&broken, mutual(istio(TO_ORDERS)));
    let remedy = mends("OB12", &lower, &broken, &mended);
    assert_eq!(remedy.resource.as_deref(), Some("StatefulSet/shop/orders"));
    let other = with(&text, "ECDHE-RSA-AES256-GCM-SHA384", "ECDHE-RSA-AES128-GCM-SHA256");
    mends("OB13", &other, &broken, &mended);

    // TLS that a rule originates is the client's.
    let originated = with(&with_front(), r#""mode":"DISABLE""#, r#""mode":"SIMPLE""#);
    let api =
        |version| one_way(TlsSession { version: Some(version), ..session(&[], Some("api.example.com")) });
    let broken = flow(FRONT, "203.0.113.10:443", api(TlsVersion::Tls10));
    let remedy = mends("OB12", &originated, &broken, &from_new(&broken, api(TlsVersion::Tls13)));
    assert_eq!(remedy.resource.as_deref(), Some("Deployment/web/front"));
}

#[test]
fn ob15_an_identity_of_the_mesh_is_issued_anew() {
    let text = made(&clean(), "orders", "Deployment");
    let broken = flow(FRONT, ORDERS, old(of_orders("2026-03-01T11:00:00Z")));
    mends("OB15", &text, &broken, &to_new(&broken, old(of_orders("2026-03-02T00:00:00Z"))));
    // A client's is the client's to renew.
    let of_front = |until: &str| {
        let issued = workload("spiffe://corp.example/ns/web/sa/front");
        let issued = Certificate { not_after: Some(at(until)), ..(*issued).clone() };
        let Security::Tls(tls, auth) = old(of_orders("2026-03-02T00:00:00Z")) else { unreachable!() };
        Security::Tls(
            Arc::new(TlsSession { client_certificate: Some(Arc::new(issued)), ..(*tls).clone() }),
            auth,
        )
    };
    let broken = flow(FRONT, ORDERS, of_front("2026-03-01T11:00:00Z"));
    mends("OB15", &with_front(), &broken, &from_new(&broken, of_front("2026-03-02T00:00:00Z")));
}

#[test]
fn ob15_a_certificate_of_somebody_else_s_is_no_yaml_s_to_renew() {
    let held = Certificate { spiffe_id: None, sans: Vec::new(), ..of_orders("2026-03-01T11:00:00Z") };
    let shown = TlsSession {
        version: Some(TlsVersion::Tls12),
        cipher: Some("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256".into()),
        server_certificate: Some(Arc::new(held)),
        ..session(&["h2"], Some("partner.example.com"))
    };
    let text = made(&clean(), "ingress", "Deployment");
    let remedy = exactly("OB15", &text, &flow(STRANGER, INGRESS, mutual(shown))).remedy;
    assert!(remedy.summary.contains("the Secret istio-system/partners"), "{}", remedy.summary);
    assert_eq!(remedy.yaml, None);

    // What is not valid yet the same clock would issue again.
    let early =
        Certificate { not_before: Some(at("2026-03-01T12:00:01Z")), ..of_orders("2026-03-02T00:00:00Z") };
    let text = made(&clean(), "orders", "Deployment");
    let remedy = exactly("OB15", &text, &flow(FRONT, ORDERS, old(early))).remedy;
    assert!(remedy.yaml.is_none() && remedy.summary.contains("clock"), "{remedy:?}");
}

#[test]
fn ob16_a_client_that_holds_a_stale_endpoint() {
    let broken = flow(FRONT, SEARCH, mutual(istio(TO_ORDERS)));
    mends("OB16", &with_front(), &broken, &from_new(&broken, mutual(istio(TO_SEARCH))));
}

#[test]
fn ob17_a_pod_that_is_not_redirected() {
    let broken = flow("10.1.0.70", "10.1.0.71:8080", PLAIN);
    let mut mended = from_new(&broken, mutual(session(&["h2"], None)));
    mended.server.port = 15008;
    mends("OB17", &made(&clean(), "left", "Deployment"), &broken, &mended);
}

/// Until noon `web` sends plaintext to `open`, from noon on `open` is STRICT and the rule is gone.
#[test]
fn ob21_the_end_that_can_be_made_anew_ends_the_connection() {
    let rule = "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: plain, namespace: web}\nspec: {host: search.open.svc.cluster.local, trafficPolicy: {tls: {mode: DISABLE}}}";
    let permissive = "namespace: open}\nspec: {mtls: {mode: PERMISSIVE}}";
    let strict = with(&clean(), permissive, "namespace: open}\nspec: {mtls: {mode: STRICT}}");
    let before =
        and(&clean().replace("{name: search, namespace: web}", "{name: unused, namespace: web}"), rule);
    let open = Flow { start: at("2026-03-01T11:00:00Z"), ..flow(FRONT, SEARCH, PLAIN) };
    let noon = "2026-03-01T12:00:00Z";
    let sees = |pod: &str| {
        let (before, strict) = (made(&before, pod, "Deployment"), made(&strict, pod, "Deployment"));
        let auditor = Auditor::with_history(mesh(&before), vec![(at(noon), mesh(&strict))]);
        let judged = auditor.judge(&open);
        assert_eq!(ids(&judged), ["OB21"]);
        let remedy = judged.violations[0].remedy.clone();
        let after = replaced(&strict, &remedy.yaml.clone().unwrap());
        let later = vec![(at(noon), mesh(&strict)), (at(REPLACED), mesh(&after))];
        (Auditor::with_history(mesh(&before), later), remedy.resource.unwrap())
    };
    let (auditor, resource) = sees("front");
    assert_eq!(resource, "Deployment/web/front");
    assert_eq!(ids(&auditor.judge(&from_new(&open, mutual(istio(TO_SEARCH))))), Vec::<&str>::new());
    // Nothing makes the client anew.
    let (auditor, resource) = sees("search");
    assert_eq!(resource, "Deployment/open/search");
    assert_eq!(ids(&auditor.judge(&to_new(&open, mutual(istio(TO_SEARCH))))), Vec::<&str>::new());
}

#[test]
fn ob22_a_new_connection_shows_what_came_before_the_capture() {
    let hidden = Security::Tls(istio(TO_ORDERS).into(), ClientAuth::Hidden(Reason::Resumed));
    for security in [Security::Unknown(Reason::MidStream), hidden] {
        let broken = flow(FRONT, ORDERS, security);
        mends("OB22", &with_front(), &broken, &from_new(&broken, mutual(istio(TO_ORDERS))));
    }
}

#[test]
fn ob22_what_the_capture_missed_is_the_chart_s_values_and_what_the_wire_hides_nothing_s() {
    let chart = include_str!("../../../deploy/chart/values.yaml");
    let chart: Value = serde_saphyr::from_str(chart).unwrap();
    for &reason in Reason::ALL {
        let remedy = exactly("OB22", &with_front(), &flow(FRONT, ORDERS, Security::Unknown(reason))).remedy;
        let missed = matches!(reason, Reason::Gap | Reason::SnapLength | Reason::OneSided);
        let began = matches!(reason, Reason::MidStream | Reason::Resumed);
        assert_eq!((remedy.values.is_some(), remedy.yaml.is_some()), (missed, began), "{reason}");
        let Some(values) = remedy.values else { continue };
        let values: Value = serde_saphyr::from_str(&values).unwrap();
        for (name, value) in values["agent"].as_object().unwrap() {
            let there = chart["agent"].get(name).unwrap();
            let alike = std::mem::discriminant(value) == std::mem::discriminant(there);
            assert!(alike, "{reason}: the chart has another agent.{name}");
        }
        assert!(values.as_object().unwrap().len() == 1, "{values}");
    }
}

#[test]
fn what_no_controller_makes_anew_has_the_words_alone() {
    let stale = flow(FRONT, SEARCH, PLAIN);
    let unknown = |text: &str| {
        let remedy = exactly("OB04", text, &stale).remedy;
        assert_eq!(remedy.yaml, None, "{}", remedy.summary);
        remedy.summary
    };
    assert!(unknown(&made(&clean(), "front", "Job")).contains("kubectl -n web delete pod front"));
    assert!(unknown(&clean()).contains("create the pod of web/front anew"));
    // Without the time of the pod, no time is later for certain.
    let timeless = with_front().replace(&format!(r#","creationTimestamp":"{MADE}""#), "");
    assert!(unknown(&timeless).contains("kubectl -n web rollout restart deployment/front"));
}

#[test]
fn a_restart_is_later_than_the_one_that_made_the_pod() {
    let before = format!(r#""annotations":{{"{RESTARTED_AT}":"{MADE}"}}"#);
    let text = with(
        &with_front(),
        r#""annotations":{},"creationTimestamp""#,
        &format!("{before},\"creationTimestamp\""),
    );
    let broken = flow(FRONT, SEARCH, PLAIN);
    mends("OB04", &text, &broken, &from_new(&broken, mutual(istio(TO_SEARCH))));
}
