//! The tables, and how an older store becomes a current one.

use std::path::Path;

use rusqlite::Connection;

use crate::error::StoreError;

/// Marks the file as a store of ours (`wprf`).
pub(super) const APPLICATION: i64 = 0x7770_7266;

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
];

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
    if found < known {
        transaction.pragma_update(None, "application_id", APPLICATION)?;
        transaction.pragma_update(None, "user_version", known)?;
    }
    transaction.commit()?;
    Ok(())
}
