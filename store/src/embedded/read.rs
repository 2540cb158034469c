//! Questions to SQL, rows to answers.

use std::collections::BTreeMap;

use analyzer::report::{Certainty, Finding, Judged, Judgement, Severity};
use flow::{Coverage, FlowId, Proof, Timestamp};
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension as _, Row, params_from_iter};

use super::filter::Conditions;
use crate::answer::{Counts, Edge, EdgeEnd, MatrixCell, Page, Sources, Span, Tally, TimelineBucket, Totals};
use crate::error::StoreError;
use crate::query::{List, Paging, Position, Query};

const FLOWS: &str = "flow JOIN edge ON edge.row = flow.edge";
const FINDINGS: &str = "finding JOIN edge ON edge.row = finding.edge";

pub(super) fn flows(base: &Connection, query: &Query, paging: &Paging) -> Result<Page<Judged>, StoreError> {
    let mut fits = Conditions::of_flows(query);
    fits.after("0, flow.start, flow.id", query.position(List::Flows, paging)?);
    let sql = format!(
        "SELECT 0, flow.start, flow.id, flow.body FROM {FLOWS} WHERE {} ORDER BY flow.start DESC, flow.id DESC LIMIT ?",
        fits.sql()
    );
    page(base, &sql, fits.values, query, List::Flows, paging, |row| {
        Ok(serde_json::from_str(&row.get::<_, String>(3)?)?)
    })
}

pub(super) fn flow(base: &Connection, id: FlowId) -> Result<Option<Judged>, StoreError> {
    let body: Option<String> = base
        .prepare_cached("SELECT body FROM flow WHERE id = ?1")?
        .query_row([id.to_string()], |row| row.get(0))
        .optional()?;
    Ok(body.map(|body| serde_json::from_str(&body)).transpose()?)
}

pub(super) fn edges(base: &Connection, query: &Query, paging: &Paging) -> Result<Page<Edge>, StoreError> {
    let mut fits = Conditions::of_edges(query);
    fits.after("0, edge.first_seen, edge.identity", query.position(List::Edges, paging)?);
    let sql = format!(
        "SELECT 0, first_seen, identity, client_name, client_kind, client_namespace, client_workload, server_name,
            server_kind, server_namespace, server_workload, transport, port, protocol, class, proof, flows, violating,
            bytes, last_seen
         FROM edge WHERE {} ORDER BY first_seen DESC, identity DESC LIMIT ?",
        fits.sql()
    );
    page(base, &sql, fits.values, query, List::Edges, paging, |row| {
        let end = |at: usize| -> Result<EdgeEnd, StoreError> {
            Ok(EdgeEnd {
                name: row.get(at)?,
                kind: word(row, at + 1)?,
                namespace: row.get(at + 2)?,
                workload: row.get(at + 3)?,
            })
        };
        let protocol: Option<String> = row.get(13)?;
        Ok(Edge {
            client: end(3)?,
            server: end(7)?,
            transport: word(row, 11)?,
            port: row.get(12)?,
            protocol: protocol.map(|name| name.parse()).transpose().map_err(StoreError::Word)?,
            class: word(row, 14)?,
            proof: word(row, 15)?,
            flows: count(row, 16)?,
            violating: count(row, 17)?,
            bytes: count(row, 18)?,
            first_seen: Timestamp::from_nanos(row.get(1)?),
            last_seen: Timestamp::from_nanos(row.get(19)?),
        })
    })
}

const FINDING: &str =
    "finding.rank, finding.first_seen, finding.key, finding.body, finding.flows, finding.last_seen,
    finding.proof, finding.certainty";

pub(super) fn violations(
    base: &Connection,
    query: &Query,
    paging: &Paging,
) -> Result<Page<Finding>, StoreError> {
    let mut fits = Conditions::of_findings(query);
    fits.after("finding.rank, finding.first_seen, finding.key", query.position(List::Violations, paging)?);
    let sql = format!(
        "SELECT {FINDING} FROM {FINDINGS} WHERE {}
         ORDER BY finding.rank DESC, finding.first_seen DESC, finding.key DESC LIMIT ?",
        fits.sql()
    );
    page(base, &sql, fits.values, query, List::Violations, paging, finding)
}

pub(super) fn violation(base: &Connection, key: &str) -> Result<Option<Finding>, StoreError> {
    let mut statement = base.prepare_cached(&format!("SELECT {FINDING} FROM finding WHERE key = ?1"))?;
    let mut rows = statement.query([key])?;
    rows.next()?.map(finding).transpose()
}

fn finding(row: &Row<'_>) -> Result<Finding, StoreError> {
    let mut finding: Finding = serde_json::from_str(&row.get::<_, String>(3)?)?;
    finding.flows = count(row, 4)?;
    finding.first_seen = Timestamp::from_nanos(row.get(1)?);
    finding.last_seen = Timestamp::from_nanos(row.get(5)?);
    finding.proof = ranked(row, 6, Proof::ALL)?;
    finding.certainty = ranked(row, 7, Certainty::ALL)?;
    Ok(finding)
}

