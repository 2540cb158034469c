//! Findings, with the words of their flows.

use std::collections::HashMap;

use analyzer::report::{Certainty, Finding, finding_key};
use clickhouse::Row;
use flow::{FlowId, Proof, Timestamp};
use serde::Deserialize;

use super::{overlap, page, ranked, shape};
use crate::answer::Page;
use crate::clickhouse::Clickhouse;
use crate::clickhouse::filter::{Asked, all_counted};
use crate::error::StoreError;
use crate::query::{List, Paging, Position, Query};

/// How many of its flows a finding names.
const EXAMPLES: usize = 5;

impl Clickhouse {
    pub(in crate::clickhouse) async fn page_of_findings(
        &self,
        query: &Query,
        paging: &Paging,
    ) -> Result<Page<Finding>, StoreError> {
        let limit = paging.rows();
        let (asked, after) = overlap(query, List::Violations, paging, "key")?;
        let sql = format!(
            "SELECT key, rank, all_flows, first_seen, last_seen, proof, certainty FROM {} WHERE {after}
             ORDER BY rank DESC, first_seen DESC, key DESC LIMIT {{limit:UInt64}}",
            findings(&asked)
        );
        let rows: Vec<FindingRow> = self.ask(&sql, &asked).await?;
        let position = |row: &FindingRow| Position {
            rank: i64::from(row.rank),
            start: row.first_seen,
            name: row.key.clone(),
        };
        let page = page(rows, limit, query, List::Violations, position, Ok)?;
        Ok(Page { rows: self.worded(page.rows).await?, next_cursor: page.next_cursor })
    }

    pub(in crate::clickhouse) async fn one_finding(&self, key: &str) -> Result<Option<Finding>, StoreError> {
        let asked = Asked::new(&Query::default()).and("key", key);
        let sql = format!(
            "SELECT key, rank, all_flows, first_seen, last_seen, proof, certainty FROM {} WHERE key = {{key:String}}",
            findings(&asked)
        );
        let rows: Vec<FindingRow> = self.ask(&sql, &asked).await?;
        Ok(self.worded(rows).await?.pop())
    }

    /// Gives findings the words of their first flow, and the names of the first few.
    async fn worded(&self, rows: Vec<FindingRow>) -> Result<Vec<Finding>, StoreError> {
        #[derive(Row, Deserialize)]
        struct Example {
            key: String,
            id: u128,
            shape: u128,
        }
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        let keys = rows.iter().map(|row| row.key.clone()).collect();
        let asked = Asked::new(&Query::default()).and_words("keys", keys).and("examples", EXAMPLES);
        // The hourly counts tell in which hours a finding's first flows are; only those are read flow by flow.
        let sql = "
            WITH broken AS (
                SELECT hash, any(arrayFilter(key -> has({keys:Array(String)}, key), violations.1)) AS keys
                FROM shape WHERE hasAny(violations.1, {keys:Array(String)}) GROUP BY hash
            ),
            early AS (
                SELECT key, hour FROM (
                    SELECT key, hour, sum(f) AS flows, sum(flows) OVER (PARTITION BY key ORDER BY hour) AS so_far
                    FROM (
                        SELECT toStartOfHour(start) AS hour, shape, sum(sign) AS f FROM flow
                        WHERE shape IN (SELECT hash FROM broken) GROUP BY hour, shape HAVING f > 0
                    ) AS counted
                    INNER JOIN broken ON counted.shape = broken.hash
                    ARRAY JOIN keys AS key GROUP BY key, hour
                ) WHERE so_far - flows < {examples:Int64}
            )
            SELECT key, id, shape FROM (
                SELECT start, id, shape FROM flow
                WHERE shape IN (SELECT hash FROM broken) AND toStartOfHour(start) IN (SELECT hour FROM early)
                GROUP BY start, id, shape HAVING sum(sign) > 0
            ) AS seen
            INNER JOIN broken ON seen.shape = broken.hash
            ARRAY JOIN keys AS key
            ORDER BY key, seen.start, id LIMIT {examples:UInt64} BY key";
        let examples: Vec<Example> = self.ask(sql, &asked).await?;
        let mut first: HashMap<&str, Vec<&Example>> = HashMap::new();
        for example in &examples {
            first.entry(&example.key).or_default().push(example);
        }
        let mut heads: HashMap<&str, u128> =
            first.iter().filter_map(|(key, all)| Some((*key, all.first()?.shape))).collect();
        // Of what has no flows left, the shape that was seen first has the words.
        let past = rows.iter().map(|row| row.key.clone()).filter(|key| !heads.contains_key(key.as_str()));
        let past = self.past(past.collect()).await?;
        heads.extend(past.iter().map(|(key, shape)| (key.as_str(), *shape)));
        let shapes = self.shapes(heads.values().copied()).await?;
        let mut all = Vec::with_capacity(rows.len());
        for row in rows {
            // What was recorded again between the two questions may have left the finding.
            let Some(head) = heads.get(row.key.as_str()) else { continue };
            let named = first.get(row.key.as_str()).map(Vec::as_slice).unwrap_or_default();
            let judged = shape(&shapes, *head)?;
            let Some(violation) =
                judged.violations.iter().find(|violation| finding_key(judged, violation) == row.key)
            else {
                return Err(StoreError::Word(format!("finding {} is not in its first flow", row.key)));
            };
            let mut finding = Finding::new(judged, violation);
            finding.flows = row.all_flows;
            finding.first_seen = Timestamp::from_nanos(row.first_seen);
            finding.last_seen = Timestamp::from_nanos(row.last_seen);
            finding.proof = ranked(row.proof, Proof::ALL)?;
            finding.certainty = ranked(row.certainty, Certainty::ALL)?;
            finding.examples = named.iter().map(|example| FlowId(example.id)).collect();
            all.push(finding);
        }
        Ok(all)
    }

