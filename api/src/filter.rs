//! The query part of an address to a checked question. A name that a route does not know is an error, never ignored.

use std::str::FromStr;

use analyzer::violation::RULES;
use flow::Timestamp;
use store::query::{MOST_ROWS, Paging, Query};
use utoipa::IntoParams;

use crate::error::ApiError;

/// Rows of a page where the request does not say.
const ROWS: u32 = 100;

/// The pairs of a query, in order.
pub(crate) type Pairs = Vec<(String, String)>;

/// The filters that every list and total takes. All but the times may be repeated: any of the values fits.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes the parameters in openapi.json; `filters` reads them")]
pub(crate) struct FilterParams {
    /// The client's namespace.
    from_namespace: Option<Vec<String>>,
    /// The server's namespace.
    to_namespace: Option<Vec<String>>,
    /// The client's workload: `name` or `namespace/name`.
    from_workload: Option<Vec<String>>,
    /// The server's workload: `name` or `namespace/name`.
    to_workload: Option<Vec<String>>,
    /// `plaintext`, `tls`, `mtls`, `opaque` or `unknown`.
    #[param(schema_with = words::classes)]
    class: Option<Vec<String>>,
    /// `wire`, `exact`, `strong`, `linked`, `inferred` or `none`.
    #[param(schema_with = words::proofs)]
    proof: Option<Vec<String>>,
    /// Finding ids, such as `OB01`.
    #[param(schema_with = words::ids)]
    id: Option<Vec<String>>,
    /// `critical`, `high`, `medium`, `low` or `info`.
    #[param(schema_with = words::severities)]
    severity: Option<Vec<String>>,
    /// The destination port on the wire.
    #[param(schema_with = words::ports)]
    port: Option<Vec<u16>>,
    /// The application protocol, such as `http/1.1`.
    #[param(schema_with = words::protocols)]
    protocol: Option<Vec<String>>,
    /// The Community ID of a flow: `1:` and the base64 of 20 bytes.
    #[param(schema_with = words::community_ids)]
    community_id: Option<Vec<String>>,
    /// `conforms`, `violates`, `undecided` or `exempt`.
    #[param(schema_with = words::judgements)]
    judgement: Option<Vec<String>>,
    /// RFC 3339: flows that began at this time or later; edges and findings last seen at this time or later.
    #[param(value_type = Option<String>, format = DateTime)]
    since: Option<String>,
    /// RFC 3339: only what began before this time.
    #[param(value_type = Option<String>, format = DateTime)]
    until: Option<String>,
}

/// The words that filters take, for their description.
mod words {
    use analyzer::report::{Judgement, Severity};
    use analyzer::violation::RULES;
    use flow::{Class, Proof, Protocol};
    use utoipa::openapi::schema::{Array, ObjectBuilder, Type};

    fn one_of(words: impl IntoIterator<Item = &'static str>) -> Array {
        Array::new(ObjectBuilder::new().schema_type(Type::String).enum_values(Some(words)))
    }

    pub(super) fn classes() -> Array {
        one_of(Class::ALL.iter().map(|word| word.name()))
    }

    pub(super) fn proofs() -> Array {
        one_of(Proof::ALL.iter().map(|word| word.name()))
    }

    pub(super) fn protocols() -> Array {
        one_of(Protocol::ALL.iter().map(|word| word.name()))
    }

    pub(super) fn judgements() -> Array {
        one_of(Judgement::ALL.iter().map(|word| word.name()))
    }

    pub(super) fn severities() -> Array {
        one_of(Severity::ALL.iter().map(|word| word.name()))
    }

    pub(super) fn ids() -> Array {
        one_of(RULES.iter().map(|rule| rule.id))
    }

    pub(super) fn ports() -> Array {
        let port = ObjectBuilder::new().schema_type(Type::Integer);
        Array::new(port.minimum(Some(0)).maximum(Some(u16::MAX)))
    }

