//! The default store: one SQLite file, no server.
//!
//! One connection writes, a few others read beside it (write-ahead log). The blocking work runs on tokio's blocking
//! threads. A batch is one transaction: a crash in the middle leaves what was there before it.

mod filter;
mod read;
mod schema;
mod write;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use analyzer::mesh::Manifest;
use analyzer::report::{Finding, Judged};
use flow::{FlowId, Timestamp};
use rusqlite::{Connection, OpenFlags, OptionalExtension as _, TransactionBehavior, params};
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

use crate::answer::{
    Edge, MatrixCell, MeshSnapshot, MeshVersion, Page, Sources, Tally, TimelineBucket, Totals,
};
use crate::error::StoreError;
use crate::query::{Paging, Query};
use crate::{Batch, Store};

/// How many questions are answered at once; the others wait.
const READERS: usize = 4;

/// How many mesh snapshots are kept; older ones give way.
const SNAPSHOTS: i64 = 100;

/// How long a connection waits for another program that holds the file.
const PATIENCE: Duration = Duration::from_secs(10);

/// A store in one SQLite file.
#[derive(Debug, Clone)]
pub struct Embedded {
    base: Arc<Base>,
}

#[derive(Debug)]
struct Base {
    path: PathBuf,
    writer: Mutex<Connection>,
    idle: Mutex<Vec<Connection>>,
    readers: Semaphore,
}

impl Embedded {
    /// Opens the store, makes it when it is not there, and brings an older one up to date. Blocks.
    ///
    /// # Errors
    ///
    /// When the file cannot be opened, is another program's, or was written by a later version.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        let path = path.as_ref().to_path_buf();
        let open = |source| StoreError::Open { path: path.clone(), source };
        let mut writer = Connection::open(&path).map_err(open)?;
        writer.busy_timeout(PATIENCE).map_err(open)?;
        schema::migrate(&mut writer, &path)
            .map_err(|error| if let StoreError::Database(source) = error { open(source) } else { error })?;
        writer.pragma_update(None, "journal_mode", "wal").map_err(open)?;
        writer.pragma_update(None, "synchronous", "normal").map_err(open)?;
        writer.pragma_update(None, "foreign_keys", true).map_err(open)?;
        let base = Base {
            path,
            writer: Mutex::new(writer),
            idle: Mutex::new(Vec::new()),
            readers: Semaphore::new(READERS),
        };
        Ok(Self { base: Arc::new(base) })
    }

    async fn read<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let base = Arc::clone(&self.base);
        let _turn = self.base.readers.acquire().await.map_err(|_| StoreError::Stopped)?;
        spawn_blocking(move || {
            let kept = lock(&base.idle).pop();
            let connection = match kept {
                Some(connection) => connection,
                None => {
                    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
                    let connection = Connection::open_with_flags(&base.path, flags)?;
                    connection.busy_timeout(PATIENCE)?;
                    connection
                }
            };
            let answer = question(&connection)?;
            lock(&base.idle).push(connection);
            Ok(answer)
        })
        .await
        .map_err(|_| StoreError::Stopped)?
    }

    async fn write<T: Send + 'static>(
        &self,
        change: impl FnOnce(&rusqlite::Transaction<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let base = Arc::clone(&self.base);
        spawn_blocking(move || {
            let mut writer = lock(&base.writer);
            let transaction = writer.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let done = change(&transaction)?;
            transaction.commit()?;
            Ok(done)
        })
        .await
        .map_err(|_| StoreError::Stopped)?
    }
}

/// A thread that died while it held the lock left no half of a transaction behind: SQLite rolled it back.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[async_trait::async_trait]
impl Store for Embedded {
    async fn record(&self, batch: Batch) -> Result<(), StoreError> {
        self.write(move |transaction| write::batch(transaction, &batch)).await
    }

    async fn flows(&self, query: &Query, paging: &Paging) -> Result<Page<Judged>, StoreError> {
        let (query, paging) = (query.clone(), paging.clone());
        self.read(move |base| read::flows(base, &query, &paging)).await
    }

