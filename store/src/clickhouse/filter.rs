//! A query's filters as conditions on the table `shape` and on times.
//!
//! Every word is a parameter of the statement, never written into it.

use clickhouse::query::Query as Statement;
use flow::Timestamp;

use super::edge::BORDER;
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
    /// On a finding: its `id`, and the `rank` of its severity.
    pub(super) finding: String,
    /// On a flow's own row: its time and its Community ID.
    pub(super) own: String,
    /// On a shape: that a flow of it has a Community ID that is asked for.
    pub(super) named: String,
    /// From where shapes are counted: `shape`, `flows`, `bytes`, `first`, `last`, for the flows of that time.
    pub(super) counted: String,
    /// The condition on whole hours, which their counts answer; on flows where no hour tells enough.
    whole: String,
    /// The condition on days of which sums alone count; absent where sums cannot answer. A day counts whole, however little of it is asked for:
    /// nothing that was there is left out.
    days: Option<String>,
    /// What is left at both ends of the time, flow by flow.
    ends: Vec<String>,
    values: Vec<(&'static str, Value)>,
}

/// A flow's hour, as the projection keeps it.
const START_HOUR: &str = "toStartOfHour(start)";

/// A flow's day, as far as the projection tells it.
pub(super) const START_DAY: &str = "toDate(toStartOfHour(start))";

/// The step of a moment. Sums do not depend on it, and there are far fewer days than hours to sum.
fn day(moment: &str) -> String {
    format!("toDate({moment})")
}

/// Counts of each shape by `step`, over the flows that `condition` leaves; the projection answers where both only name the hour. A step in
/// which a shape lost all its flows to other reports tells nothing of its first and last time.
pub(super) fn counts(step: &str, condition: &str) -> String {
    format!(
        "SELECT {step} AS step, shape, sum(sign) AS f, sum(sign * toInt64(bytes_client + bytes_server)) AS b,
            min(start) AS a, max(finish) AS z
         FROM flow WHERE {condition} GROUP BY step, shape HAVING f > 0"
    )
}

/// The same of days of which sums alone count.
fn sums(step: &str, condition: &str) -> String {
    format!(
        "SELECT {step} AS step, shape, sum(flows) AS f, sum(bytes) AS b, min(first) AS a, max(last) AS z
         FROM edge WHERE day < {BORDER} AND {condition} GROUP BY step, shape"
    )
}

fn summed(parts: &str) -> String {
    format!(
        "(SELECT shape, toUInt64(sum(f)) AS flows, toUInt64(greatest(sum(b), 0)) AS bytes,
            toUnixTimestamp64Nano(min(a)) AS first, toUnixTimestamp64Nano(max(z)) AS last
          FROM ({parts}) GROUP BY shape)"
    )
}

/// From where whole shapes are counted, whatever the time.
pub(super) fn all_counted() -> String {
    summed(&format!("{} UNION ALL {}", counts(START_DAY, &since_border("1")), sums("day", "1")))
}

/// From where flows that are there are counted, whether or not they count.
pub(super) fn flows_counted() -> String {
    summed(&counts(START_DAY, "1"))
}

