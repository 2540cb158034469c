//! `wireproof flows`: what every flow is, and how that is known.

use std::io::{BufWriter, Write as _};

use capture::engine::Limits;
use flow::Flow;

use crate::args::{Flows, FlowsOutput};
use crate::exit::{Fatal, Status};
use crate::{input, render};

pub(crate) fn run(options: &Flows) -> Result<Status, Fatal> {
    let limits = Limits { report_empty: options.all, ..Limits::default() };
    let observed = input::captures(&options.captures.files, limits);
    match options.output {
        FlowsOutput::Ndjson => {
            let mut out = BufWriter::new(std::io::stdout().lock());
            for flow in &observed.flows {
                serde_json::to_writer(&mut out, flow)?;
                out.write_all(b"\n")?;
            }
            out.flush()?;
        }
        FlowsOutput::Table => {
            let mut out = anstream::stdout().lock();
            if !observed.flows.is_empty() {
                write!(out, "{}", table(&observed.flows))?;
            }
            writeln!(out, "{}", render::totals(&observed.flows))?;
            writeln!(out, "{}", render::coverage(&observed.coverage))?;
        }
    }
    Ok(observed.status)
}

fn table(flows: &[Flow]) -> String {
    let mut table = render::Table::new(&[
        "START", "CLIENT", "SERVER", "CLASS", "PROOF", "BECAUSE", "PROTOCOL", "TLS", "SNI",
    ]);
    for flow in flows {
        let evidence = flow.security.evidence();
        let tls = flow.tls();
        let protocol = flow.protocol.map(flow::Protocol::name).unwrap_or_default();
        let upgrade = flow.upgrade.map(|upgrade| format!("in {upgrade}")).unwrap_or_default();
        table.row([
            flow.start.to_string(),
            flow.client.to_string(),
            flow.server.to_string(),
            flow.security.class().to_string(),
            evidence.proof.to_string(),
            evidence.reason.map(|reason| reason.to_string()).unwrap_or_default(),
            [protocol, &upgrade].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" "),
            tls.map(render::session).unwrap_or_default(),
            tls.and_then(|tls| tls.sni.clone()).unwrap_or_default(),
        ]);
    }
    table.to_string()
}