    async fn flow(&self, id: FlowId) -> Result<Option<Judged>, StoreError> {
        self.read(move |base| read::flow(base, id)).await
    }

    async fn edges(&self, query: &Query, paging: &Paging) -> Result<Page<Edge>, StoreError> {
        let (query, paging) = (query.clone(), paging.clone());
        self.read(move |base| read::edges(base, &query, &paging)).await
    }

    async fn violations(&self, query: &Query, paging: &Paging) -> Result<Page<Finding>, StoreError> {
        let (query, paging) = (query.clone(), paging.clone());
        self.read(move |base| read::violations(base, &query, &paging)).await
    }

    async fn violation(&self, key: &str) -> Result<Option<Finding>, StoreError> {
        let key = key.to_owned();
        self.read(move |base| read::violation(base, &key)).await
    }

    async fn violations_summary(&self, query: &Query) -> Result<Vec<Tally>, StoreError> {
        let query = query.clone();
        self.read(move |base| read::tallies(base, &query)).await
    }

    async fn matrix(&self, query: &Query) -> Result<Vec<MatrixCell>, StoreError> {
        let query = query.clone();
        self.read(move |base| read::matrix(base, &query)).await
    }

    async fn totals(&self, query: &Query) -> Result<Totals, StoreError> {
        let query = query.clone();
        self.read(move |base| read::totals(base, &query)).await
    }

    async fn timeline(&self, query: &Query, buckets: u32) -> Result<Vec<TimelineBucket>, StoreError> {
        let query = query.clone();
        self.read(move |base| read::timeline(base, &query, buckets)).await
    }

    async fn coverage(&self) -> Result<Sources, StoreError> {
        self.read(read::coverage).await
    }

    async fn put_mesh(&self, snapshot: &MeshSnapshot) -> Result<(), StoreError> {
        let MeshVersion { id, taken_at } = snapshot.version.clone();
        let manifests: Vec<(&str, &str)> = snapshot
            .manifests
            .iter()
            .map(|manifest| (manifest.file.as_str(), manifest.text.as_str()))
            .collect();
        let manifests = serde_json::to_string(&manifests)?;
        self.write(move |transaction| {
            transaction.execute(
                "INSERT INTO mesh (id, taken_at, manifests) VALUES (?1, ?2, ?3)
                 ON CONFLICT (id) DO UPDATE SET taken_at = max(taken_at, excluded.taken_at)",
                params![id, taken_at.as_nanos(), manifests],
            )?;
            transaction.execute(
                "DELETE FROM mesh WHERE id NOT IN (SELECT id FROM mesh ORDER BY taken_at DESC, id LIMIT ?1)",
                [SNAPSHOTS],
            )?;
            Ok(())
        })
        .await
    }

    async fn latest_mesh(&self) -> Result<Option<MeshSnapshot>, StoreError> {
        self.read(|base| {
            let found: Option<(String, i64, String)> = base
                .query_row(
                    "SELECT id, taken_at, manifests FROM mesh ORDER BY taken_at DESC, id LIMIT 1",
                    [],
                    |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
                )
                .optional()?;
            let Some((id, taken_at, manifests)) = found else { return Ok(None) };
            let manifests: Vec<(String, String)> = serde_json::from_str(&manifests)?;
            let manifests = manifests.into_iter().map(|(file, text)| Manifest { file, text }).collect();
            let version = MeshVersion { id, taken_at: Timestamp::from_nanos(taken_at) };
            Ok(Some(MeshSnapshot { version, manifests }))
        })
        .await
    }

