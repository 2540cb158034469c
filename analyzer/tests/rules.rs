//! Holds the table of rules, their page, and what the code cites to each other.

#![expect(clippy::expect_used, reason = "a test may stop here")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use analyzer::policy::RULES;

#[test]
fn the_page_says_what_the_table_says() {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/rules.md"))
        .expect("the page reads");
    let rows: Vec<(&str, &str)> = page
        .lines()
        .filter_map(|line| line.strip_prefix("| `"))
        .filter_map(|row| {
            let (id, rest) = row.split_once("` | ")?;
            Some((id, rest.split(" | ").next()?))
        })
        .collect();
    assert_eq!(rows, RULES);
}

#[test]
fn every_rule_that_is_cited_is_in_the_table() {
    let known: BTreeSet<&str> = RULES.iter().map(|(id, _)| *id).collect();
    let mut cited = BTreeSet::new();
    walk(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut cited);
    assert!(cited.len() > 10, "no citation was found: {cited:?}");
    let unknown: Vec<_> = cited.iter().filter(|id| !known.contains(id.as_str())).collect();
    assert!(unknown.is_empty(), "cited, not in the table: {unknown:?}");
}

/// Collects the ids in `cite("...` and `built_in("...`, and in the `Rule` lines of doc comments.
fn walk(folder: &Path, cited: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).expect("a folder reads") {
        let path = entry.expect("an entry reads").path();
        if path.is_dir() {
            walk(&path, cited);
            continue;
        }
        let text = fs::read_to_string(&path).expect("a source file reads");
        let flat = text.split_whitespace().collect::<Vec<_>>().join(" ");
        for opening in [".cite( \"", ".cite(\"", ".built_in( \"", ".built_in(\"", "Rule `"] {
            let close = if opening.ends_with('`') { '`' } else { '"' };
            cited.extend(
                flat.split(opening).skip(1).filter_map(|rest| rest.split(close).next()).map(str::to_owned),
            );
        }
    }
}
