//! Edges that outlive their flows: the table `edge` has the counts of a day by shape, for days that have ended.
//!
//! As long as all flows of a day are there they are what counts, and its sums are only kept ready: they are taken anew whenever another one of
//! its flows is reported. Some hours before the server begins to drop the day's flows (the column `due`) the sums take their place, for good.
//! They go on being taken anew until shortly before that, because flows may come late and of two collectors that sum up at once the one with the
//! older sums may come second; never from the flows that are left then. So no day is ever counted from both, nor from a part of its flows.
//!
//! Sums are taken by the statement that answers questions, into a table of their own, which then replaces the day's whole partition:
//! killed at any moment, or begun twice, it comes to the same. Whoever makes that table is the only one to sum up until it is dropped: of two
//! who replace a partition at once, the server may keep what both put there, and each flow would count twice.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use analyzer::report::Judged;
use clickhouse::Row;
use serde::Deserialize;
use tokio::time::{Instant, sleep};

use super::filter::{START_DAY, counts};
use super::schema::{DAY, Layout};
use super::{Clickhouse, client, migration, nothing, within};
use crate::clickhouse::fault::{IS_THERE, told};
use crate::error::StoreError;

/// The first day that is counted from its flows; days before it are counted from their sums. One value for the whole of a question.
pub(super) const BORDER: &str =
    "ifNull((SELECT day + 1 FROM edge WHERE due <= now() ORDER BY day DESC LIMIT 1), toDate(0))";

/// How long before the server may drop its first flow a day is counted from its sums: several more of them can be taken by then, also
/// where some fail.
const LEAD: u64 = 6 * 3600;

/// How long before it the last sums are taken: none is under way when flows begin to go, and clocks differ.
const MARGIN: u64 = 2 * LONGEST.as_secs();

/// How long one statement may take: the first one sums up all that was ever recorded.
const LONGEST: Duration = Duration::from_secs(600);

/// The table into which sums are taken. One of a program that was killed is dropped once it is older than any statement.
const TAKEN: &str = "edge_taken";

/// How long is waited before it is looked again whether another program has finished.
const PAUSE: Duration = Duration::from_millis(250);

/// The columns, and the order in which sums are taken.
const COLUMNS: &str = "
    day Date,
    shape UInt128,
    flows SimpleAggregateFunction(sum, Int64) CODEC(T64, LZ4),
    bytes SimpleAggregateFunction(sum, Int64) CODEC(T64, LZ4),
    first SimpleAggregateFunction(min, DateTime64(9, 'UTC')) CODEC(Delta, ZSTD),
    last SimpleAggregateFunction(max, DateTime64(9, 'UTC')) CODEC(Delta, ZSTD),
    due SimpleAggregateFunction(max, DateTime('UTC'))";

/// The step of the schema. On a cluster every server has all sums: they are few, and what replaces a day there replaces it everywhere at once.
pub(super) fn table(layout: &Layout) -> Vec<String> {
    let engine = layout.everywhere("edge", "AggregatingMergeTree", "");
    vec![made(&format!("IF NOT EXISTS edge{}", layout.on()), &engine)]
}

fn made(table: &str, engine: &str) -> String {
    format!(
        "CREATE TABLE {table} ({COLUMNS})
         ENGINE = {engine} PARTITION BY day ORDER BY (day, shape) SETTINGS ttl_only_drop_parts = 1"
    )
}

/// The statement by which sums go once their whole day is older than `keep`.
fn keeping(layout: &Layout, keep: Duration) -> String {
    format!(
        "ALTER TABLE edge{} MODIFY TTL toDateTime(day, 'UTC') + toIntervalSecond({})",
        layout.on(),
        keep.as_secs().saturating_add(DAY)
    )
}

/// Reports of flows of days that were told by their sums already.
#[derive(Debug, Default)]
pub(super) struct Late {
    /// Flows that began before this are told by sums, in nanoseconds since the Unix epoch.
    border: AtomicI64,
    reports: AtomicU64,
}

impl Late {
    /// Tells how many of these come late, as yet.
    pub(super) fn of(&self, flows: &[Judged]) -> u64 {
        let border = self.border.load(Ordering::Relaxed);
        flows.iter().map(|judged| u64::from(judged.flow.start.as_nanos() < border)).sum()
    }

    pub(super) fn add(&self, reports: u64) {
        self.reports.fetch_add(reports, Ordering::Relaxed);
    }

    pub(super) fn reports(&self) -> u64 {
        self.reports.load(Ordering::Relaxed)
    }
}

impl Clickhouse {
    /// Sums up days that have ended, for when their flows go after `flows`, and tells the server to keep sums for `edges`.
    pub(super) async fn sum_up_days(&self, flows: Duration, edges: Duration) -> Result<(), StoreError> {
        self.begin().await?;
        let summed = self.begun(flows, edges).await;
        let dropped = self.run(&format!("DROP TABLE IF EXISTS {TAKEN} SYNC"), &nothing()).await;
        summed.and(dropped)?;
        self.look_for_border().await
    }

