//! `wireproof mesh`, and a cluster's declarations for every command that reads some.

use std::io::Write as _;

use analyzer::mesh::Manifest;
use anyhow::anyhow;
use cluster::{Access, MeshConfigs};

use crate::args::MeshCommand;
use crate::exit::{Fatal, Status};
use crate::render::{self, Machine};

pub(crate) fn run(command: &MeshCommand) -> Result<Status, Fatal> {
    let MeshCommand::Dump(cluster) = command;
    let access = cluster
        .access()
        .ok_or_else(|| Fatal::usage(anyhow!("which cluster? Give --kubeconfig PATH or --in-cluster")))?;
    let mut out = anstream::stdout().lock();
    for manifest in manifests(&access, &cluster.configs())? {
        writeln!(out, "---\n{}", manifest.text.trim_end())?;
    }
    Ok(Status::Clean)
}

/// Asks a cluster for every object that decides answers, once: one manifest each, as YAML.
///
/// # Errors
///
/// When the cluster does not tell all of it: answers by a part would be wrong.
pub(crate) fn manifests(access: &Access, configs: &MeshConfigs) -> Result<Vec<Manifest>, Fatal> {
    let runtime = tokio::runtime::Runtime::new()?;
    let listed = runtime.block_on(async {
        let client = cluster::connect(access).await.map_err(Fatal::input)?;
        cluster::list(&client, configs).await.map_err(Fatal::environment)
    })?;
    listed
        .objects()
        .map(|object| {
            let mut text = Vec::new();
            render::machine(&mut text, &object.json, Machine::Yaml)?;
            let text = String::from_utf8(text).map_err(Fatal::environment)?;
            Ok(Manifest { file: object.file.clone(), text })
        })
        .collect()
}
