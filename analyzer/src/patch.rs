//! What mends a declaration, as YAML to apply: a change to one resource, made on the document as it was read.
//!
//! A patch is an RFC 7386 merge patch under the resource's own head, so that both
//! `kubectl patch KIND NAME --type merge --patch-file FIX` and Kustomize take it. A merge patch replaces a list whole:
//! every list comes with the entries beside the changed one. A patch of something that does not exist yet is the new
//! resource itself, for `kubectl apply`.

use serde_json::{Map, Value, json};

use crate::mesh::mesh_config::{MeshConfig, json_name};
use crate::mesh::meta::Meta;
use crate::mesh::pod::Pod;

/// A change to one resource.
#[derive(Debug, Clone)]
pub struct Patch {
    head: Value,
    /// The document as read; absent for a resource that was not read whole, or that the patch creates.
    before: Option<Value>,
    after: Value,
}

impl Patch {
    /// Starts a change to a resource of the mesh.
    #[must_use]
    pub fn of(meta: &Meta) -> Self {
        let head = head(&meta.version, &meta.kind, &meta.namespace, &meta.name);
        let before = meta.source.as_deref().cloned();
        let after = before.clone().unwrap_or_else(|| json!({}));
        Self { head, before, after }
    }

    /// Starts a resource that is not there yet; a cluster-wide one has the namespace "".
    #[must_use]
    pub fn create(version: &str, kind: &str, namespace: &str, name: &str) -> Self {
        Self { head: head(version, kind, namespace, name), before: None, after: json!({}) }
    }

    /// Starts a change to the metadata that a pod is made with: its controller's template, or the pod itself where
    /// nothing made it. Pointers begin at the pod's own document: `/metadata/labels/...`.
    #[must_use]
    pub fn of_pod(pod: &Pod) -> PodPatch {
        PodPatch(match &pod.controller {
            Some(controller) => (
                Self::create(&controller.version, &controller.kind, &pod.meta.namespace, &controller.name),
                "/spec/template",
            ),
            None => (Self::of(&pod.meta), ""),
        })
    }

    /// Sets the value at a JSON pointer (RFC 6901); what is missing on the way is made. `-` at the end of a list adds to
    /// it, and so does the place behind its last one. A pointer through something that holds nothing changes nothing.
    #[must_use]
    pub fn set(mut self, pointer: &str, value: impl Into<Value>) -> Self {
        if let Some(place) = place(&mut self.after, pointer) {
            *place = value.into();
        }
        self
    }

    /// Removes the value at a JSON pointer; of a resource that was not read, the patch says so with a null.
    #[must_use]
    pub fn remove(mut self, pointer: &str) -> Self {
        if self.before.is_none() {
            return self.set(pointer, Value::Null);
        }
        let (parent, last) = pointer.rsplit_once('/').unwrap_or(("", pointer));
        match self.after.pointer_mut(parent) {
            Some(Value::Object(entries)) => {
                entries.remove(&unescaped(last));
            }
            Some(Value::Array(items)) => {
                if let Some(index) = last.parse().ok().filter(|index| *index < items.len()) {
                    items.remove(index);
                }
            }
            Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)) | None => {}
        }
        self
    }

    /// Returns the value at a JSON pointer as it stands now.
    #[must_use]
    pub fn get(&self, pointer: &str) -> Option<&Value> {
        self.after.pointer(pointer)
    }

    /// Writes the patch.
    #[must_use]
    pub fn yaml(&self) -> String {
        let empty = json!({});
        let change = difference(self.before.as_ref().unwrap_or(&empty), &self.after).unwrap_or(empty);
        let mut whole = self.head.clone();
        merge(&mut whole, &change);
        text(&whole)
    }
}

