//! ClickHouse as a store: for the raw history of a fleet, and for several collectors that record into one place.
//!
//! What is kept is the same as in the embedded store; how, the module `schema` says. A batch is one insert, and recording it
//! again changes nothing, so what failed half-way is simply recorded again: [`Store::record`] does so by itself while
//! the server is away, within its patience.

mod address;
mod edge;
mod fault;
mod filter;
mod migration;
mod read;
mod rows;
mod schema;
mod write;

use std::future::Future;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

use analyzer::mesh::Manifest;
use analyzer::report::{Finding, Judged};
use clickhouse::{Client, Row};
use flow::{FlowId, Timestamp};
use serde::Deserialize;

pub use self::address::Address;
use self::edge::Late;
use self::filter::Asked;
use self::rows::MeshRow;
pub use self::schema::{Layout, statements};
use self::write::Sent;
use crate::answer::{
    Edge, MatrixCell, MeshSnapshot, MeshVersion, Page, Sources, Span, Tally, TimelineBucket, Totals,
};
use crate::error::StoreError;
use crate::query::{Paging, Query};
use crate::shape::Names;
use crate::sightings::{Contested, Sightings, Sought};
use crate::{Batch, Status, Store};

/// How long an answer may take, and how long a batch is tried for while the server is away.
pub const PATIENCE: Duration = Duration::from_secs(25);

/// How long a statement may be, in bytes: one that names the shapes of 200,000 flows has 8 MB.
const LONGEST: usize = 16 * 1024 * 1024;

/// A store in a ClickHouse database.
#[derive(Clone)]
pub struct Clickhouse {
    base: Arc<Base>,
}

struct Base {
    address: Address,
    layout: Layout,
    client: Client,
    patience: Duration,
    names: Names,
    sent: std::sync::Mutex<Sent>,
    /// By what rows say who wrote them: a number drawn by lot. 0 while it is not known how an insert ended: it may yet be written, beside the
    /// one that says the same again, so the next one goes by another number.
    writer: AtomicU32,
    /// By what this program knows what it left itself: drawn by lot.
    name: u64,
    late: Late,
    /// Whoever holds it makes a batch ready, and waits for its turn.
    ready: tokio::sync::Mutex<()>,
    /// Whoever holds it writes.
    turn: tokio::sync::Mutex<()>,
}

impl std::fmt::Debug for Clickhouse {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Clickhouse({})", self.base.address)
    }
}

impl Clickhouse {
    /// Opens the store, makes it when it is not there, and brings an older one up to date.
    ///
    /// # Errors
    ///
    /// When the server does not answer within `patience` or refuses, or when the database is another program's, or was
    /// written by a later version.
    pub async fn open(address: Address, patience: Duration) -> Result<Self, StoreError> {
        Self::prepare(address, patience, None, migration::known()).await
    }

    /// Opens the store and brings it up to date in this layout; one that is there keeps the layout it has.
    ///
    /// # Errors
    ///
    /// Those of [`Clickhouse::open`].
    pub async fn migrate(address: Address, patience: Duration, layout: Layout) -> Result<Self, StoreError> {
        Self::prepare(address, patience, Some(layout), migration::known()).await
    }

    async fn prepare(
        address: Address,
        patience: Duration,
        layout: Option<Layout>,
        version: i64,
    ) -> Result<Self, StoreError> {
        let client = client(&address, patience);
        let place = address.to_string();
        let layout = within(patience, &place, async {
            let found = migration::look(&client, &address).await?;
            let layout = match layout {
                Some(layout) if found.version.is_none() => layout,
                Some(_) | None => found.layout.clone(),
            };
            if found.version.is_none_or(|found| found < version) {
                migration::migrate(&client, &address, &found, &layout, version).await?;
            }
            Ok(layout)
        })
        .await?;
        let base = Base {
            address,
            layout,
            client,
            patience,
            names: Names::default(),
            sent: std::sync::Mutex::default(),
            writer: AtomicU32::default(),
            name: RandomState::new().hash_one(()),
            late: Late::default(),
            ready: tokio::sync::Mutex::default(),
            turn: tokio::sync::Mutex::default(),
        };
        Ok(Self { base: Arc::new(base) })
    }

