//! `wireproof flows`: what every flow is, and how that is known.

use std::cell::RefCell;
use std::io::{self, BufWriter, Write as _};
use std::path::PathBuf;

use analyzer::translation::other_sides;
use capture::engine::Limits;
use flow::{Flow, JsonWriter};

use crate::args::{Flows, FlowsOutput};
use crate::exit::{Fatal, Status};
use crate::{input, render};

/// How many bytes of output are written at a time.
const BLOCK: usize = 64 * 1024;

pub(crate) fn run(options: &Flows) -> Result<Status, Fatal> {
    let limits = Limits { report_empty: options.all, ..options.captures.limits() };
    let (files, threads) = (&options.captures.files, usize::from(options.captures.threads));
    match options.output {
        FlowsOutput::Ndjson => ndjson(files, limits, threads),
        FlowsOutput::Table => {
            let observed = input::captures(files, limits, threads);
            let mut out = BufWriter::with_capacity(BLOCK, io::stdout().lock());
            if !observed.flows.is_empty() {
                table(&mut out, &observed.flows)?;
            }
            writeln!(out, "{}", render::totals(&observed.flows))?;
            writeln!(out, "{}", render::coverage(&observed.coverage))?;
            out.flush()?;
            Ok(observed.status)
        }
    }
}

/// Prints every flow when it is over, so that a capture of any length takes no more memory than what is open.
fn ndjson(files: &[PathBuf], limits: Limits, threads: usize) -> Result<Status, Fatal> {
    let out = BufWriter::with_capacity(BLOCK, io::stdout().lock());
    let out = RefCell::new(out);
    let (mut writer, mut line) = (JsonWriter::default(), Vec::new());
    let (mut coverage, status) = input::observe(
        files,
        limits,
        threads,
        |flow| -> io::Result<()> {
            line.clear();
            writer.write(&flow, &mut line);
            line.push(b'\n');
            out.borrow_mut().write_all(&line)
        },
        || out.borrow_mut().flush(),
    )?;
    out.into_inner().flush()?;
    // The lines hold flows alone: what is in none of them is said beside them. Link types were named with their files.
    coverage.skipped.remove("unknown-link-type");
    if let Some(reasons) = coverage.not_used() {
        anstream::eprintln!("wireproof: {reasons}");
    }
    Ok(status)
}

/// Writes the flows as a table; of translated addresses only where there are any.
fn table(out: &mut impl io::Write, flows: &[Flow]) -> io::Result<()> {
    let header =
        ["START", "CLIENT", "SERVER", "CLASS", "PROOF", "BECAUSE", "PROTOCOL", "TLS", "SNI", "TRANSLATED"];
    let others = other_sides(flows);
    let shown = if others.is_empty() { header.len().saturating_sub(1) } else { header.len() };
    let row = |flow: &Flow| {
        let evidence = flow.security.evidence();
        let tls = flow.tls();
        let protocol = flow.protocol.map(flow::Protocol::name).unwrap_or_default();
        let upgrade = flow.upgrade.map(|upgrade| format!("in {upgrade}")).unwrap_or_default();
        [
            flow.start.to_string(),
            flow.client.to_string(),
            flow.server.to_string(),
            flow.security.class().to_string(),
            evidence.proof.to_string(),
            evidence.reason.map(|reason| reason.to_string()).unwrap_or_default(),
            [protocol, &upgrade].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" "),
            tls.map(render::session).unwrap_or_default(),
            tls.and_then(|tls| tls.sni.clone()).unwrap_or_default(),
            others
                .get(&flow.id)
                .map(|other| format!("{} -> {}", other.client, other.server))
                .unwrap_or_default(),
        ]
    };
    write!(out, "{}", render::Columns { header, shown, rows: || flows.iter().map(row) })
}
