//! docs/findings.md has a row for every id that has code, and for no other; every id has its page.

use std::collections::BTreeSet;

use analyzer::{lint, violation};

const INDEX: &str = include_str!("../../docs/findings.md");

/// The whole catalogue: each group of ids, and how many it has.
const STATIC: [(&str, u32); 11] = [
    ("AB", 4),
    ("AM", 2),
    ("DR", 13),
    ("GW", 18),
    ("IN", 2),
    ("MC", 1),
    ("PA", 10),
    ("PN", 4),
    ("SC", 4),
    ("SE", 7),
    ("XC", 8),
];
const OBSERVED: [(&str, u32); 1] = [("OB", 23)];

fn whole(catalogue: &[(&str, u32)]) -> Vec<String> {
    let ids = |(group, count): &(&str, u32)| {
        let group = (*group).to_owned();
        (1..=*count).map(move |number| format!("{group}{number:02}"))
    };
    catalogue.iter().flat_map(ids).collect()
}

#[test]
fn every_id_of_the_catalogue_has_its_rule_in_order() {
    let of_lint: Vec<&str> = lint::RULES.iter().map(|rule| rule.id).collect();
    let observed: Vec<&str> = violation::RULES.iter().map(|rule| rule.id).collect();
    assert_eq!(of_lint, whole(&STATIC));
    assert_eq!(observed, whole(&OBSERVED));
}

#[test]
fn every_finding_has_its_row() {
    let rows: Vec<&str> = INDEX.lines().filter(|line| line.starts_with("| [")).collect();
    let row = |id: &str, severity: &str, title: &str| {
        format!("| [{id}](findings/{id}.md) | {severity} | {title} |")
    };
    let expected: Vec<String> = lint::RULES
        .iter()
        .map(|rule| row(rule.id, rule.severity.name(), rule.title))
        .chain(violation::RULES.iter().map(|rule| row(rule.id, rule.severity.name(), rule.title)))
        .collect();
    assert_eq!(rows, expected);
}

#[test]
fn what_the_wire_shows_as_well_is_the_same_finding() {
    for seen in violation::SEEN {
        let rule = lint::RULES.iter().find(|rule| rule.id == seen.id);
        assert_eq!(
            rule.map(|rule| (rule.severity, rule.title)),
            Some((seen.severity, seen.title)),
            "{}",
            seen.id
        );
    }
}

#[test]
fn every_rule_has_its_page() {
    let of_lint: Vec<&str> = lint::RULES.iter().map(|rule| rule.id).collect();
    let observed: Vec<&str> = violation::RULES.iter().map(|rule| rule.id).collect();
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/findings");
    let pages: BTreeSet<String> = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok()?.strip_suffix(".md").map(str::to_owned))
        .collect();
    assert_eq!(pages, of_lint.into_iter().chain(observed).map(str::to_owned).collect());
}

#[test]
fn every_page_of_an_observed_finding_has_the_same_parts() {
    let headings = ["What it means", "How to see it", "Why it happens", "Fix", "Not to be confused with"];
    for rule in violation::RULES {
        let (id, page) = (rule.id, rule.page);
        let opening = format!("# {id}: {}\n\nSeverity: {}.\n", rule.title, rule.severity);
        assert!(page.starts_with(&opening), "{id}: the page should open with\n{opening}");
        let found: Vec<&str> = page.lines().filter_map(|line| line.strip_prefix("## ")).collect();
        assert_eq!(found, headings, "{id}");
        let lines = page.lines().count();
        assert!((15..=60).contains(&lines), "{id}: {lines} lines");
    }
}

/// Findings of the declarations bring their round trip with their rule (`lint/tests.rs`).
#[test]
fn every_observed_finding_has_a_round_trip_of_its_remedy() {
    let tests = [include_str!("observed/remedies.rs"), include_str!("observed/restarts.rs")].concat();
    let names: Vec<&str> = tests.lines().filter_map(|line| line.strip_prefix("fn ")).collect();
    let lacking: Vec<&str> = violation::RULES
        .iter()
        .map(|rule| rule.id)
        .filter(|id| {
            let has = |name: &&str| name.split(['_', '(']).any(|part| part == id.to_ascii_lowercase());
            !names.iter().any(has) || !tests.contains(&format!("\"{id}\""))
        })
        .collect();
    // What no policy is about is counted, and is no finding to mend.
    assert_eq!(lacking, ["OB20"]);
}
