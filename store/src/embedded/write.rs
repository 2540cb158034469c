//! One batch into the tables, within one transaction.
//!
//! Flows change their shapes' sums by difference, gathered over the batch; edges and findings are then summed anew from their
//! shapes. A flow recorded again leaves everything as it was.

use std::collections::hash_map::Entry;

use analyzer::report::{Judged, SetAside, finding_key};
use flow::{FlowId, Timestamp};
use rusqlite::{OptionalExtension as _, Row, Transaction, params};

use super::sums::Changes;
use crate::Batch;
use crate::error::StoreError;
use crate::shape::{self, Names, Own};

pub(super) fn batch(transaction: &Transaction<'_>, batch: Batch, names: &Names) -> Result<(), StoreError> {
    let mut changes = Changes::default();
    for judged in batch.flows {
        flow(transaction, judged, names, &mut changes)?;
    }
    for gone in &batch.gone {
        let before = kept(transaction, gone.flow.start, gone.flow.id)?;
        if let Some(before) = before {
            transaction.prepare_cached("DELETE FROM flow WHERE row = ?1")?.execute([before.row])?;
            changes.less(&before, true);
        }
    }
    changes.settle(transaction)?;
    for (source, coverage) in &batch.coverage {
        transaction
            .prepare_cached("INSERT OR REPLACE INTO source (name, coverage) VALUES (?1, ?2)")?
            .execute(params![source, serde_json::to_string(coverage)?])?;
    }
    Ok(())
}

/// How many flows are forgotten in one transaction.
const FORGOTTEN: i64 = 5_000;

/// Forgets some of the flows that began before a time; tells whether there may be more.
pub(super) fn forget(transaction: &Transaction<'_>, before: Timestamp) -> Result<bool, StoreError> {
    let mut changes = Changes::default();
    let old = transaction
        .prepare_cached(&format!("SELECT {KEPT} FROM flow WHERE start < ?1 ORDER BY start, id LIMIT ?2"))?
        .query_map(params![before.as_nanos(), FORGOTTEN], Kept::read)?
        .collect::<Result<Vec<_>, _>>()?;
    for gone in &old {
        transaction.prepare_cached("DELETE FROM flow WHERE row = ?1")?.execute([gone.row])?;
        changes.less(gone, true);
    }
    changes.settle(transaction)?;
    Ok(!old.is_empty())
}

/// What is kept of a flow's own part, in SQLite's numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Kept {
    row: i64,
    pub(super) shape: i64,
    pub(super) start: i64,
    pub(super) finish: i64,
    client_port: u16,
    close: String,
    counts: [i64; 4],
    tcp_handshake: Option<i64>,
    translated: Option<String>,
    community_id: i64,
}

const KEPT: &str = "row, shape, start, finish, client_port, close, packets_client, packets_server, bytes_client, bytes_server,
    tcp_handshake, translated, community_id";

impl Kept {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            row: row.get(0)?,
            shape: row.get(1)?,
            start: row.get(2)?,
            finish: row.get(3)?,
            client_port: row.get(4)?,
            close: row.get(5)?,
            counts: [row.get(6)?, row.get(7)?, row.get(8)?, row.get(9)?],
            tcp_handshake: row.get(10)?,
            translated: row.get(11)?,
            community_id: row.get(12)?,
        })
    }

    pub(super) fn bytes(&self) -> i64 {
        self.counts[2].saturating_add(self.counts[3])
    }
}

/// Finds a flow that is there.
fn kept(transaction: &Transaction<'_>, start: Timestamp, id: FlowId) -> Result<Option<Kept>, StoreError> {
    let found = transaction
        .prepare_cached(&format!("SELECT {KEPT} FROM flow WHERE start = ?1 AND id = ?2"))?
        .query_row(params![start.as_nanos(), id.0.to_be_bytes()], Kept::read);
    Ok(found.optional()?)
}

fn flow(
    transaction: &Transaction<'_>,
    mut judged: Judged,
    names: &Names,
    changes: &mut Changes,
) -> Result<(), StoreError> {
    let community_id = judged.flow.community_id().folded().cast_signed();
    let own = Own::take(&mut judged);
    let name = names.of(&judged)?;
    let shape = match changes.shapes.entry(name) {
        Entry::Occupied(known) => *known.get(),
        Entry::Vacant(place) => *place.insert(shape_row(transaction, name, &judged)?),
    };
    let id = own.id.0.to_be_bytes();
    let before = kept(transaction, own.start, own.id)?;
    let counts = [own.packets.client, own.packets.server, own.bytes.client, own.bytes.server].map(whole);
    let mut now = Kept {
        row: before.as_ref().map_or(0, |before| before.row),
        shape,
        start: own.start.as_nanos(),
        finish: own.end.as_nanos(),
        client_port: own.client_port,
        close: own.close.name().into(),
        counts,
        tcp_handshake: own.tcp_handshake.map(|handshake| handshake.0.cast_signed()),
        translated: shape::write_other(own.translated)?,
        community_id,
    };
    match before {
        Some(before) if before == now => return Ok(()),
        Some(before) => {
            transaction
                .prepare_cached(
                    "UPDATE flow SET shape = ?2, finish = ?3, client_port = ?4, close = ?5, packets_client = ?6,
                        packets_server = ?7, bytes_client = ?8, bytes_server = ?9, tcp_handshake = ?10, translated = ?11,
                        community_id = ?12
                     WHERE row = ?1",
                )?
                .execute(params![
                    now.row,
                    now.shape,
                    now.finish,
                    now.client_port,
                    now.close,
                    counts[0],
                    counts[1],
                    counts[2],
                    counts[3],
                    now.tcp_handshake,
                    now.translated,
                    now.community_id
                ])?;
            // A later end of the same shape moves no first and no last time back.
            changes.less(&before, before.shape != now.shape || before.finish > now.finish);
        }
        None => {
            transaction
                .prepare_cached(
                    "INSERT INTO flow (id, shape, start, finish, client_port, close, packets_client, packets_server,
                        bytes_client, bytes_server, tcp_handshake, translated, community_id)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
                )?
                .execute(params![
                    id,
                    now.shape,
                    now.start,
                    now.finish,
                    now.client_port,
                    now.close,
                    counts[0],
                    counts[1],
                    counts[2],
                    counts[3],
                    now.tcp_handshake,
                    now.translated,
                    now.community_id
                ])?;
            now.row = transaction.last_insert_rowid();
        }
    }
    changes.more(&now);
    Ok(())
}

