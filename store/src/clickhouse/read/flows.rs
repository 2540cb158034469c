//! Flows, one by one.

use std::collections::{HashMap, HashSet};

use analyzer::report::Judged;
use clickhouse::Row;
use flow::FlowId;
use serde::Deserialize;

use super::{numbers, shape, shapes};
use crate::answer::Page;
use crate::clickhouse::filter::{Asked, at};
use crate::clickhouse::rows::{SIGNED, SignedRow};
use crate::clickhouse::{Clickhouse, nothing};
use crate::error::StoreError;
use crate::query::{List, Paging, Position, Query};
use crate::sightings::{MOST, Sightings};

/// How many rows of flows with one opening, or one handshake, are read at most: some for each report of [`MOST`] flows.
const ROWS: usize = 8 * MOST;

/// How many spans of time one question names.
const SPANS: usize = 64;

impl Clickhouse {
    pub(in crate::clickhouse) async fn page_of_flows(
        &self,
        query: &Query,
        paging: &Paging,
    ) -> Result<Page<Judged>, StoreError> {
        let asked = Asked::new(query);
        let limit = paging.rows();
        let mut after = match query.position(List::Flows, paging)? {
            Some(position) => {
                let id: FlowId = position.name.parse().map_err(|_| StoreError::Cursor)?;
                Some((position.start, id.0))
            }
            None => None,
        };
        let mut live: Vec<SignedRow> = Vec::new();
        // Rows of a flow that were taken out come along with it, so a second turn may be needed.
        let mut turn = limit + 1;
        loop {
            turn = turn.saturating_mul(2).min(100_000);
            let mut asked = asked.clone().and("turn", turn);
            let mut fits = format!("{} AND {}", asked.own, shapes(&asked));
            if let Some((start, id)) = after {
                asked = asked.and("after", start).and("after_id", id);
                fits.push_str(&format!(" AND (start, id) < ({}, {{after_id:UInt128}})", at("after")));
            }
            let sql = format!(
                "SELECT {SIGNED} FROM flow WHERE {fits} ORDER BY start DESC, id DESC LIMIT {{turn:UInt64}}"
            );
            let mut rows: Vec<SignedRow> = self.ask(&sql, &asked).await?;
            let last = rows.len() < turn;
            // The last flow's rows may go on in the next turn.
            let whole = rows.iter().rposition(|row| rows.last().is_some_and(|end| row.id != end.id));
            if !last {
                let Some(whole) = whole else { continue };
                rows.truncate(whole + 1);
                after = rows.last().map(|row| (row.start, row.id));
            }
            live.extend(survivors(rows));
            if last || live.len() > limit {
                break;
            }
        }
        let more = live.len() > limit;
        live.truncate(limit);
        let next_cursor = match live.last() {
            Some(row) if more => {
                let name = FlowId(row.id).to_string();
                Some(query.cursor(List::Flows, Position { rank: 0, start: row.start, name })?)
            }
            Some(_) | None => None,
        };
        Ok(Page { rows: self.judged(live).await?, next_cursor })
    }

    pub(in crate::clickhouse) async fn one_flow(&self, id: FlowId) -> Result<Option<Judged>, StoreError> {
        let asked = Asked::new(&Query::default()).and("id", id.0);
        let sql = format!("SELECT {SIGNED} FROM flow WHERE id = {{id:UInt128}} ORDER BY start, id");
        let rows = self.ask(&sql, &asked).await?;
        Ok(self.judged(survivors(rows)).await?.pop())
    }

    /// Asks in several questions where starts lie far apart, so that none grows too long.
    pub(in crate::clickhouse) async fn all_sightings(
        &self,
        sightings: &Sightings,
    ) -> Result<Vec<Judged>, StoreError> {
        let mut rows = survivors(self.sighted(sightings).await?);
        let mut alike: HashMap<(bool, u64), usize> = HashMap::new();
        rows.retain(|row| {
            if !sightings.fit(FlowId(row.id), row.start, row.tcp_handshake) {
                return false;
            }
            let count = alike.entry(sightings.found_by(FlowId(row.id), row.tcp_handshake)).or_default();
            *count += 1;
            *count <= MOST
        });
        self.judged(rows).await
    }

