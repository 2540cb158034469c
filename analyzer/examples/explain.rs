//! Explains one connection: `explain FILE FROM TO:PORT [SNI]`, as JSON.

use analyzer::explain::{Question, explain};
use analyzer::mesh::{Manifest, Mesh};
use flow::Endpoint;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [file, from, to, rest @ ..] = arguments.as_slice() else {
        return Err("usage: explain FILE FROM TO:PORT [SNI]".into());
    };
    let text = std::fs::read_to_string(file)?;
    let (mesh, errors) = Mesh::load(vec![Manifest { file: file.clone(), text }]);
    let to: std::net::SocketAddr = to.parse()?;
    let question = Question {
        from: from.parse()?,
        to: Endpoint { ip: to.ip(), port: to.port() },
        sni: rest.first().cloned(),
    };
    use std::io::Write as _;
    let mut out = std::io::stdout().lock();
    serde_json::to_writer_pretty(&mut out, &explain(&mesh, &question))?;
    writeln!(out)?;
    for error in errors {
        writeln!(std::io::stderr(), "{}:{:?}: {}", error.file, error.line, error.message)?;
    }
    Ok(())
}