    /// Makes the table for sums, once no other program has it.
    async fn begin(&self) -> Result<(), StoreError> {
        let began = Instant::now();
        let statement =
            format!("{} COMMENT '{:016x}'", made(TAKEN, "AggregatingMergeTree()"), self.base.name);
        loop {
            self.drop_left().await?;
            match self.run(&statement, &nothing()).await {
                Err(StoreError::Refused { code: IS_THERE, .. }) if began.elapsed() < self.base.patience => {
                    sleep(PAUSE).await;
                }
                done => return done,
            }
        }
    }

    async fn begun(&self, flows: Duration, edges: Duration) -> Result<(), StoreError> {
        let base = &self.base;
        let place = base.address.to_string();
        let found = within(base.patience, &place, migration::look(&base.client, &base.address)).await?;
        if found.keep_edges != Some(edges) {
            let sql = format!("{} SETTINGS alter_sync = 0, mutations_sync = 0", keeping(&base.layout, edges));
            self.run(&sql, &nothing()).await?;
        }
        self.replace_days(found.keep, flows).await
    }

    /// Learns before which time flows come too late to be counted.
    async fn look_for_border(&self) -> Result<(), StoreError> {
        #[derive(Row, Deserialize)]
        struct Border {
            days: u64,
        }
        let border = self.ask(&format!("SELECT toUInt64({BORDER}) AS days"), &nothing()).await?;
        for Border { days } in border {
            let nanos = days.saturating_mul(DAY).saturating_mul(1_000_000_000);
            self.base.late.border.store(i64::try_from(nanos).unwrap_or(i64::MAX), Ordering::Relaxed);
        }
        Ok(())
    }

    /// `in_force` is how long the server keeps flows as yet: of a day that is older it may have dropped some.
    async fn replace_days(&self, in_force: Option<Duration>, flows: Duration) -> Result<(), StoreError> {
        #[derive(Row, Deserialize)]
        struct Changed {
            name: String,
        }
        let before_it_goes = |keep: Duration, day: &str, before: u64| {
            let after = keep.as_secs().saturating_add(DAY).saturating_sub(before);
            format!("toDateTime({day}, 'UTC') + toIntervalSecond({after})")
        };
        // A day is due by whichever time is shorter: where `flows` is, flows go by it from now on.
        let due = |keep: Duration, day: &str| before_it_goes(keep, day, LEAD);
        // Flows may have gone by a time that was in force before: by which its sums were due.
        let gone = format!(
            "ifNull((SELECT day + 1 FROM edge WHERE due <= now() - toIntervalSecond({}) ORDER BY day DESC LIMIT 1), toDate(0))",
            LEAD - MARGIN
        );
        let whole = |day: &str| {
            let ended = format!("{day} >= {gone} AND {day} < toDate(now('UTC'))");
            in_force.map_or_else(
                || ended.clone(),
                |keep| format!("{ended} AND {} > now()", before_it_goes(keep, day, MARGIN)),
            )
        };
        let first = in_force.map_or(flows, |keep| keep.min(flows));
        self.run_long(&format!(
            "INSERT INTO {TAKEN} SELECT step, shape, f, b, a, z, {} FROM ({}) SETTINGS max_partitions_per_insert_block = 0",
            due(first, "step"),
            counts(START_DAY, &whole(START_DAY)),
        ))
        .await?;
        // A day without any flows keeps the sums that it has: they were dropped by hand.
        let rows = |times: i8, table: &str| {
            format!(
                "SELECT day, {times} AS times, toInt64(cityHash64(shape, flows, bytes, first, last, due)) AS row FROM {table}"
            )
        };
        let changed: Vec<Changed> = self
            .ask(
                &format!(
                    "SELECT toString(day) AS name FROM ({} UNION ALL {}) WHERE {whole}
                     GROUP BY day HAVING sum(times * row) != 0 AND max(times) > 0 ORDER BY day",
                    rows(1, TAKEN),
                    rows(-1, "edge"),
                    whole = whole("day"),
                ),
                &nothing(),
            )
            .await?;
        // The oldest first: what is before a day that is due is due as well.
        for Changed { name: day } in changed {
            self.run(&format!("ALTER TABLE edge REPLACE PARTITION '{day}' FROM {TAKEN}"), &nothing()).await?;
        }
        Ok(())
    }

    /// Drops what programs left that were killed, and what this one left where the server did not answer.
    async fn drop_left(&self) -> Result<(), StoreError> {
        #[derive(Row, Deserialize)]
        struct Left {
            name: String,
        }
        let sql = format!(
            "SELECT name FROM system.tables WHERE database = currentDatabase() AND startsWith(name, '{TAKEN}')
                AND (metadata_modification_time < now() - INTERVAL {} SECOND OR comment = '{:016x}')",
            2 * LONGEST.as_secs(),
            self.base.name
        );
        for Left { name } in self.ask::<Left>(&sql, &nothing()).await? {
            self.run(&format!("DROP TABLE IF EXISTS `{name}` SYNC"), &nothing()).await?;
        }
        Ok(())
    }

    async fn run_long(&self, sql: &str) -> Result<(), StoreError> {
        let base = &self.base;
        let place = base.address.to_string();
        let client = client(&base.address, LONGEST);
        within(LONGEST, &place, async {
            let statement = nothing().give(client.query_raw(sql));
            statement.execute().await.map_err(|error| told(&place, &error))
        })
        .await
    }
}
