//! `wireproof mesh`, and a cluster's declarations for every command that reads some.

use std::io::Write;

use analyzer::mesh::Manifest;
use anyhow::anyhow;
use cluster::{Access, MeshConfigs};
use serde_json::{Value, json};

use crate::args::MeshCommand;
use crate::exit::{Fatal, Status};
use crate::render::{self, Machine};

pub(crate) fn run(command: &MeshCommand) -> Result<Status, Fatal> {
    let MeshCommand::Dump(cluster) = command;
    let access = cluster
        .access()
        .ok_or_else(|| Fatal::usage(anyhow!("which cluster? Give --kubeconfig PATH or --in-cluster")))?;
    let objects: Vec<Value> =
        listed(&access, &cluster.configs())?.objects().map(|object| object.json.clone()).collect();
    dump(&objects, &mut anstream::stdout().lock())?;
    Ok(Status::Clean)
}

/// How many objects stand in one document of a dump: a cluster has more objects than a file may have documents.
const TOGETHER: usize = 500;

/// Writes objects as YAML that the other commands read, however many there are: as `List`s.
fn dump(objects: &[Value], out: &mut impl Write) -> Result<(), Fatal> {
    for items in objects.chunks(TOGETHER) {
        writeln!(out, "---")?;
        render::machine(out, &json!({"apiVersion": "v1", "kind": "List", "items": items}), Machine::Yaml)?;
    }
    Ok(())
}

/// Asks a cluster for every object that decides answers, once: one manifest each, as YAML.
///
/// # Errors
///
/// When the cluster does not tell all of it: answers by a part would be wrong.
pub(crate) fn manifests(access: &Access, configs: &MeshConfigs) -> Result<Vec<Manifest>, Fatal> {
    listed(access, configs)?
        .objects()
        .map(|object| {
            let mut text = Vec::new();
            render::machine(&mut text, &object.json, Machine::Yaml)?;
            let text = String::from_utf8(text).map_err(Fatal::environment)?;
            Ok(Manifest { file: object.file.clone(), text })
        })
        .collect()
}

fn listed(access: &Access, configs: &MeshConfigs) -> Result<cluster::Snapshot, Fatal> {
    tokio::runtime::Runtime::new()?.block_on(async {
        let server = cluster::connect(access).await.map_err(Fatal::input)?;
        cluster::list(&server, configs).await.map_err(Fatal::environment)
    })
}

#[cfg(test)]
mod tests {
    use analyzer::mesh::{FILE_DOCUMENTS, Mesh};

    use super::*;

    #[test]
    fn a_dump_reads_back_whole_however_many_objects_there_are() {
        let count = FILE_DOCUMENTS + 1;
        let objects: Vec<Value> = (0..count)
            .map(|number| {
                json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": format!("ns-{number}")}})
            })
            .collect();
        let mut out = Vec::new();
        dump(&objects, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        let (mesh, errors) = Mesh::load(vec![Manifest { file: "dump.yaml".into(), text }]);
        assert_eq!((mesh.namespaces.len(), errors), (count, Vec::new()));
    }
}
