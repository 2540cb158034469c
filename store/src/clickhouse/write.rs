//! One batch to the server: the shapes that it does not have yet, then the flows, then what the source covered.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use analyzer::report::Judged;
use clickhouse::native::Block;
use clickhouse::{Row, RowWrite};
use hashbrown::{HashMap, HashSet};
use serde::Deserialize;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep};

use super::fault::{may_pass, told};
use super::rows::{FlowRow, ShapeRow, SourceRow, block};
use super::schema::{GONE, keeping};
use super::{Clickhouse, migration, nothing, within};
use crate::Batch;
use crate::error::StoreError;
use crate::shape::{Names, Own, REMEMBERED};
use crate::sightings::Found;

/// How long shapes are remembered as sent: the server's copies tell by their age which ones are in use.
const AGE: Duration = Duration::from_secs(12 * 3600);

/// How long the first pause between two tries is; each next one is twice as long.
const PAUSE: Duration = Duration::from_millis(100);

/// Which shapes the server has.
#[derive(Debug, Default)]
pub(super) struct Sent {
    names: HashSet<u128>,
    since: Option<Instant>,
}

impl Sent {
    fn refresh(&mut self) {
        if self.names.len() > REMEMBERED || self.since.is_none_or(|since| since.elapsed() > AGE) {
            self.names.clear();
            self.since = Some(Instant::now());
        }
    }
}

/// How many flows a block has at most: what is larger is sent in several, one after the other.
const BLOCK: usize = 200_000;

/// A batch as the server takes it.
struct Rows {
    flows: Vec<Block>,
    shapes: Vec<ShapeRow>,
}

fn rows(
    flows: Vec<Judged>,
    gone: Vec<Judged>,
    found: Option<&Found>,
    names: &Names,
    sent: &std::sync::Mutex<Sent>,
) -> Result<Rows, StoreError> {
    // Of several reports of one flow the last one counts.
    let last: HashMap<u128, usize> =
        flows.iter().enumerate().map(|(place, judged)| (judged.flow.id.0, place)).collect();
    let mut rows = Vec::with_capacity(last.len());
    let mut shapes = Vec::new();
    let mut met = HashSet::new();
    lock(sent).refresh();
    for (place, mut judged) in flows.into_iter().enumerate() {
        if last.get(&judged.flow.id.0) != Some(&place) {
            continue;
        }
        let (server, community_id) = (judged.flow.server.ip, judged.flow.community_id());
        let found = found.map_or(0, |found| found.sum(&judged.flow));
        let own = Own::take(&mut judged);
        let name = names.of(&judged)?;
        if met.insert(name) && !lock(sent).names.contains(&name) {
            shapes.push(ShapeRow::new(name, &judged)?);
        }
        rows.push(FlowRow { found, ..FlowRow::new(own, name, server, community_id)? });
    }
    for mut judged in gone {
        let (server, community_id) = (judged.flow.server.ip, judged.flow.community_id());
        let found = found.map_or(0, |found| found.sum(&judged.flow));
        let row = FlowRow::new(Own::take(&mut judged), 0, server, community_id)?;
        rows.push(FlowRow { version: GONE, found, ..row });
    }
    let flows = rows.chunks(BLOCK).map(|rows| block(rows, found.is_some())).collect::<Result<_, _>>();
    Ok(Rows { flows: flows.map_err(|error| StoreError::Word(error.to_string()))?, shapes })
}

fn lock(sent: &std::sync::Mutex<Sent>) -> MutexGuard<'_, Sent> {
    sent.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Draws a number; not 0, which is that of programs that do not say who they are.
fn drawn() -> u32 {
    let [_, _, _, _, drawn @ ..] = RandomState::new().hash_one(()).to_le_bytes();
    u32::from_le_bytes(drawn).max(1)
}

impl Clickhouse {
    pub(super) async fn write(&self, batch: Batch) -> Result<(), StoreError> {
        let Batch { flows, gone, found, coverage } = batch;
        let table = if found.is_some() { "mending" } else { "arrival" };
        let base = Arc::clone(&self.base);
        let late = base.late.of(&flows);
        // A batch is made ready while the one before it is written, and they stay in order.
        let ready = self.base.ready.lock().await;
        let rows = spawn_blocking(move || rows(flows, gone, found.as_ref(), &base.names, &base.sent))
            .await
            .map_err(|_| StoreError::Stopped)??;
        // A flow's reports stay in order, and two batches never compare themselves with what is there at once.
        let _turn = self.base.turn.lock().await;
        drop(ready);
        // A shape may be there that no flow has, never a flow whose shape is missing.
        if !rows.shapes.is_empty() {
            self.insert("shape", &rows.shapes).await?;
            lock(&self.base.sent).names.extend(rows.shapes.iter().map(ShapeRow::name));
        }
        if !rows.flows.is_empty() {
            self.insert_flows(table, &rows.flows).await?;
            self.base.late.add(late);
        }
        if !coverage.is_empty() {
            let row = |(name, coverage)| Ok(SourceRow { name, coverage: serde_json::to_string(&coverage)? });
            let rows = coverage.into_iter().map(row).collect::<Result<Vec<_>, StoreError>>()?;
            self.insert("source", &rows).await?;
        }
        Ok(())
    }

