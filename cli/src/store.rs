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
                    return Err(Fatal::usage(anyhow!("--cluster is for a store in ClickHouse")));
                } else {
                    Embedded::open(&options.store.place).map_err(Fatal::environment)?;
                }
                show(&status(&options.store).await?, options.output)?;
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
    // SQLite takes these for a database that ends with the program, and others for settings.
    if place.place.is_empty() || place.place.starts_with(':') || place.place.starts_with("file:") {
        let said = anyhow!("--store '{}' is neither the name of a file nor clickhouse://...", place.place);
        return Err(Fatal::usage(said));
    }
    if !Address::is_meant(&place.place) {
        return Ok(None);
    }
    let address = Address::parse(&place.place).map_err(Fatal::usage)?;
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
            let schema = match status.version {
                None => "none yet: `wireproof store migrate` makes it".to_owned(),
                Some(version) if version == status.known => format!("{version}, the newest"),
                Some(version) => {
                    format!("{version}: `wireproof store migrate` brings it to {}", status.known)
                }
            };
            anstream::println!("engine   {}", status.engine);
            anstream::println!("schema   {schema}");
            anstream::println!("flows    {}", status.flows);
            if let (Some(first), Some(last)) = (status.span.first, status.span.last) {
                anstream::println!("from     {first}");
                anstream::println!("to       {last}");
            }
            anstream::println!("size     {}", size(status.bytes));
            if let Some(keep) = status.keep {
                anstream::println!("keeps    {} h, then the server drops whole days", keep.as_secs() / 3600);
            }
            if let Some(keep) = status.keep_edges {
                anstream::println!("         {} h of edges", keep.as_secs() / 3600);
            }
        }
        Output::Json => {
            let form = serde_json::json!({
                "engine": status.engine, "schema": status.version, "known": status.known,
                "flows": status.flows, "first": status.span.first, "last": status.span.last,
                "bytes": status.bytes, "keep_seconds": status.keep.map(|keep| keep.as_secs()),
                "keep_edges_seconds": status.keep_edges.map(|keep| keep.as_secs()),
            });
            anstream::println!("{}", serde_json::to_string(&form)?);
        }
    }
    Ok(())
}

/// Writes a number of bytes for people.
fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if bytes < 1024 {
        return format!("{bytes} bytes");
    }
    let mut size = bytes as f64 / 1024.0;
    let mut unit = 0;
    while size >= 1024.0 && unit + 1 < UNITS.len() {
        size /= 1024.0;
        unit += 1;
    }
    format!("{size:.1} {}", UNITS.get(unit).copied().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_has_a_fitting_unit() {
        let told = [0, 1023, 1024, 1_610_612_736, u64::MAX].map(size);
        assert_eq!(told, ["0 bytes", "1023 bytes", "1.0 KiB", "1.5 GiB", "16777216.0 TiB"]);
    }
}
