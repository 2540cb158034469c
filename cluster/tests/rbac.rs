//! Holds `deploy/rbac.yaml` to what is watched: not a kind less, and not one more.

#![expect(clippy::unwrap_used, reason = "a test may stop here")]

use std::collections::BTreeSet;

use cluster::{CONFIG_MAP, KINDS};
use serde_json::{Value, json};

#[test]
fn the_rules_allow_what_is_watched_and_nothing_else() {
    let documents = documents();
    let of = |kind: &str| documents.iter().filter(|document| document["kind"] == kind).collect::<Vec<_>>();
    let [role] = of("ClusterRole")[..] else { panic!("one ClusterRole is expected") };
    let mut allowed = BTreeSet::new();
    for rule in role["rules"].as_array().unwrap() {
        assert_eq!(rule["verbs"], json!(["get", "list", "watch"]));
        for group in texts(&rule["apiGroups"]) {
            for resource in texts(&rule["resources"]) {
                assert!(allowed.insert((group.clone(), resource.clone())), "{group}/{resource} twice");
            }
        }
    }
    let watched: BTreeSet<(String, String)> =
        KINDS.iter().map(|kind| (kind.group.to_owned(), kind.plural.to_owned())).collect();
    assert_eq!(allowed, watched);

    let [role] = of("Role")[..] else { panic!("one Role is expected") };
    assert_eq!(
        role["rules"],
        json!([{"apiGroups": [CONFIG_MAP.group], "resources": [CONFIG_MAP.plural], "resourceNames": ["istio"],
            "verbs": ["get", "list", "watch"]}])
    );
    assert_eq!(role["metadata"]["namespace"], cluster::MeshConfigs::default().namespace.as_str());
}

#[test]
fn the_bindings_lead_from_the_account_to_its_roles() {
    let documents = documents();
    let account = documents.iter().find(|document| document["kind"] == "ServiceAccount").unwrap();
    let metadata = &account["metadata"];
    let subject =
        json!([{"kind": "ServiceAccount", "name": metadata["name"], "namespace": metadata["namespace"]}]);
    for (binding, role) in [("ClusterRoleBinding", "ClusterRole"), ("RoleBinding", "Role")] {
        let of = |kind: &str| documents.iter().find(|document| document["kind"] == kind).unwrap();
        assert_eq!(of(binding)["subjects"], subject);
        assert_eq!(of(binding)["roleRef"]["kind"], role);
        assert_eq!(of(binding)["roleRef"]["name"], of(role)["metadata"]["name"]);
        assert_eq!(of(binding)["metadata"]["namespace"], of(role)["metadata"]["namespace"]);
    }
}

fn documents() -> Vec<Value> {
    include_str!("../../deploy/rbac.yaml")
        .split("\n---\n")
        .map(|text| serde_saphyr::from_str(text).unwrap())
        .collect()
}

fn texts(list: &Value) -> Vec<String> {
    list.as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect()
}
