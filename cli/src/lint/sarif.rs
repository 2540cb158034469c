//! Findings as a SARIF 2.1.0 log, which code scanning reads.

use std::collections::BTreeSet;
use std::path::{Component, Path};

use analyzer::lint::RULES;
use analyzer::report::{InputError, LintFinding, Severity};
use serde_json::{Value, json};

use super::Sources;

/// Builds the log: the rules that were broken, the findings, and the documents that were not read as notifications.
pub(super) fn log(findings: &[LintFinding], errors: &[InputError], sources: &Sources<'_>) -> Value {
    let broken: BTreeSet<&str> = findings.iter().map(|finding| finding.id.as_str()).collect();
    let broken: Vec<&str> = broken.into_iter().collect();
    let rules: Vec<Value> = broken
        .iter()
        .filter_map(|id| RULES.iter().find(|rule| rule.id == *id))
        .map(|rule| {
            json!({
                "id": rule.id,
                "shortDescription": { "text": rule.title },
                "help": { "text": rule.page, "markdown": rule.page },
                "defaultConfiguration": { "level": level(rule.severity) },
                "properties": { "tags": ["security", "istio"], "security-severity": score(rule.severity) },
            })
        })
        .collect();
    let results: Vec<Value> = findings
        .iter()
        .map(|finding| {
            let mut location = json!({
                "logicalLocations": [{ "fullyQualifiedName": finding.resource, "kind": "resource" }],
            });
            if let Some(place) = physical(finding.file.as_deref(), finding.line, sources) {
                location["physicalLocation"] = place;
            }
            json!({
                "ruleId": finding.id,
                "ruleIndex": broken.iter().position(|id| *id == finding.id),
                "level": level(finding.severity),
                "message": { "text": format!("{}\n\nFix: {}", finding.message, finding.remedy) },
                "locations": [location],
                // Lines move; what is wrong with which resource stays.
                "partialFingerprints": { "resource/v1": format!("{} {} {}", finding.id, finding.resource, finding.message) },
                "properties": { "severity": finding.severity.name(), "yaml": finding.yaml },
            })
        })
        .collect();
    let notifications: Vec<Value> = errors
        .iter()
        .map(|error| {
            let place = physical(Some(&error.file), error.line, sources);
            json!({
                "level": if error.fatal { "error" } else { "warning" },
                "message": { "text": error.message },
                "locations": place.map(|place| json!({ "physicalLocation": place })).into_iter().collect::<Vec<_>>(),
            })
        })
        .collect();
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "wireproof",
                "semanticVersion": env!("CARGO_PKG_VERSION"),
                "rules": rules,
            } },
            "invocations": [{
                "executionSuccessful": !errors.iter().any(|error| error.fatal),
                "toolExecutionNotifications": notifications,
            }],
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    })
}

fn physical(file: Option<&str>, line: Option<u32>, sources: &Sources<'_>) -> Option<Value> {
    let file = file?;
    let mut place = json!({ "artifactLocation": { "uri": uri(file) } });
    if let Some(line) = line {
        let mut region = json!({ "startLine": line });
        if let Some(spot) = sources.spot(Some(file), Some(line)) {
            region["startColumn"] = spot.column().into();
            region["endColumn"] = spot.end_column().into();
        }
        place["region"] = region;
    }
    Some(place)
}

const fn level(severity: Severity) -> &'static str {
    match severity {
        Severity::Critical | Severity::High => "error",
        Severity::Medium => "warning",
        Severity::Low | Severity::Info => "note",
    }
}

/// The score by which code scanning sorts: its bands are critical from 9, high from 7, medium from 4.
const fn score(severity: Severity) -> &'static str {
    match severity {
        Severity::Critical => "9.5",
        Severity::High => "8.0",
        Severity::Medium => "5.5",
        Severity::Low => "2.0",
        Severity::Info => "0.0",
    }
}

/// A path as a URI reference (RFC 3986): relative paths stay relative, so that they fit the repository.
fn uri(file: &str) -> String {
    let path = Path::new(file);
    let parts = path.components().filter_map(|part| match part {
        Component::Normal(name) => Some(encoded(&name.to_string_lossy())),
        Component::ParentDir => Some("..".to_owned()),
        Component::CurDir | Component::RootDir | Component::Prefix(_) => None,
    });
    let joined = parts.collect::<Vec<_>>().join("/");
    if path.is_absolute() { format!("file:///{joined}") } else { joined }
}

fn encoded(name: &str) -> String {
    let mut text = String::new();
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                text.push(char::from(byte))
            }
            other => text.push_str(&format!("%{other:02X}")),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_become_references() {
        for (file, expected) in [
            ("mesh/dr.yaml", "mesh/dr.yaml"),
            ("./mesh/a b.yaml", "mesh/a%20b.yaml"),
            ("../x.yaml", "../x.yaml"),
            ("/etc/mesh.yaml", "file:///etc/mesh.yaml"),
            ("ü.yaml", "%C3%BC.yaml"),
        ] {
            assert_eq!(uri(file), expected);
        }
    }
}
