//! The tables, for one server and for a cluster, and the steps by which they came to be.
//!
//! `flow` is a log of judged flows with signs: a report that replaces another one brings a row of sign -1 that takes the
//! other out, so every count is a sum of signs, whatever the filter and whether or not parts were merged. What flows share
//! is in `shape`, by content. Rows come in through `arrival`, which keeps nothing: the view `arrive` compares what comes with
//! what is there and writes the difference, so that recording again changes nothing. The counts of each shape and hour
//! are a projection: part of the same parts as the rows, they cannot come apart from them when a server dies.

use std::time::Duration;

use super::edge;

/// Seconds of a day.
pub(super) const DAY: u64 = 86_400;

/// Where the tables live.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Layout {
    /// One server.
    #[default]
    Single,
    /// The cluster of this name: replicated tables, flows spread over the shards by their destination's address. The servers need
    /// the macros `shard` and `replica`.
    Cluster(String),
}

/// The columns of a flow: its own part, and the name of the rest.
const FLOW: &str = "
    start DateTime64(9, 'UTC') CODEC(Delta, ZSTD),
    id UInt128 CODEC(NONE),
    version UInt64 CODEC(NONE),
    finish DateTime64(9, 'UTC') CODEC(Delta, ZSTD),
    server IPv6,
    client_port UInt16,
    close LowCardinality(String),
    packets_client UInt64 CODEC(T64, LZ4),
    packets_server UInt64 CODEC(T64, LZ4),
    bytes_client UInt64 CODEC(T64, LZ4),
    bytes_server UInt64 CODEC(T64, LZ4),
    shape UInt128";

/// The version of a row of `arrival` by which a flow is to be there no more. No report has it: a version is a hash.
pub(super) const GONE: u64 = 0;

/// The columns that a flow has since later versions.
const LATER: &[&str] = &["tcp_handshake", "translated", "community_id"];

/// When a row was written, by the server's clock.
const AT: &str = "now() AS at";

/// Who wrote it, as the insert says of itself: rows that take others out have no other way to tell.
const WRITER: &str = "toUInt32OrZero(getSetting('log_comment')) AS writer";

/// One step from each schema version to the next; the version is how many were taken. Each may be taken twice.
pub(super) const STEPS: &[fn(&Layout) -> Vec<String>] =
    &[flows, declarations, forgetting, translations, reasons, looked_up, swept, signed, mended, edge::table];

impl Layout {
    pub(super) fn on(&self) -> String {
        match self {
            Self::Single => String::new(),
            Self::Cluster(name) => format!(" ON CLUSTER '{name}'"),
        }
    }

    /// A table of which every server holds the whole.
    pub(super) fn everywhere(&self, table: &str, engine: &str, arguments: &str) -> String {
        match self {
            Self::Single => format!("{engine}({arguments})"),
            Self::Cluster(_) => {
                let comma = if arguments.is_empty() { "" } else { ", " };
                format!(
                    "Replicated{engine}('/wireproof/{{database}}/{table}', '{{shard}}-{{replica}}'{comma}{arguments})"
                )
            }
        }
    }

    /// A table of which every shard holds a part.
    fn sharded(&self, table: &str, engine: &str, arguments: &str) -> String {
        match self {
            Self::Single => format!("{engine}({arguments})"),
            Self::Cluster(_) => {
                format!(
                    "Replicated{engine}('/wireproof/{{database}}/{{shard}}/{table}', '{{replica}}', {arguments})"
                )
            }
        }
    }

    /// The name under which a shard's own part goes.
    pub(super) fn part(&self, table: &str) -> String {
        match self {
            Self::Single => table.to_owned(),
            Self::Cluster(_) => format!("{table}_part"),
        }
    }