/// A change to the metadata that a pod is made with.
#[derive(Debug, Clone)]
pub struct PodPatch((Patch, &'static str));

impl PodPatch {
    /// Sets what [`Patch::set`] sets.
    #[must_use]
    pub fn set(self, pointer: &str, value: impl Into<Value>) -> Self {
        let (patch, prefix) = self.0;
        Self((patch.set(&format!("{prefix}{pointer}"), value), prefix))
    }

    /// Removes what [`Patch::remove`] removes.
    #[must_use]
    pub fn remove(self, pointer: &str) -> Self {
        let (patch, prefix) = self.0;
        Self((patch.remove(&format!("{prefix}{pointer}")), prefix))
    }

    /// Writes the patch.
    #[must_use]
    pub fn yaml(&self) -> String {
        self.0.0.yaml()
    }
}

/// Changes one setting of MeshConfig, inside the text that its ConfigMap holds; absent where no ConfigMap was read. The
/// text stays as it was written where the setting is new or stands on a line of its own; else it is written anew.
#[must_use]
pub fn mesh_config(config: &MeshConfig, pointer: &str, value: impl Into<Value>) -> Option<String> {
    let patch = Patch::of(config.meta.as_ref()?);
    let text = patch.get("/data/mesh")?.as_str()?.to_owned();
    let mut whole: Value = serde_saphyr::from_str(&text).ok()?;
    let field = unescaped(pointer.split('/').nth(1)?);
    // A setting keeps the name that it was given: under both, istiod would take none of the text.
    let written = whole.as_object()?.keys().find(|key| json_name(key) == field).cloned();
    let key = written.unwrap_or(field);
    let below: String = pointer.split('/').skip(2).map(|part| format!("/{part}")).collect();
    let before = whole.get(&key).cloned();
    *place(&mut whole, &format!("/{}{below}", part(&key)))? = value.into();
    let setting = self::text(&json!({key.as_str(): whole.get(&key)?}));
    let is_setting = |line: &str| line.strip_prefix(key.as_str()).is_some_and(|rest| rest.starts_with(':'));
    let changed = match before {
        None if !text.trim_start().starts_with('{') => format!("{}\n{setting}", text.trim_end()),
        Some(before) if !(before.is_object() || before.is_array()) && text.lines().any(is_setting) => text
            .lines()
            .map(|line| if is_setting(line) { setting.trim_end() } else { line })
            .collect::<Vec<_>>()
            .join("\n"),
        None | Some(_) => self::text(&whole),
    };
    Some(patch.set("/data/mesh", changed).yaml())
}

/// Writes what deletes a resource, in the form that Kustomize takes.
#[must_use]
pub fn delete(meta: &Meta) -> String {
    let mut whole = head(&meta.version, &meta.kind, &meta.namespace, &meta.name);
    merge(&mut whole, &json!({"$patch": "delete"}));
    text(&whole)
}

/// Joins several patches into one stream of documents.
#[must_use]
pub fn together<I: IntoIterator<Item = String>>(patches: I) -> String {
    patches.into_iter().collect::<Vec<_>>().join("---\n")
}

/// Writes a key as one part of a JSON pointer.
#[must_use]
pub fn part(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

fn unescaped(part: &str) -> String {
    part.replace("~1", "/").replace("~0", "~")
}

fn head(version: &str, kind: &str, namespace: &str, name: &str) -> Value {
    let mut metadata = Map::from_iter([("name".to_owned(), Value::from(name))]);
    if !namespace.is_empty() {
        metadata.insert("namespace".to_owned(), Value::from(namespace));
    }
    json!({"apiVersion": version, "kind": kind, "metadata": metadata})
}

/// Finds the value at a pointer, and makes the mappings on the way to it.
fn place<'a>(document: &'a mut Value, pointer: &str) -> Option<&'a mut Value> {
    pointer.split('/').skip(1).try_fold(document, |value, part| {
        if value.is_null() {
            *value = if part == "-" { json!([]) } else { json!({}) };
        }
        match value {
            Value::Object(entries) => Some(entries.entry(unescaped(part)).or_insert(Value::Null)),
            Value::Array(items) => {
                let index = if part == "-" { items.len() } else { part.parse().ok()? };
                if index == items.len() {
                    items.push(Value::Null);
                }
                items.get_mut(index)
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
        }
    })
}

/// Returns the merge patch from one value to another; absent where they are the same.
fn difference(before: &Value, after: &Value) -> Option<Value> {
    let (Value::Object(old), Value::Object(new)) = (before, after) else {
        return (before != after).then(|| after.clone());
    };
    let mut change = Map::new();
    for (key, value) in new {
        match old.get(key) {
            Some(was) => {
                if let Some(inner) = difference(was, value) {
                    change.insert(key.clone(), inner);
                }
            }
            None => {
                change.insert(key.clone(), value.clone());
            }
        }
    }
    for key in old.keys().filter(|key| !new.contains_key(*key)) {
        change.insert(key.clone(), Value::Null);
    }
    (!change.is_empty()).then_some(Value::Object(change))
}

/// Lays mappings over mappings; unlike an applied patch it keeps nulls, which still have to be said.
fn merge(whole: &mut Value, change: &Value) {
    match (whole, change) {
        (Value::Object(whole), Value::Object(change)) => {
            for (key, value) in change {
                match whole.get_mut(key) {
                    Some(inner) if inner.is_object() && value.is_object() => merge(inner, value),
                    Some(inner) => *inner = value.clone(),
                    None => {
                        whole.insert(key.clone(), value.clone());
                    }
                }
            }
        }
        (whole, change) => *whole = change.clone(),
    }
}

fn text(value: &Value) -> String {
    let mut text = serde_saphyr::to_string(value).unwrap_or_default();
    if !text.ends_with('\n') {
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mesh::{Manifest, Mesh};

    fn rule(spec: &str) -> Meta {
        let text = format!(
            "apiVersion: networking.istio.io/v1beta1\nkind: DestinationRule\nmetadata: {{name: a, namespace: ns}}\nspec: {spec}\n"
        );
        let (mesh, errors) = Mesh::load(vec![Manifest { file: "a.yaml".to_owned(), text }]);
        assert!(errors.is_empty(), "{errors:?}");
        mesh.destination_rules.first().unwrap().meta.clone()
    }

    const HEAD: &str = "apiVersion: networking.istio.io/v1beta1\nkind: DestinationRule\nmetadata:\n  name: a\n  namespace: ns\n";

    #[test]
    fn only_what_changes_is_said() {
        let meta = rule("{host: b, trafficPolicy: {tls: {mode: DISABLE, sni: c}}}");
        let patch = Patch::of(&meta).set("/spec/trafficPolicy/tls/mode", "ISTIO_MUTUAL");
        let change = "spec:\n  trafficPolicy:\n    tls:\n      mode: ISTIO_MUTUAL\n";
        assert_eq!(patch.yaml(), format!("{HEAD}{change}"));
    }

    #[test]
    fn what_goes_is_null() {
        let meta = rule("{host: b, trafficPolicy: {tls: {mode: DISABLE}}}");
        let patch = Patch::of(&meta).remove("/spec/trafficPolicy/tls");
        assert_eq!(patch.yaml(), format!("{HEAD}spec:\n  trafficPolicy:\n    tls: null\n"));
    }

    #[test]
    fn a_list_comes_whole() {
        let meta = rule("{host: b, subsets: [{name: one}, {name: two}]}");
        let patch = Patch::of(&meta)
            .set("/spec/subsets/1/name", "three")
            .set("/spec/subsets/-", json!({"name": "four"}));
        let change = "spec:\n  subsets:\n  - name: one\n  - name: three\n  - name: four\n";
        assert_eq!(patch.yaml(), format!("{HEAD}{change}"));
    }

    #[test]
    fn an_entry_of_a_list_goes() {
        let meta = rule("{host: b, subsets: [{name: one}, {name: two}]}");
        let patch = Patch::of(&meta).remove("/spec/subsets/0");
        assert_eq!(patch.yaml(), format!("{HEAD}spec:\n  subsets:\n  - name: two\n"));
    }

    #[test]
    fn a_key_may_hold_a_slash() {
        let patch = Patch::create("v1", "Namespace", "", "ns")
            .set(&format!("/metadata/labels/{}", part("istio.io/rev")), "stable");
        let text =
            "apiVersion: v1\nkind: Namespace\nmetadata:\n  labels:\n    istio.io/rev: stable\n  name: ns\n";
        assert_eq!(patch.yaml(), text);
    }

    #[test]
    fn a_setting_of_the_mesh_changes_inside_its_text() {
        let check = |text: &str, pointer: &str, value: Value, expected: &str| {
            let map = json!({
                "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "istio", "namespace": "istio-system"},
                "data": {"mesh": text},
            });
            let manifest = Manifest { file: "a.yaml".to_owned(), text: map.to_string() };
            let (mesh, errors) = Mesh::load(vec![manifest]);
            assert!(errors.is_empty(), "{errors:?}");
            let patch: Value =
                serde_saphyr::from_str(&mesh_config(&mesh.config, pointer, value).unwrap()).unwrap();
            assert_eq!(patch.pointer("/data/mesh").and_then(Value::as_str), Some(expected), "{text}");
        };
        let auto = "/enableAutoMtls";
        check("# why\nenableAutoMtls: false\na: 1", auto, true.into(), "# why\nenableAutoMtls: true\na: 1");
        check("a: 1 # why\n", auto, true.into(), "a: 1 # why\nenableAutoMtls: true\n");
        check("{enableAutoMtls: false}", auto, true.into(), "enableAutoMtls: true\n");
        let aliases = "/trustDomainAliases/-";
        check("a: 1", aliases, "b".into(), "a: 1\ntrustDomainAliases:\n- b\n");
        check("trustDomainAliases: [a]", aliases, "b".into(), "trustDomainAliases:\n- a\n- b\n");
        check("enable_auto_mtls: false\na: 1", auto, true.into(), "enable_auto_mtls: true\na: 1");
        check("trust_domain_aliases: [a]", aliases, "b".into(), "trust_domain_aliases:\n- a\n- b\n");
    }

    #[test]
    fn a_deletion_names_the_resource() {
        assert_eq!(delete(&rule("{host: b}")), format!("$patch: delete\n{HEAD}"));
    }

    #[test]
    fn a_pointer_to_nowhere_changes_nothing() {
        let meta = rule("{host: b}");
        let patch = Patch::of(&meta).set("/spec/host/deeper", 1).remove("/spec/none/at/all");
        assert_eq!(patch.yaml(), HEAD);
    }
}
