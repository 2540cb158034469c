//! Text for people: tables that are never truncated when piped, and the sentences around them.

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::{fmt, io};

use analyzer::report::{Citation, Remedy, Severity};
use anyhow::anyhow;
use flow::{Coverage, Flow, TlsSession};
use serde::Serialize;
use unicode_width::UnicodeWidthStr;

use crate::exit::Fatal;

/// A plain table: a header line and aligned columns.
pub(crate) struct Table<const N: usize> {
    header: [&'static str; N],
    rows: Vec<[String; N]>,
}

impl<const N: usize> Table<N> {
    /// Starts a table with these columns.
    pub(crate) const fn new(header: [&'static str; N]) -> Self {
        Self { header, rows: Vec::new() }
    }

    /// Adds a row; an empty cell shows as a dash.
    pub(crate) fn row(&mut self, cells: [String; N]) {
        self.rows.push(cells);
    }
}

impl<const N: usize> fmt::Display for Table<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Columns { header: self.header, shown: N, rows: || self.rows.iter() }.fmt(f)
    }
}

/// A table whose rows are made twice, once to find how wide the columns are and once to be written: it takes no memory,
/// however many there are.
pub(crate) struct Columns<const N: usize, F> {
    pub(crate) header: [&'static str; N],
    /// How many of the columns are shown.
    pub(crate) shown: usize,
    /// Makes the rows.
    pub(crate) rows: F,
}

impl<const N: usize, F, I> fmt::Display for Columns<N, F>
where
    F: Fn() -> I,
    I: Iterator<Item: Borrow<[String; N]>>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut widths = self.header.map(UnicodeWidthStr::width);
        for row in (self.rows)() {
            for (width, cell) in widths.iter_mut().zip(row.borrow()) {
                *width = (*width).max(UnicodeWidthStr::width(cell_text(cell)));
            }
        }
        let mut line = String::new();
        let mut write = |cells: [&str; N]| {
            line.clear();
            for (cell, width) in cells.into_iter().zip(widths).take(self.shown) {
                line.push_str(cell);
                let blanks = width.saturating_sub(UnicodeWidthStr::width(cell)).saturating_add(2);
                line.extend(std::iter::repeat_n(' ', blanks));
            }
            // No line ends in blanks.
            writeln!(f, "{}", line.trim_end())
        };
        write(self.header)?;
        (self.rows)().try_for_each(|row| write(row.borrow().each_ref().map(|cell| cell_text(cell))))
    }
}

fn cell_text(cell: &str) -> &str {
    if cell.is_empty() { "-" } else { cell }
}

/// Says how many flows there are of each class, and by which proof.
pub(crate) fn totals(flows: &[Flow]) -> String {
    let mut classes: BTreeMap<flow::Class, BTreeMap<flow::Proof, u64>> = BTreeMap::new();
    for flow in flows {
        *classes
            .entry(flow.security.class())
            .or_default()
            .entry(flow.security.evidence().proof)
            .or_default() += 1;
    }
    let mut line = format!("FLOWS {}", flows.len());
    for (class, proofs) in classes.iter().rev() {
        let total: u64 = proofs.values().sum();
        let by_proof: Vec<_> = proofs.iter().rev().map(|(proof, count)| format!("{proof} {count}")).collect();
        line.push_str(&format!("   {class} {total} ({})", by_proof.join(", ")));
    }
    line
}

/// A number of things: `1 finding`, `2 findings`.
pub(crate) fn counted(count: usize, thing: &str) -> String {
    format!("{count} {thing}{}", if count == 1 { "" } else { "s" })
}

/// Says what an answer rests on.
pub(crate) fn coverage(coverage: &Coverage) -> String {
    let share = coverage.ratio().map_or_else(
        || "no TCP flow".to_owned(),
        |share| format!("{:.1} % of TCP flows seen from their start", share * 100.0),
    );
    let mut line = format!("COVERAGE {share}   {} packets read", coverage.packets);
    if let Some(dropped) = coverage.kernel_dropped {
        line.push_str(&format!("   {dropped} dropped by the kernel"));
    }
    if let Some(reasons) = coverage.not_used() {
        line.push_str(&format!("   {reasons}"));
    }
    if coverage.empty > 0 {
        let empty = usize::try_from(coverage.empty).unwrap_or(usize::MAX);
        line.push_str(&format!("   {} without payload", counted(empty, "connection")));
    }
    if !coverage.damaged.is_empty() {
        line.push_str("   INPUT DAMAGED");
    }
    line
}

/// Says in a few words what a TLS session is.
pub(crate) fn session(session: &TlsSession) -> String {
    let mut words =
        vec![session.version.map_or_else(|| "no answer".to_owned(), |version| version.to_string())];
    if let Some(quic) = &session.quic {
        words.push(format!("quic {quic}"));
    }
    if session.resumed == Some(true) {
        words.push("resumed".to_owned());
    }
    if session.outcome == flow::Outcome::Failed {
        words.push("failed".to_owned());
    }
    words.join(" ")
}