    pub(super) fn community_ids() -> Array {
        let pattern = "^1:[A-Za-z0-9+/]{27}=$";
        Array::new(ObjectBuilder::new().schema_type(Type::String).pattern(Some(pattern)))
    }
}

/// Where a page begins and how long it is.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes the parameters in openapi.json; `page` reads them")]
pub(crate) struct PageParams {
    /// Rows at most, 1 to 1000; 100 where not given.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// The names of the shared filters.
const FILTERS: &[&str] = &[
    "from_namespace",
    "to_namespace",
    "from_workload",
    "to_workload",
    "class",
    "proof",
    "id",
    "severity",
    "port",
    "protocol",
    "community_id",
    "judgement",
    "since",
    "until",
];

/// Those of filters and paging that take one value.
const SINGLE: &[&str] = &["since", "until", "limit", "cursor"];

/// Reads filters; nothing else may be there.
pub(crate) fn filters(pairs: &Pairs) -> Result<Query, ApiError> {
    once(pairs, SINGLE)?;
    let mut query = Query::default();
    for (name, value) in pairs {
        if !read(&mut query, name, value)? {
            return Err(unknown(name, FILTERS.iter()));
        }
    }
    in_order(&query)?;
    Ok(query)
}

/// Refuses a range that ends before it begins: that nothing is in it says nothing.
pub(crate) fn in_order(query: &Query) -> Result<(), ApiError> {
    match (query.since, query.until) {
        (Some(since), Some(until)) if until <= since => {
            Err(bad("until", "it is not after 'since', so nothing can be in between".to_owned()))
        }
        _ => Ok(()),
    }
}

/// Reads filters and paging; nothing else may be there.
pub(crate) fn page(pairs: &Pairs) -> Result<(Query, Paging), ApiError> {
    once(pairs, SINGLE)?;
    let (mut query, mut paging) = (Query::default(), Paging::first(ROWS));
    for (name, value) in pairs {
        match name.as_str() {
            "limit" => {
                paging.limit = parse(name, value)?;
                if !(1..=MOST_ROWS).contains(&paging.limit) {
                    return Err(bad(name, format!("{value} is not within 1 to {MOST_ROWS}")));
                }
            }
            "cursor" => paging.cursor = Some(value.clone()),
            other => {
                if !read(&mut query, other, value)? {
                    return Err(unknown(other, FILTERS.iter().chain(&["limit", "cursor"])));
                }
            }
        }
    }
    in_order(&query)?;
    Ok((query, paging))
}

fn bad(name: &str, detail: String) -> ApiError {
    ApiError::BadValue { name: name.to_owned(), detail }
}

/// Refuses whatever a route without parameters is sent.
pub(crate) fn nothing(pairs: &Pairs) -> Result<(), ApiError> {
    pairs.first().map_or(Ok(()), |(name, _)| Err(unknown(name, [].iter())))
}

/// Takes a pair into the query; tells whether its name is a filter.
fn read(query: &mut Query, name: &str, value: &str) -> Result<bool, ApiError> {
    match name {
        "from_namespace" => query.from_namespace.push(value.into()),
        "to_namespace" => query.to_namespace.push(value.into()),
        "from_workload" => query.from_workload.push(value.into()),
        "to_workload" => query.to_workload.push(value.into()),
        "class" => query.class.push(parse(name, value)?),
        "proof" => query.proof.push(parse(name, value)?),
        "id" => query.id.push(finding(value)?),
        "severity" => query.severity.push(parse(name, value)?),
        "port" => query.port.push(parse(name, value)?),
        "protocol" => query.protocol.push(parse(name, value)?),
        // A plus that was not written as %2B arrives as a blank, and base64 has none.
        "community_id" => query.community_id.push(parse(name, &value.replace(' ', "+"))?),
        "judgement" => query.judgement.push(parse(name, value)?),
        "since" => query.since = Some(time(name, value)?),
        "until" => query.until = Some(time(name, value)?),
        _ => return Ok(false),
    }
    Ok(true)
}

/// Reads the id of a finding. One that does not exist would look like a finding that nothing has.
fn finding(value: &str) -> Result<String, ApiError> {
    let ids = || RULES.iter().map(|rule| rule.id);
    let known = ids().find(|id| id.eq_ignore_ascii_case(value)).map(str::to_owned);
    known.ok_or_else(|| bad("id", format!("'{value}' is none of {}", ids().collect::<Vec<_>>().join(", "))))
}

/// Reads a time. The plus before its offset arrives as a blank where it was not written as %2B; the blank between day and time is
/// another one.
pub(crate) fn time(name: &str, text: &str) -> Result<Timestamp, ApiError> {
    match text.rsplit_once(' ') {
        Some((time, offset)) if offset.len() == "02:00".len() => parse(name, &format!("{time}+{offset}")),
        _ => parse(name, text),
    }
}

pub(crate) fn parse<T: FromStr>(name: &str, text: &str) -> Result<T, ApiError>
where
    T::Err: std::fmt::Display,
{
    value(text).map_err(|detail| bad(name, detail))
}

/// Reads a value, or says what is wrong with it.
pub(crate) fn value<T: FromStr>(text: &str) -> Result<T, String>
where
    T::Err: std::fmt::Display,
{
    text.parse().map_err(|error: T::Err| {
        let error = error.to_string();
        if error.contains(text) { error } else { format!("'{text}': {error}") }
    })
}

/// Refuses a second value where only one can count: the first would be forgotten without a word.
pub(crate) fn once(pairs: &Pairs, names: &[&str]) -> Result<(), ApiError> {
    let mut seen = Vec::new();
    for (name, _) in pairs.iter().filter(|(name, _)| names.contains(&name.as_str())) {
        if seen.contains(&name) {
            return Err(bad(name, "it is there more than once, and only one value can count".to_owned()));
        }
        seen.push(name);
    }
    Ok(())
}

/// Says that a name is unknown, and which one may be meant.
pub(crate) fn unknown<'a>(name: &str, known: impl Iterator<Item = &'a &'static str>) -> ApiError {
    let near = known
        .map(|known| (alike(name, known), *known))
        .filter(|(score, _)| *score >= 60)
        .max_by_key(|(score, _)| *score);
    ApiError::UnknownFilter {
        name: name.chars().take(64).collect(),
        suggestion: near.map(|(_, known)| known),
    }
}

