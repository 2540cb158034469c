//! Questions to SQL, rows to answers.

use std::collections::{BTreeMap, HashMap};

use analyzer::report::{Certainty, Finding, Judged, Judgement, SetAside, Severity, finding_key};
use flow::{FlowId, PerSide, Proof, TcpHandshake, Timestamp};
use rusqlite::types::Value;
use rusqlite::{Connection, Row, params_from_iter};

use super::filter::Conditions;
use super::write::HOUR;
use crate::answer::{
    Alike, Counts, Edge, EdgeEnd, MatrixCell, Page, Sources, Span, Tally, TimelineBucket, Totals,
};
use crate::error::StoreError;
use crate::query::{List, Paging, Position, Query};
use crate::shape::{self, Own};
use crate::sightings::{MOST, Sightings};

const FINDINGS: &str = "finding JOIN edge ON edge.row = finding.edge";
const SHAPES: &str = "shape JOIN edge ON edge.row = shape.edge";

/// How many of its flows a finding names.
const EXAMPLES: usize = 5;

/// Past so many hours a timeline's steps are whole hours, of which the counts are kept.
const FINE_HOURS: i64 = 48;

const FLOW: &str = "flow.start, flow.id, flow.finish, flow.client_port, flow.close, flow.packets_client, flow.packets_server,
    flow.bytes_client, flow.bytes_server, shape.body, flow.tcp_handshake, flow.translated";

pub(super) fn flows(base: &Connection, query: &Query, paging: &Paging) -> Result<Page<Judged>, StoreError> {
    let mut fits = Conditions::default();
    fits.times("start", "start", query);
    fits.named(query);
    narrow(&mut fits, query);
    if let Some(Position { start, name, .. }) = query.position(List::Flows, paging)? {
        let id: FlowId = name.parse().map_err(|_| StoreError::Cursor)?;
        fits.and("(start, id) < (?, ?)", [Value::Integer(start), Value::Blob(id.0.to_be_bytes().into())]);
    }
    // The page first, from the index alone; then the rows that it names.
    let sql = format!(
        "SELECT {FLOW} FROM (SELECT row FROM flow INDEXED BY flow_by_time WHERE {} ORDER BY start DESC, id DESC LIMIT ?) AS page
         CROSS JOIN flow ON flow.row = page.row JOIN shape ON shape.row = flow.shape
         ORDER BY flow.start DESC, flow.id DESC",
        fits.sql()
    );
    let position = |judged: &Judged| Position {
        rank: 0,
        start: judged.flow.start.as_nanos(),
        name: judged.flow.id.to_string(),
    };
    page(base, &sql, fits.values, query, List::Flows, paging, |row| {
        let judged = judged(row)?;
        Ok((position(&judged), judged))
    })
}

/// Narrows flows by their shapes. The plus keeps SQLite from walking the flows shape by shape, out of order.
fn narrow(fits: &mut Conditions, query: &Query) {
    let shapes = Conditions::of_shapes(query);
    if !shapes.values.is_empty() {
        fits.and(
            &format!("+shape IN (SELECT shape.row FROM {SHAPES} WHERE {})", shapes.sql()),
            shapes.values,
        );
    }
}

pub(super) fn flow(base: &Connection, id: FlowId) -> Result<Option<Judged>, StoreError> {
    // Without an index on the id alone this reads the whole index by time, which holds the ids.
    let sql = format!(
        "SELECT {FLOW} FROM (SELECT row FROM flow INDEXED BY flow_by_time WHERE id = ?1 LIMIT 1) AS found
         CROSS JOIN flow ON flow.row = found.row JOIN shape ON shape.row = flow.shape"
    );
    let mut statement = base.prepare_cached(&sql)?;
    let mut rows = statement.query([id.0.to_be_bytes()])?;
    rows.next()?.map(judged).transpose()
}

/// Reads the index of times and names first, then the rows that fit.
pub(super) fn sightings(base: &Connection, sightings: &Sightings) -> Result<Vec<Judged>, StoreError> {
    let mut rows = Vec::new();
    let mut alike: HashMap<(bool, u64), usize> = HashMap::new();
    let mut index = base.prepare_cached(
        "SELECT row, start, id, tcp_handshake FROM flow INDEXED BY flow_by_time WHERE start BETWEEN ?1 AND ?2 ORDER BY start",
    )?;
    for (from, to) in sightings.spans() {
        let mut found = index.query([from, to])?;
        while let Some(row) = found.next()? {
            let handshake = row.get::<_, Option<i64>>(3)?.map(i64::cast_unsigned);
            let id = FlowId(u128::from_be_bytes(row.get(2)?));
            if !sightings.fit(id, row.get(1)?, handshake) {
                continue;
            }
            let count = alike.entry(sightings.found_by(id, handshake)).or_default();
            if *count < MOST {
                *count += 1;
                rows.push(row.get::<_, i64>(0)?);
            }
        }
    }
    let sql = format!("SELECT {FLOW} FROM flow JOIN shape ON shape.row = flow.shape WHERE flow.row = ?1");
    let mut whole = base.prepare_cached(&sql)?;
    let mut all = Vec::with_capacity(rows.len());
    for row in rows {
        let mut found = whole.query([row])?;
        all.extend(found.next()?.map(judged).transpose()?);
    }
    Ok(all)
}