/// Colours the severity that begins each line of a table, so that the columns are aligned without the colour too.
pub(crate) fn coloured(table: &str) -> String {
    table
        .lines()
        .map(|line| {
            let word = line.split(' ').next().unwrap_or_default();
            let rest = line.strip_prefix(word).unwrap_or_default();
            match word.parse() {
                Ok(found) => format!("{}{rest}\n", severity(found)),
                Err(_) => format!("{line}\n"),
            }
        })
        .collect()
}

/// A severity as a coloured word; the colour goes where the terminal has none.
pub(crate) fn severity(severity: Severity) -> String {
    let style = match severity {
        Severity::Critical => "\u{1b}[1;31m",
        Severity::High => "\u{1b}[31m",
        Severity::Medium => "\u{1b}[33m",
        Severity::Low => "\u{1b}[36m",
        Severity::Info => "\u{1b}[2m",
    };
    format!("{style}{severity}\u{1b}[0m")
}

/// The reasoning, one step a line.
pub(crate) fn ladder(because: &[Citation]) -> String {
    let mut table = Table::new(["RESOURCE", "FIELD", "EFFECT", "RULE", "PLACE"]);
    for step in because {
        table.row([
            step.resource.clone(),
            step.field.clone().unwrap_or_default().into_owned(),
            step.effect.clone().into_owned(),
            step.rule.clone().into_owned(),
            place(step.file.as_deref(), step.line),
        ]);
    }
    table.to_string()
}

/// The reasoning of both sides under each other; `decides` tells which step of a side supplied its answer.
pub(crate) fn steps(sides: &[(&str, &[Citation], Option<usize>)]) -> String {
    let mut table = Table::new(["SIDE", "RESOURCE", "FIELD", "EFFECT", "", "PLACE", "RULE"]);
    for (side, steps, decides) in sides {
        for (index, step) in steps.iter().enumerate() {
            table.row([
                if index == 0 { (*side).to_owned() } else { " ".to_owned() },
                step.resource.clone(),
                step.field.clone().unwrap_or_default().into_owned(),
                step.effect.clone().into_owned(),
                if *decides == Some(index) { "<- decides".to_owned() } else { " ".to_owned() },
                place(step.file.as_deref(), step.line),
                step.rule.clone().into_owned(),
            ]);
        }
    }
    table.to_string()
}

/// Writes an answer as JSON or YAML, with a line end.
pub(crate) fn machine<T: Serialize>(
    out: &mut impl io::Write,
    answer: &T,
    form: Machine,
) -> Result<(), Fatal> {
    match form {
        Machine::Json => {
            serde_json::to_writer_pretty(&mut *out, answer)?;
            writeln!(out)?;
        }
        Machine::Yaml => {
            let text =
                analyzer::report::yaml(answer).map_err(|error| Fatal::environment(anyhow!("{error}")))?;
            writeln!(out, "{}", text.trim_end())?;
        }
    }
    Ok(())
}

/// The forms for machines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Machine {
    Json,
    Yaml,
}

/// A file and line as editors take them.
pub(crate) fn place(file: Option<&str>, line: Option<u32>) -> String {
    match (file, line) {
        (Some(file), Some(line)) => format!("{file}:{line}"),
        (Some(file), None) => file.to_owned(),
        (None, _) => String::new(),
    }
}

/// A remedy: what to do, where, and the YAML.
pub(crate) fn remedy(remedy: &Remedy, indent: &str) -> String {
    let mut text = format!("{indent}Fix: {}", remedy.summary);
    let place = place(remedy.file.as_deref(), remedy.line);
    if !place.is_empty() {
        text.push_str(&format!(" ({place})"));
    }
    text.push('\n');
    if let Some(yaml) = &remedy.yaml {
        for line in yaml.lines() {
            text.push_str(&format!("{indent}  {line}\n"));
        }
    }
    if let Some(values) = &remedy.values {
        text.push_str(&format!("{indent}Values of wireproof's Helm chart:\n"));
        for line in values.lines() {
            text.push_str(&format!("{indent}  {line}\n"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_what_they_show() {
        let rows = || {
            let row = |cells: [&str; 3]| cells.map(str::to_owned);
            [row(["a", "", "x"]), row(["結ぶ", "bc", "y"])].into_iter()
        };
        let shown = |shown| Columns { header: ["ONE", "", "LAST"], shown, rows }.to_string();
        assert_eq!(shown(3), "ONE       LAST\na     -   x\n結ぶ  bc  y\n");
        assert_eq!(shown(2), "ONE\na     -\n結ぶ  bc\n");
    }
}
