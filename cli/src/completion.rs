//! Shell completion that knows the names of the mesh: the shell calls the program back, which reads the `--mesh` of the very
//! command line that is being typed.

use std::ffi::OsString;
use std::io::Write as _;
use std::path::PathBuf;

use analyzer::describe::{self, Subject};
use analyzer::lint::RULES;
use analyzer::mesh::Mesh;
use analyzer::names;
use anyhow::anyhow;
use clap::{CommandFactory as _, ValueEnum as _};
use clap_complete::engine::CompletionCandidate;
use clap_complete::env::{CompleteEnv, Shells};

use crate::args::{Arguments, Cluster, Declarations, Kind};
use crate::exit::{Fatal, Status};
use crate::input;

/// The variable by which a shell asks for completions.
const VARIABLE: &str = "COMPLETE";

/// Answers a shell that asks for completions, and ends the process then; does nothing otherwise.
pub(crate) fn answer() {
    CompleteEnv::with_factory(Arguments::command).var(VARIABLE).complete();
}

/// Prints what a shell has to run once so that it asks.
pub(crate) fn print(shell: clap_complete::Shell) -> Result<Status, Fatal> {
    let name = shell.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default();
    let shells = Shells::builtins();
    let completer =
        shells.completer(&name).ok_or_else(|| Fatal::usage(anyhow!("there is no completion for {name}")))?;
    let mut script = Vec::new();
    completer.write_registration(VARIABLE, "wireproof", "wireproof", "wireproof", &mut script)?;
    anstream::stdout().lock().write_all(&script)?;
    Ok(Status::Clean)
}

/// The names that `--from` and `--to` take.
pub(crate) fn ends() -> Vec<CompletionCandidate> {
    mesh()
        .map(|mesh| names::known(&mesh))
        .unwrap_or_default()
        .into_iter()
        .map(CompletionCandidate::new)
        .collect()
}

/// The names that `describe` takes after the kind that was typed.
pub(crate) fn subjects() -> Vec<CompletionCandidate> {
    let typed = typed();
    let mut kinds = typed.iter().filter_map(|word| Kind::from_str(word.to_str()?, true).ok());
    let (Some(kind), Some(mesh)) = (kinds.next(), mesh()) else { return Vec::new() };
    describe::known(&mesh, Subject::from(kind)).into_iter().map(CompletionCandidate::new).collect()
}

/// The namespaces of the mesh.
pub(crate) fn namespaces() -> Vec<CompletionCandidate> {
    known(Subject::Namespace)
}

/// The workloads of the mesh.
pub(crate) fn workloads() -> Vec<CompletionCandidate> {
    known(Subject::Workload)
}

fn known(subject: Subject) -> Vec<CompletionCandidate> {
    let names = mesh().map(|mesh| describe::known(&mesh, subject)).unwrap_or_default();
    names.into_iter().map(CompletionCandidate::new).collect()
}

/// The ids of the findings, each with its title.
pub(crate) fn ids() -> Vec<CompletionCandidate> {
    let mut rules: Vec<_> = RULES.iter().collect();
    rules.sort_by_key(|rule| rule.id);
    rules.into_iter().map(|rule| CompletionCandidate::new(rule.id).help(Some(rule.title.into()))).collect()
}

/// The command line that is being typed: the shell passes it behind `--`.
fn typed() -> Vec<OsString> {
    std::env::args_os().skip_while(|word| word != "--").skip(1).collect()
}

/// The mesh that the command line names so far. Standard input is the command's own, and is left alone.
fn mesh() -> Option<Mesh> {
    let typed = typed();
    let mut words = typed.iter();
    let mut paths = Vec::new();
    while let Some(word) = words.next() {
        let path = match word.to_str().and_then(|word| word.strip_prefix("--mesh=")) {
            Some(path) => PathBuf::from(path),
            None if word == "--mesh" => PathBuf::from(words.next()?),
            None => continue,
        };
        if path.as_os_str() != "-" {
            paths.push(path);
        }
    }
    if paths.is_empty() {
        return None;
    }
    // What cannot be read is told when the command runs, not while it is typed.
    input::mesh(&Declarations { paths, cluster: Cluster::default() }).ok().map(|declared| declared.mesh)
}
