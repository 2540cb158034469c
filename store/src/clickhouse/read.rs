//! Questions to SQL, rows to answers.

use std::collections::{BTreeMap, HashMap};

use analyzer::report::{Certainty, Finding, Judged, Severity, finding_key};
use clickhouse::Row;
use flow::{Coverage, FlowId, Proof, Timestamp};
use serde::Deserialize;

use super::filter::{Asked, START_HOUR, all_counted, at};
use super::rows::{SIGNED, SignedRow, SourceRow, VIOLATES};
use super::{Clickhouse, nothing};
use crate::answer::{Counts, Edge, EdgeEnd, MatrixCell, Page, Sources, Span, Tally, TimelineBucket, Totals};
use crate::error::StoreError;
use crate::query::{List, Paging, Position, Query};
use crate::sightings::Sightings;

/// How many of its flows a finding names.
const EXAMPLES: usize = 5;

/// How many spans of time one question names.
const SPANS: usize = 64;

const HOUR: i64 = 3_600_000_000_000;

/// Past so many hours a timeline's steps are whole hours, which the hourly counts answer.
const FINE_HOURS: i64 = 48;

impl Clickhouse {
    pub(super) async fn page_of_flows(
        &self,
        query: &Query,
        paging: &Paging,
    ) -> Result<Page<Judged>, StoreError> {
        let asked = Asked::new(query);
        let limit = paging.rows();
        let mut after = match query.position(List::Flows, paging)? {
            Some(position) => {
                let id: FlowId = position.name.parse().map_err(|_| StoreError::Cursor)?;
                Some((position.start, id.0))
            }
            None => None,
        };
        let mut live: Vec<SignedRow> = Vec::new();
        // Rows of a flow that were taken out come along with it, so a second turn may be needed.
        let mut turn = limit + 1;
        loop {
            turn = turn.saturating_mul(2).min(100_000);
            let mut asked = asked.clone().and("turn", turn);
            let mut fits = format!("{} AND {}", asked.time, shapes(&asked));
            if let Some((start, id)) = after {
                asked = asked.and("after", start).and("after_id", id);
                fits.push_str(&format!(" AND (start, id) < ({}, {{after_id:UInt128}})", at("after")));
            }
            let sql = format!(
                "SELECT {SIGNED} FROM flow WHERE {fits} ORDER BY start DESC, id DESC LIMIT {{turn:UInt64}}"
            );
            let mut rows: Vec<SignedRow> = self.ask(&sql, &asked).await?;
            let last = rows.len() < turn;
            // The last flow's rows may go on in the next turn.
            let whole = rows.iter().rposition(|row| rows.last().is_some_and(|end| row.id != end.id));
            if !last {
                let Some(whole) = whole else { continue };
                rows.truncate(whole + 1);
                after = rows.last().map(|row| (row.start, row.id));
            }
            live.extend(survivors(rows));
            if last || live.len() > limit {
                break;
            }
        }
        let more = live.len() > limit;
        live.truncate(limit);
        let next_cursor = match live.last() {
            Some(row) if more => {
                let name = FlowId(row.id).to_string();
                Some(query.cursor(List::Flows, Position { rank: 0, start: row.start, name })?)
            }
            Some(_) | None => None,
        };
        Ok(Page { rows: self.judged(live).await?, next_cursor })
    }

    pub(super) async fn one_flow(&self, id: FlowId) -> Result<Option<Judged>, StoreError> {
        let asked = Asked::new(&Query::default()).and("id", id.0);
        let sql = format!("SELECT {SIGNED} FROM flow WHERE id = {{id:UInt128}} ORDER BY start, id");
        let rows = self.ask(&sql, &asked).await?;
        Ok(self.judged(survivors(rows)).await?.pop())
    }

