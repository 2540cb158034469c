//! One batch into the tables, within one transaction.
//!
//! Edges and findings are kept up as flows come, move and are replaced: counts by difference, times and strengths from
//! the indexes. A flow recorded again leaves everything as it was.

use std::collections::BTreeSet;

use analyzer::report::{Finding, Judged, Judgement, finding_key};
use flow::{FlowId, Timestamp};
use rusqlite::{OptionalExtension as _, Row, Transaction, params};

use crate::Batch;
use crate::error::StoreError;
use crate::shape;

/// How many of its flows a finding names.
const EXAMPLES: i64 = 5;

pub(super) fn batch(transaction: &Transaction<'_>, batch: &Batch) -> Result<(), StoreError> {
    let mut touched = Touched::default();
    for judged in &batch.flows {
        flow(transaction, judged, &mut touched)?;
    }
    touched.refresh(transaction)?;
    if let Some(coverage) = &batch.coverage {
        transaction
            .prepare_cached("INSERT OR REPLACE INTO source (name, coverage) VALUES (?1, ?2)")?
            .execute(params![batch.source, serde_json::to_string(coverage)?])?;
    }
    Ok(())
}

/// How many flows are forgotten in one transaction.
const FORGOTTEN: i64 = 5_000;

/// Forgets some of the flows that began before a time; tells whether there may be more.
pub(super) fn forget(transaction: &Transaction<'_>, before: Timestamp) -> Result<bool, StoreError> {
    let mut touched = Touched::default();
    let old = transaction
        .prepare_cached(
            "SELECT row, edge, judgement, bytes FROM flow WHERE start < ?1 ORDER BY start, id LIMIT ?2",
        )?
        .query_map(params![before.as_nanos(), FORGOTTEN], Before::read)?
        .collect::<Result<Vec<_>, _>>()?;
    for gone in &old {
        withdraw(transaction, gone, &mut touched)?;
        transaction.prepare_cached("DELETE FROM flow WHERE row = ?1")?.execute([gone.row])?;
    }
    touched.refresh(transaction)?;
    Ok(!old.is_empty())
}

#[derive(Default)]
struct Touched {
    edges: BTreeSet<i64>,
    findings: BTreeSet<i64>,
}

impl Touched {
    fn refresh(&self, transaction: &Transaction<'_>) -> Result<(), StoreError> {
        for edge in &self.edges {
            refresh_edge(transaction, *edge)?;
        }
        for finding in &self.findings {
            refresh_finding(transaction, *finding)?;
        }
        Ok(())
    }
}

struct Before {
    row: i64,
    edge: i64,
    violating: bool,
    bytes: i64,
}

impl Before {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            row: row.get(0)?,
            edge: row.get(1)?,
            violating: row.get::<_, String>(2)? == Judgement::Violates.name(),
            bytes: row.get(3)?,
        })
    }
}

fn flow(transaction: &Transaction<'_>, judged: &Judged, touched: &mut Touched) -> Result<(), StoreError> {
    let seen = &judged.flow;
    let id = seen.id.to_string();
    let (start, finish) = (seen.start.as_nanos(), seen.end.as_nanos());
    let bytes = whole(seen.bytes.client.saturating_add(seen.bytes.server));
    let violating = judged.judgement == Judgement::Violates;
    let body = serde_json::to_string(judged)?;
    let edge = edge(transaction, judged)?;
    let before = transaction
        .prepare_cached("SELECT row, edge, judgement, bytes FROM flow WHERE id = ?1")?
        .query_row([&id], Before::read)
        .optional()?;
    let row = if let Some(before) = before {
        withdraw(transaction, &before, touched)?;
        transaction
            .prepare_cached(
                "UPDATE flow SET edge = ?2, start = ?3, finish = ?4, judgement = ?5, bytes = ?6, body = ?7 WHERE row = ?1",
            )?
            .execute(params![before.row, edge, start, finish, judged.judgement.name(), bytes, body])?;
        before.row
    } else {
        transaction
            .prepare_cached(
                "INSERT INTO flow (id, edge, start, finish, judgement, bytes, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            )?
            .execute(params![id, edge, start, finish, judged.judgement.name(), bytes, body])?;
        transaction.last_insert_rowid()
    };
    count_on_edge(transaction, edge, 1, violating, bytes)?;
    touched.edges.insert(edge);
    for violation in &judged.violations {
        let key = finding_key(judged, violation);
        let finding: i64 = transaction
            .prepare_cached(
                "INSERT INTO finding (key, id, cause) VALUES (?1, ?2, ?3)
                 ON CONFLICT (key) DO UPDATE SET key = key RETURNING row",
            )?
            .query_row(params![key, violation.id, violation.cause], |row| row.get(0))?;
        let added = transaction
            .prepare_cached(
                "INSERT OR IGNORE INTO violation (flow, finding, start, id, finish, proof, certainty)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            )?
            .execute(params![
                row,
                finding,
                start,
                id,
                finish,
                seen.security.evidence().proof as i64,
                violation.certainty as i64
            ])?;
        if added > 0 {
            transaction
                .prepare_cached("UPDATE finding SET flows = flows + 1 WHERE row = ?1")?
                .execute([finding])?;
        }
        touched.findings.insert(finding);
    }
    Ok(())
}

/// Takes an earlier report of a flow out of its edge and findings.
fn withdraw(transaction: &Transaction<'_>, before: &Before, touched: &mut Touched) -> Result<(), StoreError> {
    count_on_edge(transaction, before.edge, -1, before.violating, before.bytes)?;
    touched.edges.insert(before.edge);
    let mut gone = transaction.prepare_cached("DELETE FROM violation WHERE flow = ?1 RETURNING finding")?;
    let findings = gone.query_map([before.row], |row| row.get(0))?.collect::<Result<Vec<i64>, _>>()?;
    for finding in findings {
        transaction
            .prepare_cached("UPDATE finding SET flows = flows - 1 WHERE row = ?1")?
            .execute([finding])?;
        touched.findings.insert(finding);
    }
    Ok(())
}

fn count_on_edge(
    transaction: &Transaction<'_>,
    edge: i64,
    sign: i64,
    violating: bool,
    bytes: i64,
) -> Result<(), StoreError> {
    transaction
        .prepare_cached(
            "UPDATE edge SET flows = flows + ?2, violating = violating + ?3, bytes = bytes + ?4 WHERE row = ?1",
        )?
        .execute(params![edge, sign, sign * i64::from(violating), sign * bytes])?;
    Ok(())
}

/// Returns the edge's row, made when it is new.
fn edge(transaction: &Transaction<'_>, judged: &Judged) -> Result<i64, StoreError> {
    let (client, server, seen) = (&judged.client, &judged.server, &judged.flow);
    let (class, proof) = (seen.security.class(), seen.security.evidence().proof);
    let (client_name, server_name) = (client.name(), server.name());
    let identity = shape::edge(judged)?;
    let found = transaction
        .prepare_cached("SELECT row FROM edge WHERE identity = ?1")?
        .query_row([&identity], |row| row.get(0))
        .optional()?;
    if let Some(row) = found {
        return Ok(row);
    }
    transaction
        .prepare_cached(
            "INSERT INTO edge (identity, client_name, client_kind, client_namespace, client_workload, server_name,
                server_kind, server_namespace, server_workload, transport, port, protocol, class, proof)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)",
        )?
        .execute(params![
            identity,
            client_name,
            client.kind.name(),
            client.namespace,
            client.workload,
            server_name,
            server.kind.name(),
            server.namespace,
            server.workload,
            seen.transport.name(),
            seen.server.port,
            seen.protocol.map(flow::Protocol::name),
            class.name(),
            proof.name()
        ])?;
    Ok(transaction.last_insert_rowid())
}

