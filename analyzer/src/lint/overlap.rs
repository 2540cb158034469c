//! Patches of one run that overwrite each other: a merge patch replaces a list whole, as the document read had it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::report::LintFinding;

/// Says in the remedies of findings whose patches write different values to one field of one resource that only one of them
/// can be applied before the next run.
pub(super) fn tell(findings: &mut [LintFinding]) {
    let mut fields: BTreeMap<(String, String), Vec<(usize, Value)>> = BTreeMap::new();
    for (place, finding) in findings.iter().enumerate() {
        let patches = finding.yaml.as_deref().and_then(|text| serde_saphyr::from_multiple(text).ok());
        for patch in patches.into_iter().flat_map(|patches: Vec<Value>| patches) {
            // What a deletion names is the resource and no field of it.
            if patch.get("$patch").is_some() {
                continue;
            }
            let mut written = Vec::new();
            walk(&patch, "", &mut written);
            let name = resource(&patch);
            for (field, value) in written {
                fields.entry((name.clone(), field)).or_default().push((place, value.clone()));
            }
        }
    }
    let mut notes: BTreeMap<usize, BTreeMap<String, BTreeSet<String>>> = BTreeMap::new();
    for ((name, field), writers) in &fields {
        for (place, value) in writers {
            let others = writers.iter().filter(|(_, other)| other != value);
            let ids: BTreeSet<String> =
                others.filter_map(|(other, _)| Some(findings.get(*other)?.id.clone())).collect();
            if !ids.is_empty() {
                notes.entry(*place).or_default().entry(format!("{field} of {name}")).or_default().extend(ids);
            }
        }
    }
    for (place, fields) in notes {
        if let Some(finding) = findings.get_mut(place) {
            for (field, ids) in fields {
                let ids: Vec<String> = ids.into_iter().collect();
                let note = format!(
                    " The patch of {} writes {field} as well: apply one of them, then run lint again for the rest.",
                    ids.join(", ")
                );
                finding.remedy.push_str(&note);
            }
        }
    }
}

/// Names the resource that a patch is for: `Kind/namespace/name`.
fn resource(patch: &Value) -> String {
    let text = |pointer| patch.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    format!("{}/{}/{}", text("/kind"), text("/metadata/namespace"), text("/metadata/name"))
}

/// Collects the fields that a patch writes, by their paths; a list is one field. Its head, which names the resource, is the
/// same in every patch of it.
fn walk<'a>(value: &'a Value, path: &str, fields: &mut Vec<(String, &'a Value)>) {
    let Value::Object(entries) = value else {
        fields.push((path.to_owned(), value));
        return;
    };
    for (key, value) in entries {
        let below = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        walk(value, &below, fields);
    }
}

#[cfg(test)]
mod tests {
    use crate::lint::lint;
    use crate::mesh::{Manifest, Mesh};

    fn remedies(servers: &str) -> Vec<(String, String)> {
        let text = format!(
            "apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {{name: front, namespace: shop}}\nspec: {{selector: {{app: front}}, servers: [{servers}]}}\n"
        );
        let (mesh, errors) = Mesh::load(vec![Manifest { file: "mesh.yaml".to_owned(), text }]);
        assert_eq!(errors, []);
        lint(&mesh).into_iter().map(|finding| (finding.id, finding.remedy)).collect()
    }

    const OLD: &str = "{port: {number: 443, name: https, protocol: HTTPS}, hosts: [a.example.com], tls: {mode: SIMPLE, credentialName: a, minProtocolVersion: TLSV1_0}}";

    #[test]
    fn two_patches_of_one_list_say_so() {
        let plain = "{port: {number: 80, name: http, protocol: HTTP}, hosts: [a.example.com]}";
        let found = remedies(&format!("{OLD}, {plain}"));
        for (id, other) in [("GW12", "GW13"), ("GW13", "GW12")] {
            let (_, remedy) = found.iter().find(|(own, _)| own == id).unwrap();
            let note = format!("The patch of {other} writes spec.servers of Gateway/shop/front as well");
            assert!(remedy.contains(&note), "{remedy}");
        }
        for (_, remedy) in remedies(OLD) {
            assert!(!remedy.contains("as well: apply one"), "{remedy}");
        }
    }
}