    /// Asks in several questions where starts lie far apart, so that none grows too long.
    pub(super) async fn all_sightings(&self, sightings: &Sightings) -> Result<Vec<Judged>, StoreError> {
        let mut rows = Vec::new();
        let openings = numbers("UInt64", sightings.openings());
        let handshakes = numbers("UInt64", sightings.handshakes());
        for spans in sightings.spans().chunks(SPANS) {
            let nanos = |nanos: i64| format!("fromUnixTimestamp64Nano(toInt64({nanos}), 'UTC')");
            let times: Vec<String> = spans
                .iter()
                .map(|(from, to)| format!("start BETWEEN {} AND {}", nanos(*from), nanos(*to)))
                .collect();
            let sql = format!(
                "SELECT {SIGNED} FROM flow WHERE ({})
                    AND (toUInt64(bitShiftRight(id, 64)) IN {openings} OR ifNull(tcp_handshake, 0) IN {handshakes})
                 ORDER BY start, id",
                times.join(" OR ")
            );
            rows.extend(survivors(self.ask::<SignedRow>(&sql, &nothing()).await?));
        }
        rows.retain(|row| sightings.fit(FlowId(row.id), row.start, row.tcp_handshake));
        self.judged(rows).await
    }

    /// Puts flows together again from their own parts and their shapes.
    async fn judged(&self, rows: Vec<SignedRow>) -> Result<Vec<Judged>, StoreError> {
        let shapes = self.shapes(rows.iter().map(|row| row.shape)).await?;
        let mut all = Vec::with_capacity(rows.len());
        for row in rows {
            let mut judged = shape(&shapes, row.shape)?.clone();
            row.own()?.give(&mut judged);
            all.push(judged);
        }
        Ok(all)
    }

    async fn shapes(&self, hashes: impl Iterator<Item = u128>) -> Result<HashMap<u128, Judged>, StoreError> {
        #[derive(Row, Deserialize)]
        struct Body {
            hash: u128,
            body: String,
        }
        let mut hashes: Vec<u128> = hashes.collect();
        hashes.sort_unstable();
        hashes.dedup();
        if hashes.is_empty() {
            return Ok(HashMap::new());
        }
        let sql = format!(
            "SELECT hash, any(body) AS body FROM shape WHERE hash IN {} GROUP BY hash",
            numbers("UInt128", hashes.iter())
        );
        let rows: Vec<Body> = self.ask(&sql, &nothing()).await?;
        rows.into_iter().map(|row| Ok((row.hash, serde_json::from_str(&row.body)?))).collect()
    }

    pub(super) async fn page_of_edges(
        &self,
        query: &Query,
        paging: &Paging,
    ) -> Result<Page<Edge>, StoreError> {
        #[derive(Row, Deserialize)]
        struct EdgeRow {
            edge: String,
            client: String,
            client_kind: String,
            client_namespace: Option<String>,
            client_workload: Option<String>,
            server: String,
            server_kind: String,
            server_namespace: Option<String>,
            server_workload: Option<String>,
            transport: String,
            port: u16,
            protocol: Option<String>,
            class: String,
            proof: String,
            all_flows: u64,
            violating: u64,
            all_bytes: u64,
            first_seen: i64,
            last_seen: i64,
        }
        let limit = paging.rows();
        let (asked, after) = overlap(query, List::Edges, paging, "edge")?;
        let sql = format!(
            "SELECT edge, any(client) AS client, any(client_kind) AS client_kind, any(client_namespace) AS client_namespace,
                any(client_workload) AS client_workload, any(server) AS server, any(server_kind) AS server_kind,
                any(server_namespace) AS server_namespace, any(server_workload) AS server_workload,
                any(transport) AS transport, any(port) AS port, any(protocol) AS protocol, any(class) AS class,
                any(proof) AS proof, sum(flows) AS all_flows, sumIf(flows, judgement = '{VIOLATES}') AS violating,
                sum(bytes) AS all_bytes, min(first) AS first_seen, max(last) AS last_seen
             FROM {counted} AS counted
             INNER JOIN (SELECT * EXCEPT (body, sent), {outcome} AS fits FROM shape WHERE {edge} LIMIT 1 BY hash) AS shape
                ON counted.shape = shape.hash
             GROUP BY edge HAVING max(fits) AND {after}
             ORDER BY first_seen DESC, edge DESC LIMIT {{limit:UInt64}}",
            counted = all_counted(),
            outcome = asked.outcome,
            edge = asked.edge,
        );
        let rows: Vec<EdgeRow> = self.ask(&sql, &asked).await?;
        let position = |row: &EdgeRow| Position { rank: 0, start: row.first_seen, name: row.edge.clone() };
        page(rows, limit, query, List::Edges, position, |row| {
            let end = |name, kind: &str, namespace, workload| -> Result<EdgeEnd, StoreError> {
                Ok(EdgeEnd { name, kind: word(kind)?, namespace, workload })
            };
            Ok(Edge {
                client: end(row.client, &row.client_kind, row.client_namespace, row.client_workload)?,
                server: end(row.server, &row.server_kind, row.server_namespace, row.server_workload)?,
                transport: word(&row.transport)?,
                port: row.port,
                protocol: row.protocol.as_deref().map(word).transpose()?,
                class: word(&row.class)?,
                proof: word(&row.proof)?,
                flows: row.all_flows,
                violating: row.violating,
                bytes: row.all_bytes,
                first_seen: Timestamp::from_nanos(row.first_seen),
                last_seen: Timestamp::from_nanos(row.last_seen),
            })
        })
    }

