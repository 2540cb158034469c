//! The default store: one SQLite file, no server.
//!
//! One connection writes, a few others read beside it (write-ahead log). The blocking work runs on tokio's blocking
//! threads. A batch is one transaction: a crash in the middle leaves what was there before it.

mod count;
mod filter;
mod mesh;
mod read;
mod schema;
mod sums;
mod write;

use std::fs::{File, OpenOptions};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use analyzer::report::{Finding, Judged};
use flow::{FlowId, Timestamp};
use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

use crate::answer::{
    Edge, MatrixCell, MeshSnapshot, MeshVersion, Page, Sources, Span, Tally, TimelineBucket, Totals,
};
use crate::error::StoreError;
use crate::query::{Paging, Query};
use crate::shape::Names;
use crate::sightings::{Sightings, Sought};
use crate::{Batch, Status, Store};

/// How many questions are answered at once; the others wait.
const READERS: usize = 4;

/// How much of the file the writer holds in memory, in KiB (negative: SQLite's way of saying so).
const CACHE: i64 = -65_536;

/// How long the log grows before it is written into the file, in pages of 4 KiB: batches change the same pages again and again, and
/// each is written into the file once.
const LOG: i64 = 16_384;

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
    /// Which file that was: its device and its number there.
    file: (u64, u64),
    writer: Mutex<Connection>,
    idle: Mutex<Vec<Connection>>,
    readers: Arc<Semaphore>,
    names: Names,
}

