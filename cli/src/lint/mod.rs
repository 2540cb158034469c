//! `wireproof lint`: declarations that contradict each other, or themselves.

mod diagnostic;
mod github;
mod sarif;

use std::collections::{BTreeSet, HashMap};
use std::io::Write as _;

use analyzer::lint::{RULES, lint};
use analyzer::mesh::Manifest;
use analyzer::report::{InputError, LintFinding};
use analyzer::violation;
use anyhow::anyhow;
use serde::Serialize;

use crate::args::{Lint, LintOutput};
use crate::exit::{self, Fatal, Status};
use crate::input;
use crate::render::{self, Machine};

/// The contract's form.
#[derive(Serialize)]
struct Answer<'a> {
    findings: &'a [LintFinding],
    errors: &'a [InputError],
}

pub(crate) fn run(options: &Lint) -> Result<Status, Fatal> {
    if let Some(id) = &options.explain {
        return explain(id);
    }
    let selected = selected(&options.select, &options.ignore)?;
    let declared = input::mesh(&options.mesh)?;
    let mut findings = lint(&declared.mesh);
    findings.retain(|finding| selected.contains(finding.id.as_str()));
    let files = findings.iter().filter_map(|finding| finding.file.as_deref());
    let files = files.chain(declared.errors.iter().map(|error| error.file.as_str()));
    let sources = Sources::of(&declared.manifests, files);
    exit::unless_closed(print(options.output, &findings, &declared.errors, &sources))?;
    let unread = declared.report_errors();
    Ok(options.fail_on.status(findings.iter().map(|finding| finding.severity)).worse(unread))
}

fn print(
    form: LintOutput,
    findings: &[LintFinding],
    errors: &[InputError],
    sources: &Sources<'_>,
) -> Result<(), Fatal> {
    let answer = Answer { findings, errors };
    let mut out = anstream::stdout().lock();
    match form {
        LintOutput::Json => render::machine(&mut out, &answer, Machine::Json)?,
        LintOutput::Yaml => render::machine(&mut out, &answer, Machine::Yaml)?,
        LintOutput::Sarif => {
            render::machine(&mut out, &sarif::log(findings, errors, sources), Machine::Json)?;
        }
        LintOutput::Github => write!(out, "{}", github::annotations(findings, errors))?,
        LintOutput::Text => {
            for finding in findings {
                writeln!(out, "{}", diagnostic::text(finding, sources))?;
            }
            let unread = errors.iter().filter(|error| error.fatal).count();
            let found = render::counted(findings.len(), "finding");
            writeln!(out, "{found}, {} not read", render::counted(unread, "document"))?;
            if let Some(first) = findings.first() {
                writeln!(out, "wireproof lint --explain {} says more", first.id)?;
            }
        }
    }
    Ok(())
}

/// Prints the page of a finding.
fn explain(id: &str) -> Result<Status, Fatal> {
    let id = id.to_ascii_uppercase();
    let page = page(&id).ok_or_else(|| {
        Fatal::usage(anyhow!(
            "'{id}' is the id of no finding; the ids: {}",
            ids().chain(violation::RULES.iter().map(|rule| rule.id)).collect::<Vec<_>>().join(", ")
        ))
    })?;
    writeln!(anstream::stdout().lock(), "{}", page.trim_end())?;
    Ok(Status::Clean)
}

/// The page of a finding, be it one of the declarations or of the wire.
fn page(id: &str) -> Option<&'static str> {
    let observed = || violation::RULES.iter().find(|rule| rule.id == id).map(|rule| rule.page);
    RULES.iter().find(|rule| rule.id == id).map(|rule| rule.page).or_else(observed)
}

/// Every id of a static finding, in order.
pub(crate) fn ids() -> impl Iterator<Item = &'static str> {
    let ids: BTreeSet<_> = RULES.iter().map(|rule| rule.id).collect();
    ids.into_iter()
}

/// The ids that are asked for: those that begin with one of `select` (all, if it is empty) and with none of `ignore`.
fn selected(select: &[String], ignore: &[String]) -> Result<BTreeSet<&'static str>, Fatal> {
    let begins = |prefixes: &[String], id: &str| {
        prefixes.iter().any(|prefix| id.starts_with(&prefix.to_ascii_uppercase()))
    };
    for prefix in select.iter().chain(ignore) {
        if prefix.is_empty() || !ids().any(|id| begins(std::slice::from_ref(prefix), id)) {
            let all: Vec<_> = ids().collect();
            return Err(Fatal::usage(anyhow!(
                "no finding's id begins with '{prefix}'; the ids: {}",
                all.join(", ")
            )));
        }
    }
    Ok(ids().filter(|id| (select.is_empty() || begins(select, id)) && !begins(ignore, id)).collect())
}

