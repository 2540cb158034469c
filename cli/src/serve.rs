//! `wireproof serve`: audits captures into a store, then serves the API and the dashboard.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use analyzer::audit::Auditor;
use anyhow::{Context as _, anyhow};
use capture::engine::Limits;

use crate::args::Serve;
use crate::exit::{Fatal, Status};
use crate::input;

pub(crate) fn run(options: &Serve) -> Result<Status, Fatal> {
    Err(Fatal::environment(anyhow!("not yet")))
}