/// Narrows flows to those that count themselves.
fn since_border(condition: &str) -> String {
    format!("{START_DAY} >= {BORDER} AND {condition}")
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
        let (mut edge, mut outcome, mut finding) = (Vec::new(), Vec::new(), Vec::new());
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
        any(&mut finding, "id", "id", query.id.clone());
        any(
            &mut finding,
            "severity",
            "toString(rank)",
            query.severity.iter().map(|word| (*word as u8).to_string()).collect(),
        );
        if !finding.is_empty() {
            outcome.push(format!(
                "arrayExists((id, rank) -> {}, violations.2, violations.3)",
                finding.join(" AND ")
            ));
        }
        any(
            &mut outcome,
            "judgement",
            "judgement",
            words(query.judgement.iter().map(|word| word.name()).collect()),
        );
        let (since, until) = (query.since.map(Timestamp::as_nanos), query.until.map(Timestamp::as_nanos));
        let mut own = Vec::new();
        let mut named = String::from("1");
        if !query.community_id.is_empty() {
            let any = "community_id IN {community_id:Array(UInt64)}";
            own.push(any.to_owned());
            named = format!(
                "hash IN (SELECT shape FROM flow WHERE {any} GROUP BY start, id, shape HAVING sum(sign) > 0)"
            );
            let folded: Vec<_> = query.community_id.iter().map(|id| id.folded().to_string()).collect();
            values.push(("community_id", Value::Plain(format!("[{}]", folded.join(",")))));
        }
        if let Some(since) = since {
            own.push(format!("start >= {}", at("since")));
            values.push(("since", Value::Plain(since.to_string())));
        }
        if let Some(until) = until {
            own.push(format!("start < {}", at("until")));
            values.push(("until", Value::Plain(until.to_string())));
        }
        let mut asked = Self {
            edge: joined(&edge),
            outcome: joined(&outcome),
            finding: joined(&finding),
            own: joined(&own),
            named,
            counted: String::new(),
            whole: String::new(),
            days: None,
            ends: Vec::new(),
            values,
        };
        if query.community_id.is_empty() {
            asked.within(since, until);
            let mut days = Vec::new();
            if since.is_some() {
                days.push(format!("day >= toDate({})", at("since")));
            }
            if until.is_some() {
                days.push(format!("toDateTime64(day, 9, 'UTC') < {}", at("until")));
            }
            asked.days = Some(joined(&days));
        } else {
            asked.whole.clone_from(&asked.own);
        }
        asked.counted = summed(&asked.by(day));
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

    /// Counts of shapes (`step`, `shape`, `f`) for the flows of the time asked for, by steps of whole hours; of whole days where days are
    /// among them of which sums alone count.
    pub(super) fn by(&self, step: impl Fn(&str) -> String) -> String {
        let hours = self.ends.iter().chain([&self.whole]);
        let hours = hours.map(|condition| counts(&step(START_HOUR), &since_border(condition)));
        let days = self.days.iter().map(|days| sums(&step("toDateTime(day, 'UTC')"), days));
        hours.chain(days).collect::<Vec<_>>().join(" UNION ALL ")
    }

    /// The same by steps of any length, flow by flow: of flows that count themselves.
    pub(super) fn by_start(&self, step: &str) -> String {
        counts(step, &since_border(&self.own))
    }

    /// Parts the time asked for into whole hours and ends.
    fn within(&mut self, since: Option<i64>, until: Option<i64>) {
        let from = since.map(|since| since.div_euclid(HOUR) + i64::from(since.rem_euclid(HOUR) > 0));
        let to = until.map(|until| until.div_euclid(HOUR));
        if let (Some(from), Some(to)) = (from, to)
            && from >= to
        {
            self.whole.clone_from(&self.own);
            return;
        }
        let mut whole = Vec::new();
        if let Some(from) = from {
            self.values.push(("from_hour", Value::Plain((from * 3600).to_string())));
            whole.push(format!("{START_HOUR} >= toDateTime({{from_hour:Int64}}, 'UTC')"));
            self.ends.push(format!(
                "start >= {} AND start < toDateTime64({{from_hour:Int64}}, 9, 'UTC')",
                at("since")
            ));
        }
        if let Some(to) = to {
            self.values.push(("to_hour", Value::Plain((to * 3600).to_string())));
            whole.push(format!("{START_HOUR} < toDateTime({{to_hour:Int64}}, 'UTC')"));
            self.ends.push(format!(
                "start >= toDateTime64({{to_hour:Int64}}, 9, 'UTC') AND start < {}",
                at("until")
            ));
        }
        self.whole = joined(&whole);
    }
}

/// A moment that a parameter gives in nanoseconds.
pub(super) fn at(name: &str) -> String {
    format!("fromUnixTimestamp64Nano({{{name}:Int64}}, 'UTC')")
}

fn joined(terms: &[String]) -> String {
    if terms.is_empty() { "1".into() } else { terms.join(" AND ") }
}