pub(super) fn tallies(base: &Connection, query: &Query) -> Result<Vec<Tally>, StoreError> {
    let fits = Conditions::of_findings(query);
    let sql = format!(
        "SELECT finding.id, finding.rank, edge.server_namespace, finding.cause, count(*), sum(finding.flows)
         FROM {FINDINGS} WHERE {} GROUP BY 1, 2, 3, 4 ORDER BY 2 DESC, 6 DESC, 1, 3, 4",
        fits.sql()
    );
    each(base, &sql, fits.values, |row| {
        Ok(Tally {
            id: row.get(0)?,
            severity: ranked(row, 1, Severity::ALL)?,
            namespace: row.get(2)?,
            cause: row.get(3)?,
            findings: count(row, 4)?,
            flows: count(row, 5)?,
        })
    })
}

pub(super) fn matrix(base: &Connection, query: &Query) -> Result<Vec<MatrixCell>, StoreError> {
    let (from, flows, violating, fits) = counted(query);
    let sql = format!(
        "SELECT edge.client_namespace, edge.server_namespace, edge.class, edge.proof, {flows}, {violating}
         FROM {from} WHERE {} GROUP BY 1, 2, 3, 4 ORDER BY 1, 2",
        fits.sql()
    );
    let mut cells: Vec<MatrixCell> = Vec::new();
    for (from, to, class, proof, flows, violating) in each(base, &sql, fits.values, |row| {
        let (from, to): (Option<String>, Option<String>) = (row.get(0)?, row.get(1)?);
        let (class, proof): (String, String) = (row.get(2)?, row.get(3)?);
        Ok((from, to, class, proof, count(row, 4)?, count(row, 5)?))
    })? {
        if cells.last().is_none_or(|cell| cell.from != from || cell.to != to) {
            cells.push(MatrixCell { from, to, flows: Counts::new(), violating: 0 });
        }
        if let Some(cell) = cells.last_mut() {
            cell.flows.entry(class).or_default().insert(proof, flows);
            cell.violating += violating;
        }
    }
    Ok(cells)
}

pub(super) fn totals(base: &Connection, query: &Query) -> Result<Totals, StoreError> {
    // One read transaction, so that the parts tell of one moment.
    let moment = base.unchecked_transaction()?;
    let mut totals = Totals::default();
    let (from, flows, _, fits) = counted(query);
    let sql =
        format!("SELECT edge.class, edge.proof, {flows} FROM {from} WHERE {} GROUP BY 1, 2", fits.sql());
    for (class, proof, flows) in each(&moment, &sql, fits.values, |row| {
        let (class, proof): (String, String) = (row.get(0)?, row.get(1)?);
        Ok((class, proof, count(row, 2)?))
    })? {
        totals.flows.entry(class).or_default().insert(proof, flows);
    }
    let fits = Conditions::of_flows(query);
    let sql = format!("SELECT flow.judgement, count(*) FROM {FLOWS} WHERE {} GROUP BY 1", fits.sql());
    totals.judgements = each(&moment, &sql, fits.values, |row| Ok((row.get(0)?, count(row, 1)?)))?
        .into_iter()
        .collect::<BTreeMap<String, u64>>();
    let fits = Conditions::of_flows(query);
    let sql = format!("SELECT min(flow.start), max(flow.finish) FROM {FLOWS} WHERE {}", fits.sql());
    for (first, last) in each(&moment, &sql, fits.values, |row| Ok((row.get(0)?, row.get(1)?)))? {
        totals.first = Option::map(first, Timestamp::from_nanos);
        totals.last = Option::map(last, Timestamp::from_nanos);
    }
    let fits = Conditions::of_findings(query);
    let sql = format!("SELECT finding.rank, count(*) FROM {FINDINGS} WHERE {} GROUP BY 1", fits.sql());
    for (severity, findings) in
        each(&moment, &sql, fits.values, |row| Ok((ranked(row, 0, Severity::ALL)?, count(row, 1)?)))?
    {
        totals.findings.insert(severity.name().into(), findings);
    }
    Ok(totals)
}

