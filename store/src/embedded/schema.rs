//! The tables, and how an older store becomes a current one.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::path::Path;

use analyzer::report::Judged;
use flow::CommunityId;
use rusqlite::{Connection, Transaction};

use super::write;
use crate::Batch;
use crate::error::StoreError;
use crate::shape::Names;

/// Marks the file as a store of ours (`wprf`).
pub(super) const APPLICATION: i64 = 0x7770_7266;

/// How many flows are converted at once.
const CONVERTED: i64 = 5_000;

/// The version from which on flows are kept with their Community ID.
const NAMED: i64 = 6;

/// One step from each schema version to the next; the version is how many were taken.
const MIGRATIONS: &[&str] = &[
    // An edge holds what many flows share, so that lists and totals need not read the flows' own forms.
    "
    CREATE TABLE edge (
        row INTEGER PRIMARY KEY,
        identity TEXT NOT NULL UNIQUE,
        client_name TEXT NOT NULL,
        client_kind TEXT NOT NULL,
        client_namespace TEXT,
        client_workload TEXT,
        server_name TEXT NOT NULL,
        server_kind TEXT NOT NULL,
        server_namespace TEXT,
        server_workload TEXT,
        transport TEXT NOT NULL,
        port INTEGER NOT NULL,
        protocol TEXT,
        class TEXT NOT NULL,
        proof TEXT NOT NULL,
        flows INTEGER NOT NULL DEFAULT 0,
        violating INTEGER NOT NULL DEFAULT 0,
        bytes INTEGER NOT NULL DEFAULT 0,
        first_seen INTEGER NOT NULL DEFAULT 0,
        last_seen INTEGER NOT NULL DEFAULT 0
    );
    CREATE INDEX edge_by_time ON edge (first_seen, identity);
    CREATE TABLE flow (
        row INTEGER PRIMARY KEY,
        id TEXT NOT NULL UNIQUE,
        edge INTEGER NOT NULL REFERENCES edge (row),
        start INTEGER NOT NULL,
        finish INTEGER NOT NULL,
        judgement TEXT NOT NULL,
        bytes INTEGER NOT NULL,
        body TEXT NOT NULL
    );
    CREATE INDEX flow_by_time ON flow (start, id);
    CREATE INDEX flow_by_edge ON flow (edge, start);
    CREATE INDEX flow_by_edge_end ON flow (edge, finish);
    CREATE INDEX flow_by_judgement ON flow (judgement, start);
    CREATE TABLE finding (
        row INTEGER PRIMARY KEY,
        key TEXT NOT NULL UNIQUE,
        id TEXT NOT NULL,
        rank INTEGER NOT NULL DEFAULT 0,
        cause TEXT,
        flows INTEGER NOT NULL DEFAULT 0,
        proof INTEGER NOT NULL DEFAULT 0,
        certainty INTEGER NOT NULL DEFAULT 0,
        first_seen INTEGER NOT NULL DEFAULT 0,
        last_seen INTEGER NOT NULL DEFAULT 0,
        edge INTEGER NOT NULL DEFAULT 0,
        body TEXT NOT NULL DEFAULT ''
    );
    CREATE INDEX finding_by_rank ON finding (rank, first_seen, key);
    CREATE TABLE violation (
        flow INTEGER NOT NULL REFERENCES flow (row),
        finding INTEGER NOT NULL REFERENCES finding (row),
        start INTEGER NOT NULL,
        id TEXT NOT NULL,
        finish INTEGER NOT NULL,
        proof INTEGER NOT NULL,
        certainty INTEGER NOT NULL,
        PRIMARY KEY (flow, finding)
    ) WITHOUT ROWID;
    CREATE INDEX violation_by_start ON violation (finding, start, id);
    CREATE INDEX violation_by_end ON violation (finding, finish);
    CREATE INDEX violation_by_proof ON violation (finding, proof);
    CREATE INDEX violation_by_certainty ON violation (finding, certainty);
    CREATE TABLE source (name TEXT PRIMARY KEY, coverage TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE mesh (
        id TEXT PRIMARY KEY,
        taken_at INTEGER NOT NULL,
        manifests TEXT NOT NULL
    );
    CREATE INDEX mesh_by_time ON mesh (taken_at);
    ",
    // Which declarations were in force from when. What was kept before counts from when it was last read.
    "
    CREATE TABLE mesh_since (since INTEGER PRIMARY KEY, id TEXT NOT NULL);
    INSERT OR REPLACE INTO mesh_since (since, id) SELECT taken_at, id FROM mesh ORDER BY taken_at, id DESC;
    ",
    // What flows share is kept once, as a shape. Edges and findings are sums over shapes, and the counts of every hour answer
    // what is asked of a stretch of time. There is no index on a flow's id alone: ids are random, and to keep one in order
    // costs more than all the rest. The start is as good as part of the id.
    "
    CREATE TABLE converted AS SELECT row, body FROM flow;
    DROP TABLE violation;
    DROP TABLE flow;
    DROP TABLE finding;
    DROP TABLE edge;
    CREATE TABLE edge (
        row INTEGER PRIMARY KEY,
        identity TEXT NOT NULL UNIQUE,
        client_name TEXT NOT NULL,
        client_kind TEXT NOT NULL,
        client_namespace TEXT,
        client_workload TEXT,
        server_name TEXT NOT NULL,
        server_kind TEXT NOT NULL,
        server_namespace TEXT,
        server_workload TEXT,
        transport TEXT NOT NULL,
        port INTEGER NOT NULL,
        protocol TEXT,
        class TEXT NOT NULL,
        proof TEXT NOT NULL,
        flows INTEGER NOT NULL DEFAULT 0,
        violating INTEGER NOT NULL DEFAULT 0,
        bytes INTEGER NOT NULL DEFAULT 0,
        first_seen INTEGER NOT NULL DEFAULT 0,
        last_seen INTEGER NOT NULL DEFAULT 0
    );
    CREATE INDEX edge_by_time ON edge (first_seen, identity);
    CREATE TABLE shape (
        row INTEGER PRIMARY KEY,
        hash BLOB NOT NULL UNIQUE,
        edge INTEGER NOT NULL REFERENCES edge (row),
        judgement TEXT NOT NULL,
        proof INTEGER NOT NULL,
        flows INTEGER NOT NULL DEFAULT 0,
        bytes INTEGER NOT NULL DEFAULT 0,
        first_seen INTEGER NOT NULL DEFAULT 9223372036854775807,
        last_seen INTEGER NOT NULL DEFAULT -9223372036854775808,
        body TEXT NOT NULL
    );
    CREATE INDEX shape_by_edge ON shape (edge);
    CREATE TABLE flow (
        row INTEGER PRIMARY KEY,
        id BLOB NOT NULL,
        shape INTEGER NOT NULL,
        start INTEGER NOT NULL,
        finish INTEGER NOT NULL,
        client_port INTEGER NOT NULL,
        close TEXT NOT NULL,
        packets_client INTEGER NOT NULL,
        packets_server INTEGER NOT NULL,
        bytes_client INTEGER NOT NULL,
        bytes_server INTEGER NOT NULL
    );
    CREATE INDEX flow_by_time ON flow (start, id, shape);
    CREATE INDEX flow_by_shape ON flow (shape, start, id);
    CREATE TABLE hour (
        hour INTEGER NOT NULL,
        shape INTEGER NOT NULL,
        flows INTEGER NOT NULL,
        first_seen INTEGER NOT NULL,
        last_seen INTEGER NOT NULL,
        PRIMARY KEY (hour, shape)
    ) WITHOUT ROWID;
    CREATE TABLE finding (
        row INTEGER PRIMARY KEY,
        key TEXT NOT NULL UNIQUE,
        id TEXT NOT NULL,
        rank INTEGER NOT NULL,
        cause TEXT,
        flows INTEGER NOT NULL DEFAULT 0,
        proof INTEGER NOT NULL DEFAULT 0,
        certainty INTEGER NOT NULL DEFAULT 0,
        first_seen INTEGER NOT NULL DEFAULT 0,
        last_seen INTEGER NOT NULL DEFAULT 0,
        edge INTEGER NOT NULL
    );
    CREATE INDEX finding_by_rank ON finding (rank, first_seen, key);
    CREATE TABLE breach (
        finding INTEGER NOT NULL,
        shape INTEGER NOT NULL,
        certainty INTEGER NOT NULL,
        PRIMARY KEY (finding, shape)
    ) WITHOUT ROWID;
    CREATE INDEX breach_by_shape ON breach (shape);
    ",
    // By what a connection is known on both sides of an address translation; the index of times leads to it.
    "
    ALTER TABLE flow ADD COLUMN tcp_handshake INTEGER;
    ALTER TABLE flow ADD COLUMN translated TEXT;
    DROP INDEX flow_by_time;
    CREATE INDEX flow_by_time ON flow (start, id, shape, tcp_handshake);
    ",
    // Why flows were not judged: connections are counted without the sides of translations that are told on another side.
    "
    ALTER TABLE shape ADD COLUMN set_aside TEXT;
    UPDATE shape SET set_aside = json_extract(body, '$.set_aside');
    ",
    // By what flows are looked up: the index of times leads to it. Edges know how many of their flows are connections that are told
    // nowhere else, and of how many of those the opening was seen.
    "
    ALTER TABLE flow ADD COLUMN community_id INTEGER NOT NULL DEFAULT 0;
    DROP INDEX flow_by_time;
    CREATE INDEX flow_by_time ON flow (start, id, shape, tcp_handshake, community_id);
    ALTER TABLE shape ADD COLUMN from_start INTEGER NOT NULL DEFAULT 0;
    UPDATE shape SET from_start = json_extract(body, '$.flow.from_start');
    ALTER TABLE edge ADD COLUMN connections INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE edge ADD COLUMN from_start INTEGER NOT NULL DEFAULT 0;
    UPDATE edge SET (connections, from_start) =
        (SELECT sum(iif(set_aside IS NOT 'translated', flows, 0)),
            sum(iif(set_aside IS NOT 'translated' AND shape.from_start, flows, 0))
         FROM shape WHERE shape.edge = edge.row);
    ",
];

/// Records again what the version before shapes had kept.
fn convert(transaction: &Transaction<'_>) -> Result<(), StoreError> {
    let (mut last, names) = (i64::MIN, Names::default());
    loop {
        let rows = transaction
            .prepare_cached("SELECT row, body FROM converted WHERE row > ?1 ORDER BY row LIMIT ?2")?
            .query_map([last, CONVERTED], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?)))?
            .collect::<Result<Vec<_>, _>>()?;
        let Some((row, _)) = rows.last() else { break };
        last = *row;
        let flows = rows.iter().map(|(_, body)| serde_json::from_str(body)).collect::<Result<_, _>>()?;
        write::batch(transaction, Batch { flows, ..Batch::default() }, &names)?;
    }
    transaction.execute_batch("DROP TABLE converted")?;
    Ok(())
}