fn refresh_edge(transaction: &Transaction<'_>, edge: i64) -> Result<(), StoreError> {
    let gone =
        transaction.prepare_cached("DELETE FROM edge WHERE row = ?1 AND flows = 0")?.execute([edge])?;
    if gone == 0 {
        transaction
            .prepare_cached(
                "UPDATE edge SET first_seen = (SELECT min(start) FROM flow WHERE edge = ?1),
                    last_seen = (SELECT max(finish) FROM flow WHERE edge = ?1) WHERE row = ?1",
            )?
            .execute([edge])?;
    }
    Ok(())
}

/// Makes a finding say what its flows say now. Its words are those of its first flow, whatever the order of arrival.
fn refresh_finding(transaction: &Transaction<'_>, finding: i64) -> Result<(), StoreError> {
    let gone =
        transaction.prepare_cached("DELETE FROM finding WHERE row = ?1 AND flows = 0")?.execute([finding])?;
    if gone > 0 {
        return Ok(());
    }
    let (body, edge): (String, i64) = transaction
        .prepare_cached(
            "SELECT flow.body, flow.edge FROM violation JOIN flow ON flow.row = violation.flow
             WHERE violation.finding = ?1 ORDER BY violation.start, violation.id LIMIT 1",
        )?
        .query_row([finding], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let key: String = transaction
        .prepare_cached("SELECT key FROM finding WHERE row = ?1")?
        .query_row([finding], |row| row.get(0))?;
    let judged: Judged = serde_json::from_str(&body)?;
    let Some(violation) = judged.violations.iter().find(|violation| finding_key(&judged, violation) == key)
    else {
        return Err(StoreError::Word(format!("finding {key} is not among its first flow's violations")));
    };
    let mut form = Finding::new(&judged, violation);
    let mut examples = transaction
        .prepare_cached("SELECT id FROM violation WHERE finding = ?1 ORDER BY start, id LIMIT ?2")?;
    form.examples = examples
        .query_map([finding, EXAMPLES], |row| row.get::<_, String>(0))?
        .map(|id| id?.parse::<FlowId>().map_err(StoreError::Word))
        .collect::<Result<_, StoreError>>()?;
    transaction
        .prepare_cached(
            "UPDATE finding SET rank = ?2, edge = ?3, body = ?4,
                first_seen = (SELECT min(start) FROM violation WHERE finding = ?1),
                last_seen = (SELECT max(finish) FROM violation WHERE finding = ?1),
                proof = (SELECT max(proof) FROM violation WHERE finding = ?1),
                certainty = (SELECT max(certainty) FROM violation WHERE finding = ?1)
             WHERE row = ?1",
        )?
        .execute(params![finding, form.severity as i64, edge, serde_json::to_string(&form)?])?;
    Ok(())
}

/// Brings a count into SQLite's range; none of ours comes near its end.
fn whole(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
