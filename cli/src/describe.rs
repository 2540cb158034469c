//! `wireproof describe`: what is in force at a workload, Service, namespace or Gateway, and who decided it.

use std::io::{self, Write};

use analyzer::describe::{Description, Mode, Place, Subject, describe};
use anyhow::anyhow;
use flow::Class;

use crate::args::{Describe, Form, Kind};
use crate::exit::{Fatal, Status};
use crate::input;
use crate::render::{self, Machine, Table};

impl From<Kind> for Subject {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Workload => Self::Workload,
            Kind::Service => Self::Service,
            Kind::Namespace => Self::Namespace,
            Kind::Gateway => Self::Gateway,
        }
    }
}

pub(crate) fn run(options: &Describe) -> Result<Status, Fatal> {
    let declared = input::mesh(&options.mesh)?;
    let status = declared.report_errors();
    let description = describe(&declared.mesh, options.kind.into(), &options.name)
        .map_err(|unclear| Fatal::usage(anyhow!("{unclear}")))?;
    let mut out = anstream::stdout().lock();
    match options.output {
        Form::Json => render::machine(&mut out, &description, Machine::Json)?,
        Form::Yaml => render::machine(&mut out, &description, Machine::Yaml)?,
        Form::Text => text(&mut out, &description)?,
    }
    Ok(status)
}

fn text(out: &mut impl Write, description: &Description) -> io::Result<()> {
    let declared = description.declared.as_ref().map_or_else(String::new, |place| format!("  {}", at(place)));
    writeln!(out, "{} {}{declared}", description.kind, description.name)?;
    if let Some(mode) = &description.mode {
        writeln!(out, "mode {} from {}", word(mode), from(mode))?;
    }
    if !description.pods.is_empty() {
        let mut table = Table::new(["POD", "ADDRESS", "PROXY", "SERVICE ACCOUNT"]);
        for pod in &description.pods {
            table.row([
                pod.name.clone(),
                pod.address.map(|ip| ip.to_string()).unwrap_or_default(),
                pod.proxy.to_string(),
                pod.service_account.clone().unwrap_or_default(),
            ]);
        }
        write!(out, "\n{table}")?;
    }
    if !description.ports.is_empty() {
        let mut table =
            Table::new(["PORT", "ON THE WIRE", "PROTOCOL", "MODE", "ACCEPTS", "PODS", "DECIDED BY"]);
        for port in &description.ports {
            table.row([
                port.service_port.map(|port| port.to_string()).unwrap_or_default(),
                port.port.to_string(),
                port.protocol.clone().unwrap_or_default(),
                word(&port.mode),
                classes(&port.accepts),
                format!("{} of {}", port.pods, description.pods.len()),
                from(&port.mode),
            ]);
        }
        write!(out, "\n{table}")?;
    }
    if !description.servers.is_empty() {
        let mut table = Table::new([
            "PORT",
            "ON THE WIRE",
            "PROTOCOL",
            "TLS",
            "CLIENT CERTIFICATE",
            "ACCEPTS",
            "LINE",
            "HOSTS",
        ]);
        for server in &description.servers {
            let wire: Vec<_> = server.listens_on.iter().map(u16::to_string).collect();
            let rejected = server.rejected.as_ref().map(|why| format!("rejected: {why}"));
            table.row([
                server.port.to_string(),
                wire.join(", "),
                server.protocol.clone(),
                server.tls_mode.clone().unwrap_or_default(),
                server.client_cert.clone(),
                rejected.unwrap_or_else(|| classes(&server.accepts)),
                server.line.to_string(),
                server.hosts.join(", "),
            ]);
        }
        write!(out, "\n{table}")?;
    }
    if !description.workloads.is_empty() {
        let mut table = Table::new(["WORKLOAD", "PODS", "PROXY", "MODE", "DECIDED BY"]);
        for workload in &description.workloads {
            let proxies: Vec<_> = workload.proxies.iter().map(|proxy| proxy.name()).collect();
            table.row([
                workload.name.clone(),
                workload.pods.to_string(),
                proxies.join(", "),
                workload.mode.map_or_else(|| "none".to_owned(), |mode| mode.to_string()),
                workload.from.clone(),
            ]);
        }
        write!(out, "\n{table}")?;
    }
    if !description.services.is_empty() {
        writeln!(out, "\nServices: {}", description.services.join(", "))?;
    }
    if !description.destination_rules.is_empty() {
        let mut table =
            Table::new(["DESTINATION RULE", "HOST", "PORTS", "CLIENTS SEND", "FOR CLIENTS IN", "PLACE"]);
        for rule in &description.destination_rules {
            table.row([
                rule.place.resource.clone(),
                rule.host.clone(),
                rule.ports.iter().map(u16::to_string).collect::<Vec<_>>().join(", "),
                rule.tls.map_or_else(|| "as auto mTLS decides".to_owned(), |tls| tls.to_string()),
                rule.acts_for.join(", "),
                at(&rule.place),
            ]);
        }
        write!(out, "\n{table}")?;
    }
    if !description.resources.is_empty() {
        writeln!(out, "\nWhat has a say:")?;
        for place in &description.resources {
            writeln!(out, "  {}  {}", place.resource, at(place))?;
        }
    }
    let findings = description.findings.len();
    let verb = if findings == 1 { "touches" } else { "touch" };
    writeln!(out, "\n{} {verb} it", render::counted(findings, "finding"))?;
    for finding in &description.findings {
        writeln!(
            out,
            "  {} {} {}: {}",
            render::severity(finding.severity),
            finding.id,
            render::place(finding.file.as_deref(), finding.line),
            finding.message
        )?;
    }
    Ok(())
}

fn word(mode: &Mode) -> String {
    mode.mode.map_or_else(|| "none".to_owned(), |mode| mode.to_string())
}

fn from(mode: &Mode) -> String {
    let place = render::place(mode.file.as_deref(), mode.line);
    if place.is_empty() { mode.from.clone() } else { format!("{} {place}", mode.from) }
}

fn at(place: &Place) -> String {
    render::place(Some(&place.file), Some(place.line))
}

fn classes(classes: &[Class]) -> String {
    if classes.is_empty() {
        return "nothing".to_owned();
    }
    classes.iter().map(|class| class.name()).collect::<Vec<_>>().join(", ")
}
