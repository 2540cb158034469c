//! `wireproof readiness`: who would break if a namespace, a workload or the whole mesh became STRICT.

use std::io::{self, Write};

use analyzer::readiness::{Readiness, Scope, assess, check};
use analyzer::report::{InputError, ServerMode};
use anyhow::anyhow;
use flow::Coverage;
use serde::Serialize;

use crate::args::{self, Form};
use crate::exit::{self, Fatal, Status};
use crate::input;
use crate::render::{self, Machine, Table};

/// The answer, and what it rests on.
#[derive(Serialize)]
struct Answer {
    #[serde(flatten)]
    readiness: Readiness,
    coverage: Coverage,
    errors: Vec<InputError>,
}

pub(crate) fn run(options: &args::Readiness) -> Result<Status, Fatal> {
    let scope = match (&options.namespace, &options.workload) {
        (Some(namespace), _) => Scope::Namespace(namespace.clone()),
        (None, Some(workload)) => Scope::Workload(workload.clone()),
        (None, None) => Scope::Mesh,
    };
    let declared = input::mesh(&options.mesh)?;
    let status = declared.report_errors();
    // A wrong name is said before a large capture is read.
    check(&declared.mesh, &scope).map_err(|unclear| Fatal::usage(anyhow!("{unclear}")))?;
    let observed = input::captures(
        &options.captures.files,
        options.captures.limits(),
        usize::from(options.captures.threads),
    );
    let readiness = assess(&declared.mesh, &scope, &observed.flows)
        .map_err(|unclear| Fatal::usage(anyhow!("{unclear}")))?;
    let breaks = if readiness.breaks.is_empty() { Status::Clean } else { Status::Findings };
    let answer = Answer { readiness, coverage: observed.coverage, errors: declared.errors };
    exit::unless_closed(print(options.output, &answer))?;
    Ok(breaks.worse(status).worse(observed.status))
}

fn print(form: Form, answer: &Answer) -> Result<(), Fatal> {
    let mut out = anstream::stdout().lock();
    match form {
        Form::Json => render::machine(&mut out, answer, Machine::Json)?,
        Form::Yaml => render::machine(&mut out, answer, Machine::Yaml)?,
        Form::Text => text(&mut out, answer)?,
    }
    Ok(())
}

fn text(out: &mut impl Write, answer: &Answer) -> io::Result<()> {
    let Readiness { scope, verdict, workloads, breaks, proposal } = &answer.readiness;
    writeln!(out, "{scope}: {verdict}")?;
    writeln!(out, "{}\n", render::coverage(&answer.coverage))?;
    let mut table = Table::new([
        "WORKLOAD",
        "MODE",
        "WOULD BE",
        "FLOWS",
        "STAYS",
        "BREAKS",
        "UNCLEAR",
        "STATE",
        "DECIDED BY",
    ]);
    let mode = |mode: Option<ServerMode>| mode.map_or_else(|| "none".to_owned(), |mode| mode.to_string());
    for workload in workloads {
        table.row([
            workload.name.clone(),
            mode(workload.mode),
            mode(workload.proposed),
            workload.flows.to_string(),
            match workload.stays_likely {
                0 => workload.stays.to_string(),
                likely => format!("{} ({likely} likely)", workload.stays),
            },
            workload.would_break.to_string(),
            workload.unclear.to_string(),
            workload.state.to_string(),
            workload.proposed_from.clone(),
        ]);
    }
    write!(out, "{table}")?;
    if !breaks.is_empty() {
        let mut table = Table::new(["CLIENT", "TO", "PORT", "SEEN", "PROOF", "FLOWS", "LAST SEEN", "CAUSE"]);
        for finding in breaks {
            table.row([
                finding.client.name(),
                finding.server.name(),
                finding.port.to_string(),
                finding.class.to_string(),
                finding.proof.to_string(),
                finding.flows.to_string(),
                finding.last_seen.to_string(),
                finding.cause.clone().unwrap_or_default(),
            ]);
        }
        write!(out, "\nWould break:\n{table}\nFirst:\n")?;
        // One change may mend several clients.
        let mut said: Vec<(&String, &Option<String>)> = Vec::new();
        for remedy in breaks.iter().map(|finding| &finding.remedy) {
            let what = (&remedy.summary, &remedy.yaml);
            if !said.contains(&what) {
                said.push(what);
                write!(out, "{}", render::remedy(remedy, "  "))?;
            }
        }
    }
    writeln!(out, "\nWhat makes it STRICT:")?;
    write!(out, "{}", render::remedy(proposal, "  "))
}
