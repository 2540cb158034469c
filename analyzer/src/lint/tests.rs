//! A clean mesh has no finding; each rule's broken mesh has exactly that finding and what cannot but come along; the
//! remedy's YAML, applied, takes the finding away and adds none.

mod variants;

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{Broken, RULES, Rule, lint};
use crate::mesh::{Manifest, Mesh};
use crate::report::LintFinding;

const CLEAN: &str = include_str!("../../../testdata/lint/clean.yaml");

fn findings(text: &str) -> Vec<LintFinding> {
    let (mesh, errors) = Mesh::load(vec![Manifest { file: "mesh.yaml".to_owned(), text: text.to_owned() }]);
    assert!(errors.iter().all(|error| !error.fatal), "{errors:?}\n{text}");
    lint(&mesh)
}

fn ids(findings: &[LintFinding]) -> BTreeSet<&str> {
    findings.iter().map(|finding| finding.id.as_str()).collect()
}

fn broken(rule: &Rule) -> String {
    let Broken { replace, add, .. } = rule.broken;
    let mut text = CLEAN.to_owned();
    for (from, to) in replace {
        assert!(text.contains(from), "{}: the clean mesh has no {from}", rule.id);
        text = text.replace(from, to);
    }
    format!("{text}\n---\n{add}\n")
}

#[test]
fn the_clean_mesh_has_no_finding() {
    assert_eq!(ids(&findings(CLEAN)), BTreeSet::new());
}

#[test]
fn one_thing_broken_gives_exactly_that_finding() {
    for rule in RULES {
        let found = findings(&broken(rule));
        let expected: BTreeSet<&str> = rule.broken.also.iter().copied().chain([rule.id]).collect();
        assert_eq!(ids(&found), expected, "{}: {found:#?}", rule.id);
    }
}

#[test]
fn the_remedy_mends_it_and_breaks_nothing() {
    for rule in RULES {
        let text = broken(rule);
        let before = findings(&text);
        let patches: Vec<&str> = before
            .iter()
            .filter(|finding| finding.id == rule.id)
            .filter_map(|finding| finding.yaml.as_deref())
            .collect();
        assert!(!patches.is_empty(), "{} has no YAML to apply", rule.id);
        let mended = patches.iter().fold(text, |text, patch| apply(&text, patch));
        let after = findings(&mended);
        let left: BTreeSet<&str> = rule.broken.also.iter().copied().collect();
        assert!(ids(&after).is_subset(&left), "{}: {patches:#?}\nleaves {after:#?}", rule.id);
    }
}

#[test]
fn every_page_begins_with_its_rule() {
    for rule in RULES {
        let head = format!("# {}: {}\n\nSeverity: {}", rule.id, rule.title, rule.severity);
        assert!(rule.page.starts_with(&head), "docs/findings/{}.md does not begin with {head}", rule.id);
        for heading in [
            "## What it means",
            "## How to see it",
            "## Why it happens",
            "## Fix",
            "## Not to be confused with",
        ] {
            assert!(rule.page.contains(heading), "docs/findings/{}.md has no {heading}", rule.id);
        }
    }
}

/// Applies patches as `kubectl patch --type merge` does, makes what is not there, and does what the injector and a
/// controller do then: a template's metadata reach its pods, pods of a namespace of the mesh get their sidecar, and a
/// waypoint its pod.
fn apply(mesh: &str, patches: &str) -> String {
    let mut objects = objects(mesh);
    for patch in self::objects(patches) {
        let place = objects.iter().position(|object| identity(object) == identity(&patch));
        match (place, patch.pointer("/spec/template")) {
            (Some(place), _) if patch.get("$patch") == Some(&json!("delete")) => {
                objects.remove(place);
            }
            (Some(place), _) => merge(&mut objects[place], &patch),
            (None, Some(template)) => {
                let name = patch.pointer("/metadata/name").cloned().unwrap_or_default();
                let made =
                    |object: &&mut Value| object.pointer("/metadata/ownerReferences/0/name") == Some(&name);
                objects.iter_mut().filter(made).for_each(|pod| merge(pod, template));
                let injected = template.pointer("/metadata/annotations/inject.istio.io~1templates");
                if injected == Some(&json!("gateway")) {
                    objects.push(gateway(&patch, template));
                }
            }
            (None, None) => {
                if patch.pointer("/spec/gatewayClassName") == Some(&json!("istio-waypoint")) {
                    objects.push(waypoint(&patch));
                }
                objects.push(patch);
            }
        }
    }
    inject(&mut objects);
    objects.iter().map(Value::to_string).collect::<Vec<_>>().join("\n---\n")
}