/// What a finding points at: a piece of one line.
pub(crate) struct Spot<'a> {
    /// The line, without its end.
    pub(crate) line: &'a str,
    /// Where on it the offending entry stands, in bytes: without indentation, dash and comment.
    pub(crate) span: std::ops::Range<usize>,
}

impl Spot<'_> {
    /// The column of the first character, from 1.
    pub(crate) fn column(&self) -> usize {
        self.characters(self.span.start)
    }

    /// The column behind the last character, from 1.
    pub(crate) fn end_column(&self) -> usize {
        self.characters(self.span.end)
    }

    fn characters(&self, bytes: usize) -> usize {
        self.line.get(..bytes).map_or(0, |before| before.chars().count()).saturating_add(1)
    }
}

/// The lines of the files that findings point into.
pub(crate) struct Sources<'a>(HashMap<&'a str, Vec<&'a str>>);

impl<'a> Sources<'a> {
    /// Splits the files that are asked for, each once.
    pub(crate) fn of(manifests: &'a [Manifest], files: impl IntoIterator<Item = &'a str>) -> Self {
        let wanted: BTreeSet<&str> = files.into_iter().collect();
        Self(
            manifests
                .iter()
                .filter(|manifest| wanted.contains(manifest.file.as_str()))
                .map(|manifest| (manifest.file.as_str(), manifest.text.lines().collect()))
                .collect(),
        )
    }

    /// Finds the line that a finding points at; absent where it points at none, or at an empty one.
    pub(crate) fn spot(&self, file: Option<&str>, line: Option<u32>) -> Option<Spot<'a>> {
        let index = usize::try_from(line?).ok()?.checked_sub(1)?;
        let line = self.0.get(file?)?.get(index)?.trim_start_matches('\u{feff}');
        let indentation = line.len().saturating_sub(line.trim_start_matches([' ', '\t', '-']).len());
        // A blank before the sign makes it a comment; inside quotes this cuts a value short, and only its underline.
        let end = line.find(" #").filter(|at| *at > indentation).unwrap_or(line.len());
        let end = line.get(..end)?.trim_end().len();
        (indentation < end).then_some(Spot { line, span: indentation..end })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_finding_has_a_page() {
        for id in ids() {
            let page = page(id).unwrap();
            assert!(page.starts_with(&format!("# {id}: ")), "{id}: {page}");
        }
        assert!(page("OB01").unwrap().starts_with("# OB01: "), "what the wire shows has one too");
        assert_eq!(page("ZZ01"), None);
    }

    #[test]
    fn ids_are_chosen_by_their_beginning() {
        let check = |select: &[&str], ignore: &[&str], expected: &[&str]| {
            let owned = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
            let chosen = selected(&owned(select), &owned(ignore)).unwrap();
            assert_eq!(chosen.into_iter().collect::<Vec<_>>(), expected, "{select:?} {ignore:?}");
        };
        check(&["DR02", "AM"], &["AM01"], &["AM02", "DR02"]);
        check(&["am"], &[], &["AM01", "AM02"]);
        assert_eq!(selected(&[], &[]).unwrap().len(), RULES.len());
        assert!(selected(&["ZZ".to_owned()], &[]).is_err());
        assert!(selected(&[], &[String::new()]).is_err());
    }

    #[test]
    fn the_spot_is_the_entry_alone() {
        let text = "spec:\n  - mode: 'a#b' # why\n\n  x: \"ü # no\"\n# all\n".to_owned();
        let manifests = [Manifest { file: "m.yaml".to_owned(), text }];
        let sources = Sources::of(&manifests, ["m.yaml"]);
        let check = |line, expected: Option<(&str, usize, usize)>| {
            let found = sources.spot(Some("m.yaml"), Some(line));
            let found = found.map(|spot| (&spot.line[spot.span.clone()], spot.column(), spot.end_column()));
            assert_eq!(found, expected, "line {line}");
        };
        check(1, Some(("spec:", 1, 6)));
        check(2, Some(("mode: 'a#b'", 5, 16)));
        check(3, None);
        check(5, Some(("# all", 1, 6)));
        check(0, None);
        check(9, None);
        assert!(sources.spot(Some("other.yaml"), Some(1)).is_none());
        assert!(sources.spot(None, None).is_none());
    }
}