/// Every flow is in an edge, whose times are kept.
pub(super) fn span(base: &Connection) -> Result<Span, StoreError> {
    let (first, last): (Option<i64>, Option<i64>) = base
        .prepare_cached("SELECT (SELECT min(first_seen) FROM edge), (SELECT max(last_seen) FROM edge)")?
        .query_row([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(Span { first: first.map(Timestamp::from_nanos), last: last.map(Timestamp::from_nanos) })
}

/// From where and how flows are counted: from the edges' own counts where the filters allow, else one by one.
fn counted(query: &Query) -> (&'static str, &'static str, String, Conditions) {
    let of_flows = query.since.is_some()
        || query.until.is_some()
        || !(query.judgement.is_empty() && query.id.is_empty() && query.severity.is_empty());
    if of_flows {
        let violating = format!("sum(flow.judgement = '{}')", Judgement::Violates.name());
        (FLOWS, "count(*)", violating, Conditions::of_flows(query))
    } else {
        ("edge", "sum(edge.flows)", "sum(edge.violating)".into(), Conditions::of_edges(query))
    }
}

pub(super) fn timeline(
    base: &Connection,
    query: &Query,
    buckets: u32,
) -> Result<Vec<TimelineBucket>, StoreError> {
    let fits = Conditions::of_flows(query);
    let sql = format!("SELECT min(flow.start), max(flow.start) FROM {FLOWS} WHERE {}", fits.sql());
    let span = each(base, &sql, fits.values, |row| Ok((row.get(0)?, row.get(1)?)))?;
    let Some((Some(first), Some(last))) = span.first().copied() else { return Ok(Vec::new()) };
    let (first, last): (i64, i64) = (first, last);
    let step = step(first, last, buckets);
    let fits = Conditions::of_flows(query);
    let sql = format!(
        "SELECT (flow.start - ?) / ?, edge.class, count(*), sum(flow.judgement = '{}') FROM {FLOWS} WHERE {}
         GROUP BY 1, 2 ORDER BY 1",
        Judgement::Violates.name(),
        fits.sql()
    );
    let mut values = vec![Value::Integer(first), Value::Integer(step)];
    values.extend(fits.values);
    let mut timeline: Vec<TimelineBucket> = Vec::new();
    for (place, class, flows, violating) in each(base, &sql, values, |row| {
        let (place, class): (i64, String) = (row.get(0)?, row.get(1)?);
        Ok((place, class, count(row, 2)?, count(row, 3)?))
    })? {
        let at = Timestamp::from_nanos(first.saturating_add(place.saturating_mul(step)));
        if timeline.last().is_none_or(|bucket| bucket.at != at) {
            timeline.push(TimelineBucket { at, flows: BTreeMap::new(), violating: 0 });
        }
        if let Some(bucket) = timeline.last_mut() {
            bucket.flows.insert(class, flows);
            bucket.violating += violating;
        }
    }
    Ok(timeline)
}

/// Returns the length of a step, in nanoseconds, so that `buckets` of them reach from `first` beyond `last`.
fn step(first: i64, last: i64, buckets: u32) -> i64 {
    last.saturating_sub(first) / i64::from(buckets.max(1)) + 1
}

pub(super) fn coverage(base: &Connection) -> Result<Sources, StoreError> {
    let mut sources = Sources::default();
    let rows = each(base, "SELECT name, coverage FROM source ORDER BY name", Vec::new(), |row| {
        Ok((row.get(0)?, serde_json::from_str(&row.get::<_, String>(1)?)?))
    })?;
    for (name, coverage) in rows {
        let coverage: Coverage = coverage;
        sources.total.add(&coverage);
        sources.sources.insert(name, coverage);
    }
    Ok(sources)
}

/// Reads one row more than asked for: it tells whether there is a next page.
fn page<T>(
    base: &Connection,
    sql: &str,
    mut values: Vec<Value>,
    query: &Query,
    list: List,
    paging: &Paging,
    read: impl Fn(&Row<'_>) -> Result<T, StoreError>,
) -> Result<Page<T>, StoreError> {
    let limit = paging.rows();
    values.push(Value::Integer(i64::try_from(limit).unwrap_or(i64::MAX).saturating_add(1)));
    let mut rows = each(base, sql, values, |row| {
        Ok((Position { rank: row.get(0)?, start: row.get(1)?, name: row.get(2)? }, read(row)?))
    })?;
    let more = rows.len() > limit;
    rows.truncate(limit);
    let next_cursor = match rows.last() {
        Some((position, _)) if more => Some(query.cursor(list, position.clone())?),
        Some(_) | None => None,
    };
    Ok(Page { rows: rows.into_iter().map(|(_, row)| row).collect(), next_cursor })
}

fn each<T>(
    base: &Connection,
    sql: &str,
    values: Vec<Value>,
    read: impl Fn(&Row<'_>) -> Result<T, StoreError>,
) -> Result<Vec<T>, StoreError> {
    let mut statement = base.prepare_cached(sql)?;
    let mut rows = statement.query(params_from_iter(values))?;
    let mut all = Vec::new();
    while let Some(row) = rows.next()? {
        all.push(read(row)?);
    }
    Ok(all)
}

fn word<T: std::str::FromStr<Err = String>>(row: &Row<'_>, at: usize) -> Result<T, StoreError> {
    row.get::<_, String>(at)?.parse().map_err(StoreError::Word)
}

fn ranked<T: Copy>(row: &Row<'_>, at: usize, all: &[T]) -> Result<T, StoreError> {
    let rank: i64 = row.get(at)?;
    let found = usize::try_from(rank).ok().and_then(|rank| all.get(rank)).copied();
    found.ok_or_else(|| StoreError::Word(format!("rank {rank} is unknown")))
}

fn count(row: &Row<'_>, at: usize) -> Result<u64, StoreError> {
    let count: i64 = row.get(at)?;
    u64::try_from(count).map_err(|_| StoreError::Word(format!("count {count} is negative")))
}