    /// Looks at a store without changing it.
    ///
    /// # Errors
    ///
    /// Those of [`Clickhouse::open`].
    pub async fn status(address: &Address, patience: Duration) -> Result<Status, StoreError> {
        #[derive(Row, Deserialize)]
        struct Size {
            flows: u64,
            first: i64,
            last: i64,
            bytes: u64,
        }
        let client = client(address, patience);
        let place = address.to_string();
        within(patience, &place, async {
            let found = migration::look(&client, address).await?;
            let mut status = Status {
                engine: format!("ClickHouse {}", found.server),
                version: found.version,
                known: migration::known(),
                flows: 0,
                span: Span::default(),
                bytes: 0,
                keep: found.keep,
                keep_edges: found.keep_edges,
            };
            if found.version.is_some_and(|version| version > 0) {
                let size: Size = client
                    .query(&format!(
                        "SELECT toUInt64(sum(flows)) AS flows, min(first) AS first, max(last) AS last,
                            ifNull((SELECT sum(total_bytes) FROM system.tables WHERE database = currentDatabase()), 0) AS bytes
                         FROM {}",
                        filter::flows_counted()
                    ))
                    .fetch_one()
                    .await
                    .map_err(|error| fault::told(&place, &error))?;
                (status.flows, status.bytes) = (size.flows, size.bytes);
                if size.flows > 0 {
                    let [first, last] = [size.first, size.last].map(|at| Some(Timestamp::from_nanos(at)));
                    status.span = Span { first, last };
                }
            }
            Ok(status)
        })
        .await
    }

    async fn ask<T>(&self, sql: &str, asked: &Asked) -> Result<Vec<T>, StoreError>
    where
        T: clickhouse::RowOwned + clickhouse::RowRead,
    {
        let base = &self.base;
        let place = base.address.to_string();
        within(base.patience, &place, async {
            let statement = asked.give(base.client.query_raw(sql));
            statement.fetch_all().await.map_err(|error| fault::told(&place, &error))
        })
        .await
    }

    async fn run(&self, sql: &str, asked: &Asked) -> Result<(), StoreError> {
        let base = &self.base;
        let place = base.address.to_string();
        within(base.patience, &place, async {
            let statement = asked.give(base.client.query_raw(sql));
            statement.execute().await.map_err(|error| fault::told(&place, &error))
        })
        .await
    }

    async fn mesh_where(&self, sql: &str, asked: &Asked) -> Result<Option<MeshSnapshot>, StoreError> {
        let Some(row) = self.ask::<MeshRow>(sql, asked).await?.pop() else { return Ok(None) };
        let manifests: Vec<(String, String)> = serde_json::from_str(&row.manifests)?;
        let manifests = manifests.into_iter().map(|(file, text)| Manifest { file, text }).collect();
        let version = MeshVersion { id: row.id, taken_at: Timestamp::from_nanos(row.taken_at) };
        Ok(Some(MeshSnapshot { version, manifests }))
    }
}

fn client(address: &Address, patience: Duration) -> Client {
    address
        .client()
        // An error after the first rows would otherwise come inside an answer that began well.
        .with_setting("wait_end_of_query", "1")
        .with_setting("max_execution_time", patience.as_secs().max(1).to_string())
        .with_setting("async_insert", "0")
        // Statements that name many flows or shapes are long.
        .with_setting("max_query_size", LONGEST.to_string())
}

async fn within<T>(
    patience: Duration,
    place: &str,
    work: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    let slow = || StoreError::Slow { place: place.to_owned(), seconds: patience.as_secs() };
    tokio::time::timeout(patience, work).await.map_err(|_| slow())?
}

fn nothing() -> Asked {
    Asked::new(&Query::default())
}

#[async_trait::async_trait]
impl Store for Clickhouse {
    async fn record(&self, batch: Batch) -> Result<(), StoreError> {
        self.write(batch).await
    }

    async fn flows(&self, query: &Query, paging: &Paging) -> Result<Page<Judged>, StoreError> {
        self.page_of_flows(query, paging).await
    }

    async fn flow(&self, id: FlowId) -> Result<Option<Judged>, StoreError> {
        self.one_flow(id).await
    }

