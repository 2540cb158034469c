//! The embedded store, where a file is as an older program left it.

#![expect(clippy::unwrap_used, reason = "a test may stop here")]

mod older;

use rusqlite::Connection;
use store::embedded::Embedded;
use store::{Store as _, contract};

use crate::older::{kept, mesh, told_again};

#[tokio::test]
async fn what_version_3_kept_is_there_after_the_migration() {
    what_was_kept_is_there(3, include_str!("older/embedded-3.sql"), |name| match name {
        "hash" => Some("randomblob(16)"),
        "body" => Some("json_remove(body, '$.flow.community_id', '$.flow.tcp_handshake', '$.translated')"),
        _ => None,
    })
    .await;
}

#[tokio::test]
async fn what_version_5_kept_is_there_after_the_migration() {
    what_was_kept_is_there(5, include_str!("older/embedded-5.sql"), |_| None).await;
}

/// What an older version had: its own tables, filled with what this version keeps, as far as that one knew it. `shape` names what
/// differs in its shapes.
async fn what_was_kept_is_there(version: i64, ddl: &str, shape: fn(&str) -> Option<&'static str>) {
    let folder = tempfile::tempdir().unwrap();
    let (now, before) = (folder.path().join("now.sqlite"), folder.path().join("before.sqlite"));
    let fresh = Embedded::open(&now).unwrap();
    fresh.record(kept()).await.unwrap();
    fresh.put_mesh(&mesh()).await.unwrap();
    let old = Connection::open(&before).unwrap();
    old.execute_batch(ddl).unwrap();
    old.execute("ATTACH ?1 AS now", [now.to_str().unwrap()]).unwrap();
    for table in ["source", "mesh", "mesh_since", "edge", "shape", "flow", "hour", "finding", "breach"] {
        let columns: Vec<String> = old
            .prepare("SELECT name FROM pragma_table_info(?1, 'main')")
            .unwrap()
            .query_map([table], |row| row.get(0))
            .unwrap()
            .collect::<Result<_, _>>()
            .unwrap();
        let values: Vec<&str> = columns
            .iter()
            .map(|name| if table == "shape" { shape(name).unwrap_or(name) } else { name })
            .collect();
        let (columns, values) = (columns.join(", "), values.join(", "));
        old.execute(&format!("INSERT INTO main.{table} ({columns}) SELECT {values} FROM now.{table}"), [])
            .unwrap();
    }
    drop(old);
    let status = Embedded::status(&before).unwrap();
    assert_eq!((status.version, status.flows), (Some(version), 250));
    let migrated = Embedded::open(&before).unwrap();
    contract::answer_alike(&migrated, &fresh).await;
    for delivered in [kept(), told_again()] {
        fresh.record(delivered.clone()).await.unwrap();
        migrated.record(delivered).await.unwrap();
        contract::answer_alike(&migrated, &fresh).await;
    }
}
