//! `wireproof replay`: audits captures against declarations.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use analyzer::audit::{Auditor, Ledger};
use analyzer::report::{Audit, Certainty, Finding, Judged, Severity};
use analyzer::translation;
use flow::{Flow, Timestamp};

use crate::args::{Cluster, Declarations, MeshAt, Output, Replay};
use crate::exit::{self, Fatal, Status};
use crate::input;
use crate::render::{self, Machine};

pub(crate) fn run(options: &Replay) -> Result<Status, Fatal> {
    let declared = input::mesh(&options.mesh)?;
    let mut declared_status = declared.report_errors();
    let mut errors = declared.errors;
    let mut later = Vec::new();
    for (from, paths) in by_time(&options.mesh_at) {
        let declared = input::mesh(&Declarations { paths, cluster: Cluster::default() })?;
        declared_status = declared_status.worse(declared.report_errors());
        errors.extend(declared.errors);
        later.push((from, Arc::new(declared.mesh)));
    }
    let observed = input::captures(
        &options.captures.files,
        options.captures.limits(),
        usize::from(options.captures.threads),
    );
    let auditor = Auditor::with_history(Arc::new(declared.mesh), later);
    let mut ledger = Ledger::default();
    let mut flows: Vec<Judged> = observed.flows.iter().map(|flow| auditor.judge(flow)).collect();
    translation::join(&mut flows);
    for judged in &flows {
        ledger.add(judged);
    }
    let audit =
        Audit { summary: ledger.summary(), coverage: observed.coverage, findings: ledger.findings(), errors };
    exit::unless_closed(print(options.output, &observed.flows, &audit))?;
    if let Some(why) = judged_nothing(&audit) {
        anstream::eprintln!("wireproof: warning: {why}");
    }
    let covered = match (options.min_coverage, audit.coverage.ratio()) {
        _ if audit.summary.judged < options.min_judged => Status::Coverage,
        (Some(least), Some(seen)) if seen < least => Status::Coverage,
        // Nothing seen from its start is no coverage at all.
        (Some(least), None) if least > 0.0 => Status::Coverage,
        _ => Status::Clean,
    };
    let findings = options.fail_on.status(audit.findings.iter().map(|finding| finding.severity));
    Ok(findings.worse(covered).worse(declared_status).worse(observed.status))
}

fn print(form: Output, flows: &[Flow], audit: &Audit) -> Result<(), Fatal> {
    let mut out = anstream::stdout().lock();
    match form {
        Output::Json => render::machine(&mut out, audit, Machine::Json)?,
        Output::Text => {
            writeln!(out, "{}", render::totals(flows))?;
            writeln!(out, "{}", render::coverage(&audit.coverage))?;
            writeln!(out, "{}", judged(audit))?;
            if !audit.findings.is_empty() {
                writeln!(out)?;
                write!(out, "{}", table(&audit.findings))?;
                write!(out, "{}", causes(&audit.findings))?;
            }
        }
    }
    Ok(())
}

/// Several paths of one time are one mesh.
fn by_time(given: &[MeshAt]) -> BTreeMap<Timestamp, Vec<PathBuf>> {
    let mut times: BTreeMap<Timestamp, Vec<PathBuf>> = BTreeMap::new();
    for MeshAt { from, path } in given {
        times.entry(*from).or_default().push(path.clone());
    }
    times
}

fn judged(audit: &Audit) -> String {
    let counts = |counts: &BTreeMap<String, u64>| {
        counts.iter().map(|(name, count)| format!("{name} {count}")).collect::<Vec<_>>()
    };
    let mut outcomes = counts(&audit.summary.judgements);
    if !audit.summary.set_aside.is_empty() {
        outcomes.push(format!("(not judged: {})", counts(&audit.summary.set_aside).join(", ")));
    }
    let wrong = audit.findings.iter().filter(|finding| finding.severity > Severity::Info).count();
    let outcomes = if outcomes.is_empty() { "nothing".to_owned() } else { outcomes.join("   ") };
    match (judged_nothing(audit), wrong) {
        (Some(why), 0) => format!("JUDGED {outcomes}\n\n{why}"),
        (None, 0) => format!("JUDGED {outcomes}\n\nNothing breaks the declared policy in what was seen."),
        (_, _) => format!("JUDGED {outcomes}   findings {}", audit.findings.len()),
    }
}

/// Says why an audit without findings is no evidence, where it is none: it must not read like a clean result.
fn judged_nothing(audit: &Audit) -> Option<String> {
    if audit.summary.judged > 0 {
        return None;
    }
    let set_aside = &audit.summary.set_aside;
    let most = set_aside.iter().max_by_key(|(_, count)| **count).map(|(why, _)| why.as_str());
    Some(match most {
        _ if audit.coverage.flows == 0 => {
            "No flow with payload was captured: this says nothing about the mesh.".to_owned()
        }
        Some("unknown-destination") => {
            "No flow could be held against a declaration: this says nothing about the mesh. The declarations know none of most flows' \
             destinations: are they those of the cluster that was captured, pods, Services and EndpointSlices included?"
                .to_owned()
        }
        _ => "No flow could be held against a declaration: this says nothing about the mesh.".to_owned(),
    })
}

fn table(findings: &[Finding]) -> String {
    let mut table =
        render::Table::new(["SEVERITY", "ID", "FROM", "TO", "PORT", "SEEN", "PROOF", "FLOWS", "WHAT"]);
    for finding in findings {
        table.row([
            finding.severity.to_string(),
            finding.id.clone(),
            finding.client.name(),
            finding.server.name(),
            finding.port.to_string(),
            finding.class.to_string(),
            match finding.certainty {
                Certainty::Certain => finding.proof.to_string(),
                Certainty::Likely => format!("{} (likely)", finding.proof),
            },
            finding.flows.to_string(),
            finding.message.clone(),
        ]);
    }
    render::coloured(&table.to_string())
}

/// The findings' reasoning and remedies, each cause once: one DestinationRule that breaks many edges is one thing to
/// mend. What is only worth knowing needs none.
fn causes(findings: &[Finding]) -> String {
    let mut seen: Vec<(&str, Option<&str>, &Option<String>)> = Vec::new();
    let mut text = String::new();
    for finding in findings.iter().filter(|finding| finding.severity > Severity::Info) {
        let cause = (finding.id.as_str(), finding.cause.as_deref(), &finding.remedy.yaml);
        if seen.contains(&cause) {
            continue;
        }
        seen.push(cause);
        let by = finding.cause.as_ref().map(|cause| format!(", caused by {cause}")).unwrap_or_default();
        text.push_str(&format!(
            "\n{} {} {} -> {}:{}{by}\n",
            render::severity(finding.severity),
            finding.id,
            finding.client.name(),
            finding.server.name(),
            finding.port
        ));
        for line in render::ladder(&finding.because).lines() {
            text.push_str(&format!("  {line}\n"));
        }
        text.push_str(&render::remedy(&finding.remedy, "  "));
    }
    text
}
