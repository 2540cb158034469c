//! Questions that are answered by counting: findings, matrix, totals, timeline, coverage.

use std::collections::{BTreeMap, HashMap};

use analyzer::report::{Judgement, SetAside, Severity};
use flow::Timestamp;
use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};

use super::filter::Conditions;
use super::read::{FINDINGS, SHAPES, count, each, ranked, word};
use super::sums::HOUR;
use crate::answer::{Alike, Counts, MatrixCell, Sources, Span, Tally, TimelineBucket, Totals};
use crate::error::StoreError;
use crate::query::Query;

/// Past so many hours a timeline's steps are whole hours, of which the counts are kept.
const FINE_HOURS: i64 = 48;

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
    let (from, values) = counted(query);
    let sql = format!(
        "SELECT edge.client_namespace, edge.server_namespace, edge.class, edge.proof, sum(counted.flows),
            sum(iif(shape.judgement = '{}', counted.flows, 0)) FROM {from} AND {} GROUP BY 1, 2, 3, 4 ORDER BY 1, 2",
        Judgement::Violates.name(),
        told_here(),
    );
    let mut cells: Vec<MatrixCell> = Vec::new();
    for (from, to, class, proof, flows, violating) in each(base, &sql, values, |row| {
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
    let (from, values) = counted(query);
    let sql = format!(
        "SELECT edge.class, edge.proof, shape.judgement, shape.set_aside, sum(counted.flows), min(counted.first_seen),
            max(counted.last_seen) FROM {from} GROUP BY 1, 2, 3, 4"
    );
    for alike in each(&moment, &sql, values, |row| {
        Ok(Alike {
            class: row.get(0)?,
            proof: row.get(1)?,
            judgement: row.get(2)?,
            set_aside: row.get(3)?,
            flows: count(row, 4)?,
            first: Timestamp::from_nanos(row.get(5)?),
            last: Timestamp::from_nanos(row.get(6)?),
        })
    })? {
        totals.add(alike);
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

/// A stretch of time as whole hours, and as what is left of it at both ends, flow by flow.
struct Stretch {
    hours: Conditions,
    ends: Vec<Conditions>,
}

impl Stretch {
    fn of(query: &Query) -> Self {
        let (since, until) = (query.since.map(Timestamp::as_nanos), query.until.map(Timestamp::as_nanos));
        let from = since.map(|since| since.div_euclid(HOUR) + i64::from(since.rem_euclid(HOUR) > 0));
        let to = until.map(|until| until.div_euclid(HOUR));
        let mut stretch = Self { hours: Conditions::default(), ends: Vec::new() };
        let between = |from: i64, to: i64| {
            let mut end = Conditions::default();
            end.and("start >= ? AND start < ?", [Value::Integer(from), Value::Integer(to)]);
            end
        };
        if let (Some(since), Some(until), Some(from), Some(to)) = (since, until, from, to)
            && from >= to
        {
            stretch.hours.and("0", []);
            stretch.ends.push(between(since, until));
            return stretch;
        }
        if let (Some(since), Some(from)) = (since, from) {
            stretch.hours.and("hour >= ?", [Value::Integer(from)]);
            stretch.ends.push(between(since, from.saturating_mul(HOUR)));
        }
        if let (Some(until), Some(to)) = (until, to) {
            stretch.hours.and("hour < ?", [Value::Integer(to)]);
            stretch.ends.push(between(to.saturating_mul(HOUR), until));
        }
        stretch
    }
}

/// From where shapes are counted: `counted` has `shape`, `flows` and times of the flows that fit, joined with shape and edge.
fn counted(query: &Query) -> (String, Vec<Value>) {
    let fits = Conditions::of_shapes(query);
    let (source, mut values) = if !query.community_id.is_empty() {
        let mut fits = Conditions::default();
        fits.times("start", "start", query);
        fits.named(query);
        let sql = format!(
            "SELECT shape, count(*) AS flows, min(start) AS first_seen, max(finish) AS last_seen FROM flow
             WHERE row IN (SELECT row FROM flow INDEXED BY flow_by_time WHERE {}) GROUP BY shape",
            fits.sql()
        );
        (sql, fits.values)
    } else if query.since.is_none() && query.until.is_none() {
        ("SELECT row AS shape, flows, first_seen, last_seen FROM shape".to_owned(), Vec::new())
    } else {
        let Stretch { hours, ends } = Stretch::of(query);
        let mut parts = vec![format!(
            "SELECT shape, sum(flows) AS flows, min(first_seen) AS first_seen, max(last_seen) AS last_seen FROM hour
             WHERE {} GROUP BY shape",
            hours.sql()
        )];
        let mut values = hours.values;
        for end in ends {
            parts.push(format!(
                "SELECT shape, count(*), min(start), max(finish) FROM flow WHERE {} GROUP BY shape",
                end.sql()
            ));
            values.extend(end.values);
        }
        (parts.join(" UNION ALL "), values)
    };
    values.extend(fits.values.iter().cloned());
    let from = format!(
        "({source}) AS counted JOIN shape ON shape.row = counted.shape JOIN edge ON edge.row = shape.edge WHERE {}",
        fits.sql()
    );
    (from, values)
}

/// The condition on shapes whose flows are not told on another side of an address translation.
fn told_here() -> String {
    format!("shape.set_aside IS NOT '{}'", SetAside::Translated.name())
}

pub(super) fn timeline(
    base: &Connection,
    query: &Query,
    buckets: u32,
) -> Result<Vec<TimelineBucket>, StoreError> {
    let moment = base.unchecked_transaction()?;
    let (from, values) = counted(query);
    let sql = format!("SELECT min(counted.first_seen), max(counted.last_seen) FROM {from}");
    let span = each(&moment, &sql, values, |row| Ok((row.get(0)?, row.get(1)?)))?;
    let Some((Some(first), Some(last))) = span.first().copied() else { return Ok(Vec::new()) };
    let (mut first, last): (i64, i64) = (first, last);
    let mut step = step(first, last, buckets);
    let coarse = last.saturating_sub(first) > FINE_HOURS * HOUR;
    if coarse {
        first = first.div_euclid(HOUR) * HOUR;
        step = (step / HOUR + 1) * HOUR;
    }
    let (source, values) = if coarse && query.community_id.is_empty() {
        let Stretch { hours, ends } = Stretch::of(query);
        let mut parts =
            vec![format!("SELECT hour * {HOUR} AS at, shape, flows FROM hour WHERE {}", hours.sql())];
        let mut values = hours.values;
        for end in ends {
            parts.push(format!(
                "SELECT start, shape, 1 FROM flow INDEXED BY flow_by_time WHERE {}",
                end.sql()
            ));
            values.extend(end.values);
        }
        (parts.join(" UNION ALL "), values)
    } else {
        let mut fits = Conditions::default();
        fits.times("start", "start", query);
        fits.named(query);
        let sql = format!(
            "SELECT start AS at, shape, 1 AS flows FROM flow INDEXED BY flow_by_time WHERE {}",
            fits.sql()
        );
        (sql, fits.values)
    };
    let fits = Conditions::of_shapes(query);
    let sql = format!(
        "SELECT shape.row, edge.class, shape.judgement FROM {SHAPES} WHERE {} AND {}",
        fits.sql(),
        told_here()
    );
    let shapes: HashMap<i64, (String, bool)> = each(&moment, &sql, fits.values, |row| {
        Ok((row.get(0)?, (row.get(1)?, row.get::<_, String>(2)? == Judgement::Violates.name())))
    })?
    .into_iter()
    .collect();
    // Summed here: SQLite would sort all rows to do so.
    let mut timeline: BTreeMap<i64, TimelineBucket> = BTreeMap::new();
    let mut statement = moment.prepare_cached(&source)?;
    let mut rows = statement.query(params_from_iter(values))?;
    while let Some(row) = rows.next()? {
        let Some((class, violates)) = shapes.get(&row.get(1)?) else { continue };
        let (at, flows) = (row.get::<_, i64>(0)?, count(row, 2)?);
        let place = at.saturating_sub(first).div_euclid(step);
        let bucket = timeline.entry(place).or_insert_with(|| TimelineBucket {
            at: Timestamp::from_nanos(first.saturating_add(place.saturating_mul(step))),
            flows: BTreeMap::new(),
            violating: 0,
        });
        match bucket.flows.get_mut(class) {
            Some(all) => *all += flows,
            None => drop(bucket.flows.insert(class.clone(), flows)),
        }
        bucket.violating += if *violates { flows } else { 0 };
    }
    Ok(timeline.into_values().collect())
}

/// Returns the length of a step, in nanoseconds, so that `buckets` of them reach from `first` beyond `last`.
fn step(first: i64, last: i64, buckets: u32) -> i64 {
    last.saturating_sub(first) / i64::from(buckets.max(1)) + 1
}

pub(super) fn coverage(base: &Connection) -> Result<Sources, StoreError> {
    let moment = base.unchecked_transaction()?;
    let mut sources = Sources { span: span(&moment)?, ..Sources::default() };
    let rows = each(&moment, "SELECT name, coverage FROM source ORDER BY name", Vec::new(), |row| {
        Ok((row.get(0)?, serde_json::from_str(&row.get::<_, String>(1)?)?))
    })?;
    for (name, coverage) in rows {
        sources.add(name, coverage);
    }
    let sql = "SELECT transport, sum(flows), sum(connections), sum(from_start) FROM edge GROUP BY transport";
    for (transport, flows, connections, from_start) in each(&moment, sql, Vec::new(), |row| {
        Ok((word(row, 0)?, count(row, 1)?, count(row, 2)?, count(row, 3)?))
    })? {
        sources.count(transport, true, false, from_start);
        sources.count(transport, false, false, connections.saturating_sub(from_start));
        sources.count(transport, false, true, flows.saturating_sub(connections));
    }
    Ok(sources)
}
