//! `wireproof explain`: what the declarations imply for one connection, between addresses or names.

use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr};

use analyzer::explain::{Answer, Explanation, Question, ask, explain};
use analyzer::lint::lint;
use analyzer::mesh::Mesh;
use analyzer::report::{Citation, LintFinding};
use anyhow::anyhow;
use flow::{Class, Endpoint};

use crate::args::{Explain, Form};
use crate::exit::{Fatal, Status};
use crate::render::Machine;
use crate::{input, render};

pub(crate) fn run(options: &Explain) -> Result<Status, Fatal> {
    let declared = input::mesh(&options.mesh)?;
    let status = declared.report_errors();
    let mesh = &declared.mesh;
    let mut out = anstream::stdout().lock();
    if let Some(question) = between_addresses(options) {
        let answer = explain(mesh, &question);
        match options.output {
            Form::Json => render::machine(&mut out, &answer, Machine::Json)?,
            Form::Yaml => render::machine(&mut out, &answer, Machine::Yaml)?,
            Form::Text => {
                let port = question.to.port;
                write!(out, "{}", text(&answer, port, port, &fixes(mesh, [&answer])))?;
            }
        }
        return Ok(status);
    }
    let answer = ask(mesh, &options.from, &options.to, options.port, options.sni.as_deref())
        .map_err(|unclear| Fatal::usage(anyhow!("{unclear}")))?;
    match options.output {
        Form::Json => render::machine(&mut out, &answer, Machine::Json)?,
        Form::Yaml => render::machine(&mut out, &answer, Machine::Yaml)?,
        Form::Text => named(&mut out, mesh, &answer)?,
    }
    Ok(status)
}

/// The question where both ends are addresses: its JSON is one object without outcomes.
fn between_addresses(options: &Explain) -> Option<Question> {
    let from: IpAddr = options.from.parse().ok()?;
    let to: SocketAddr = options.to.parse().ok()?;
    options.port.is_none_or(|port| port == to.port()).then(|| Question {
        from,
        to: Endpoint { ip: to.ip(), port: to.port() },
        sni: options.sni.clone(),
    })
}

fn named(out: &mut impl Write, mesh: &Mesh, answer: &Answer) -> io::Result<()> {
    for note in &answer.notes {
        writeln!(out, "Note: {note}")?;
    }
    let fixes = fixes(mesh, answer.outcomes.iter().map(|outcome| &outcome.explanation));
    if let [only] = answer.outcomes.as_slice() {
        return write!(out, "{}", text(&only.explanation, answer.port, only.wire_port, &fixes));
    }
    writeln!(
        out,
        "{} different answers from {} to {} port {}:\n",
        answer.outcomes.len(),
        answer.from,
        answer.to,
        answer.port
    )?;
    for outcome in &answer.outcomes {
        let side = |pods: &[String], all: usize, name: &str| {
            let listed = pods.iter().take(4).map(String::as_str).collect::<Vec<_>>().join(", ");
            let more = pods.len().saturating_sub(4);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            format!("{} of {all} pods of {name}: {listed}{more}", pods.len())
        };
        if outcome.client_pods.len() < answer.clients {
            writeln!(out, "== from {}", side(&outcome.client_pods, answer.clients, &answer.from))?;
        }
        if outcome.server_pods.len() < answer.servers {
            writeln!(out, "== to {}", side(&outcome.server_pods, answer.servers, &answer.to))?;
        }
        writeln!(out, "{}", text(&outcome.explanation, answer.port, outcome.wire_port, &fixes))?;
    }
    Ok(())
}

/// The findings with a remedy that touch what is explained.
fn fixes<'a>(mesh: &Mesh, answers: impl IntoIterator<Item = &'a Explanation>) -> Vec<LintFinding> {
    let answers: Vec<_> = answers.into_iter().filter(|answer| !answer.lint.is_empty()).collect();
    if answers.is_empty() {
        return Vec::new();
    }
    let touches = |finding: &LintFinding| {
        answers.iter().any(|answer| {
            answer.lint.contains(&finding.id)
                && answer.because.iter().any(|step| step.resource == finding.resource)
        })
    };
    lint(mesh).into_iter().filter(touches).collect()
}

