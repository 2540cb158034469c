//! docs/findings.md names every id that has code, and no other; every static finding has its row and its page.

use std::collections::BTreeSet;

use analyzer::lint::RULES;
use analyzer::violation::Kind;

const INDEX: &str = include_str!("../../docs/findings.md");

#[test]
fn every_static_finding_has_its_row() {
    let rows: Vec<&str> =
        INDEX.lines().filter(|line| line.starts_with("| [") && !line.starts_with("| [OB")).collect();
    let expected: Vec<String> = RULES
        .iter()
        .map(|rule| format!("| [{0}](findings/{0}.md) | {1} | {2} |", rule.id, rule.severity, rule.title))
        .collect();
    assert_eq!(rows, expected);
}

#[test]
fn every_observed_finding_has_its_section() {
    let sections: Vec<&str> = INDEX
        .lines()
        .filter_map(|line| line.strip_prefix("## OB")?.split_once(':').map(|(number, _)| number))
        .collect();
    let code: BTreeSet<&str> = Kind::ALL.iter().filter_map(|kind| kind.name().strip_prefix("OB")).collect();
    assert_eq!(sections.iter().copied().collect::<BTreeSet<_>>(), code);
    assert_eq!(sections.len(), code.len(), "a section stands twice");
}

#[test]
fn rules_are_sorted_and_have_their_pages() {
    let ids: Vec<&str> = RULES.iter().map(|rule| rule.id).collect();
    assert!(ids.is_sorted_by(|a, b| a < b), "{ids:?}");
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/findings");
    let pages: BTreeSet<String> = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok()?.strip_suffix(".md").map(str::to_owned))
        .filter(|page| !page.starts_with("OB"))
        .collect();
    assert_eq!(pages, ids.into_iter().map(str::to_owned).collect());
}