/// Gives flows that an older version kept their Community ID: it follows from their ends, which are in their shapes, and their
/// client's port.
fn name(transaction: &Transaction<'_>) -> Result<(), StoreError> {
    let (mut last, mut ends) = (i64::MIN, HashMap::new());
    loop {
        let rows = transaction
            .prepare_cached("SELECT row, shape, client_port FROM flow WHERE row > ?1 ORDER BY row LIMIT ?2")?
            .query_map([last, CONVERTED], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
            .collect::<Result<Vec<(i64, i64, u16)>, _>>()?;
        let Some((row, ..)) = rows.last() else { return Ok(()) };
        last = *row;
        for (row, shape, client_port) in rows {
            let (transport, mut client, server) = match ends.entry(shape) {
                Entry::Occupied(known) => *known.get(),
                Entry::Vacant(place) => {
                    let body: String = transaction
                        .prepare_cached("SELECT body FROM shape WHERE row = ?1")?
                        .query_row([shape], |row| row.get(0))?;
                    let judged: Judged = serde_json::from_str(&body)?;
                    *place.insert((judged.flow.transport, judged.flow.client, judged.flow.server))
                }
            };
            client.port = client_port;
            let community_id = CommunityId::new(transport, client, server).folded().cast_signed();
            transaction
                .prepare_cached("UPDATE flow SET community_id = ?2 WHERE row = ?1")?
                .execute([row, community_id])?;
        }
    }
}

/// The newest version.
pub(super) fn known() -> i64 {
    i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX)
}