fn text(answer: &Explanation, port: u16, wire_port: u16, fixes: &[LintFinding]) -> String {
    let expected = &answer.expected;
    let (client, server) =
        answer.because.split_at_checked(answer.client_steps).unwrap_or((&answer.because, &[]));
    let client_decides = deciding(client, &expected.client_tls_from);
    let server_from = expected.gateway_server.as_ref().map_or(&expected.server_mode_from, |one| &one.from);
    let server_decides = deciding(server, server_from);
    const NOTHING: &str = "nothing decides";
    let routed = client.iter().any(|step| step.rule == "destination-rule.routed-subsets");
    let undecided = if routed { "each request decides" } else { NOTHING };
    let client_step = client_decides.and_then(|index| client.get(index));
    let server_step = server_decides.and_then(|index| server.get(index));
    // Where the application decides what it sends, the server does what of it is taken.
    let declared = client_step.filter(|step| step.rule != "client.application-decides");
    let mut lines = vec![headline(answer, declared.or(server_step).or(client_step))];
    lines.push(format!("FROM     {} ({})", answer.client.name(), answer.client.kind));
    let wire = if wire_port == port { String::new() } else { format!(", {wire_port} on the wire") };
    lines.push(format!("TO       {} port {port}{wire} ({})", answer.server.name(), answer.server.kind));
    lines.push(format!(
        "CLIENT   {} from {}: sends {}",
        expected.client_tls.map_or_else(|| undecided.to_owned(), |tls| tls.to_string()),
        expected.client_tls_from,
        classes(&expected.client_wire)
    ));
    lines.push(format!(
        "SERVER   {} from {}: accepts {}",
        expected.server_mode.map_or_else(|| NOTHING.to_owned(), |mode| mode.to_string()),
        expected.server_mode_from,
        classes(&expected.allowed)
    ));
    if let Some(server) = &expected.gateway_server {
        lines.push(format!(
            "GATEWAY  {} {} from {}: client certificate {}",
            server.protocol,
            server.tls_mode.as_deref().unwrap_or("without TLS"),
            server.from,
            server.client_cert
        ));
    }
    if let Some(protocol) = &expected.protocol {
        lines.push(format!("PROTOCOL {protocol}"));
    }
    lines.push(format!(
        "VERDICT  {}",
        match expected.conflict {
            Some(true) => "CONFLICT: the declared client cannot talk to the declared server",
            Some(false) if undeclared(answer) =>
                "nothing that is declared has a say: the application at each end decides",
            Some(false) => "the declarations fit each other",
            None => "depends on the application",
        }
    ));
    lines.push("\nWhy, in the order in which Istio decides:".to_owned());
    let steps = render::steps(&[("client", client, client_decides), ("server", server, server_decides)]);
    lines.push(steps.trim_end().to_owned());
    let mine = fixes.iter().filter(|fix| {
        answer.lint.contains(&fix.id) && answer.because.iter().any(|step| step.resource == fix.resource)
    });
    // One change may mend several findings.
    let mut changes: Vec<&LintFinding> = Vec::new();
    for fix in mine {
        let same = |said: &&LintFinding| {
            (&said.remedy, &said.resource, &said.yaml) == (&fix.remedy, &fix.resource, &fix.yaml)
        };
        if !changes.iter().any(same) {
            changes.push(fix);
        }
    }
    if !answer.lint.is_empty() {
        lines.push(format!(
            "\nFindings that touch this connection: {} (wireproof lint --explain ID says more)",
            answer.lint.join(", ")
        ));
    }
    for fix in changes {
        let place = render::place(fix.file.as_deref(), fix.line);
        lines.push(format!(
            "Fix: {} ({}{})",
            fix.remedy,
            fix.resource,
            if place.is_empty() { String::new() } else { format!(", {place}") }
        ));
        lines.extend(fix.yaml.iter().flat_map(|yaml| yaml.lines()).map(|line| format!("  {line}")));
    }
    let mut text = lines.join("\n");
    text.push('\n');
    text
}

/// The step that supplied a side's answer: the last one of the resource that it is from.
fn deciding(steps: &[Citation], from: &str) -> Option<usize> {
    steps
        .iter()
        .rposition(|step| step.resource == from)
        .or_else(|| steps.iter().rposition(|step| step.rule.starts_with(from)))
        // Where no resource decides, the last step says who does.
        .or_else(|| steps.len().checked_sub(1))
}

/// Whether no declaration decides at either end.
fn undeclared(answer: &Explanation) -> bool {
    let expected = &answer.expected;
    expected.client_tls.is_none()
        && expected.server_mode.is_none()
        && expected.gateway_server.is_none()
        && (expected.client_tls_from == "default" && expected.server_mode_from == "default")
}

/// What will be on the wire, and what makes it so.
fn headline(answer: &Explanation, decides: Option<&Citation>) -> String {
    let expected = &answer.expected;
    let both: Vec<Class> =
        expected.client_wire.iter().copied().filter(|class| expected.allowed.contains(class)).collect();
    let wire = match both.as_slice() {
        _ if expected.conflict == Some(true) => "CONFLICT".to_owned(),
        [] if expected.client_wire.is_empty() => "NOTHING".to_owned(),
        [] => classes(&expected.client_wire).to_uppercase(),
        both => {
            let fits = both.iter().map(|class| class.name().to_uppercase()).collect::<Vec<_>>().join(" or ");
            // What the application sends else, it sends in vain.
            let refused = both.len() < expected.client_wire.len();
            if refused { format!("{fits}, else refused,") } else { fits }
        }
    };
    let Some(step) = decides else { return wire };
    let place = render::place(step.file.as_deref(), step.line);
    let place = if place.is_empty() { String::new() } else { format!(" ({place})") };
    let field = step.field.as_deref().map_or_else(String::new, |field| format!(" {field}:"));
    let source = if step.resource == "default" { &*step.rule } else { step.resource.as_str() };
    format!("{wire} because {source}{place}:{field} {}", step.effect)
}

fn classes(classes: &[Class]) -> String {
    if classes.is_empty() {
        return "nothing".to_owned();
    }
    classes.iter().map(|class| class.name()).collect::<Vec<_>>().join(", ")
}
