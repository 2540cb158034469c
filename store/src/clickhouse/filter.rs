//! A query's filters as conditions on the table `shape` and on times.
//!
//! Every value is a parameter of the statement, never written into it.

use analyzer::report::Judgement;
use clickhouse::query::Query as Statement;
use flow::Timestamp;

use crate::query::Query;

const HOUR: i64 = 3_600_000_000_000;

/// A value and the name by which a statement calls it.
#[derive(Debug, Clone)]
enum Value {
    Words(Vec<String>),
    /// A number, or numbers in square brackets.
    Plain(String),
}

/// Conditions, and the parameters that they name.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    /// On what names the edge of a shape.
    pub(super) edge: String,
    /// On what else a flow of the shape shows: its outcome and violations.
    pub(super) outcome: String,
    /// On one violation `v` of a shape.
    pub(super) violation: String,
    /// On the time of a flow.
    pub(super) time: String,
    /// From where shapes are counted: `shape`, `flows`, `bytes`, `first`, `last`, for the flows of that time.
    pub(super) counted: String,
    /// The same by hour: `hour`, `shape`, `f`.
    pub(super) hours: String,
    values: Vec<(&'static str, Value)>,
}

/// Counts of each shape over the hours that `{condition}` leaves; the projection answers where it only names hours.
fn hours(condition: &str) -> String {
    format!(
        "SELECT toStartOfHour(start) AS hour, shape, sum(sign) AS f, sum(sign * toInt64(bytes_client + bytes_server)) AS b,
            min(start) AS a, max(finish) AS z
         FROM flow{condition} GROUP BY hour, shape HAVING f > 0"
    )
}

fn summed(parts: &str) -> String {
    // An hour in which a shape lost all its flows to other reports tells nothing of its first and last time.
    format!(
        "(SELECT shape, toUInt64(sum(f)) AS flows, toUInt64(greatest(sum(b), 0)) AS bytes,
            toUnixTimestamp64Nano(min(a)) AS first, toUnixTimestamp64Nano(max(z)) AS last
          FROM ({parts}) GROUP BY shape)"
    )
}

/// From where whole shapes are counted, whatever the time.
pub(super) fn all_counted() -> String {
    summed(&hours(""))
}

impl Asked {
    pub(super) fn new(query: &Query) -> Self {
        let mut values: Vec<(&'static str, Value)> = Vec::new();
        let mut any = |terms: &mut Vec<String>, name: &'static str, column: &str, words: Vec<String>| {
            if !words.is_empty() {
                terms.push(format!("has({{{name}:Array(String)}}, {column})"));
                values.push((name, Value::Words(words)));
            }
        };
        let (mut edge, mut outcome, mut violation) = (Vec::new(), Vec::new(), Vec::new());
        any(&mut edge, "from_namespace", "ifNull(client_namespace, '')", query.from_namespace.clone());
        any(&mut edge, "to_namespace", "ifNull(server_namespace, '')", query.to_namespace.clone());
        // A name fits by the workload alone, or by `namespace/name`; an address fits an end without a workload.
        for (name, end, words) in
            [("from_workload", "client", &query.from_workload), ("to_workload", "server", &query.to_workload)]
        {
            if !words.is_empty() {
                let mut terms = Vec::new();
                any(&mut terms, name, end, words.clone());
                let by_name = terms.concat();
                edge.push(format!(
                    "({by_name} OR has({{{name}:Array(String)}}, ifNull({end}_workload, {end})))"
                ));
            }
        }
        let words = |names: Vec<&'static str>| names.into_iter().map(str::to_owned).collect::<Vec<_>>();
        any(&mut edge, "class", "class", words(query.class.iter().map(|word| word.name()).collect()));
        any(&mut edge, "proof", "proof", words(query.proof.iter().map(|word| word.name()).collect()));
        any(&mut edge, "port", "toString(port)", query.port.iter().map(ToString::to_string).collect());
        any(
            &mut edge,
            "protocol",
            "ifNull(protocol, '')",
            words(query.protocol.iter().map(|word| word.name()).collect()),
        );
        any(&mut violation, "id", "v.2", query.id.clone());
        any(
            &mut violation,
            "severity",
            "toString(v.3)",
            query.severity.iter().map(|word| (*word as u8).to_string()).collect(),
        );
        if !violation.is_empty() {
            outcome.push(format!("arrayExists(v -> {}, violations)", violation.join(" AND ")));
        }
        if !query.judgement.is_empty() && !query.judgement.contains(&Judgement::Violates) {
            violation.push("0".into());
        }
        any(
            &mut outcome,
            "judgement",
            "judgement",
            words(query.judgement.iter().map(|word| word.name()).collect()),
        );
        let (since, until) = (query.since.map(Timestamp::as_nanos), query.until.map(Timestamp::as_nanos));
        let mut time = Vec::new();
        if let Some(since) = since {
            time.push(format!("start >= {}", at("since")));
            values.push(("since", Value::Plain(since.to_string())));
        }
        if let Some(until) = until {
            time.push(format!("start < {}", at("until")));
            values.push(("until", Value::Plain(until.to_string())));
        }
        let mut asked = Self {
            edge: joined(&edge),
            outcome: joined(&outcome),
            violation: joined(&violation),
            time: joined(&time),
            counted: String::new(),
            hours: String::new(),
            values,
        };
        asked.hours = asked.within(since, until);
        asked.counted = summed(&asked.hours);
        asked
    }

