//! Every case of `testdata/policy` through `explain`: each judged key must be answered exactly.

use std::path::Path;

use analyzer::explain::{Question, explain};
use analyzer::mesh::{Manifest, Mesh};
use flow::Endpoint;
use serde_json::Value;

#[test]
fn every_policy_case_is_answered() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata/policy");
    let mut wrong = Vec::new();
    let mut asked = 0;
    for case in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if !case.is_dir() {
            continue;
        }
        let spec: Value =
            serde_json::from_str(&std::fs::read_to_string(case.join("case.json")).unwrap()).unwrap();
        let Some(query) = spec.get("query") else { continue };
        asked += 1;
        let text = std::fs::read_to_string(case.join("resources.yaml")).unwrap();
        let (mesh, errors) = Mesh::load(vec![Manifest { file: "resources.yaml".into(), text }]);
        assert!(errors.is_empty(), "{errors:?}");
        let question = Question {
            from: query["source_ip"].as_str().unwrap().parse().unwrap(),
            to: Endpoint {
                ip: query["destination_ip"].as_str().unwrap().parse().unwrap(),
                port: u16::try_from(query["destination_port"].as_u64().unwrap()).unwrap(),
            },
            sni: query.get("sni").and_then(Value::as_str).map(str::to_owned),
        };
        let answer = serde_json::to_value(explain(&mesh, &question)).unwrap();
        compare(&case.display().to_string(), &spec["expect"], &answer, &mut wrong);
        wrong.extend(
            nameless(&answer).map(|effect| format!("{}: no resource for '{effect}'", case.display())),
        );
    }
    assert!(asked >= 13, "only {asked} cases asked anything");
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// The effects that name a resource, and are cited as Istio's own.
fn nameless(answer: &Value) -> impl Iterator<Item = &str> {
    let citations = answer["because"].as_array().into_iter().flatten();
    citations
        .filter(|citation| citation["resource"] == "default")
        .filter_map(|citation| citation["effect"].as_str())
        .filter(|effect| effect.contains('/'))
}

fn compare(path: &str, expected: &Value, answer: &Value, wrong: &mut Vec<String>) {
    match expected {
        Value::Object(map) => {
            for (key, value) in map {
                compare(&format!("{path}: {key}"), value, &answer[key], wrong);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            if expected != answer {
                wrong.push(format!("{path}: wanted {expected}, got {answer}"));
            }
        }
    }
}
