//! What is asked of a store: filters that every question shares, and where a page begins.

use analyzer::report::{Judgement, Severity};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use flow::{Class, CommunityId, Proof, Protocol, Timestamp};
use serde::{Deserialize, Serialize};
use siphasher::sip128::{Hasher128 as _, SipHasher13};
use std::hash::Hasher as _;

use crate::error::StoreError;

/// The most rows of one page.
pub const MOST_ROWS: u32 = 1000;

/// Filters. An empty list, or an absent value, lets everything through; several values of one filter mean "any of them".
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Query {
    /// The client's namespace; the empty string is outside the mesh.
    pub from_namespace: Vec<String>,
    /// The server's namespace; the empty string is outside the mesh.
    pub to_namespace: Vec<String>,
    /// The client's workload: `name` or `namespace/name`.
    pub from_workload: Vec<String>,
    /// The server's workload: `name` or `namespace/name`.
    pub to_workload: Vec<String>,
    /// The class on the wire.
    pub class: Vec<Class>,
    /// How the class is known.
    pub proof: Vec<Proof>,
    /// Finding ids, such as `OB01`.
    pub id: Vec<String>,
    /// Severities of findings.
    pub severity: Vec<Severity>,
    /// Destination ports on the wire.
    pub port: Vec<u16>,
    /// Application protocols.
    pub protocol: Vec<Protocol>,
    /// Community IDs: of flows, and of what flows edges and findings have.
    pub community_id: Vec<CommunityId>,
    /// Outcomes of judging.
    pub judgement: Vec<Judgement>,
    /// Only what was there at this time or later: flows by their start, edges and findings by their last flow's end.
    pub since: Option<Timestamp>,
    /// Only what began before this time.
    pub until: Option<Timestamp>,
}

/// Which rows of the answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paging {
    /// How many rows at most, 1 to [`MOST_ROWS`]; other values are brought into that range.
    pub limit: u32,
    /// `next_cursor` of the page before; absent for the first page.
    pub cursor: Option<String>,
}

impl Paging {
    /// Asks for the first rows.
    #[must_use]
    pub const fn first(limit: u32) -> Self {
        Self { limit, cursor: None }
    }

    /// Returns the number of rows, within its bounds.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.limit.clamp(1, MOST_ROWS) as usize
    }
}

/// The row after which a page begins. Rows are ordered by what does not change while others arrive: a page read
/// later continues where the one before ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// The severity's rank; 0 where rows have none.
    pub rank: i64,
    /// Start, or first appearance, in nanoseconds since the Unix epoch.
    pub start: i64,
    /// The row's own name.
    pub name: String,
}

/// Which list a cursor walks through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum List {
    /// Flows.
    Flows,
    /// Edges.
    Edges,
    /// Findings.
    Violations,
}

#[derive(Serialize, Deserialize)]
struct Cursor {
    list: List,
    query: String,
    after: Position,
}

impl Query {
    /// Writes a position as the opaque text that clients send back.
    ///
    /// # Errors
    ///
    /// When the position cannot be written, which does not happen with our own types.
    pub fn cursor(&self, list: List, after: Position) -> Result<String, StoreError> {
        let cursor = Cursor { list, query: self.fingerprint()?, after };
        Ok(URL_SAFE_NO_PAD.encode(serde_json::to_vec(&cursor)?))
    }

    /// Reads a cursor back; it must have been given out for the same list and the same filters.
    ///
    /// # Errors
    ///
    /// [`StoreError::Cursor`] when it was not.
    pub fn position(&self, list: List, paging: &Paging) -> Result<Option<Position>, StoreError> {
        let Some(text) = &paging.cursor else { return Ok(None) };
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| StoreError::Cursor)?;
        let cursor: Cursor = serde_json::from_slice(&bytes).map_err(|_| StoreError::Cursor)?;
        if cursor.list != list || cursor.query != self.fingerprint()? {
            return Err(StoreError::Cursor);
        }
        Ok(Some(cursor.after))
    }

    fn fingerprint(&self) -> Result<String, StoreError> {
        let mut hasher = SipHasher13::new();
        hasher.write(&serde_json::to_vec(self)?);
        Ok(format!("{:016x}", hasher.finish128().h1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_reads_back_for_its_own_query_only() {
        let query = Query { port: vec![80], ..Query::default() };
        let after = Position { rank: 4, start: -1, name: "x".into() };
        let paging = Paging { limit: 1, cursor: query.cursor(List::Flows, after.clone()).ok() };
        assert_eq!(query.position(List::Flows, &paging).unwrap(), Some(after));
        assert!(matches!(query.position(List::Edges, &paging), Err(StoreError::Cursor)));
        assert!(matches!(Query::default().position(List::Flows, &paging), Err(StoreError::Cursor)));
        let bent = Paging { limit: 1, cursor: Some("e30".into()) };
        assert!(matches!(query.position(List::Flows, &bent), Err(StoreError::Cursor)));
    }
}
