//! Declarations: each content once, and from when it was in force.

use analyzer::mesh::Manifest;
use flow::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, Params, Row, Transaction, params};

use crate::answer::{MeshSnapshot, MeshVersion};
use crate::error::StoreError;

/// How many contents are kept; those not read for longest give way.
const CONTENTS: i64 = 100;

/// How many changes of what is in force are kept.
const CHANGES: i64 = 10_000;

pub(super) fn put(transaction: &Transaction<'_>, snapshot: &MeshSnapshot) -> Result<(), StoreError> {
    let MeshVersion { id, taken_at } = &snapshot.version;
    let taken_at = taken_at.as_nanos();
    let manifests: Vec<(&str, &str)> =
        snapshot.manifests.iter().map(|file| (file.file.as_str(), file.text.as_str())).collect();
    transaction.execute(
        "INSERT INTO mesh (id, taken_at, manifests) VALUES (?1, ?2, ?3)
         ON CONFLICT (id) DO UPDATE SET taken_at = max(taken_at, excluded.taken_at)",
        params![id, taken_at, serde_json::to_string(&manifests)?],
    )?;
    let in_force: Option<String> = transaction
        .query_row(
            "SELECT id FROM mesh_since WHERE since <= ?1 ORDER BY since DESC LIMIT 1",
            [taken_at],
            |row| row.get(0),
        )
        .optional()?;
    if in_force.as_ref() != Some(id) {
        transaction.execute(
            "INSERT OR REPLACE INTO mesh_since (since, id) VALUES (?1, ?2)",
            params![taken_at, id],
        )?;
    }
    transaction.execute(
        "DELETE FROM mesh WHERE id NOT IN (SELECT id FROM mesh ORDER BY taken_at DESC, id LIMIT ?1)",
        [CONTENTS],
    )?;
    transaction.execute(
        "DELETE FROM mesh_since WHERE since NOT IN (SELECT since FROM mesh_since ORDER BY since DESC LIMIT ?1)
            OR id NOT IN (SELECT id FROM mesh)",
        [CHANGES],
    )?;
    Ok(())
}

pub(super) fn latest(base: &Connection) -> Result<Option<MeshSnapshot>, StoreError> {
    one(base, "SELECT id, taken_at, manifests FROM mesh ORDER BY taken_at DESC, id LIMIT 1", [])
}

pub(super) fn in_force(base: &Connection, at: Timestamp) -> Result<Option<MeshSnapshot>, StoreError> {
    one(
        base,
        "SELECT mesh.id, since, manifests FROM mesh_since JOIN mesh ON mesh.id = mesh_since.id
         WHERE since <= ?1 ORDER BY since DESC LIMIT 1",
        [at.as_nanos()],
    )
}

pub(super) fn versions(base: &Connection) -> Result<Vec<MeshVersion>, StoreError> {
    let mut statement = base.prepare("SELECT id, taken_at FROM mesh ORDER BY taken_at DESC, id")?;
    let rows = statement.query_map([], version)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn one(base: &Connection, sql: &str, values: impl Params) -> Result<Option<MeshSnapshot>, StoreError> {
    let found =
        base.query_row(sql, values, |row| Ok((version(row)?, row.get::<_, String>(2)?))).optional()?;
    let Some((version, manifests)) = found else { return Ok(None) };
    let manifests: Vec<(String, String)> = serde_json::from_str(&manifests)?;
    let manifests = manifests.into_iter().map(|(file, text)| Manifest { file, text }).collect();
    Ok(Some(MeshSnapshot { version, manifests }))
}

fn version(row: &Row<'_>) -> rusqlite::Result<MeshVersion> {
    Ok(MeshVersion { id: row.get(0)?, taken_at: Timestamp::from_nanos(row.get(1)?) })
}
