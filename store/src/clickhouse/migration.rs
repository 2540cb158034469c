//! What a database is like, and how an older one becomes a current one.

use std::time::Duration;

use clickhouse::Client;
use serde::Deserialize;

use super::address::Address;
use super::fault::told;
use super::schema::{DAY, Layout, STEPS, versions};
use crate::error::StoreError;

/// The oldest server that does all that the statements ask of it: it rebuilds projections when rows cancel out.
const OLDEST: (u32, u32) = (24, 8);

/// The newest version.
pub(super) fn known() -> i64 {
    i64::try_from(STEPS.len()).unwrap_or(i64::MAX)
}

/// What a database is like.
#[derive(Debug)]
pub(super) struct Found {
    /// The server's version.
    pub(super) server: String,
    /// The schema's version; absent where there is no store yet.
    pub(super) version: Option<i64>,
    /// Whether the flows are spread over a cluster.
    pub(super) layout: Layout,
    /// How long flows are kept; absent where all are.
    pub(super) keep: Option<Duration>,
    /// How long sums of days are kept; absent where none were asked for.
    pub(super) keep_edges: Option<Duration>,
}

#[derive(clickhouse::Row, Deserialize)]
struct Present {
    server: String,
    databases: u64,
    tables: u64,
    ours: u64,
    cluster: String,
    keep: u64,
    keep_edges: u64,
}

/// Looks without touching anything.
pub(super) async fn look(client: &Client, address: &Address) -> Result<Found, StoreError> {
    let place = address.to_string();
    let fault = |error| told(&place, &error);
    let present: Present = client
        .clone()
        .with_database("system")
        .query_raw(
            "SELECT version() AS server,
                ifNull((SELECT count() FROM system.databases WHERE name = {name:String}), 0) AS databases,
                countIf(database = {name:String}) AS tables,
                countIf(database = {name:String} AND name = 'wireproof_schema') AS ours,
                anyIf(extract(engine_full, 'Distributed\\\\(\\'([^\\']*)'), database = {name:String} AND name = 'flow') AS cluster,
                maxIf(toUInt64OrZero(extract(engine_full, 'TTL toStartOfDay\\\\(start\\\\) [+] toIntervalSecond\\\\(([0-9]+)\\\\)')),
                    database = {name:String} AND name IN ('flow', 'flow_part')) AS keep,
                maxIf(toUInt64OrZero(extract(engine_full, 'TTL toDateTime\\(day, \\'UTC\\'\\) [+] toIntervalSecond\\(([0-9]+)\\)')),
                    database = {name:String} AND name = 'edge') AS keep_edges
             FROM system.tables",
        )
        .param("name", address.database())
        .fetch_one()
        .await
        .map_err(fault)?;
    let mut parts = present.server.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
    if (parts.next().unwrap_or(0), parts.next().unwrap_or(0)) < OLDEST {
        return Err(StoreError::OldServer { place, found: present.server, oldest: "24.8" });
    }
    if present.ours == 0 && present.tables > 0 {
        return Err(StoreError::Foreign { place });
    }
    let version = if present.ours > 0 {
        let version: u32 =
            client.query("SELECT max(version) FROM wireproof_schema").fetch_one().await.map_err(fault)?;
        Some(i64::from(version))
    } else {
        None
    };
    if let Some(found) = version.filter(|found| *found > known()) {
        return Err(StoreError::NewerSchema { place, found, known: known() });
    }
    let layout = if present.cluster.is_empty() { Layout::Single } else { Layout::Cluster(present.cluster) };
    let missing = present.databases == 0;
    let [keep, keep_edges] = [present.keep, present.keep_edges]
        .map(|keep| Some(Duration::from_secs(keep.saturating_sub(DAY))).filter(|keep| !keep.is_zero()));
    Ok(Found { server: present.server, version: version.filter(|_| !missing), layout, keep, keep_edges })
}

/// Brings a database to `version`, made where it is not there. Several may do so at once.
pub(super) async fn migrate(
    client: &Client,
    address: &Address,
    found: &Found,
    layout: &Layout,
    version: i64,
) -> Result<(), StoreError> {
    let place = address.to_string();
    let fault = |error| told(&place, &error);
    let Some(taken) = found.version.map(|version| usize::try_from(version).unwrap_or(0)) else {
        let (database, on) = (address.database(), layout.on());
        client
            .clone()
            .with_database("system")
            .query(&format!("CREATE DATABASE IF NOT EXISTS `{database}`{on}"))
            .execute()
            .await
            .map_err(fault)?;
        client.query(&versions(layout)).execute().await.map_err(fault)?;
        let (server, layout_) = (String::new(), layout.clone());
        let empty = Found { server, version: Some(0), layout: layout_, keep: None, keep_edges: None };
        return Box::pin(migrate(client, address, &empty, layout, version)).await;
    };
    let wanted = usize::try_from(version).unwrap_or(0);
    for (step, number) in STEPS.iter().zip(1_u32..).skip(taken).take(wanted.saturating_sub(taken)) {
        for statement in step(layout) {
            client.query_raw(&statement).execute().await.map_err(fault)?;
        }
        client
            .query("INSERT INTO wireproof_schema (version) VALUES (?)")
            .bind(number)
            .execute()
            .await
            .map_err(fault)?;
    }
    Ok(())
}