    async fn sightings(&self, sought: &[Sought]) -> Result<Vec<Judged>, StoreError> {
        self.all_sightings(&Sightings::of(sought)).await
    }

    async fn contested(&self, within: Duration) -> Result<Option<Vec<Contested>>, StoreError> {
        self.all_contested(within).await
    }

    async fn edges(&self, query: &Query, paging: &Paging) -> Result<Page<Edge>, StoreError> {
        self.page_of_edges(query, paging).await
    }

    async fn violations(&self, query: &Query, paging: &Paging) -> Result<Page<Finding>, StoreError> {
        self.page_of_findings(query, paging).await
    }

    async fn violation(&self, key: &str) -> Result<Option<Finding>, StoreError> {
        self.one_finding(key).await
    }

    async fn violations_summary(&self, query: &Query) -> Result<Vec<Tally>, StoreError> {
        self.tallies(query).await
    }

    async fn matrix(&self, query: &Query) -> Result<Vec<MatrixCell>, StoreError> {
        self.cells(query).await
    }

    async fn totals(&self, query: &Query) -> Result<Totals, StoreError> {
        self.all_totals(query).await
    }

    async fn timeline(&self, query: &Query, buckets: u32) -> Result<Vec<TimelineBucket>, StoreError> {
        self.steps(query, buckets).await
    }

    async fn coverage(&self) -> Result<Sources, StoreError> {
        self.covered().await
    }

    async fn put_mesh(&self, snapshot: &MeshSnapshot) -> Result<(), StoreError> {
        let MeshVersion { id, taken_at } = &snapshot.version;
        let manifests: Vec<(&str, &str)> =
            snapshot.manifests.iter().map(|file| (file.file.as_str(), file.text.as_str())).collect();
        let row = MeshRow {
            id: id.clone(),
            taken_at: taken_at.as_nanos(),
            manifests: serde_json::to_string(&manifests)?,
        };
        self.insert("mesh", &[row]).await?;
        let asked = nothing().and("id", id).and("taken", taken_at.as_nanos());
        self.run(
            "INSERT INTO mesh_since (since, id)
             SELECT {taken:Int64}, {id:String}
             WHERE ifNull((SELECT argMax(id, (since, at)) FROM mesh_since WHERE since <= {taken:Int64}), '') != {id:String}",
            &asked,
        )
        .await
    }

    async fn latest_mesh(&self) -> Result<Option<MeshSnapshot>, StoreError> {
        let sql = "SELECT id, taken_at, manifests FROM mesh ORDER BY taken_at DESC, id LIMIT 1";
        self.mesh_where(sql, &nothing()).await
    }

    async fn mesh_at(&self, at: Timestamp) -> Result<Option<MeshSnapshot>, StoreError> {
        let sql = "SELECT id, since AS taken_at, manifests FROM
                (SELECT id, since FROM mesh_since WHERE since <= {at:Int64} ORDER BY since DESC, at DESC LIMIT 1) AS force
             ANY INNER JOIN (SELECT id, manifests FROM mesh) AS mesh ON force.id = mesh.id";
        self.mesh_where(sql, &nothing().and("at", at.as_nanos())).await
    }

    async fn meshes(&self) -> Result<Vec<MeshVersion>, StoreError> {
        #[derive(Row, Deserialize)]
        struct VersionRow {
            id: String,
            taken: i64,
        }
        let sql = "SELECT id, max(taken_at) AS taken FROM mesh GROUP BY id ORDER BY taken DESC, id";
        let rows: Vec<VersionRow> = self.ask(sql, &nothing()).await?;
        let version =
            |row: VersionRow| MeshVersion { id: row.id, taken_at: Timestamp::from_nanos(row.taken) };
        Ok(rows.into_iter().map(version).collect())
    }

    async fn keep_edges(&self, flows: Duration, edges: Duration) -> Result<(), StoreError> {
        self.sum_up_days(flows, edges).await
    }

    fn late(&self) -> u64 {
        self.base.late.reports()
    }

    async fn keep(&self, time: Option<Duration>, _: Timestamp) -> Result<(), StoreError> {
        self.keep_for(time).await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.run("SELECT 1", &nothing()).await
    }
}
