//! One batch to the server: the shapes that it does not have yet, then the flows, then what the source covered.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use analyzer::report::Judged;
use clickhouse::{Row, RowWrite};
use flow::Timestamp;
use serde::Deserialize;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep};

use super::fault::{may_pass, told};
use super::filter::{Asked, at};
use super::rows::{FlowRow, ShapeRow};
use super::{Clickhouse, nothing, within};
use crate::Batch;
use crate::error::StoreError;
use crate::shape::{self, Own};

/// How many names of shapes are remembered as sent; past it all are forgotten, and sent again.
const REMEMBERED: usize = 200_000;

/// How long they are remembered: the server's copies tell by their age which ones are in use.
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

/// A batch as rows.
struct Rows {
    flows: Vec<FlowRow>,
    shapes: Vec<ShapeRow>,
}

fn rows(flows: Vec<Judged>, sent: &std::sync::Mutex<Sent>) -> Result<Rows, StoreError> {
    // Of several reports of one flow the last one counts.
    let last: HashMap<u128, usize> =
        flows.iter().enumerate().map(|(place, judged)| (judged.flow.id.0, place)).collect();
    let mut rows = Rows { flows: Vec::with_capacity(last.len()), shapes: Vec::new() };
    let (mut text, mut met) = (Vec::new(), HashSet::new());
    lock(sent).refresh();
    for (place, mut judged) in flows.into_iter().enumerate() {
        if last.get(&judged.flow.id.0) != Some(&place) {
            continue;
        }
        let server = judged.flow.server.ip;
        let own = Own::take(&mut judged);
        let name = shape::write(&judged, &mut text)?;
        if met.insert(name) && !lock(sent).names.contains(&name) {
            rows.shapes.push(ShapeRow::new(name, &judged, &text)?);
        }
        rows.flows.push(FlowRow::new(own, name, server));
    }
    Ok(rows)
}

fn lock(sent: &std::sync::Mutex<Sent>) -> MutexGuard<'_, Sent> {
    sent.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Clickhouse {
    pub(super) async fn write(&self, batch: Batch) -> Result<(), StoreError> {
        let Batch { source, flows, coverage } = batch;
        let base = Arc::clone(&self.base);
        let rows =
            spawn_blocking(move || rows(flows, &base.sent)).await.map_err(|_| StoreError::Stopped)??;
        // A flow's reports stay in order, and two batches never compare themselves with what is there at once.
        let _turn = self.base.turn.lock().await;
        // A shape may be there that no flow has, never a flow whose shape is missing.
        if !rows.shapes.is_empty() {
            self.insert("shape", &rows.shapes).await?;
            lock(&self.base.sent).names.extend(rows.shapes.iter().map(ShapeRow::name));
        }
        if !rows.flows.is_empty() {
            self.insert("arrival", &rows.flows).await?;
        }
        if let Some(coverage) = coverage {
            let asked = nothing().and("source", source).and("coverage", serde_json::to_string(&coverage)?);
            let sql = "INSERT INTO source (name, coverage) SELECT {source:String}, {coverage:String}";
            self.again(|| self.run(sql, &asked)).await?;
        }
        Ok(())
    }

    async fn insert<T>(&self, table: &str, rows: &[T]) -> Result<(), StoreError>
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
                    // A capture may span more days than one insert usually may.
                    .with_setting("max_partitions_per_insert_block", "0")
                    // An equal block is no mistake: a flow may come back to what it was.
                    .with_setting("insert_deduplicate", "0")
                    .with_setting("distributed_foreground_insert", "1");
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

    /// Drops the days of which every flow began before `before`, then the shapes that no flow has any more.
    pub(super) async fn drop_days(&self, before: Timestamp) -> Result<(), StoreError> {
        #[derive(Row, Deserialize)]
        struct Day {
            day: String,
        }
        let asked = nothing().and("before", before.as_nanos());
        let sql = format!(
            "SELECT _partition_id AS day FROM flow GROUP BY day HAVING max(start) < {}",
            at("before")
        );
        let days: Vec<Day> = self.ask(&sql, &asked).await?;
        if days.is_empty() {
            return Ok(());
        }
        let (part, on) = (self.base.layout.part("flow"), self.base.layout.on());
        for Day { day } in days {
            // Partition ids are digits.
            self.run(&format!("ALTER TABLE {part}{on} DROP PARTITION ID '{day}'"), &nothing()).await?;
        }
        self.drop_shapes(&on).await
    }

    /// Young shapes stay: their flows may be on the way.
    async fn drop_shapes(&self, on: &str) -> Result<(), StoreError> {
        let asked: Asked = nothing();
        let sql = format!(
            "ALTER TABLE shape{on} DELETE WHERE sent < now() - INTERVAL 2 DAY AND hash NOT IN (SELECT shape FROM flow)"
        );
        self.run(&sql, &asked).await
    }
}