    /// The table over all parts; on one server the part is the whole.
    fn whole(&self, table: &str) -> Option<String> {
        let Self::Cluster(name) = self else { return None };
        let (on, part) = (self.on(), self.part(table));
        Some(format!(
            "CREATE TABLE IF NOT EXISTS {table}{on} AS {part}
             ENGINE = Distributed('{name}', currentDatabase(), {part}, cityHash64(server))"
        ))
    }
}

fn flows(layout: &Layout) -> Vec<String> {
    let (on, flow, arrival) = (layout.on(), layout.part("flow"), layout.part("arrival"));
    let mut statements = vec![
        format!(
            "CREATE TABLE IF NOT EXISTS shape{on} (
                hash UInt128,
                sent DateTime DEFAULT now(),
                edge String CODEC(ZSTD),
                client LowCardinality(String),
                client_kind LowCardinality(String),
                client_namespace LowCardinality(Nullable(String)),
                client_workload LowCardinality(Nullable(String)),
                server LowCardinality(String),
                server_kind LowCardinality(String),
                server_namespace LowCardinality(Nullable(String)),
                server_workload LowCardinality(Nullable(String)),
                transport LowCardinality(String),
                port UInt16,
                protocol LowCardinality(Nullable(String)),
                class LowCardinality(String),
                proof LowCardinality(String),
                proof_rank UInt8,
                judgement LowCardinality(String),
                violations Array(Tuple(String, LowCardinality(String), UInt8, UInt8, Nullable(String))),
                body String CODEC(ZSTD(3))
            ) ENGINE = {} ORDER BY hash",
            layout.everywhere("shape", "ReplacingMergeTree", "sent")
        ),
        format!(
            "CREATE TABLE IF NOT EXISTS {flow}{on} ({FLOW},
                sign Int8,
                INDEX by_id id TYPE bloom_filter(0.001) GRANULARITY 4,
                PROJECTION hourly (
                    SELECT toStartOfHour(start), shape, sum(sign), sum(sign * toInt64(bytes_client + bytes_server)), min(start), max(finish)
                    GROUP BY toStartOfHour(start), shape
                )
            ) ENGINE = {}
            PARTITION BY toDate(start) ORDER BY (start, id)
            SETTINGS deduplicate_merge_projection_mode = 'rebuild'",
            layout.sharded("flow", "VersionedCollapsingMergeTree", "sign, version")
        ),
        format!("CREATE TABLE IF NOT EXISTS {arrival}{on} ({FLOW}) ENGINE = Null"),
        format!("CREATE MATERIALIZED VIEW IF NOT EXISTS arrive{on} TO {flow} AS {}", difference(layout, &[], &[])),
        format!(
            "CREATE TABLE IF NOT EXISTS source{on} (
                name String, at DateTime64(9, 'UTC') DEFAULT now64(9), coverage String
            ) ENGINE = {} ORDER BY name",
            layout.everywhere("source", "ReplacingMergeTree", "at")
        ),
    ];
    statements.extend(layout.whole("flow"));
    statements.extend(layout.whole("arrival"));
    statements
}

/// What the view writes: the difference between the rows that come and those that are there. `later` are columns that flows
/// have since a later version, `written` what a row says of its writing since then; from then on rows may want a flow gone. Columns
/// that are excepted need not be there: a step may be taken again when later ones were.
///
/// Equal rows of both stand together in a window, which their sum of signs tells apart: grouping them took the server twice as long.
fn difference(layout: &Layout, later: &[&str], written: &[&str]) -> String {
    let (flow, arrival) = (layout.part("flow"), layout.part("arrival"));
    let columns: String = later.iter().chain(written).map(|column| format!("{column}, ")).collect();
    let wanted =
        if written.is_empty() { "toInt64(1)".to_owned() } else { format!("toInt64(version != {GONE})") };
    format!(
        "SELECT start, id, version, finish, server, client_port, close, packets_client, packets_server, bytes_client, bytes_server, shape,
            {columns}arrayJoin(arrayWithConstant(toUInt64(abs(net)), toInt8(sign(net)))) AS sign
         FROM (
            SELECT *, sum(wanted) OVER alike AS net, row_number() OVER alike AS place
            FROM (
                SELECT *, {wanted} AS wanted FROM {arrival}
                UNION ALL
                SELECT * EXCEPT (sign, at, writer), -toInt64(sign) AS wanted FROM {flow}
                WHERE (start, id) IN (SELECT start, id FROM {arrival})
            )
            WINDOW alike AS (PARTITION BY start, id, version)
         )
         WHERE place = 1"
    )
}