/// Tells in percent how much of two names runs through both in the same order.
fn alike(given: &str, known: &str) -> usize {
    let known: Vec<char> = known.chars().collect();
    let given: Vec<char> = given.chars().take(64).collect();
    let mut row = vec![0_usize; known.len() + 1];
    for letter in &given {
        let mut corner = 0;
        for (place, other) in known.iter().enumerate() {
            let above = row[place + 1];
            row[place + 1] = if letter == other { corner + 1 } else { above.max(row[place]) };
            corner = above;
        }
    }
    200 * row[known.len()] / (given.len() + known.len()).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_near_name_is_suggested() {
        let check = |name: &str, expected: Option<&str>| {
            let error = filters(&vec![(name.into(), "x".into())]).unwrap_err();
            assert!(
                matches!(&error, ApiError::UnknownFilter { suggestion, .. } if *suggestion == expected),
                "{error:?}"
            );
        };
        check("from_ns", Some("from_namespace"));
        check("form_namespace", Some("from_namespace"));
        check("clas", Some("class"));
        check("to_worklaod", Some("to_workload"));
        check("sevrity", Some("severity"));
        check("xyz", None);
        check("", None);
    }

    #[test]
    fn the_described_filters_are_the_ones_that_are_read() {
        let described: Vec<_> = FilterParams::into_params(|| None).into_iter().map(|one| one.name).collect();
        assert_eq!(described, FILTERS);
        for name in FILTERS {
            let known = read(&mut Query::default(), name, "2026-01-01T00:00:00Z");
            assert!(!matches!(known, Ok(false)), "{name}");
        }
    }
}
