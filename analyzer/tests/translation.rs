//! One connection on both sides of an address translation: judged once, on the side that names the workload.

#![expect(clippy::unwrap_used, reason = "a test may stop here")]

use std::sync::Arc;

use analyzer::audit::{Auditor, Ledger};
use analyzer::mesh::{Manifest, Mesh};
use analyzer::readiness::{Scope, assess};
use analyzer::report::{Judged, Judgement, OtherSide, SetAside};
use analyzer::translation::{join, other_sides};
use flow::Flow;
use serde_json::json;

const MESH: &str = "
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: pay}
spec: {mtls: {mode: STRICT}}
---
apiVersion: v1
kind: Service
metadata: {name: ledger, namespace: pay}
spec: {clusterIP: 10.96.0.7, selector: {app: ledger}, ports: [{name: http, port: 80, targetPort: 8080}]}
---
apiVersion: v1
kind: Pod
metadata: {name: ledger-0, namespace: pay, labels: {app: ledger, security.istio.io/tlsMode: istio}}
spec: {containers: [{name: app, ports: [{containerPort: 8080, hostPort: 8081}]}, {name: istio-proxy, args: [proxy, sidecar]}]}
status: {podIP: 10.0.0.7, hostIP: 10.0.0.1}
---
apiVersion: v1
kind: Pod
metadata: {name: cron-0, namespace: batch, labels: {app: cron}}
spec: {containers: [{name: app}]}
status: {podIP: 10.0.0.4}
";

const CRON: &str = "10.0.0.4";
const NODE: &str = "10.0.0.1";
const SERVICE: (&str, u16) = ("10.96.0.7", 80);
const POD: (&str, u16) = ("10.0.0.7", 8080);
const HOST_PORT: (&str, u16) = (NODE, 8081);
const OUTSIDE: (&str, u16) = ("198.51.100.9", 443);

fn mesh() -> Mesh {
    let (mesh, errors) = Mesh::load(vec![Manifest { file: "mesh.yaml".into(), text: MESH.into() }]);
    assert!(errors.is_empty(), "{errors:?}");
    mesh
}

/// A flow of plaintext at this second, its SYN-ACK being one that all of them carry.
fn flow(id: u8, second: u8, from: &str, to: (&str, u16)) -> Flow {
    serde_json::from_value(json!({"id": format!("{id:032x}"), "start": format!("2026-01-01T00:00:{second:02}Z"),
        "end": "2026-01-01T00:01:00Z", "transport": "tcp", "client": {"ip": from, "port": 40000}, "server": {"ip": to.0, "port": to.1},
        "tcp_handshake": "00000000000000aa", "tunnel": [], "seen_at": [], "class": "plaintext", "proof": "wire", "reason": null,
        "protocol": null, "upgrade": null, "tls": null, "from_start": true, "close": "fin",
        "packets": {"client": 6, "server": 4}, "bytes": {"client": 76, "server": 121}}))
    .unwrap()
}

fn blind(flow: Flow) -> Flow {
    Flow { tcp_handshake: None, ..flow }
}

fn opaque(flow: Flow) -> Flow {
    Flow { security: flow::Security::Opaque(flow::Evidence::WIRE), ..flow }
}

/// Judges the flows by themselves, then as sides of one another.
fn judged(flows: &[Flow]) -> Vec<Judged> {
    let auditor = Auditor::new(Arc::new(mesh()));
    let mut judged: Vec<_> = flows.iter().map(|flow| auditor.judge(flow)).collect();
    join(&mut judged);
    judged
}

fn ids(judged: &Judged) -> Vec<&str> {
    judged.violations.iter().map(|violation| violation.id.as_str()).collect()
}

/// Each flow's judgement, and the number of its other side.
fn told(flows: &[Flow]) -> Vec<(Judgement, Option<u128>)> {
    judged(flows).iter().map(|one| (one.judgement, one.translated.map(|other| other.id.0))).collect()
}

const ASIDE: Judgement = Judgement::Exempt;
const BAD: Judgement = Judgement::Violates;

#[test]
fn the_side_with_the_workload_is_judged_and_each_names_the_other() {
    let (before, after) = (flow(1, 0, CRON, SERVICE), flow(2, 0, CRON, POD));
    assert_eq!(told(&[blind(before.clone()), after.clone()]), [(BAD, None), (BAD, None)], "without evidence");
    for flows in [[before.clone(), after.clone()], [after.clone(), before.clone()]] {
        let mut judged = judged(&flows);
        judged.sort_by_key(|one| one.flow.id);
        let [service, pod] = judged.as_slice() else { unreachable!() };
        assert_eq!((service.judgement, service.set_aside), (ASIDE, Some(SetAside::Translated)));
        assert_eq!(service.translated, Some(OtherSide::from(&after)));
        assert_eq!(service.server.name(), "pay/ledger");
        assert_eq!((pod.judgement, pod.set_aside, ids(pod)), (BAD, None, vec!["OB01"]));
        assert_eq!(pod.translated, Some(OtherSide::from(&before)));
        let mut ledger = Ledger::default();
        judged.iter().for_each(|one| ledger.add(one));
        let (summary, findings) = (ledger.summary(), ledger.findings());
        assert_eq!((summary.translated, summary.set_aside["translated"]), (2, 1));
        assert_eq!(findings.iter().map(|finding| finding.flows).collect::<Vec<_>>(), [1]);
    }
    let others = other_sides(&[before.clone(), after.clone()]);
    assert_eq!((others[&before.id], others[&after.id]), ((&after).into(), (&before).into()));
}

