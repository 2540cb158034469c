//! What can go wrong with a store.

use std::path::PathBuf;

use thiserror::Error;

/// Why a store did not do what it was asked to.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The store was written by a later version.
    #[error(
        "the store {place} has schema version {found}, and this wireproof knows up to {known}: use the newer wireproof, or another store"
    )]
    NewerSchema {
        /// The file, or the address.
        place: String,
        /// The version in the store.
        found: i64,
        /// The newest version that this program knows.
        known: i64,
    },
    /// The database is of something else.
    #[error("{place} is a database of another program: choose another one for the store")]
    Foreign {
        /// The file, or the address.
        place: String,
    },
    /// The file cannot be opened, or is no database.
    #[error("the store {} cannot be opened: {why}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        why: String,
    },
    /// A cursor that was not given out for this query, or not by this version.
    #[error("the cursor does not belong to this query: start again without a cursor")]
    Cursor,
    /// The database refused.
    #[error("the store cannot be read or written: {0}")]
    Database(#[from] rusqlite::Error),
    /// A stored form does not read back.
    #[error("a stored form does not read back: {0}")]
    Form(#[from] serde_json::Error),
    /// A stored word does not read back.
    #[error("a stored word does not read back: {0}")]
    Word(String),
    /// The work was cut off because the program ends.
    #[error("the store was stopped before it answered")]
    Stopped,
    /// What was given is no address of a ClickHouse server. The text itself is not repeated: it may hold a password.
    #[error("the store's address does not read: {why}")]
    Address {
        /// What is wrong with it.
        why: &'static str,
    },
    /// The server cannot be reached, or left in the middle.
    #[error("the store {place} does not answer: {why}")]
    Unreachable {
        /// The address.
        place: String,
        /// What the connection's end says.
        why: String,
    },
    /// The server takes longer than it may.
    #[error("the store {place} did not answer within {seconds} seconds")]
    Slow {
        /// The address.
        place: String,
        /// How long was waited.
        seconds: u64,
    },
    /// The server says no. Its own words may hold rows and are left out; its code and name are documented by ClickHouse.
    #[error("the store {place} refused with code {code} ({name}){hint}")]
    Refused {
        /// The address.
        place: String,
        /// ClickHouse's error code; 0 where the answer tells none.
        code: u32,
        /// The code's name.
        name: String,
        /// What to do about it, where that is known; begins with `: `.
        hint: &'static str,
    },
    /// The server is too old.
    #[error("the store {place} runs ClickHouse {found}, and {oldest} or later is needed")]
    OldServer {
        /// The address.
        place: String,
        /// The server's version.
        found: String,
        /// The oldest version that will do.
        oldest: &'static str,
    },
    /// The server's answer does not have the form that was asked for.
    #[error("the store {place} answered in an unexpected form: {why}")]
    Answer {
        /// The address.
        place: String,
        /// What kind of difference.
        why: &'static str,
    },
}