impl Embedded {
    /// Opens the store, makes it when it is not there, and brings an older one up to date. Blocks.
    ///
    /// # Errors
    ///
    /// When the file cannot be opened, is another program's, or was written by a later version.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        let path = path.as_ref().to_path_buf();
        let open = |error| unopened(&path, &error, File::options().append(true).create(true));
        let mut writer = Connection::open(&path).map_err(open)?;
        writer.busy_timeout(PATIENCE).map_err(open)?;
        // SQLite goes on with what it may only read, and fails at the first change.
        if writer.is_readonly("main").map_err(open)? {
            let why = "the file may only be read: its access rights, or how its file system is mounted";
            return Err(StoreError::Open { path, why: why.to_owned() });
        }
        schema::migrate(&mut writer, &path)
            .map_err(|error| if let StoreError::Database(source) = error { open(source) } else { error })?;
        writer.pragma_update(None, "journal_mode", "wal").map_err(open)?;
        writer.pragma_update(None, "synchronous", "normal").map_err(open)?;
        writer.pragma_update(None, "wal_autocheckpoint", LOG).map_err(open)?;
        writer.pragma_update(None, "foreign_keys", true).map_err(open)?;
        writer.pragma_update(None, "cache_size", CACHE).map_err(open)?;
        writer.set_prepared_statement_cache_capacity(64);
        let file = named(&path)?;
        let base = Base {
            path,
            file,
            writer: Mutex::new(writer),
            idle: Mutex::new(Vec::new()),
            readers: Arc::new(Semaphore::new(READERS)),
            names: Names::default(),
        };
        Ok(Self { base: Arc::new(base) })
    }

    /// Looks at a store without changing it. Blocks.
    ///
    /// # Errors
    ///
    /// When the file cannot be read, is another program's, or was written by a later version.
    pub fn status(path: impl AsRef<Path>) -> Result<Status, StoreError> {
        let path = path.as_ref();
        let engine = format!("SQLite {}", rusqlite::version());
        let mut status = Status {
            engine,
            version: None,
            known: schema::known(),
            flows: 0,
            span: Span::default(),
            bytes: 0,
            keep: None,
            keep_edges: None,
        };
        if !path.exists() {
            return Ok(status);
        }
        let open = |error| unopened(path, &error, File::options().read(true));
        let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).map_err(open)?;
        connection.busy_timeout(PATIENCE).map_err(open)?;
        status.version = schema::version(&connection, path)
            .map_err(|error| if let StoreError::Database(source) = error { open(source) } else { error })?;
        if status.version.is_some_and(|version| version > 0) {
            let flows: i64 = connection
                .query_row("SELECT coalesce(sum(flows), 0) FROM edge", [], |row| row.get(0))
                .map_err(open)?;
            status.flows = flows.unsigned_abs();
            status.span = count::span(&connection)?;
        }
        // What is not yet in the file is in its log.
        let size = |suffix: &str| std::fs::metadata(format!("{}{suffix}", path.display()));
        status.bytes = ["", "-wal"].map(|suffix| size(suffix).map_or(0, |file| file.len())).iter().sum();
        Ok(status)
    }

    async fn read<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let base = Arc::clone(&self.base);
        let turn = Arc::clone(&self.base.readers).acquire_owned().await.map_err(|_| StoreError::Stopped)?;
        spawn_blocking(move || {
            // Whoever asked may be gone: the turn is over when the work is.
            let _turn = turn;
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
            base.is_there()?;
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

impl Base {
    /// Tells whether the file is where it was opened. One that was removed goes on to be written, and is gone with this process.
    fn is_there(&self) -> Result<(), StoreError> {
        match named(&self.path) {
            Ok(file) if file == self.file => Ok(()),
            Ok(_) | Err(_) => Err(StoreError::Open {
                path: self.path.clone(),
                why: "the file was removed or replaced since it was opened; start again".to_owned(),
            }),
        }
    }
}

/// Returns which file has this name.
fn named(path: &Path) -> Result<(u64, u64), StoreError> {
    let met = std::fs::metadata(path)
        .map_err(|error| StoreError::Open { path: path.to_path_buf(), why: error.to_string() })?;
    Ok((met.dev(), met.ino()))
}

/// Says why a file does not open. SQLite leaves out why the system refused, so it is asked once more.
fn unopened(path: &Path, error: &rusqlite::Error, options: &OpenOptions) -> StoreError {
    let said = error.to_string();
    let said = said.strip_suffix(&format!(": {}", path.display())).unwrap_or(&said);
    let refused = match error.sqlite_error_code() {
        Some(ErrorCode::CannotOpen) => options.open(path).err(),
        _ => None,
    };
    let why = refused.map_or_else(|| said.to_owned(), |refused| format!("{said}: {refused}"));
    StoreError::Open { path: path.to_path_buf(), why }
}

/// A thread that died while it held the lock left no half of a transaction behind: SQLite rolled it back.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[async_trait::async_trait]
impl Store for Embedded {
    async fn record(&self, batch: Batch) -> Result<(), StoreError> {
        let base = Arc::clone(&self.base);
        self.write(move |transaction| write::batch(transaction, batch, &base.names)).await
    }

    async fn flows(&self, query: &Query, paging: &Paging) -> Result<Page<Judged>, StoreError> {
        let (query, paging) = (query.clone(), paging.clone());
        self.read(move |base| read::flows(base, &query, &paging)).await
    }

    async fn flow(&self, id: FlowId) -> Result<Option<Judged>, StoreError> {
        self.read(move |base| read::flow(base, id)).await
    }

    async fn sightings(&self, sought: &[Sought]) -> Result<Vec<Judged>, StoreError> {
        let sightings = Sightings::of(sought);
        self.read(move |base| read::sightings(base, &sightings)).await
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
        self.read(move |base| count::tallies(base, &query)).await
    }

    async fn matrix(&self, query: &Query) -> Result<Vec<MatrixCell>, StoreError> {
        let query = query.clone();
        self.read(move |base| count::matrix(base, &query)).await
    }

    async fn totals(&self, query: &Query) -> Result<Totals, StoreError> {
        let query = query.clone();
        self.read(move |base| count::totals(base, &query)).await
    }

    async fn timeline(&self, query: &Query, buckets: u32) -> Result<Vec<TimelineBucket>, StoreError> {
        let query = query.clone();
        self.read(move |base| count::timeline(base, &query, buckets)).await
    }

    async fn coverage(&self) -> Result<Sources, StoreError> {
        self.read(count::coverage).await
    }

    async fn put_mesh(&self, snapshot: &MeshSnapshot) -> Result<(), StoreError> {
        let snapshot = snapshot.clone();
        self.write(move |transaction| mesh::put(transaction, &snapshot)).await
    }

    async fn latest_mesh(&self) -> Result<Option<MeshSnapshot>, StoreError> {
        self.read(mesh::latest).await
    }

    async fn mesh_at(&self, at: Timestamp) -> Result<Option<MeshSnapshot>, StoreError> {
        self.read(move |base| mesh::in_force(base, at)).await
    }

    async fn meshes(&self) -> Result<Vec<MeshVersion>, StoreError> {
        self.read(mesh::versions).await
    }

    async fn keep(&self, time: Option<Duration>, now: Timestamp) -> Result<(), StoreError> {
        let Some(time) = time else { return Ok(()) };
        let time = i64::try_from(time.as_nanos()).unwrap_or(i64::MAX);
        let before = Timestamp::from_nanos(now.as_nanos().saturating_sub(time));
        // In pieces, so that a batch does not wait for the whole.
        while self.write(move |transaction| write::forget(transaction, before)).await? {}
        Ok(())
    }

    async fn ping(&self) -> Result<(), StoreError> {
        let base = Arc::clone(&self.base);
        self.read(move |connection| {
            base.is_there()?;
            Ok(connection.query_row("SELECT count(*) FROM source", [], |_| Ok(()))?)
        })
        .await
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
        let batch = Batch { flows: vec![judged.clone()], ..Batch::default() };
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
            flows: ids.map(|id| sample(id, 100, Class::Mtls, None)).collect(),
            ..Batch::default()
        };
        store.record(batch(0..5)).await.unwrap();
        let copy = folder.path().join("crashed.sqlite");
        {
            let mut writer = lock(&store.base.writer);
            // So small a cache spills pages of the open transaction into the log.
            writer.pragma_update(None, "cache_size", 1).unwrap();
            let transaction = writer.transaction().unwrap();
            write::batch(&transaction, batch(5..20_000), &store.base.names).unwrap();
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

    #[tokio::test]
    async fn a_question_that_nobody_waits_for_keeps_its_turn_until_it_is_answered() {
        let folder = folder();
        let store = Embedded::open(folder.path().join("s.sqlite")).unwrap();
        let (end, ended) = std::sync::mpsc::channel::<()>();
        let (begin, begun) = tokio::sync::oneshot::channel();
        let asking = store.clone();
        let asked = tokio::spawn(async move {
            let question = move |_: &Connection| {
                begin.send(()).unwrap();
                Ok(ended.recv().unwrap_err())
            };
            asking.read(question).await
        });
        begun.await.unwrap();
        asked.abort();
        asked.await.unwrap_err();
        assert_eq!(store.base.readers.available_permits(), READERS - 1);
        drop(end);
        drop(store.base.readers.acquire_many(u32::try_from(READERS).unwrap()).await.unwrap());
    }

    /// What is acknowledged must be there after a restart.
    #[tokio::test]
    async fn nothing_is_recorded_into_a_file_that_was_removed_or_replaced() {
        let folder = folder();
        let path = folder.path().join("s.sqlite");
        let store = Embedded::open(&path).unwrap();
        let batch = || Batch { flows: vec![sample(1, 100, Class::Mtls, None)], ..Batch::default() };
        store.record(batch()).await.unwrap();
        store.ping().await.unwrap();
        for replaced in [false, true] {
            std::fs::rename(&path, folder.path().join("elsewhere")).unwrap();
            if replaced {
                drop(Embedded::open(&path).unwrap());
            }
            for told in [store.record(batch()).await, store.ping().await] {
                let told = told.unwrap_err().to_string();
                assert!(told.contains("was removed or replaced"), "{told}");
            }
            std::fs::rename(folder.path().join("elsewhere"), &path).unwrap();
        }
        store.record(batch()).await.unwrap();
        store.ping().await.unwrap();
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
