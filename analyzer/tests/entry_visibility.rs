//! MeshConfig, `serviceEntryVisibility`: what of ServiceEntries clients of other namespaces see.

mod meshes;

use meshes::{ask, load, pod, spec};
use serde_json::{Value, json};

fn config(visibility: &str) -> String {
    format!(
        "\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: istio, namespace: istio-system}}\n\
         data: {{mesh: 'serviceEntryVisibility: {{{visibility}}}'}}\n"
    )
}

/// What clients in `web` and `other` send to an entry of `web`, whose rule has SIMPLE.
#[track_caller]
fn check(visibility: &str, export_to: &str, more: &str, seen: [bool; 2]) {
    let entry = spec(
        "ServiceEntry",
        "api",
        "web",
        &format!(
            "hosts: [api.example.com], addresses: [198.51.100.7], resolution: STATIC, {export_to} \
             ports: [{{number: 80, name: http, protocol: HTTP}}], endpoints: [{{address: 198.51.100.7}}]"
        ),
    );
    let rule =
        spec("DestinationRule", "api", "web", "host: api.example.com, trafficPolicy: {tls: {mode: SIMPLE}}");
    let proxy = "containers: [{name: app}, {name: istio-proxy, args: [proxy, sidecar]}]";
    let own = pod("own", "10.0.0.1", "", proxy);
    let other = pod("other", "10.0.0.2", "", proxy).replace("namespace: web", "namespace: other");
    let mesh = load(&[&config(visibility), &entry, &rule, &own, &other, more]);
    for (client, seen) in ["10.0.0.1", "10.0.0.2"].iter().zip(seen) {
        let expected = if seen { json!("SIMPLE") } else { Value::Null };
        ask(&mesh, client, "198.51.100.7:80", None, &json!({"client_tls": expected}));
    }
}

const NAMED: &str = "matchingRules: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: web}}}]";
const TRUSTED: &str = "matchingRules: [{namespaceSelector: {matchLabels: {trusted_by: me}}}]";
const NAMESPACE: &str =
    "\napiVersion: v1\nkind: Namespace\nmetadata: {name: web, labels: {trusted_by: me}}\n";

#[test]
fn the_mesh_limits_who_sees_a_service_entry() {
    for (visibility, seen) in [
        ("defaultVisibility: NAMESPACE", [true, true]),
        ("defaultVisibility: NAMESPACE, applyToSidecars: false", [true, true]),
        ("defaultVisibility: NAMESPACE, applyToSidecars: true", [true, false]),
        ("default_visibility: NAMESPACE, apply_to_sidecars: true", [true, false]),
        ("defaultVisibility: NONE, applyToSidecars: true", [false, false]),
        ("defaultVisibility: PUBLIC, applyToSidecars: true", [true, true]),
        ("applyToSidecars: true", [true, true]),
    ] {
        check(visibility, "", NAMESPACE, seen);
    }
}

#[test]
fn the_first_policy_that_selects_the_namespace_decides() {
    let all = |policies: &str| {
        format!("applyToSidecars: true, defaultVisibility: NAMESPACE, policies: [{policies}]")
    };
    let policy = |visibility: &str, rules: &str| format!("{{visibility: {visibility}, {rules}}}");
    for (policies, seen) in [
        (policy("PUBLIC", NAMED), [true, true]),
        (policy("PUBLIC", TRUSTED), [true, true]),
        (policy("PUBLIC", &NAMED.replace(": web", ": other")), [true, false]),
        (format!("{}, {}", policy("NONE", NAMED), policy("PUBLIC", TRUSTED)), [false, false]),
        (policy("PUBLIC", "matchingRules: []"), [true, true]),
        (policy("PUBLIC", "matchingRules: [{hostnameSuffix: com}]"), [true, false]),
    ] {
        check(&all(&policies), "", NAMESPACE, seen);
    }
    // A namespace that is not declared is known by its name.
    check(&all(&policy("PUBLIC", NAMED)), "", "\n", [true, true]);
}

#[test]
fn it_never_widens_what_the_entry_says() {
    for (ceiling, export_to, seen) in [
        ("PUBLIC", "exportTo: [.],", [true, false]),
        ("NAMESPACE", "exportTo: ['*'],", [true, false]),
        ("NAMESPACE", "exportTo: [other],", [false, false]),
        ("NAMESPACE", "exportTo: [., other],", [true, false]),
        ("NAMESPACE", "exportTo: [web, other],", [true, false]),
    ] {
        check(&format!("applyToSidecars: true, defaultVisibility: {ceiling}"), export_to, NAMESPACE, seen);
    }
}