/// By what a connection is known on both sides of an address translation, and which flow is its other side. The view is
/// changed where it stands: without it, what another collector sends meanwhile would be lost.
fn translations(layout: &Layout) -> Vec<String> {
    let on = layout.on();
    let columns = [
        ("tcp_handshake", "Nullable(UInt64)", "CODEC(NONE)"),
        ("translated", "Nullable(String)", "CODEC(ZSTD)"),
    ];
    let mut statements = Vec::new();
    for table in ["flow", "arrival"] {
        let part =
            columns.map(|(name, kind, codec)| format!("ADD COLUMN IF NOT EXISTS {name} {kind} {codec}"));
        statements.push(format!("ALTER TABLE {}{on} {}", layout.part(table), part.join(", ")));
        if layout.whole(table).is_some() {
            let whole = columns.map(|(name, kind, _)| format!("ADD COLUMN IF NOT EXISTS {name} {kind}"));
            statements.push(format!("ALTER TABLE {table}{on} {}", whole.join(", ")));
        }
    }
    let query = difference(layout, &columns.map(|(name, ..)| name), &[]);
    statements.push(format!("ALTER TABLE arrive{on} MODIFY QUERY {query}"));
    statements
}

/// Why flows were not judged: connections are counted without the sides of translations that are told on another side. The server
/// takes it from the shape, so that what an older program writes has it as well.
fn reasons(layout: &Layout) -> Vec<String> {
    let on = layout.on();
    vec![
        format!(
            "ALTER TABLE shape{on} ADD COLUMN IF NOT EXISTS
                set_aside LowCardinality(Nullable(String)) DEFAULT JSONExtract(body, 'set_aside', 'Nullable(String)')"
        ),
        format!("ALTER TABLE shape{on} MATERIALIZE COLUMN set_aside"),
    ]
}