    async fn insert_flows(&self, table: &str, blocks: &[Block]) -> Result<(), StoreError> {
        let (base, place) = (&self.base, self.base.address.to_string());
        let fault = |error| told(&place, &error);
        self.again(|| {
            let writer = match base.writer.swap(0, Ordering::Relaxed) {
                0 => drawn(),
                known => known,
            };
            within(base.patience, &place, async move {
                let mut insert = base
                    .client
                    .insert_native(table)
                    // A capture may span more days than one insert usually may.
                    .with_setting("max_partitions_per_insert_block", "0")
                    // An equal block is no mistake: a flow may come back to what it was.
                    .with_setting("insert_deduplicate", "0")
                    .with_setting("distributed_foreground_insert", "1")
                    // To share so few rows out among threads takes more than it saves.
                    .with_setting("max_threads", "1")
                    .with_setting("log_comment", writer.to_string());
                for block in blocks {
                    insert.write(block).await.map_err(fault)?;
                }
                insert.end().await.map_err(fault)?;
                base.writer.store(writer, Ordering::Relaxed);
                Ok(())
            })
        })
        .await
    }

    pub(super) async fn insert<T>(&self, table: &str, rows: &[T]) -> Result<(), StoreError>
    where
        T: RowWrite + for<'a> Row<Value<'a> = T>,
    {
        let (base, place) = (&self.base, self.base.address.to_string());
        let fault = |error| told(&place, &error);
        self.again(|| {
            within(base.patience, &place, async {
                let mut insert = base
                    .client
                    .insert::<T>(table)
                    .await
                    .map_err(fault)?
                    // An equal block is no mistake: a declaration may come back to what it was.
                    .with_setting("insert_deduplicate", "0");
                for row in rows {
                    insert.write(row).await.map_err(fault)?;
                }
                insert.end().await.map_err(fault)
            })
        })
        .await
    }

    /// Tries again while the server is away, within the patience: what is recorded twice counts once.
    async fn again<F, Fut>(&self, work: F) -> Result<(), StoreError>
    where
        F: Fn() -> Fut,
        Fut: Future<Output = Result<(), StoreError>>,
    {
        let began = Instant::now();
        let mut pause = PAUSE;
        loop {
            match work().await {
                Err(error) if may_pass(&error) && began.elapsed() + pause < self.base.patience => {
                    sleep(pause).await;
                    pause *= 2;
                }
                done => return done,
            }
        }
    }

    /// Tells the server how long flows are kept, where it does not know yet, and drops the shapes that neither a flow nor a sum has any more.
    pub(super) async fn keep_for(&self, time: Option<Duration>) -> Result<(), StoreError> {
        let base = &self.base;
        let place = base.address.to_string();
        let found = within(base.patience, &place, migration::look(&base.client, &base.address)).await?;
        if found.keep != time {
            // Its parts learn of it after the answer.
            let sql = format!("{} SETTINGS alter_sync = 0, mutations_sync = 0", keeping(&base.layout, time));
            self.run(&sql, &nothing()).await?;
        }
        if time.is_some() { self.drop_shapes().await } else { Ok(()) }
    }

    /// Young shapes stay: their flows may be on the way.
    async fn drop_shapes(&self) -> Result<(), StoreError> {
        #[derive(Row, Deserialize)]
        struct Left {
            shapes: u64,
        }
        let left = "sent < now() - INTERVAL 2 DAY AND hash NOT IN (
            SELECT shape FROM flow GROUP BY shape UNION ALL SELECT shape FROM edge GROUP BY shape)";
        let found: Vec<Left> =
            self.ask(&format!("SELECT count() AS shapes FROM shape WHERE {left}"), &nothing()).await?;
        if found.iter().all(|found| found.shapes == 0) {
            return Ok(());
        }
        self.run(&format!("ALTER TABLE shape{} DELETE WHERE {left}", self.base.layout.on()), &nothing()).await
    }
}