    async fn meshes(&self) -> Result<Vec<MeshVersion>, StoreError> {
        self.read(|base| {
            let mut statement = base.prepare("SELECT id, taken_at FROM mesh ORDER BY taken_at DESC, id")?;
            let rows = statement.query_map([], |row| {
                Ok(MeshVersion { id: row.get(0)?, taken_at: Timestamp::from_nanos(row.get(1)?) })
            })?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
        .await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.read(|base| Ok(base.query_row("SELECT count(*) FROM source", [], |_| Ok(()))?)).await
    }
}

#[cfg(test)]
mod tests {
    use flow::Class;

    use super::*;
    use crate::sample::sample;

    fn folder() -> tempfile::TempDir {
        tempfile::tempdir().unwrap()
    }

    #[tokio::test]
    async fn keeps_the_contract() {
        let folder = folder();
        let count = std::sync::atomic::AtomicU32::new(0);
        crate::contract::check(|| {
            let name = format!("{}.sqlite", count.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
            let store: Arc<dyn Store> = Arc::new(Embedded::open(folder.path().join(name)).unwrap());
            async move { store }
        })
        .await;
    }

    #[tokio::test]
    async fn what_was_recorded_is_there_after_reopening() {
        let folder = folder();
        let path = folder.path().join("s.sqlite");
        let judged = sample(1, 100, Class::Mtls, None);
        let batch = Batch { source: "run".into(), flows: vec![judged.clone()], coverage: None };
        Embedded::open(&path).unwrap().record(batch).await.unwrap();
        let found = Embedded::open(&path).unwrap().flow(FlowId(1)).await.unwrap();
        assert_eq!(found, Some(judged));
    }

    /// What a killed process leaves: the file and its log, copied while a transaction was open and partly written out.
    #[tokio::test]
    async fn a_crash_in_the_middle_of_a_batch_leaves_the_batches_before_it() {
        let folder = folder();
        let path = folder.path().join("s.sqlite");
        let store = Embedded::open(&path).unwrap();
        let batch = |ids: std::ops::Range<u128>| Batch {
            source: "run".into(),
            flows: ids.map(|id| sample(id, 100, Class::Mtls, None)).collect(),
            coverage: None,
        };
        store.record(batch(0..5)).await.unwrap();
        let copy = folder.path().join("crashed.sqlite");
        {
            let mut writer = lock(&store.base.writer);
            // So small a cache spills pages of the open transaction into the log.
            writer.pragma_update(None, "cache_size", 1).unwrap();
            let transaction = writer.transaction().unwrap();
            write::batch(&transaction, &batch(5..500)).unwrap();
            for suffix in ["", "-wal"] {
                let file = |path: &Path| format!("{}{suffix}", path.display());
                std::fs::copy(file(&path), file(&copy)).unwrap();
            }
        }
        assert!(
            std::fs::metadata(format!("{}-wal", copy.display())).unwrap().len() > 200_000,
            "nothing spilled"
        );
        let reopened = Embedded::open(&copy).unwrap();
        let totals = reopened.totals(&Query::default()).await.unwrap();
        assert_eq!(totals.flows["mtls"]["exact"], 5);
        reopened.record(batch(5..10)).await.unwrap();
        assert_eq!(reopened.totals(&Query::default()).await.unwrap().judgements["conforms"], 10);
    }

    #[test]
    fn files_that_are_no_store_of_ours_are_named() {
        let folder = folder();
        let path = folder.path().join("s.sqlite");
        let said = |path: &Path| Embedded::open(path).unwrap_err().to_string();
        drop(Embedded::open(&path).unwrap());
        Connection::open(&path).unwrap().pragma_update(None, "user_version", 99).unwrap();
        assert!(said(&path).contains("schema version 99"), "{}", said(&path));

        let other = folder.path().join("other.sqlite");
        Connection::open(&other).unwrap().execute_batch("CREATE TABLE theirs (x)").unwrap();
        assert!(said(&other).contains("another program"), "{}", said(&other));

        let text = folder.path().join("text");
        std::fs::write(&text, "no database at all, but a text file\n".repeat(100)).unwrap();
        assert!(said(&text).contains("cannot be opened"), "{}", said(&text));
        assert!(said(&folder.path().join("no/folder")).contains("cannot be opened"));
    }
}
