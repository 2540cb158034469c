//! `wireproof explain`: what the declarations imply for one connection.

use std::io::Write as _;

use analyzer::explain::{Question, explain};
use flow::Endpoint;

use crate::args::{Explain, Output};
use crate::exit::{Fatal, Status};
use crate::{input, render};

pub(crate) fn run(options: &Explain) -> Result<Status, Fatal> {
    let declared = input::mesh(&options.mesh)?;
    let status = declared.report_errors();
    let question = Question {
        from: options.from,
        to: Endpoint { ip: options.to.ip(), port: options.to.port() },
        sni: options.sni.clone(),
    };
    let answer = explain(&declared.mesh, &question);
    let mut out = anstream::stdout().lock();
    match options.output {
        Output::Json => {
            serde_json::to_writer_pretty(&mut out, &answer)?;
            writeln!(out)?;
        }
        Output::Text => {
            let expected = &answer.expected;
            let word = |text: Option<String>| text.unwrap_or_else(|| "nothing decides".to_owned());
            let classes = |classes: &[flow::Class]| {
                classes.iter().map(|class| class.name()).collect::<Vec<_>>().join(", ")
            };
            writeln!(out, "FROM     {} ({})", answer.client.name(), answer.client.kind)?;
            writeln!(
                out,
                "TO       {} port {} ({})",
                answer.server.name(),
                question.to.port,
                answer.server.kind
            )?;
            writeln!(
                out,
                "CLIENT   {} from {}: sends {}",
                word(expected.client_tls.map(|tls| tls.to_string())),
                expected.client_tls_from,
                classes(&expected.client_wire)
            )?;
            writeln!(
                out,
                "SERVER   {} from {}: accepts {}",
                word(expected.server_mode.map(|mode| mode.to_string())),
                expected.server_mode_from,
                classes(&expected.allowed)
            )?;
            if let Some(server) = &expected.gateway_server {
                writeln!(
                    out,
                    "GATEWAY  {} {} from {}: client certificate {}",
                    server.protocol,
                    server.tls_mode.as_deref().unwrap_or("without TLS"),
                    server.from,
                    server.client_cert
                )?;
            }
            writeln!(
                out,
                "VERDICT  {}",
                match expected.conflict {
                    Some(true) => "CONFLICT: the declared client cannot talk to the declared server",
                    Some(false) => "the declarations fit each other",
                    None => "depends on the application",
                }
            )?;
            writeln!(
                out,
                "\nWhy, in the order in which Istio decides:\n{}",
                render::ladder(&answer.because)
            )?;
            if !answer.lint.is_empty() {
                writeln!(
                    out,
                    "Findings that touch this flow: {} (wireproof lint says more)",
                    answer.lint.join(", ")
                )?;
            }
        }
    }
    Ok(status)
}