/// Returns the schema's version; absent where the file is empty.
///
/// # Errors
///
/// When the database is another program's, or of a later version, or cannot be read.
pub(super) fn version(connection: &Connection, path: &Path) -> Result<Option<i64>, StoreError> {
    let place = || path.display().to_string();
    let application: i64 = connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
    let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if application != APPLICATION && (application != 0 || tables > 0) {
        return Err(StoreError::Foreign { place: place() });
    }
    let found: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let known = known();
    if found > known {
        return Err(StoreError::NewerSchema { place: place(), found, known });
    }
    Ok((application == APPLICATION).then_some(found))
}

/// Brings a freshly opened database to the current schema.
///
/// # Errors
///
/// When the database is another program's, or of a later version, or cannot be written.
pub(super) fn migrate(connection: &mut Connection, path: &Path) -> Result<(), StoreError> {
    let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    let found = version(&transaction, path)?.unwrap_or(0);
    let known = known();
    let taken = usize::try_from(found).unwrap_or(0);
    for step in MIGRATIONS.iter().skip(taken) {
        transaction.execute_batch(step)?;
    }
    if transaction.table_exists(None, "converted")? {
        convert(&transaction)?;
    }
    if (1..NAMED).contains(&found) {
        name(&transaction)?;
    }
    if found < known {
        transaction.pragma_update(None, "application_id", APPLICATION)?;
        transaction.pragma_update(None, "user_version", known)?;
    }
    transaction.commit()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use flow::{Class, FlowId};
    use rusqlite::params;

    use super::*;
    use crate::Store as _;
    use crate::embedded::Embedded;
    use crate::query::Query;
    use crate::sample::sample;

    #[tokio::test]
    async fn what_an_older_version_kept_is_there_after_the_migration() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s.sqlite");
        let old = Connection::open(&path).unwrap();
        for step in &MIGRATIONS[..1] {
            old.execute_batch(step).unwrap();
        }
        old.pragma_update(None, "application_id", APPLICATION).unwrap();
        old.pragma_update(None, "user_version", 1).unwrap();
        old.execute_batch(
            "INSERT INTO mesh (id, taken_at, manifests) VALUES ('one', 7, '[]');
             INSERT INTO edge (row, identity, client_name, client_kind, server_name, server_kind, transport, port, class, proof)
             VALUES (1, '', '', '', '', '', '', 0, '', '')",
        )
        .unwrap();
        let kept: Vec<_> = (1..=3).map(|id| sample(id, 100, Class::Mtls, None)).collect();
        for judged in &kept {
            old.execute(
                "INSERT INTO flow (id, edge, start, finish, judgement, bytes, body) VALUES (?1, 1, 0, 0, '', 0, ?2)",
                params![judged.flow.id.to_string(), serde_json::to_string(judged).unwrap()],
            )
            .unwrap();
        }
        drop(old);
        let store = Embedded::open(&path).unwrap();
        assert_eq!(store.flow(FlowId(2)).await.unwrap().as_ref(), kept.get(1));
        assert_eq!(store.totals(&Query::default()).await.unwrap().judgements["conforms"], 3);
        let at = flow::Timestamp::from_nanos(8);
        assert_eq!(store.mesh_at(at).await.unwrap().map(|mesh| mesh.version.id), Some("one".into()));
    }
}
