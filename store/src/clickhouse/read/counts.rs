//! Counts over many flows: overviews, the matrix, the timeline, coverage.

use std::collections::BTreeMap;

use analyzer::report::Severity;
use clickhouse::Row;
use flow::Timestamp;
use serde::Deserialize;

use super::findings::findings;
use super::{fitting, overlap, ranked, shapes, word};
use crate::answer::{Alike, Counts, MatrixCell, Sources, Span, Tally, TimelineBucket, Totals};
use crate::clickhouse::Clickhouse;
use crate::clickhouse::edge::BORDER;
use crate::clickhouse::filter::Asked;
use crate::clickhouse::rows::{SourceRow, TRANSLATED, VIOLATES};
use crate::error::StoreError;
use crate::query::{List, Paging, Query};

const HOUR: i64 = 3_600_000_000_000;

const DAY: i64 = 24 * HOUR;

/// Past so many hours a timeline's steps are whole hours, which the hourly counts answer.
const FINE_HOURS: i64 = 48;

impl Clickhouse {
    pub(in crate::clickhouse) async fn tallies(&self, query: &Query) -> Result<Vec<Tally>, StoreError> {
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

    pub(in crate::clickhouse) async fn cells(&self, query: &Query) -> Result<Vec<MatrixCell>, StoreError> {
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
             FROM {} WHERE ifNull(set_aside, '') != '{TRANSLATED}'
             GROUP BY client_namespace, server_namespace, class, proof
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

    pub(in crate::clickhouse) async fn all_totals(&self, query: &Query) -> Result<Totals, StoreError> {
        #[derive(Row, Deserialize)]
        struct TotalRow {
            class: String,
            proof: String,
            judgement: String,
            set_aside: Option<String>,
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
            "SELECT class, proof, judgement, set_aside, sum(flows) AS all_flows, min(first) AS first_seen,
                max(last) AS last_seen
             FROM {} GROUP BY class, proof, judgement, set_aside",
            fitting(&asked)
        );
        let mut totals = Totals::default();
        for row in self.ask::<TotalRow>(&sql, &asked).await? {
            totals.add(Alike {
                class: row.class,
                proof: row.proof,
                judgement: row.judgement,
                set_aside: row.set_aside,
                flows: row.all_flows,
                first: Timestamp::from_nanos(row.first_seen),
                last: Timestamp::from_nanos(row.last_seen),
            });
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

    /// From when to when the flows are that fit, and from when on flows count rather than sums of days.
    async fn whole_span(&self, asked: &Asked) -> Result<(Span, Timestamp), StoreError> {
        #[derive(Row, Deserialize)]
        struct SpanRow {
            shapes: u64,
            first_seen: i64,
            last_seen: i64,
            border: i64,
        }
        let sql = format!(
            "SELECT count() AS shapes, min(first) AS first_seen, max(last) AS last_seen, any({}) AS border FROM {} WHERE {}",
            border(),
            asked.counted,
            shapes(asked)
        );
        let rows: Vec<SpanRow> = self.ask(&sql, asked).await?;
        let Some(row) = rows.into_iter().find(|row| row.shapes > 0) else {
            return Ok((Span::default(), Timestamp::from_nanos(0)));
        };
        let [first, last, border] = [row.first_seen, row.last_seen, row.border].map(Timestamp::from_nanos);
        Ok((Span { first: Some(first), last: Some(last) }, border))
    }

    pub(in crate::clickhouse) async fn steps(
        &self,
        query: &Query,
        buckets: u32,
    ) -> Result<Vec<TimelineBucket>, StoreError> {
        #[derive(Row, Deserialize)]
        struct StepRow {
            place: i64,
            class: String,
            all_flows: i64,
            violating: i64,
        }
        let asked = Asked::new(query);
        let (span, border) = self.whole_span(&asked).await?;
        let (Some(first), Some(last)) = (span.first, span.last) else { return Ok(Vec::new()) };
        let (mut first, last) = (first.as_nanos(), last.as_nanos());
        // The end of the last flow bounds the last start; a step too wide is better than a second question.
        let mut step = last.saturating_sub(first) / i64::from(buckets.max(1)) + 1;
        let place = |nanos: &str| format!("intDiv({nanos} - {{first:Int64}}, {{step:Int64}})");
        let unit = if first < border.as_nanos() { DAY } else { HOUR };
        let parts = if unit == DAY || last.saturating_sub(first) > FINE_HOURS * HOUR {
            first = first.div_euclid(unit) * unit;
            step = (step / unit + 1) * unit;
            asked.by(|moment| place(&format!("toInt64(toUnixTimestamp({moment})) * 1000000000")))
        } else {
            asked.by_start(&place("toUnixTimestamp64Nano(start)"))
        };
        let sql = format!(
            "SELECT step AS place, class, sum(f) AS all_flows, sumIf(f, judgement = '{VIOLATES}') AS violating
             FROM ({parts}) AS seen
             INNER JOIN (
                SELECT hash, class, judgement FROM shape
                WHERE {edge} AND {outcome} AND ifNull(set_aside, '') != '{TRANSLATED}' LIMIT 1 BY hash
             ) AS shape ON seen.shape = shape.hash
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

    pub(in crate::clickhouse) async fn covered(&self) -> Result<Sources, StoreError> {
        #[derive(Row, Deserialize)]
        struct CountRow {
            transport: String,
            from_start: bool,
            translated: bool,
            all_flows: u64,
            first_seen: i64,
            last_seen: i64,
            border: i64,
        }
        let asked = Asked::new(&Query::default());
        let sql =
            "SELECT name, argMax(source.coverage, at) AS coverage FROM source GROUP BY name ORDER BY name";
        let mut sources = Sources::default();
        for row in self.ask::<SourceRow>(sql, &asked).await? {
            sources.add(row.name, serde_json::from_str(&row.coverage)?);
        }
        let sql = format!(
            "SELECT transport, from_start, ifNull(set_aside, '') = '{TRANSLATED}' AS translated, sum(flows) AS all_flows,
                min(first) AS first_seen, max(last) AS last_seen, any({}) AS border
             FROM {} GROUP BY transport, from_start, translated",
            border(),
            fitting(&asked)
        );
        for row in self.ask::<CountRow>(&sql, &asked).await? {
            sources.flows_from = (row.border > 0).then(|| Timestamp::from_nanos(row.border));
            sources.count(word(&row.transport)?, row.from_start, row.translated, row.all_flows);
            sources.span.widen(Timestamp::from_nanos(row.first_seen), Timestamp::from_nanos(row.last_seen));
        }
        sources.flows_from =
            sources.flows_from.filter(|from| sources.span.first.is_some_and(|first| first < *from));
        Ok(sources)
    }
}

/// The border in nanoseconds.
fn border() -> String {
    format!("toInt64(toUnixTimestamp(toDateTime({BORDER}, 'UTC'))) * 1000000000")
}
