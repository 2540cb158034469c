//! `wireproof lint`: declarations that contradict each other, or themselves.

use std::io::Write as _;

use analyzer::lint::lint;
use analyzer::report::{InputError, LintFinding};
use serde::Serialize;

use crate::args::{Lint, Output};
use crate::exit::{Fatal, Status};
use crate::{input, render};

#[derive(Serialize)]
struct Answer<'a> {
    findings: &'a [LintFinding],
    errors: &'a [InputError],
}

pub(crate) fn run(options: &Lint) -> Result<Status, Fatal> {
    let declared = input::mesh(&options.mesh)?;
    let findings = lint(&declared.mesh);
    let mut out = anstream::stdout().lock();
    match options.output {
        Output::Json => {
            serde_json::to_writer_pretty(
                &mut out,
                &Answer { findings: &findings, errors: &declared.errors },
            )?;
            writeln!(out)?;
        }
        Output::Text => {
            for finding in &findings {
                let place = render::place(finding.file.as_deref(), finding.line);
                writeln!(out, "{} {} {}", render::severity(finding.severity), finding.id, finding.resource)?;
                if !place.is_empty() {
                    writeln!(out, "  --> {place}")?;
                }
                writeln!(out, "  {}\n  Fix: {}", finding.message, finding.remedy)?;
                for line in finding.yaml.iter().flat_map(|yaml| yaml.lines()) {
                    writeln!(out, "    {line}")?;
                }
                writeln!(out)?;
            }
            let unread = declared.errors.iter().filter(|error| error.fatal).count();
            writeln!(out, "{} findings, {unread} documents not read", findings.len())?;
        }
    }
    let unread = declared.report_errors();
    Ok(options.fail_on.status(findings.iter().map(|finding| finding.severity)).worse(unread))
}