/// By what flows are looked up, and what of their openings was seen. Flows that are there already get their Community ID from the server, in
/// the background: it follows from their ends, which are in their shapes, and their client's port.
fn looked_up(layout: &Layout) -> Vec<String> {
    let (on, flow, arrival) = (layout.on(), layout.part("flow"), layout.part("arrival"));
    let column = "ADD COLUMN IF NOT EXISTS community_id UInt64";
    let mut statements = vec![
        format!(
            "ALTER TABLE shape{on} ADD COLUMN IF NOT EXISTS
                from_start Bool DEFAULT JSONExtractBool(body, 'flow', 'from_start')"
        ),
        format!("ALTER TABLE shape{on} MATERIALIZE COLUMN from_start"),
        format!(
            "ALTER TABLE {flow}{on} {column} CODEC(NONE),
                ADD INDEX IF NOT EXISTS by_community_id community_id TYPE bloom_filter(0.001) GRANULARITY 4"
        ),
        format!("ALTER TABLE {arrival}{on} {column}"),
    ];
    for table in ["flow", "arrival"].into_iter().filter(|table| layout.whole(table).is_some()) {
        statements.push(format!("ALTER TABLE {table}{on} {column}"));
    }
    let query = difference(layout, LATER, &[]);
    statements.push(format!("ALTER TABLE arrive{on} MODIFY QUERY {query}"));
    // Of a shape: which end comes first, the server's port, then what is hashed before the ports.
    let ip = |end: &str| {
        format!(
            "if(position(JSONExtractString(body, 'flow', '{end}', 'ip') AS {end}_ip, ':') > 0,
                substring(IPv6StringToNum({end}_ip), 1, 16), substring(IPv6StringToNum({end}_ip), 13, 4))"
        )
    };
    let (client, server) = (ip("client"), ip("server"));
    let ends = format!(
        "SELECT arraySort(groupUniqArray((toString(hash), concat(multiIf(one < other, '<', one > other, '>', '='),
            char(intDiv(port, 256), port % 256), least(one, other), greatest(one, other), char(if(transport = 'tcp', 6, 17), 0)))))
         FROM (SELECT hash, port, transport, {client} AS one, {server} AS other FROM shape)"
    );
    let known = |place: u8| format!("arrayMap(pair -> pair.{place}, ({ends}))");
    statements.push(format!(
        "ALTER TABLE {flow}{on} UPDATE community_id = arrayMap(sha ->
                bitXor(bitXor(reinterpretAsUInt64(substring(sha, 1, 8)), reinterpretAsUInt64(substring(sha, 9, 8))),
                    toUInt64(reinterpretAsUInt32(substring(sha, 17, 4)))),
            arrayMap((ends, from, to) -> SHA1(concat(char(0, 0), substring(ends, 4),
                if(startsWith(ends, '<') OR (startsWith(ends, '=') AND from <= to), concat(from, to), concat(to, from)))),
                [transform(toString(shape), {hashes}, {ends}, '') AS known], [char(intDiv(client_port, 256), client_port % 256)],
                [substring(known, 2, 2)]))[1]
         WHERE community_id = 0
         SETTINGS allow_nondeterministic_mutations = 1, alter_sync = 0, mutations_sync = 0",
        hashes = known(1),
        ends = known(2),
    ));
    statements
}

/// When rows were written, by the server's clock, so that collectors find what they wrote at the same moment; those that are there
/// already were written long ago. From now on a flow can be taken out, too.
fn swept(layout: &Layout) -> Vec<String> {
    let (on, flow) = (layout.on(), layout.part("flow"));
    let column = "ADD COLUMN IF NOT EXISTS at DateTime DEFAULT toDateTime(0)";
    let mut statements = vec![format!(
        "ALTER TABLE {flow}{on} {column} CODEC(Delta, ZSTD), ADD INDEX IF NOT EXISTS by_at at TYPE minmax GRANULARITY 1"
    )];
    if layout.whole("flow").is_some() {
        statements.push(format!("ALTER TABLE flow{on} {column}"));
    }
    let query = difference(layout, LATER, &[AT]);
    statements.push(format!("ALTER TABLE arrive{on} MODIFY QUERY {query}"));
    statements
}

/// Who wrote rows: where one program alone did, nothing can have come between its looks and its records.
fn signed(layout: &Layout) -> Vec<String> {
    let (on, flow) = (layout.on(), layout.part("flow"));
    let column = "ADD COLUMN IF NOT EXISTS writer UInt32";
    let mut statements = vec![format!("ALTER TABLE {flow}{on} {column} CODEC(ZSTD)")];
    if layout.whole("flow").is_some() {
        statements.push(format!("ALTER TABLE flow{on} {column}"));
    }
    let query = difference(layout, LATER, &[AT, WRITER]);
    statements.push(format!("ALTER TABLE arrive{on} MODIFY QUERY {query}"));
    statements
}

