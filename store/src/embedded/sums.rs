//! The sums over flows, by hour and by shape, of edges and of findings: brought up to date by what a batch changed.

use std::collections::{BTreeMap, HashMap};

use analyzer::report::{Judgement, SetAside};
use rusqlite::{Transaction, params};

use super::write::Kept;
use crate::error::StoreError;

/// Nanoseconds of an hour.
pub(super) const HOUR: i64 = 3_600_000_000_000;

/// What a batch does to the sums.
#[derive(Default)]
pub(super) struct Changes {
    /// Rows of the shapes met, by their names.
    pub(super) shapes: HashMap<u128, i64>,
    sums: HashMap<i64, Change>,
    hours: HashMap<(i64, i64), Change>,
}

struct Change {
    flows: i64,
    bytes: i64,
    first: i64,
    last: i64,
    /// Earliest start and latest end among the flows that are gone.
    gone_first: i64,
    gone_last: i64,
}

impl Default for Change {
    fn default() -> Self {
        let (first, last) = (i64::MAX, i64::MIN);
        Self { flows: 0, bytes: 0, first, last, gone_first: first, gone_last: last }
    }
}

impl Changes {
    pub(super) fn more(&mut self, flow: &Kept) {
        for change in [
            self.sums.entry(flow.shape).or_default(),
            self.hours.entry((flow.start.div_euclid(HOUR), flow.shape)).or_default(),
        ] {
            change.flows += 1;
            change.bytes = change.bytes.saturating_add(flow.bytes());
            change.first = change.first.min(flow.start);
            change.last = change.last.max(flow.finish);
        }
    }

    pub(super) fn less(&mut self, flow: &Kept, times: bool) {
        for change in [
            self.sums.entry(flow.shape).or_default(),
            self.hours.entry((flow.start.div_euclid(HOUR), flow.shape)).or_default(),
        ] {
            change.flows -= 1;
            change.bytes = change.bytes.saturating_sub(flow.bytes());
            if times {
                change.gone_first = change.gone_first.min(flow.start);
                change.gone_last = change.gone_last.max(flow.finish);
            }
        }
    }

    pub(super) fn settle(self, transaction: &Transaction<'_>) -> Result<(), StoreError> {
        for ((hour, shape), change) in &self.hours {
            settle_hour(transaction, *hour, *shape, change)?;
        }
        // Whether one of its shapes is gone, and it may be gone with it.
        let (mut edges, mut findings) = (BTreeMap::new(), BTreeMap::new());
        for (shape, change) in &self.sums {
            let broken = transaction
                .prepare_cached("SELECT finding FROM breach WHERE shape = ?1")?
                .query_map([shape], |row| row.get::<_, i64>(0))?
                .collect::<Result<Vec<_>, _>>()?;
            let (edge, gone) = settle_shape(transaction, *shape, change)?;
            *edges.entry(edge).or_insert(false) |= gone;
            for finding in broken {
                *findings.entry(finding).or_insert(false) |= gone;
            }
        }
        for (finding, bare) in findings {
            settle_finding(transaction, finding, bare)?;
        }
        for (edge, bare) in edges {
            settle_edge(transaction, edge, bare)?;
        }
        Ok(())
    }
}

fn settle_hour(
    transaction: &Transaction<'_>,
    hour: i64,
    shape: i64,
    change: &Change,
) -> Result<(), StoreError> {
    let (flows, first, last): (i64, i64, i64) = transaction
        .prepare_cached(
            "INSERT INTO hour (hour, shape, flows, first_seen, last_seen) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT (hour, shape) DO UPDATE SET flows = flows + excluded.flows,
                first_seen = min(first_seen, excluded.first_seen), last_seen = max(last_seen, excluded.last_seen)
             RETURNING flows, first_seen, last_seen",
        )?
        .query_row(params![hour, shape, change.flows, change.first, change.last], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })?;
    if flows <= 0 {
        transaction
            .prepare_cached("DELETE FROM hour WHERE hour = ?1 AND shape = ?2")?
            .execute([hour, shape])?;
    } else if change.gone_first <= first || change.gone_last >= last {
        transaction
            .prepare_cached(
                "UPDATE hour SET (first_seen, last_seen) = (SELECT min(start), max(finish) FROM flow
                    WHERE shape = ?2 AND start >= ?3 AND start < ?4) WHERE hour = ?1 AND shape = ?2",
            )?
            .execute([hour, shape, hour * HOUR, (hour + 1) * HOUR])?;
    }
    Ok(())
}

