//! `wireproof store`, and the opening of a store wherever it is.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, anyhow};
use store::clickhouse::{Address, Clickhouse, Layout, PATIENCE, statements};
use store::embedded::Embedded;
use store::{Status as StoreStatus, Store};

use crate::args::{Output, StoreCommand, StorePlace};
use crate::exit::{Fatal, Status};

/// The variable that holds ClickHouse's password where no file does.
const PASSWORD: &str = "WIREPROOF_STORE_PASSWORD";

pub(crate) fn run(command: &StoreCommand) -> Result<Status, Fatal> {
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(async {
        match command {
            StoreCommand::Status(options) => {
                let status = status(&options.store).await?;
                show(&status, options.output)?;
                if status.version == Some(status.known) { Ok(Status::Clean) } else { Ok(Status::Findings) }
            }
            StoreCommand::Migrate(options) => {
                let layout = options.cluster.clone().map_or(Layout::Single, Layout::Cluster);
                if options.print {
                    for statement in statements(&layout) {
                        anstream::println!("{statement};\n");
                    }
                    return Ok(Status::Clean);
                }
                if let Some(address) = address(&options.store)? {
                    Clickhouse::migrate(address, PATIENCE, layout).await.map_err(Fatal::environment)?;
                } else if options.cluster.is_some() {
                    return Err(Fatal::input(anyhow!("--cluster is for a store in ClickHouse")));
                } else {
                    Embedded::open(&options.store.place).map_err(Fatal::environment)?;
                }
                show(&status(&options.store).await?, Output::Text)?;
                Ok(Status::Clean)
            }
        }
    })
}

/// Opens a store, makes it when it is not there, and brings an older one up to date.
pub(crate) async fn open(place: &StorePlace) -> Result<Arc<dyn Store>, Fatal> {
    Ok(match address(place)? {
        Some(address) => Arc::new(Clickhouse::open(address, PATIENCE).await.map_err(Fatal::environment)?),
        None => Arc::new(Embedded::open(&place.place).map_err(Fatal::environment)?),
    })
}

async fn status(place: &StorePlace) -> Result<StoreStatus, Fatal> {
    match address(place)? {
        Some(address) => Clickhouse::status(&address, PATIENCE).await,
        None => Embedded::status(&place.place),
    }
    .map_err(Fatal::environment)
}

/// Returns the server's address with its password; absent when the store is a file.
fn address(place: &StorePlace) -> Result<Option<Address>, Fatal> {
    if !Address::is_meant(&place.place) {
        return Ok(None);
    }
    let address = Address::parse(&place.place).map_err(Fatal::input)?;
    if let Some(file) = place.password_file.as_deref() {
        let named = || format!("{}: cannot be read", Path::display(file));
        return Ok(Some(address.with_password_file(file).with_context(named).map_err(Fatal::input)?));
    }
    Ok(Some(match std::env::var(PASSWORD) {
        Ok(password) => address.with_password(password),
        Err(_) => address,
    }))
}

fn show(status: &StoreStatus, output: Output) -> Result<(), Fatal> {
    match output {
        Output::Text => {
            let version = status.version.map_or_else(|| "none".to_owned(), |version| version.to_string());
            anstream::println!("engine   {}", status.engine);
            anstream::println!("schema   {version} (this wireproof knows up to {})", status.known);
            anstream::println!("flows    {}", status.flows);
            anstream::println!("bytes    {}", status.bytes);
        }
        Output::Json => {
            let form = serde_json::json!({
                "engine": status.engine, "schema": status.version, "known": status.known,
                "flows": status.flows, "bytes": status.bytes,
            });
            anstream::println!("{}", serde_json::to_string(&form)?);
        }
    }
    Ok(())
}