    pub(super) async fn page_of_findings(
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

    pub(super) async fn one_finding(&self, key: &str) -> Result<Option<Finding>, StoreError> {
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
            start: i64,
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
            SELECT key, toUnixTimestamp64Nano(start) AS start, id, shape FROM (
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
        let shapes = self.shapes(first.values().filter_map(|all| Some(all.first()?.shape))).await?;
        let mut all = Vec::with_capacity(rows.len());
        for row in rows {
            // What was recorded again between the two questions may have left the finding.
            let Some((head, named)) = first.get(row.key.as_str()).and_then(|all| Some((all.first()?, all)))
            else {
                continue;
            };
            let mut judged = shape(&shapes, head.shape)?.clone();
            judged.flow.id = FlowId(head.id);
            judged.flow.start = Timestamp::from_nanos(head.start);
            let Some(violation) =
                judged.violations.iter().find(|violation| finding_key(&judged, violation) == row.key)
            else {
                return Err(StoreError::Word(format!("finding {} is not in its first flow", row.key)));
            };
            let mut finding = Finding::new(&judged, violation);
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

    pub(super) async fn tallies(&self, query: &Query) -> Result<Vec<Tally>, StoreError> {
        #[derive(Row, Deserialize)]
        struct TallyRow {
            id: String,
            rank: u8,
            namespace: Option<String>,
            cause: Option<String>,
            findings: u64,
            flows: u64,
        }
        let (asked, after) = overlap(query, List::Violations, &Paging::first(1), "key")?;
        let sql = format!(
            "SELECT id, rank, namespace, cause, count() AS findings, sum(all_flows) AS flows FROM {} WHERE {after}
             GROUP BY id, rank, namespace, cause ORDER BY rank DESC, flows DESC, id, namespace, cause",
            findings(&asked)
        );
        let rows: Vec<TallyRow> = self.ask(&sql, &asked).await?;
        rows.into_iter()
            .map(|row| {
                Ok(Tally {
                    id: row.id,
                    severity: ranked(row.rank, Severity::ALL)?,
                    namespace: row.namespace,
                    cause: row.cause,
                    findings: row.findings,
                    flows: row.flows,
                })
            })
            .collect()
    }

    pub(super) async fn cells(&self, query: &Query) -> Result<Vec<MatrixCell>, StoreError> {
        #[derive(Row, Deserialize)]
        struct CellRow {
            client_namespace: Option<String>,
            server_namespace: Option<String>,
            class: String,
            proof: String,
            all_flows: u64,
            violating: u64,
        }
        let asked = Asked::new(query);
        let sql = format!(
            "SELECT client_namespace, server_namespace, class, proof, sum(flows) AS all_flows,
                sumIf(flows, judgement = '{VIOLATES}') AS violating
             FROM {} GROUP BY client_namespace, server_namespace, class, proof
             ORDER BY client_namespace NULLS FIRST, server_namespace NULLS FIRST",
            fitting(&asked)
        );
        let rows: Vec<CellRow> = self.ask(&sql, &asked).await?;
        let mut cells: Vec<MatrixCell> = Vec::new();
        for row in rows {
            let (from, to) = (row.client_namespace, row.server_namespace);
            if cells.last().is_none_or(|cell| cell.from != from || cell.to != to) {
                cells.push(MatrixCell { from, to, flows: Counts::new(), violating: 0 });
            }
            if let Some(cell) = cells.last_mut() {
                cell.flows.entry(row.class).or_default().insert(row.proof, row.all_flows);
                cell.violating += row.violating;
            }
        }
        Ok(cells)
    }

    pub(super) async fn all_totals(&self, query: &Query) -> Result<Totals, StoreError> {
        #[derive(Row, Deserialize)]
        struct TotalRow {
            class: String,
            proof: String,
            judgement: String,
            all_flows: u64,
            first_seen: i64,
            last_seen: i64,
        }
        #[derive(Row, Deserialize)]
        struct SeverityRow {
            rank: u8,
            findings: u64,
        }
        let asked = Asked::new(query);
        let sql = format!(
            "SELECT class, proof, judgement, sum(flows) AS all_flows, min(first) AS first_seen, max(last) AS last_seen
             FROM {} GROUP BY class, proof, judgement",
            fitting(&asked)
        );
        let mut totals = Totals::default();
        for row in self.ask::<TotalRow>(&sql, &asked).await? {
            *totals.flows.entry(row.class).or_default().entry(row.proof).or_default() += row.all_flows;
            *totals.judgements.entry(row.judgement).or_default() += row.all_flows;
            let (first, last) = (Timestamp::from_nanos(row.first_seen), Timestamp::from_nanos(row.last_seen));
            totals.first = Some(totals.first.map_or(first, |known| known.min(first)));
            totals.last = Some(totals.last.map_or(last, |known| known.max(last)));
        }
        let (asked, after) = overlap(query, List::Violations, &Paging::first(1), "key")?;
        let sql =
            format!("SELECT rank, count() AS findings FROM {} WHERE {after} GROUP BY rank", findings(&asked));
        for row in self.ask::<SeverityRow>(&sql, &asked).await? {
            let severity = ranked(row.rank, Severity::ALL)?;
            totals.findings.insert(severity.name().into(), row.findings);
        }
        Ok(totals)
    }

    pub(super) async fn whole_span(&self, asked: &Asked) -> Result<Span, StoreError> {
        #[derive(Row, Deserialize)]
        struct SpanRow {
            shapes: u64,
            first_seen: i64,
            last_seen: i64,
        }
        let sql = format!(
            "SELECT count() AS shapes, min(first) AS first_seen, max(last) AS last_seen FROM {} WHERE {}",
            asked.counted,
            shapes(asked)
        );
        let rows: Vec<SpanRow> = self.ask(&sql, asked).await?;
        let Some(row) = rows.into_iter().find(|row| row.shapes > 0) else { return Ok(Span::default()) };
        Ok(Span {
            first: Some(Timestamp::from_nanos(row.first_seen)),
            last: Some(Timestamp::from_nanos(row.last_seen)),
        })
    }

    pub(super) async fn steps(&self, query: &Query, buckets: u32) -> Result<Vec<TimelineBucket>, StoreError> {
        #[derive(Row, Deserialize)]
        struct StepRow {
            place: i64,
            class: String,
            all_flows: i64,
            violating: i64,
        }
        let asked = Asked::new(query);
        let span = self.whole_span(&asked).await?;
        let (Some(first), Some(last)) = (span.first, span.last) else { return Ok(Vec::new()) };
        let (mut first, last) = (first.as_nanos(), last.as_nanos());
        // The end of the last flow bounds the last start; a step too wide is better than a second question.
        let mut step = last.saturating_sub(first) / i64::from(buckets.max(1)) + 1;
        let place = |nanos: &str| format!("intDiv({nanos} - {{first:Int64}}, {{step:Int64}})");
        let parts = if last.saturating_sub(first) > FINE_HOURS * HOUR {
            first = first.div_euclid(HOUR) * HOUR;
            step = (step / HOUR + 1) * HOUR;
            asked.by(&place(&format!("toInt64(toUnixTimestamp({START_HOUR})) * 1000000000")))
        } else {
            asked.by_start(&place("toUnixTimestamp64Nano(start)"))
        };
        let sql = format!(
            "SELECT step AS place, class, sum(f) AS all_flows, sumIf(f, judgement = '{VIOLATES}') AS violating
             FROM ({parts}) AS seen
             INNER JOIN (SELECT hash, class, judgement FROM shape WHERE {edge} AND {outcome} LIMIT 1 BY hash) AS shape ON seen.shape = shape.hash
             GROUP BY place, class HAVING all_flows > 0 ORDER BY place",
            edge = asked.edge,
            outcome = asked.outcome,
        );
        let asked = asked.and("first", first).and("step", step);
        let mut timeline: Vec<TimelineBucket> = Vec::new();
        for row in self.ask::<StepRow>(&sql, &asked).await? {
            let at = Timestamp::from_nanos(first.saturating_add(row.place.saturating_mul(step)));
            if timeline.last().is_none_or(|bucket| bucket.at != at) {
                timeline.push(TimelineBucket { at, flows: BTreeMap::new(), violating: 0 });
            }
            if let Some(bucket) = timeline.last_mut() {
                bucket.flows.insert(row.class, row.all_flows.unsigned_abs());
                bucket.violating += row.violating.max(0).unsigned_abs();
            }
        }
        Ok(timeline)
    }

    pub(super) async fn covered(&self) -> Result<Sources, StoreError> {
        let asked = Asked::new(&Query::default());
        let sql =
            "SELECT name, argMax(source.coverage, at) AS coverage FROM source GROUP BY name ORDER BY name";
        let mut sources = Sources::default();
        for row in self.ask::<SourceRow>(sql, &asked).await? {
            let coverage: Coverage = serde_json::from_str(&row.coverage)?;
            sources.total.add(&coverage);
            sources.sources.insert(row.name, coverage);
        }
        Ok(sources)
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
fn findings(asked: &Asked) -> String {
    format!(
        "(SELECT v.1 AS key, any(v.2) AS id, max(v.3) AS rank, max(v.4) AS certainty, any(v.5) AS cause,
            any(server_namespace) AS namespace, max(proof_rank) AS proof, sum(flows) AS all_flows,
            min(first) AS first_seen, max(last) AS last_seen
          FROM {} AS counted
          INNER JOIN (
            SELECT hash, server_namespace, proof_rank, violations, {} AND {} AS fits FROM shape WHERE notEmpty(violations) LIMIT 1 BY hash
          ) AS shape ON counted.shape = shape.hash
          ARRAY JOIN violations AS v
          GROUP BY key HAVING max(fits) AND {}) AS finding",
        all_counted(),
        asked.edge,
        asked.outcome,
        asked.finding
    )
}

/// Counts of the flows that fit, with the words of their shapes.
fn fitting(asked: &Asked) -> String {
    format!(
        "{} AS counted INNER JOIN (SELECT * EXCEPT (body, sent) FROM shape WHERE {} AND {} LIMIT 1 BY hash) AS shape
         ON counted.shape = shape.hash",
        asked.counted, asked.edge, asked.outcome
    )
}

/// Narrows flows by what their shapes say.
fn shapes(asked: &Asked) -> String {
    if asked.edge == "1" && asked.outcome == "1" {
        return "1".into();
    }
    format!("shape IN (SELECT hash FROM shape WHERE {} AND {})", asked.edge, asked.outcome)
}

/// The filters of a list of whole edges or findings, and the condition on their times and on where the page begins.
fn overlap(query: &Query, list_: List, paging: &Paging, name: &str) -> Result<(Asked, String), StoreError> {
    let mut asked = Asked::new(query).and("limit", paging.rows() + 1);
    let mut terms = vec!["1".to_owned()];
    if query.since.is_some() {
        terms.push("last_seen >= {since:Int64}".into());
    }
    if query.until.is_some() {
        terms.push("first_seen < {until:Int64}".into());
    }
    if let Some(Position { rank, start, name: last }) = query.position(list_, paging)? {
        asked = asked.and("after_rank", rank).and("after", start).and("after_name", last);
        let rank = if matches!(list_, List::Violations) { "toInt64(rank)" } else { "toInt64(0)" };
        terms.push(format!(
            "({rank}, first_seen, {name}) < ({{after_rank:Int64}}, {{after:Int64}}, {{after_name:String}})"
        ));
    }
    Ok((asked, terms.join(" AND ")))
}

/// What is left of rows in which the reports of a flow stand together: the one that nothing takes out.
fn survivors(rows: Vec<SignedRow>) -> Vec<SignedRow> {
    let mut live: Vec<SignedRow> = Vec::new();
    let mut rows = rows.into_iter().peekable();
    while let Some(head) = rows.next() {
        let mut reports = vec![head];
        while let Some(next) = rows.next_if(|next| {
            reports.first().is_some_and(|head| (head.start, head.id) == (next.start, next.id))
        }) {
            reports.push(next);
        }
        let sum = |version: u64| -> i32 {
            reports.iter().filter(|row| row.version == version).map(|row| i32::from(row.sign)).sum()
        };
        let left = reports.iter().find(|row| row.sign > 0 && sum(row.version) > 0).cloned();
        live.extend(left);
    }
    live
}

/// Makes a page of rows of which one more than asked for was read: it tells whether there is a next page.
fn page<R, T>(
    mut rows: Vec<R>,
    limit: usize,
    query: &Query,
    list: List,
    position: impl Fn(&R) -> Position,
    read: impl Fn(R) -> Result<T, StoreError>,
) -> Result<Page<T>, StoreError> {
    let more = rows.len() > limit;
    rows.truncate(limit);
    let next_cursor = match rows.last() {
        Some(row) if more => Some(query.cursor(list, position(row))?),
        Some(_) | None => None,
    };
    Ok(Page { rows: rows.into_iter().map(read).collect::<Result<_, _>>()?, next_cursor })
}

fn shape(shapes: &HashMap<u128, Judged>, name: u128) -> Result<&Judged, StoreError> {
    shapes.get(&name).ok_or_else(|| StoreError::Word(format!("shape {name:032x} is missing")))
}

/// Writes numbers as a list that a statement holds. A parameter may be no longer than 128 KiB, and neither may a statement that has one.
fn numbers<T: ToString>(kind: &str, items: impl Iterator<Item = T>) -> String {
    let items: Vec<String> = items.map(|item| item.to_string()).collect();
    format!("(SELECT arrayJoin(CAST('[{}]', 'Array({kind})')))", items.join(","))
}

fn word<T: std::str::FromStr<Err = String>>(text: &str) -> Result<T, StoreError> {
    text.parse().map_err(StoreError::Word)
}

fn ranked<T: Copy>(rank: u8, all: &[T]) -> Result<T, StoreError> {
    let found = all.get(usize::from(rank)).copied();
    found.ok_or_else(|| StoreError::Word(format!("rank {rank} is unknown")))
}