/// Sets the latest end of shape ?1, ?2 being the length of an hour: the hours in which it has flows, which the index of its flows leads
/// through from the last one back, know their own.
const LAST: &str = "
    WITH RECURSIVE seen (begin) AS (
        SELECT start - ((start % ?2) + ?2) % ?2 FROM
            (SELECT start FROM flow WHERE shape = ?1 ORDER BY start DESC LIMIT 1)
        UNION ALL
        SELECT (SELECT start - ((start % ?2) + ?2) % ?2 FROM flow
            WHERE shape = ?1 AND start < seen.begin ORDER BY start DESC LIMIT 1)
        FROM seen WHERE seen.begin IS NOT NULL
    )
    UPDATE shape SET last_seen = (
        SELECT max(hour.last_seen) FROM seen CROSS JOIN hour ON hour.hour = seen.begin / ?2 AND hour.shape = ?1
    ) WHERE row = ?1";

/// Brings a shape's sums up to date, and returns its edge. One without flows goes: returns whether it did.
fn settle_shape(
    transaction: &Transaction<'_>,
    shape: i64,
    change: &Change,
) -> Result<(i64, bool), StoreError> {
    let (flows, edge, first, last): (i64, i64, i64, i64) = transaction
        .prepare_cached(
            "UPDATE shape SET flows = flows + ?2, bytes = bytes + ?3, first_seen = min(first_seen, ?4),
                last_seen = max(last_seen, ?5) WHERE row = ?1 RETURNING flows, edge, first_seen, last_seen",
        )?
        .query_row(params![shape, change.flows, change.bytes, change.first, change.last], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
        })?;
    if flows == 0 {
        transaction.prepare_cached("DELETE FROM breach WHERE shape = ?1")?.execute([shape])?;
        transaction.prepare_cached("DELETE FROM shape WHERE row = ?1")?.execute([shape])?;
        return Ok((edge, true));
    }
    if change.gone_first <= first {
        transaction
            .prepare_cached(
                "UPDATE shape SET first_seen = (SELECT start FROM flow WHERE shape = ?1 ORDER BY start LIMIT 1)
                 WHERE row = ?1",
            )?
            .execute([shape])?;
    }
    if change.gone_last >= last {
        transaction.prepare_cached(LAST)?.execute(params![shape, HOUR])?;
    }
    Ok((edge, false))
}

fn settle_edge(transaction: &Transaction<'_>, edge: i64, bare: bool) -> Result<(), StoreError> {
    let gone = if bare {
        transaction
            .prepare_cached(
                "DELETE FROM edge WHERE row = ?1 AND NOT EXISTS (SELECT 1 FROM shape WHERE edge = ?1)",
            )?
            .execute([edge])?
    } else {
        0
    };
    if gone == 0 {
        transaction
            .prepare_cached(
                "UPDATE edge SET (flows, violating, connections, from_start, bytes, first_seen, last_seen) =
                    (SELECT sum(flows), sum(iif(judgement = ?2, flows, 0)), sum(iif(set_aside IS NOT ?3, flows, 0)),
                        sum(iif(set_aside IS NOT ?3 AND from_start, flows, 0)), sum(bytes), min(first_seen), max(last_seen)
                     FROM shape WHERE edge = ?1) WHERE row = ?1",
            )?
            .execute(params![edge, Judgement::Violates.name(), SetAside::Translated.name()])?;
    }
    Ok(())
}

/// Makes a finding say what its shapes say now; where it stands in lists is where its first flow does.
fn settle_finding(transaction: &Transaction<'_>, finding: i64, bare: bool) -> Result<(), StoreError> {
    let gone = if bare {
        transaction
            .prepare_cached(
                "DELETE FROM finding WHERE row = ?1 AND NOT EXISTS (SELECT 1 FROM breach WHERE finding = ?1)",
            )?
            .execute([finding])?
    } else {
        0
    };
    if gone == 0 {
        transaction
            .prepare_cached(
                "UPDATE finding SET (flows, proof, certainty, first_seen, last_seen) =
                    (SELECT sum(shape.flows), max(shape.proof), max(breach.certainty), min(shape.first_seen),
                        max(shape.last_seen)
                     FROM breach JOIN shape ON shape.row = breach.shape WHERE breach.finding = ?1),
                    edge = (SELECT shape.edge FROM breach JOIN shape ON shape.row = breach.shape
                        WHERE breach.finding = ?1 ORDER BY shape.first_seen, shape.row LIMIT 1)
                 WHERE row = ?1",
            )?
            .execute([finding])?;
    }
    Ok(())
}
