//! Questions to SQL, rows to answers: flows, edges and findings, one by one. What is counted: `count`.

use std::collections::HashMap;

use analyzer::report::{Certainty, Finding, Judged, finding_key};
use flow::{FlowId, PerSide, Proof, TcpHandshake, Timestamp};
use rusqlite::types::Value;
use rusqlite::{Connection, Row, params_from_iter};

use super::filter::Conditions;
use crate::answer::{Edge, EdgeEnd, Page};
use crate::error::StoreError;
use crate::query::{List, Paging, Position, Query};
use crate::shape::{self, Own};
use crate::sightings::{MOST, Sightings};

pub(super) const FINDINGS: &str = "finding JOIN edge ON edge.row = finding.edge";
pub(super) const SHAPES: &str = "shape JOIN edge ON edge.row = shape.edge";

/// How many of its flows a finding names.
const EXAMPLES: usize = 5;

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

pub(super) fn each<T>(
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

pub(super) fn word<T: std::str::FromStr<Err = String>>(row: &Row<'_>, at: usize) -> Result<T, StoreError> {
    row.get::<_, String>(at)?.parse().map_err(StoreError::Word)
}

pub(super) fn ranked<T: Copy>(row: &Row<'_>, at: usize, all: &[T]) -> Result<T, StoreError> {
    let rank: i64 = row.get(at)?;
    let found = usize::try_from(rank).ok().and_then(|rank| all.get(rank)).copied();
    found.ok_or_else(|| StoreError::Word(format!("rank {rank} is unknown")))
}

pub(super) fn count(row: &Row<'_>, at: usize) -> Result<u64, StoreError> {
    let count: i64 = row.get(at)?;
    u64::try_from(count).map_err(|_| StoreError::Word(format!("count {count} is negative")))
}
