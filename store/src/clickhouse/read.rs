//! Questions to SQL, rows to answers.

mod contested;
mod counts;
mod edges;
mod findings;
mod flows;

use std::collections::HashMap;

use analyzer::report::Judged;

use crate::answer::Page;
use crate::clickhouse::filter::Asked;
use crate::error::StoreError;
use crate::query::{List, Paging, Position, Query};

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
