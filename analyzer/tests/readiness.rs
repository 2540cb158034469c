//! Who would break under STRICT, where the answer is easily wrong: what one policy means for others, and what clients do with it.

#![expect(clippy::unwrap_used, reason = "a test may stop here")]

use analyzer::mesh::{Manifest, Mesh};
use analyzer::readiness::{Readiness, Scope, State, assess, hosts_of};
use analyzer::report::ServerMode;
use flow::Flow;
use serde_json::json;

const PODS: &str = "
apiVersion: v1
kind: Service
metadata: {name: reviews, namespace: shop}
spec: {clusterIP: 10.96.0.1, selector: {app: reviews}, ports: [{name: http, port: 80, targetPort: 8080}]}
---
apiVersion: v1
kind: Pod
metadata: {name: v1-0, namespace: shop, labels: {app: reviews, security.istio.io/tlsMode: istio}, ownerReferences: [{kind: StatefulSet, name: v1, controller: true}]}
spec: {containers: [{name: app, ports: [{containerPort: 8080}]}, {name: istio-proxy, args: [proxy, sidecar]}]}
status: {podIP: 10.0.0.1}
---
apiVersion: v1
kind: Pod
metadata: {name: v2-0, namespace: shop, labels: {app: reviews, security.istio.io/tlsMode: istio}, ownerReferences: [{kind: StatefulSet, name: v2, controller: true}]}
spec: {containers: [{name: app, ports: [{containerPort: 8080}]}, {name: istio-proxy, args: [proxy, sidecar]}]}
status: {podIP: 10.0.0.2}
---
apiVersion: v1
kind: Pod
metadata: {name: web-0, namespace: web, labels: {app: web, security.istio.io/tlsMode: istio}, ownerReferences: [{kind: StatefulSet, name: web, controller: true}]}
spec: {containers: [{name: app}, {name: istio-proxy, args: [proxy, sidecar]}]}
status: {podIP: 10.0.0.3}
---
apiVersion: v1
kind: Pod
metadata: {name: cron-0, namespace: batch, labels: {app: cron}, ownerReferences: [{kind: StatefulSet, name: cron, controller: true}]}
spec: {containers: [{name: app}]}
status: {podIP: 10.0.0.4}
";

fn mesh(policy: &str) -> Mesh {
    let text = format!("{PODS}---\n{policy}");
    let (mesh, errors) = Mesh::load(vec![Manifest { file: "mesh.yaml".into(), text }]);
    assert!(errors.is_empty(), "{errors:?}");
    mesh
}

fn flow(from: &str, to: &str, class: &str) -> Flow {
    serde_json::from_value(json!({"id": "b".repeat(32), "start": "2026-01-01T00:00:00Z", "end": "2026-01-01T00:00:01Z", "transport": "tcp",
        "client": {"ip": from, "port": 40000}, "server": {"ip": to, "port": 8080},
        "tunnel": [], "seen_at": [], "class": class, "proof": "wire", "reason": null, "protocol": null,
        "upgrade": null, "tls": null, "from_start": true, "close": "fin",
        "packets": {"client": 6, "server": 4}, "bytes": {"client": 76, "server": 121}}))
    .unwrap()
}

fn asked(policy: &str, scope: &Scope, flows: &[Flow]) -> Readiness {
    assess(&mesh(policy), scope, flows).unwrap()
}

fn states(readiness: &Readiness) -> Vec<(&str, State)> {
    readiness.workloads.iter().map(|workload| (workload.name.as_str(), workload.state)).collect()
}

#[test]
fn a_policy_for_one_workload_is_for_all_that_its_label_selects() {
    let refused = flow("10.0.0.4", "10.0.0.2", "plaintext");
    let readiness = asked("", &Scope::Workload("shop/v1".into()), &[refused]);
    assert_eq!(states(&readiness), [("shop/v1", State::NoTraffic), ("shop/v2", State::Breaks)]);
}

#[test]
fn the_policy_of_the_root_namespace_is_the_whole_meshs() {
    let root = "apiVersion: v1\nkind: Namespace\nmetadata: {name: istio-system}\n";
    let refused = flow("10.0.0.4", "10.0.0.2", "plaintext");
    let readiness = asked(root, &Scope::Namespace("istio-system".into()), &[refused]);
    assert_eq!(readiness.scope, "mesh");
    assert!(states(&readiness).contains(&("shop/v2", State::Breaks)), "{readiness:?}");
}

#[test]
fn encrypted_bytes_that_are_no_tls_are_not_ready() {
    let readiness = asked("", &Scope::Namespace("shop".into()), &[flow("10.0.0.4", "10.0.0.2", "opaque")]);
    assert_eq!(states(&readiness), [("shop/v1", State::NoTraffic), ("shop/v2", State::Unclear)]);
}

#[test]
fn a_proxy_that_goes_by_the_policy_sends_otherwise_then() {
    let off = "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: default, namespace: shop}\n\
               spec: {mtls: {mode: DISABLE}}\n";
    let flows = [flow("10.0.0.3", "10.0.0.2", "plaintext"), flow("10.0.0.4", "10.0.0.2", "plaintext")];
    let readiness = asked(off, &Scope::Namespace("shop".into()), &flows);
    let workload = &readiness.workloads[1];
    assert_eq!((workload.stays, workload.stays_likely, workload.would_break), (1, 1, 1), "{readiness:?}");
    assert_eq!(readiness.breaks[0].client.name(), "batch/cron");
}