    /// Adds a parameter.
    pub(super) fn and(mut self, name: &'static str, value: impl ToString) -> Self {
        self.values.push((name, Value::Plain(value.to_string())));
        self
    }

    /// Adds a parameter that is a list of words.
    pub(super) fn and_words(mut self, name: &'static str, words: Vec<String>) -> Self {
        self.values.push((name, Value::Words(words)));
        self
    }

    /// Gives the parameters to a statement.
    pub(super) fn give(&self, mut statement: Statement) -> Statement {
        for (name, value) in &self.values {
            statement = match value {
                Value::Words(words) => statement.param(name, words),
                Value::Plain(text) => statement.param(name, text),
            };
        }
        statement
    }

    /// Whole hours are answered by their counts; what is left at both ends flow by flow.
    fn within(&mut self, since: Option<i64>, until: Option<i64>) -> String {
        let from = since.map(|since| since.div_euclid(HOUR) + i64::from(since.rem_euclid(HOUR) > 0));
        let to = until.map(|until| until.div_euclid(HOUR));
        if let (Some(from), Some(to)) = (from, to)
            && from >= to
        {
            return hours(&format!(" WHERE {}", self.time));
        }
        let mut whole = Vec::new();
        let mut parts = Vec::new();
        if let Some(from) = from {
            self.values.push(("from_hour", Value::Plain((from * 3600).to_string())));
            whole.push("hour >= toDateTime({from_hour:Int64}, 'UTC')");
            parts.push(hours(&format!(
                " WHERE start >= {} AND start < toDateTime64({{from_hour:Int64}}, 9, 'UTC')",
                at("since")
            )));
        }
        if let Some(to) = to {
            self.values.push(("to_hour", Value::Plain((to * 3600).to_string())));
            whole.push("hour < toDateTime({to_hour:Int64}, 'UTC')");
            parts.push(hours(&format!(
                " WHERE start >= toDateTime64({{to_hour:Int64}}, 9, 'UTC') AND start < {}",
                at("until")
            )));
        }
        let whole = if whole.is_empty() { String::new() } else { format!(" WHERE {}", whole.join(" AND ")) };
        parts.push(hours(&whole));
        parts.join(" UNION ALL ")
    }
}

/// A moment that a parameter gives in nanoseconds.
pub(super) fn at(name: &str) -> String {
    format!("fromUnixTimestamp64Nano({{{name}:Int64}}, 'UTC')")
}

fn joined(terms: &[String]) -> String {
    if terms.is_empty() { "1".into() } else { terms.join(" AND ") }
}