/// Returns the shape's row, made when it is new, with its edge and findings.
fn shape_row(transaction: &Transaction<'_>, name: u128, shape: &Judged) -> Result<i64, StoreError> {
    let hash = name.to_be_bytes();
    let found = transaction
        .prepare_cached("SELECT row FROM shape WHERE hash = ?1")?
        .query_row([&hash], |row| row.get(0))
        .optional()?;
    if let Some(row) = found {
        return Ok(row);
    }
    let edge = edge_row(transaction, shape)?;
    let proof = shape.flow.security.evidence().proof as i64;
    transaction
        .prepare_cached(
            "INSERT INTO shape (hash, edge, judgement, set_aside, from_start, proof, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )?
        .execute(params![
            hash,
            edge,
            shape.judgement.name(),
            shape.set_aside.map(SetAside::name),
            shape.flow.from_start,
            proof,
            shape::write(shape)?
        ])?;
    let row = transaction.last_insert_rowid();
    for violation in &shape.violations {
        let finding: i64 = transaction
            .prepare_cached(
                "INSERT INTO finding (key, id, rank, cause, edge) VALUES (?1, ?2, ?3, ?4, ?5)
                 ON CONFLICT (key) DO UPDATE SET rank = max(rank, excluded.rank) RETURNING row",
            )?
            .query_row(
                params![
                    finding_key(shape, violation),
                    violation.id,
                    violation.severity as i64,
                    violation.cause,
                    edge
                ],
                |row| row.get(0),
            )?;
        transaction
            .prepare_cached("INSERT OR IGNORE INTO breach (finding, shape, certainty) VALUES (?1, ?2, ?3)")?
            .execute([finding, row, violation.certainty as i64])?;
    }
    Ok(row)
}

/// Returns the edge's row, made when it is new.
fn edge_row(transaction: &Transaction<'_>, shape: &Judged) -> Result<i64, StoreError> {
    let (client, server, seen) = (&shape.client, &shape.server, &shape.flow);
    let identity = shape::edge(shape)?;
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
            client.name(),
            client.kind.name(),
            client.namespace,
            client.workload,
            server.name(),
            server.kind.name(),
            server.namespace,
            server.workload,
            seen.transport.name(),
            seen.server.port,
            seen.protocol.map(flow::Protocol::name),
            seen.security.class().name(),
            seen.security.evidence().proof.name()
        ])?;
    Ok(transaction.last_insert_rowid())
}

/// Brings a count into SQLite's range; none of ours comes near its end.
fn whole(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use flow::Class;

    use super::*;
    use crate::Store as _;
    use crate::embedded::Embedded;
    use crate::query::{Paging, Query};
    use crate::sample::sample;

    /// Flows before 1970, within one hour, in others, and longer than those that begin after them.
    #[tokio::test]
    async fn the_first_and_the_last_time_are_those_of_the_flows_that_are_left() {
        let folder = tempfile::tempdir().unwrap();
        let store = Embedded::open(folder.path().join("s.sqlite")).unwrap();
        let flow = |id: u128, start: i64, end: i64, class| {
            let mut judged = sample(id, start, class, None);
            judged.flow.end = Timestamp::from_nanos(end * 1_000_000_000);
            judged
        };
        let times = [(-9000, -8000), (-10, 50_000), (20, 60), (7300, 7310), (7400, 60_000), (7500, 7501)];
        let record = async |id: usize, class| {
            let (start, end) = times[id];
            let flows = vec![flow(id as u128, start, end, class)];
            store.record(Batch { flows, ..Batch::default() }).await.unwrap();
        };
        for id in 0..times.len() {
            record(id, Class::Mtls).await;
        }
        // Each becomes a flow of another class; what is left of the first class is an edge of its own.
        for (gone, left) in
            [(4, (-9000, 50_000)), (0, (-10, 50_000)), (1, (20, 7501)), (5, (20, 7310)), (2, (7300, 7310))]
        {
            record(gone, Class::Tls).await;
            let query = Query { class: vec![Class::Mtls], ..Query::default() };
            let edges = store.edges(&query, &Paging::first(10)).await.unwrap().rows;
            let told: Vec<_> = edges
                .iter()
                .map(|edge| [edge.first_seen, edge.last_seen].map(|at| at.as_nanos() / 1_000_000_000))
                .collect();
            assert_eq!(told, [[left.0, left.1]], "without {gone}");
            let since = Query { since: Some(Timestamp::from_nanos(-9000 * 1_000_000_000)), ..query };
            let totals = store.totals(&since).await.unwrap();
            let times =
                [totals.span.first, totals.span.last].map(|at| at.unwrap().as_nanos() / 1_000_000_000);
            assert_eq!(times, [left.0, left.1], "by the hours, without {gone}");
        }
    }
}