#[test]
fn the_side_with_the_client_is_judged_where_the_server_is_the_same() {
    let (masked, pod) = (flow(1, 0, NODE, POD), flow(2, 0, CRON, POD));
    assert_eq!(told(&[masked, pod]), [(ASIDE, Some(2)), (BAD, Some(1))]);
    let (masked, pod) = (flow(1, 0, NODE, OUTSIDE), flow(2, 0, CRON, OUTSIDE));
    let judged = judged(&[masked, pod]);
    assert_eq!(judged[0].set_aside, Some(SetAside::Translated));
    assert_ne!(judged[1].set_aside, Some(SetAside::Translated));
}

#[test]
fn nothing_is_set_aside_that_the_other_side_does_not_tell() {
    // Another class: both are judged, though each names the other.
    let flows = [flow(1, 0, CRON, SERVICE), opaque(flow(2, 0, CRON, POD))];
    assert_eq!(told(&flows), [(BAD, Some(2)), (Judgement::Undecided, Some(1))]);
    // Neither names its end better.
    let flows = [flow(1, 0, CRON, OUTSIDE), flow(2, 0, CRON, ("198.51.100.10", 443))];
    let other = judged(&flows);
    assert!(other.iter().all(|one| one.translated.is_some() && one.set_aside != Some(SetAside::Translated)));
    // A better client does not make up for another server.
    let flows = [flow(1, 0, NODE, POD), flow(2, 0, CRON, ("10.0.0.7", 8081))];
    assert_eq!(told(&flows)[0], (BAD, Some(2)));
}

#[test]
fn other_connections_are_no_sides() {
    // Six seconds later.
    assert_eq!(told(&[flow(1, 0, CRON, SERVICE), flow(2, 6, CRON, POD)]), [(BAD, None), (BAD, None)]);
    // The same ends: another sighting, which is the collector's business.
    assert_eq!(told(&[flow(1, 0, CRON, POD), flow(2, 1, CRON, POD)]), [(BAD, None), (BAD, None)]);
    // What stays in a pod is not judged, and nobody's judgement rests on it.
    let local = Flow { seen_at: vec!["lo".into()], ..flow(2, 0, CRON, POD) };
    assert_eq!(told(&[flow(1, 0, CRON, SERVICE), local]), [(BAD, None), (ASIDE, None)]);
}

#[test]
fn a_second_sighting_of_a_side_is_told_as_well() {
    let flows =
        [flow(1, 0, CRON, SERVICE), flow(2, 1, CRON, POD), flow(3, 2, CRON, POD), flow(4, 3, NODE, POD)];
    assert_eq!(told(&flows), [(ASIDE, Some(2)), (BAD, Some(1)), (BAD, Some(1)), (ASIDE, Some(2))]);
}

#[test]
fn readiness_counts_a_connection_once() {
    let open = MESH.replace("STRICT", "PERMISSIVE");
    let (mesh, _) = Mesh::load(vec![Manifest { file: "mesh.yaml".into(), text: open }]);
    let counts = |flows: &[Flow]| {
        let found = assess(&mesh, &Scope::Namespace("pay".into()), flows).unwrap();
        let [ledger] = found.workloads.as_slice() else { unreachable!() };
        (ledger.flows, ledger.would_break, found.breaks.iter().map(|finding| finding.flows).sum::<u64>())
    };
    let (before, after) = (flow(1, 0, CRON, SERVICE), flow(2, 0, CRON, POD));
    assert_eq!(counts(&[blind(before.clone()), after.clone()]), (2, 2, 2));
    assert_eq!(counts(&[before, after]), (1, 1, 1));
}

#[test]
fn a_port_of_the_node_and_the_pod_that_it_leads_to_are_one_server() {
    let (before, after) = (flow(1, 0, CRON, HOST_PORT), flow(2, 0, CRON, POD));
    // Each alone is judged as what reaches the pod.
    assert_eq!(told(&[blind(before.clone()), blind(after.clone())]), [(BAD, None), (BAD, None)]);
    for flows in [[before.clone(), after.clone()], [after.clone(), before.clone()]] {
        let told = told(&flows);
        assert_eq!(told.iter().filter(|(judgement, _)| *judgement == BAD).count(), 1, "{told:?}");
        assert!(told.iter().all(|(_, other)| other.is_some()), "{told:?}");
    }
    // What the other side does not show is not told by it.
    assert_eq!(told(&[before, opaque(after)]).iter().filter(|(judgement, _)| *judgement == ASIDE).count(), 0);
}