/// Puts a flow together again from its own part and its shape.
fn judged(row: &Row<'_>) -> Result<Judged, StoreError> {
    let mut judged: Judged = serde_json::from_str(&row.get::<_, String>(9)?)?;
    let own = Own {
        start: Timestamp::from_nanos(row.get(0)?),
        id: FlowId(u128::from_be_bytes(row.get(1)?)),
        end: Timestamp::from_nanos(row.get(2)?),
        client_port: row.get(3)?,
        close: word(row, 4)?,
        packets: PerSide { client: count(row, 5)?, server: count(row, 6)? },
        bytes: PerSide { client: count(row, 7)?, server: count(row, 8)? },
        tcp_handshake: row
            .get::<_, Option<i64>>(10)?
            .map(|handshake| TcpHandshake(handshake.cast_unsigned())),
        translated: shape::read_other(row.get::<_, Option<String>>(11)?.as_deref())?,
    };
    own.give(&mut judged);
    Ok(judged)
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
        let position = Position { rank: 0, start: row.get(1)?, name: row.get(2)? };
        Ok((
            position,
            Edge {
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
            },
        ))
    })
}

const FINDING: &str =
    "finding.row, finding.rank, finding.first_seen, finding.key, finding.flows, finding.last_seen,
    finding.proof, finding.certainty";

pub(super) fn violations(
    base: &Connection,
    query: &Query,
    paging: &Paging,
) -> Result<Page<Finding>, StoreError> {
    let moment = base.unchecked_transaction()?;
    let mut fits = Conditions::of_findings(query);
    fits.after("finding.rank, finding.first_seen, finding.key", query.position(List::Violations, paging)?);
    let sql = format!(
        "SELECT {FINDING} FROM {FINDINGS} WHERE {}
         ORDER BY finding.rank DESC, finding.first_seen DESC, finding.key DESC LIMIT ?",
        fits.sql()
    );
    page(&moment, &sql, fits.values, query, List::Violations, paging, |row| {
        let position = Position { rank: row.get(1)?, start: row.get(2)?, name: row.get(3)? };
        Ok((position, finding(&moment, row)?))
    })
}

pub(super) fn violation(base: &Connection, key: &str) -> Result<Option<Finding>, StoreError> {
    let moment = base.unchecked_transaction()?;
    let mut statement = moment.prepare_cached(&format!("SELECT {FINDING} FROM finding WHERE key = ?1"))?;
    let mut rows = statement.query([key])?;
    rows.next()?.map(|row| finding(&moment, row)).transpose()
}

/// Gives a finding the words of its first flow, whatever the order of arrival, and the names of the first few.
fn finding(base: &Connection, row: &Row<'_>) -> Result<Finding, StoreError> {
    let (own, key): (i64, String) = (row.get(0)?, row.get(3)?);
    let shapes = base
        .prepare_cached("SELECT shape FROM breach WHERE finding = ?1")?
        .query_map([own], |row| row.get::<_, i64>(0))?
        .collect::<Result<Vec<_>, _>>()?;
    let mut first: Vec<(i64, [u8; 16], i64)> = Vec::new();
    for shape in shapes {
        let mut named = base.prepare_cached(&format!(
            "SELECT start, id FROM flow WHERE shape = ?1 ORDER BY start, id LIMIT {EXAMPLES}"
        ))?;
        for flow in named.query_map([shape], |row| Ok((row.get(0)?, row.get(1)?, shape)))? {
            first.push(flow?);
        }
    }
    first.sort_unstable();
    first.truncate(EXAMPLES);
    let Some((start, id, shape)) = first.first().copied() else {
        return Err(StoreError::Word(format!("finding {key} has no flow")));
    };
    let body: String =
        base.prepare_cached("SELECT body FROM shape WHERE row = ?1")?.query_row([shape], |row| row.get(0))?;
    let mut judged: Judged = serde_json::from_str(&body)?;
    judged.flow.id = FlowId(u128::from_be_bytes(id));
    judged.flow.start = Timestamp::from_nanos(start);
    let Some(violation) = judged.violations.iter().find(|violation| finding_key(&judged, violation) == key)
    else {
        return Err(StoreError::Word(format!("finding {key} is not among its first flow's violations")));
    };
    let mut finding = Finding::new(&judged, violation);
    finding.flows = count(row, 4)?;
    finding.first_seen = Timestamp::from_nanos(row.get(2)?);
    finding.last_seen = Timestamp::from_nanos(row.get(5)?);
    finding.proof = ranked(row, 6, Proof::ALL)?;
    finding.certainty = ranked(row, 7, Certainty::ALL)?;
    finding.examples = first.iter().map(|(_, id, _)| FlowId(u128::from_be_bytes(*id))).collect();
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

/// Reads one row more than asked for: it tells whether there is a next page.
fn page<T>(
    base: &Connection,
    sql: &str,
    mut values: Vec<Value>,
    query: &Query,
    list: List,
    paging: &Paging,
    read: impl Fn(&Row<'_>) -> Result<(Position, T), StoreError>,
) -> Result<Page<T>, StoreError> {
    let limit = paging.rows();
    values.push(Value::Integer(i64::try_from(limit).unwrap_or(i64::MAX).saturating_add(1)));
    let mut rows = each(base, sql, values, read)?;
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
