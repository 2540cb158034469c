//! `wireproof store`, and the place of a store.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::form::Output;
use super::value::word;

/// Where flows and findings are kept.
#[derive(Debug, Args)]
pub(crate) struct StorePlace {
    /// The store: a file, made if it does not exist, or clickhouse://USER@HOST:PORT/DATABASE (clickhouses:// for TLS)
    #[arg(long = "store", value_name = "PLACE", default_value = "wireproof.sqlite", env = "WIREPROOF_STORE")]
    pub(crate) place: String,
    /// A file whose first line is the password for ClickHouse; else the variable WIREPROOF_STORE_PASSWORD is read
    #[arg(long = "store-password-file", value_name = "FILE", env = "WIREPROOF_STORE_PASSWORD_FILE")]
    pub(crate) password_file: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum StoreCommand {
    /// Prints what the store runs on, its schema's version, and how much it holds
    Status(StoreStatus),
    /// Makes the store, or brings its schema up to date
    Migrate(StoreMigrate),
}

#[derive(Debug, Args)]
#[command(after_help = STATUS_EXAMPLES)]
pub(crate) struct StoreStatus {
    #[command(flatten)]
    pub(crate) store: StorePlace,
    /// How to print it
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    pub(crate) output: Output,
}

const STATUS_EXAMPLES: &str = "\
Examples:
  wireproof store status
  wireproof store status --store clickhouse://wireproof@clickhouse:8123/wireproof --store-password-file password -o json";

#[derive(Debug, Args)]
#[command(after_help = MIGRATE_EXAMPLES)]
pub(crate) struct StoreMigrate {
    #[command(flatten)]
    pub(crate) store: StorePlace,
    /// Make the ClickHouse tables for this cluster: replicated, and spread over its shards by the flows' destination
    #[arg(long, value_name = "NAME", value_parser = word)]
    pub(crate) cluster: Option<String>,
    /// Only print ClickHouse's statements, from nothing to the newest version
    #[arg(long)]
    pub(crate) print: bool,
    /// How to print what the store is like then
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    pub(crate) output: Output,
}

const MIGRATE_EXAMPLES: &str = "\
Examples:
  wireproof store migrate --store wireproof.sqlite
  wireproof store migrate --store clickhouse://wireproof@clickhouse:8123/wireproof --cluster prod --print";