    /// Reads all rows of flows that begin near a sighting and have its opening or handshake, those that are taken out included: the rows of
    /// a flow stand together. Where there are too many of one opening or handshake, the first of them.
    pub(super) async fn sighted(&self, sightings: &Sightings) -> Result<Vec<SignedRow>, StoreError> {
        let mut rows = Vec::new();
        let openings = numbers("UInt64", sightings.openings());
        let handshakes = numbers("UInt64", sightings.handshakes());
        for spans in sightings.spans().chunks(SPANS) {
            let nanos = |nanos: i64| format!("fromUnixTimestamp64Nano(toInt64({nanos}), 'UTC')");
            let times: Vec<String> = spans
                .iter()
                .map(|(from, to)| format!("start BETWEEN {} AND {}", nanos(*from), nanos(*to)))
                .collect();
            let sql = format!(
                "SELECT {SIGNED} FROM (
                    SELECT {SIGNED}, toUInt64(bitShiftRight(id, 64)) AS opening, opening IN {openings} AS opened FROM flow
                    WHERE ({}) AND (opened OR ifNull(tcp_handshake, 0) IN {handshakes})
                 )
                 ORDER BY start, id LIMIT {ROWS} BY opened, if(opened, opening, ifNull(tcp_handshake, 0))",
                times.join(" OR ")
            );
            rows.extend(whole(self.ask::<SignedRow>(&sql, &nothing()).await?, sightings));
        }
        Ok(rows)
    }

    /// Puts flows together again from their own parts and their shapes.
    pub(super) async fn judged(&self, rows: Vec<SignedRow>) -> Result<Vec<Judged>, StoreError> {
        let shapes = self.shapes(rows.iter().map(|row| row.shape)).await?;
        let mut all = Vec::with_capacity(rows.len());
        for row in rows {
            let mut judged = shape(&shapes, row.shape)?.clone();
            row.own()?.give(&mut judged);
            all.push(judged);
        }
        Ok(all)
    }

    pub(super) async fn shapes(
        &self,
        hashes: impl Iterator<Item = u128>,
    ) -> Result<HashMap<u128, Judged>, StoreError> {
        #[derive(Row, Deserialize)]
        struct Body {
            hash: u128,
            body: String,
        }
        let mut hashes: Vec<u128> = hashes.collect();
        hashes.sort_unstable();
        hashes.dedup();
        if hashes.is_empty() {
            return Ok(HashMap::new());
        }
        let sql = format!(
            "SELECT hash, any(body) AS body FROM shape WHERE hash IN {} GROUP BY hash",
            numbers("UInt128", hashes.iter())
        );
        let rows: Vec<Body> = self.ask(&sql, &nothing()).await?;
        rows.into_iter().map(|row| Ok((row.hash, serde_json::from_str(&row.body)?))).collect()
    }
}

/// Leaves out the last flow of which not all rows may have been read.
fn whole(mut rows: Vec<SignedRow>, sightings: &Sightings) -> Vec<SignedRow> {
    let mut alike: HashMap<(bool, u64), (usize, u128)> = HashMap::new();
    for row in &rows {
        let (count, last) = alike.entry(sightings.found_by(FlowId(row.id), row.tcp_handshake)).or_default();
        (*count, *last) = (*count + 1, row.id);
    }
    alike.retain(|_, (count, _)| *count >= ROWS);
    let cut: HashSet<u128> = alike.into_values().map(|(_, last)| last).collect();
    rows.retain(|row| !cut.contains(&row.id));
    rows
}

/// What is left of rows in which the reports of a flow stand together: the one that nothing takes out.
fn survivors(rows: Vec<SignedRow>) -> Vec<SignedRow> {
    let mut live: Vec<SignedRow> = Vec::new();
    let mut rows = rows.into_iter().peekable();
    while let Some(head) = rows.next() {
        let mut reports = vec![head];
        while let Some(next) = rows.next_if(|next| {
            reports.first().is_some_and(|head| (head.start, head.id) == (next.start, next.id))
        }) {
            reports.push(next);
        }
        let sum = |version: u64| -> i32 {
            reports.iter().filter(|row| row.version == version).map(|row| i32::from(row.sign)).sum()
        };
        let left = reports.iter().find(|row| row.sign > 0 && sum(row.version) > 0).cloned();
        live.extend(left);
    }
    live
}