/// Where what was mended is written: of a connection it counts as long as what it rests on is all that is there, name by name; else nothing
/// of it does. All names of a connection have one first half, and one destination, so they come to one shard.
fn mended(layout: &Layout) -> Vec<String> {
    let (on, flow, mending) = (layout.on(), layout.part("flow"), layout.part("mending"));
    let later = LATER.join(", ");
    let mut statements = vec![
        format!(
            "CREATE TABLE IF NOT EXISTS {mending}{on} ({FLOW},
                tcp_handshake Nullable(UInt64), translated Nullable(String), community_id UInt64, found Int64
            ) ENGINE = Null"
        ),
        format!(
            "CREATE MATERIALIZED VIEW IF NOT EXISTS mend{on} TO {flow} AS
             SELECT start, id, version, finish, server, client_port, close, packets_client, packets_server, bytes_client, bytes_server, shape,
                {later}, {AT}, {WRITER}, arrayJoin(arrayWithConstant(toUInt64(abs(net)), toInt8(sign(net)))) AS sign
             FROM (
                SELECT *, max(off != 0) OVER (PARTITION BY bitShiftRight(id, 64)) AS overtaken
                FROM (
                    SELECT *, sum(wanted) OVER alike AS net, row_number() OVER alike AS place,
                        sum(expected) OVER (PARTITION BY start, id) AS off
                    FROM (
                        SELECT * EXCEPT (found), toInt64(version != {GONE}) AS wanted, found AS expected FROM {mending}
                        UNION ALL
                        SELECT * EXCEPT (sign, at, writer), -toInt64(sign) AS wanted,
                            -toInt64(sign) * reinterpretAsInt64(version) AS expected
                        FROM {flow} WHERE (start, id) IN (SELECT start, id FROM {mending})
                    )
                    WINDOW alike AS (PARTITION BY start, id, version)
                )
             )
             WHERE place = 1 AND NOT overtaken"
        ),
    ];
    statements.extend(layout.whole("mending"));
    statements
}

fn declarations(layout: &Layout) -> Vec<String> {
    let on = layout.on();
    vec![
        format!(
            "CREATE TABLE IF NOT EXISTS mesh{on} (
                id String, taken_at Int64, manifests String CODEC(ZSTD(3))
            ) ENGINE = {} ORDER BY id",
            layout.everywhere("mesh", "ReplacingMergeTree", "taken_at")
        ),
        format!(
            "CREATE TABLE IF NOT EXISTS mesh_since{on} (
                since Int64, id String, at DateTime64(9, 'UTC') DEFAULT now64(9)
            ) ENGINE = {} ORDER BY since",
            layout.everywhere("mesh_since", "ReplacingMergeTree", "at")
        ),
    ]
}

/// How old flows go: whole parts of a day at a time, looked for every hour, and told of all parts without writing these anew.
fn forgetting(layout: &Layout) -> Vec<String> {
    vec![format!(
        "ALTER TABLE {}{} MODIFY SETTING ttl_only_drop_parts = 1, materialize_ttl_recalculate_only = 1,
            merge_with_ttl_timeout = 3600",
        layout.part("flow"),
        layout.on()
    )]
}

/// The statement by which flows go as soon as their whole day is older than `keep`; absent: by which all stay. All rows of a day go
/// at once: the report of a flow and the one that takes it out begin at the same time.
pub(super) fn keeping(layout: &Layout, keep: Option<Duration>) -> String {
    let (flow, on) = (layout.part("flow"), layout.on());
    match keep {
        Some(keep) => format!(
            "ALTER TABLE {flow}{on} MODIFY TTL toStartOfDay(start) + toIntervalSecond({})",
            keep.as_secs().saturating_add(DAY)
        ),
        None => format!("ALTER TABLE {flow}{on} REMOVE TTL"),
    }
}

/// Every statement from nothing to the newest version, for people to read and for the tests.
#[must_use]
pub fn statements(layout: &Layout) -> Vec<String> {
    let versions = versions(layout);
    std::iter::once(versions).chain(STEPS.iter().flat_map(|step| step(layout))).collect()
}

/// Which steps a database has taken.
pub(super) fn versions(layout: &Layout) -> String {
    format!(
        "CREATE TABLE IF NOT EXISTS wireproof_schema{} (version UInt32, at DateTime DEFAULT now()) ENGINE = {} ORDER BY version",
        layout.on(),
        layout.everywhere("wireproof_schema", "MergeTree", "")
    )
}
