//! What can go wrong with a store.

use std::path::PathBuf;

use thiserror::Error;

/// Why a store did not do what it was asked to.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The file was written by a later version.
    #[error(
        "the store {} has schema version {found}, and this wireproof knows up to {known}: use the newer wireproof, or another file",
        path.display()
    )]
    NewerSchema {
        /// The store's file.
        path: PathBuf,
        /// The version in the file.
        found: i64,
        /// The newest version that this program knows.
        known: i64,
    },
    /// The file is a database of something else.
    #[error("{} is a database of another program: choose another file for the store", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// The file cannot be opened, or is no database.
    #[error("the store {} cannot be opened: {source}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        source: rusqlite::Error,
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
}