const MACHINES: &str = "apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: legacy, namespace: plant}
spec: {hosts: [legacy.corp], addresses: [240.0.0.1], location: MESH_INTERNAL, resolution: STATIC, workloadSelector: {labels: {app: legacy}}, ports: [{number: 8080, name: http, protocol: HTTP}]}
---
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {name: vm-1, namespace: plant}
spec: {address: 10.9.0.1, serviceAccount: legacy, labels: {app: legacy, security.istio.io/tlsMode: istio}}
---
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {name: bare, namespace: plant}
spec: {address: 10.9.0.2, labels: {app: legacy}}
";

#[test]
fn machines_with_a_proxy_are_workloads() {
    let flows = ["10.9.0.1", "240.0.0.1"].map(|to| flow("10.0.0.4", to, "plaintext"));
    for scope in [Scope::Namespace("plant".into()), Scope::Workload("plant/vm-1".into())] {
        let readiness = asked(MACHINES, &scope, &flows);
        assert_eq!(states(&readiness), [("plant/vm-1", State::Breaks)], "{readiness:?}");
        assert_eq!(readiness.workloads[0].would_break, 2, "{readiness:?}");
    }
    let readiness = asked(MACHINES, &Scope::Workload("plant/vm-1".into()), &[]);
    assert!(readiness.proposal.yaml.unwrap().contains("app: legacy"));
    let names = |scope| hosts_of(&mesh(MACHINES), &scope).into_iter().collect::<Vec<_>>();
    assert_eq!(names(Scope::Namespace("plant".into())), ["legacy.corp"]);
    assert_eq!(names(Scope::Workload("plant/vm-1".into())), ["legacy.corp"]);
    assert!(names(Scope::Namespace("shop".into())).is_empty());
}

#[test]
fn one_workload_of_the_root_namespace_becomes_strict_with_the_mesh_alone() {
    let collector = "apiVersion: v1\nkind: Pod\nmetadata: {name: c-0, namespace: istio-system, labels: {app: collector}, ownerReferences: [{kind: StatefulSet, name: c, controller: true}]}\n\
                     spec: {containers: [{name: app}, {name: istio-proxy, args: [proxy, sidecar]}]}\nstatus: {podIP: 10.0.0.9}\n";
    let refused = flow("10.0.0.4", "10.0.0.2", "plaintext");
    let readiness = asked(collector, &Scope::Workload("istio-system/c".into()), &[refused]);
    assert_eq!(readiness.scope, "mesh");
    assert_eq!(readiness.proposal.resource.as_deref(), Some("PeerAuthentication/istio-system/default"));
    assert!(!readiness.proposal.yaml.as_ref().unwrap().contains("selector"));
    assert!(readiness.proposal.summary.contains("Istio ignores it"), "{}", readiness.proposal.summary);
    let states = states(&readiness);
    assert!(states.contains(&("istio-system/c", State::NoTraffic)), "{states:?}");
    assert!(states.contains(&("shop/v2", State::Breaks)), "what else it is for is told: {states:?}");
    let unknown = assess(&mesh(collector), &Scope::Workload("istio-system/d".into()), &[]);
    assert!(unknown.is_err());
}

/// `authorization.go`, `convertPeerAuthentication`: where ztunnel hears nothing of STRICT, STRICT for the mesh leaves it open.
#[test]
fn an_ambient_workload_has_the_mode_that_ztunnel_hears_of() {
    let ambient = "apiVersion: v1\nkind: Pod\nmetadata: {name: mist-0, namespace: mist, labels: {app: mist}, annotations: {ambient.istio.io/redirection: enabled}, ownerReferences: [{kind: StatefulSet, name: mist, controller: true}]}\nspec: {containers: [{name: app, ports: [{containerPort: 8080}]}]}\nstatus: {podIP: 10.0.0.9}";
    let policy = |name: &str, spec: &str| {
        format!(
            "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {{name: {name}, namespace: mist}}\nspec: {{{spec}}}"
        )
    };
    let selector = "selector: {matchLabels: {app: mist}}";
    let off = policy("own", &format!("{selector}, mtls: {{mode: DISABLE}}"));
    let one_port = policy("own", &format!("{selector}, portLevelMtls: {{9000: {{mode: PERMISSIVE}}}}"));
    let unset = policy("unset", "");
    let root = "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: default, namespace: istio-system}\nspec: {mtls: {mode: STRICT}}";
    let asked = |policies: &[&str]| {
        let readiness = asked(&[&[ambient], policies].concat().join("\n---\n"), &Scope::Mesh, &[]);
        let own = readiness.workloads.into_iter().find(|own| own.name == "mist/mist").unwrap();
        (own.mode.unwrap(), own.proposed.unwrap(), own.state)
    };
    let permissive = ServerMode::Permissive;
    assert_eq!(asked(&[&off]), (permissive, permissive, State::StaysOpen));
    assert_eq!(asked(&[root]), (ServerMode::Strict, ServerMode::Strict, State::NoTraffic));
    assert_eq!(asked(&[root, &unset, &one_port]), (permissive, permissive, State::StaysOpen));
}