    /// Returns the first shape of findings, by the sums of days.
    async fn past(&self, keys: Vec<String>) -> Result<Vec<(String, u128)>, StoreError> {
        #[derive(Row, Deserialize)]
        struct Head {
            key: String,
            shape: u128,
        }
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let asked = Asked::new(&Query::default()).and_words("keys", keys);
        let sql = "
            SELECT key, argMin(shape, (seen, shape)) AS shape
            FROM (SELECT shape, min(first) AS seen FROM edge GROUP BY shape) AS counted
            INNER JOIN (
                SELECT hash, any(arrayFilter(key -> has({keys:Array(String)}, key), violations.1)) AS keys
                FROM shape WHERE hasAny(violations.1, {keys:Array(String)}) GROUP BY hash
            ) AS broken ON counted.shape = broken.hash
            ARRAY JOIN keys AS key GROUP BY key";
        Ok(self.ask::<Head>(sql, &asked).await?.into_iter().map(|row| (row.key, row.shape)).collect())
    }
}

#[derive(Row, Deserialize)]
pub(super) struct FindingRow {
    key: String,
    rank: u8,
    all_flows: u64,
    first_seen: i64,
    last_seen: i64,
    proof: u8,
    certainty: u8,
}

/// The findings of which a flow fits: counts of the whole finding.
pub(super) fn findings(asked: &Asked) -> String {
    format!(
        "(SELECT v.1 AS key, any(v.2) AS id, max(v.3) AS rank, max(v.4) AS certainty, any(v.5) AS cause,
            any(server_namespace) AS namespace, max(proof_rank) AS proof, sum(flows) AS all_flows,
            min(first) AS first_seen, max(last) AS last_seen
          FROM {} AS counted
          INNER JOIN (
            SELECT hash, server_namespace, proof_rank, violations, {} AND {} AND {} AS fits FROM shape WHERE notEmpty(violations) LIMIT 1 BY hash
          ) AS shape ON counted.shape = shape.hash
          ARRAY JOIN violations AS v
          GROUP BY key HAVING max(fits) AND {}) AS finding",
        all_counted(),
        asked.edge,
        asked.outcome,
        asked.named,
        asked.finding
    )
}