/// The pod of a Deployment that the injector makes a gateway of.
fn gateway(deployment: &Value, template: &Value) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": "gateway-0",
            "namespace": deployment.pointer("/metadata/namespace"),
            "labels": template.pointer("/metadata/labels"),
        },
        "spec": {"containers": [{"name": "istio-proxy", "args": ["proxy", "router"]}]},
        "status": {"podIP": "10.0.8.9"},
    })
}

/// The pod that istiod makes for a waypoint.
fn waypoint(gateway: &Value) -> Value {
    let name = gateway.pointer("/metadata/name").cloned().unwrap_or_default();
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": "waypoint-0",
            "namespace": gateway.pointer("/metadata/namespace"),
            "labels": {"gateway.networking.k8s.io/gateway-name": name},
        },
        "spec": {"containers": [{"name": "istio-proxy", "args": ["proxy", "waypoint"]}]},
        "status": {"podIP": "10.0.8.8"},
    })
}

fn objects(text: &str) -> Vec<Value> {
    serde_saphyr::from_multiple::<Value>(text)
        .unwrap()
        .into_iter()
        .filter(|object| !object.is_null())
        .collect()
}

fn identity(object: &Value) -> [Option<&Value>; 4] {
    let version = object.get("apiVersion");
    [version, object.get("kind"), object.pointer("/metadata/namespace"), object.pointer("/metadata/name")]
}

/// RFC 7386.
fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(changes) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    for (key, change) in changes {
        if change.is_null() {
            target.as_object_mut().unwrap().remove(key);
        } else {
            merge(&mut target[key], change);
        }
    }
}

fn inject(objects: &mut [Value]) {
    let labelled: BTreeSet<String> = objects
        .iter()
        .filter(|object| {
            object.get("kind") == Some(&json!("Namespace"))
                && object.pointer("/metadata/labels/istio-injection") == Some(&json!("enabled"))
        })
        .filter_map(|object| Some(object.pointer("/metadata/name")?.as_str()?.to_owned()))
        .collect();
    for pod in objects.iter_mut().filter(|object| object.get("kind") == Some(&json!("Pod"))) {
        let namespace = pod.pointer("/metadata/namespace").and_then(Value::as_str).unwrap_or_default();
        let refuses = pod.pointer("/metadata/labels/sidecar.istio.io~1inject") == Some(&json!("false"));
        let containers =
            pod.pointer("/spec/containers").and_then(Value::as_array).cloned().unwrap_or_default();
        let has_proxy =
            containers.iter().any(|container| container.get("name") == Some(&json!("istio-proxy")));
        let ambient = pod.pointer("/metadata/annotations/ambient.istio.io~1redirection").is_some();
        let host = pod.pointer("/spec/hostNetwork") == Some(&json!(true));
        if labelled.contains(namespace) && !refuses && !has_proxy && !ambient && !host {
            let proxy = json!({"name": "istio-proxy", "args": ["proxy", "sidecar"]});
            pod["spec"]["containers"].as_array_mut().unwrap().push(proxy);
            pod["metadata"]["labels"]["security.istio.io/tlsMode"] = json!("istio");
        }
    }
}
