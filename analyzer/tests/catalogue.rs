//! docs/findings.md has a section for every id that has code, and no other.

use std::collections::BTreeSet;

use analyzer::lint::RULES;
use analyzer::violation::Kind;

#[test]
fn every_id_has_its_section() {
    let page = include_str!("../../docs/findings.md");
    let sections: Vec<&str> =
        page.lines().filter_map(|line| line.strip_prefix("## ")?.split_once(':').map(|(id, _)| id)).collect();
    let unique: BTreeSet<&str> = sections.iter().copied().collect();
    let code: Vec<&str> =
        RULES.iter().map(|rule| rule.id).chain(Kind::ALL.iter().map(|kind| kind.name())).collect();
    assert_eq!(unique, code.iter().copied().collect());
    assert_eq!(sections.len(), unique.len(), "a section stands twice");
    assert_eq!(code.len(), unique.len(), "an id has two rules");
}
