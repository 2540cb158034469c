//! Measures a store: how many flows a second it takes, and how long its questions take.
//!
//! ```sh
//! cargo run --release -p bench --example store -- record bench.sqlite 5000000
//! cargo run --release -p bench --example store -- fill clickhouse://writer@127.0.0.1:8123/bench 50000000
//! cargo run --release -p bench --example store -- ask clickhouse://writer@127.0.0.1:8123/bench
//! ```
//!
//! `record` hands generated flows over in batches of 5,000 (or as many as a third number says), as agents deliver them, one tenth of
//! them a second time; `fill` has a ClickHouse server generate them by itself, over 30 days; `ask` asks what the dashboard asks, each
//! question five times, and prints the medians. Flows are made before the time is taken. Times on a processor are this program's and, where CLICKHOUSE_PID names a server on this
//! machine, the server's. The password is read from WIREPROOF_STORE_PASSWORD.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program")]
#![expect(clippy::disallowed_methods, reason = "it measures time")]

use std::error::Error;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use analyzer::report::{Judged, Severity};
use flow::{Class, FlowId, Proof, Timestamp};
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use store::clickhouse::{Address, Clickhouse};
use store::embedded::Embedded;
use store::query::{Paging, Query};
use store::sample::Sample;
use store::{Batch, Store};

/// 2026-01-01, in seconds.
const BEGIN: i64 = 1_767_225_600;

/// 30 days, in seconds.
const SPAN: i64 = 30 * 86_400;

/// How many flows a batch has, unless told otherwise.
const BATCH: u64 = 5_000;

/// How many pairs of workloads talk.
const PAIRS: usize = 2_000;

/// How many batches are made before any of them is recorded: making them counts for nothing.
const AHEAD: usize = 10;

/// How many of them are handed over before the first is kept, as a collector does.
const UNDER_WAY: usize = 2;

/// How often each question is asked.
const TURNS: usize = 5;

/// How long the server may take for one answer.
const PATIENCE: Duration = Duration::from_secs(300);

type Done<T> = Result<T, Box<dyn Error>>;

#[tokio::main]
async fn main() -> Done<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["record", place, flows] => record(open(place).await?, flows.parse()?, BATCH).await,
        ["record", place, flows, batch] => record(open(place).await?, flows.parse()?, batch.parse()?).await,
        ["fill", place, flows] => fill(place, flows.parse()?).await,
        ["ask", place] => ask(&*open(place).await?).await,
        _ => {
            eprintln!("usage: store record PLACE FLOWS [BATCH] | fill clickhouse://... FLOWS | ask PLACE");
            std::process::exit(2)
        }
    }
}

fn address(place: &str) -> Done<Address> {
    let password = std::env::var("WIREPROOF_STORE_PASSWORD").unwrap_or_default();
    Ok(Address::parse(place)?.with_password(password))
}

async fn open(place: &str) -> Done<Arc<dyn Store>> {
    if Address::is_meant(place) {
        return Ok(Arc::new(Clickhouse::open(address(place)?, PATIENCE).await?));
    }
    Ok(Arc::new(Embedded::open(place)?))
}

/// One flow of each pair of workloads: 20 namespaces, every twentieth pair in the clear and against its declaration.
fn pairs() -> Vec<Judged> {
    let name = |kind: &str, number: usize| -> &'static str {
        format!("team-{}/{kind}-{number}", number % 20).leak()
    };
    (0..PAIRS)
        .map(|pair| {
            let plain = pair % 20 == 0;
            Sample {
                client: name("client", pair / 20),
                server: name("server", pair % 20),
                port: if pair % 3 == 0 { 8080 } else { 9090 },
                class: if plain { Class::Plaintext } else { Class::Mtls },
                proof: if plain { Proof::Wire } else { Proof::Exact },
                violation: plain.then_some(("OB01", Severity::Critical)),
                ..Sample::default()
            }
            .judged()
        })
        .collect()
}

async fn record(store: Arc<dyn Store>, flows: u64, size: u64) -> Done<()> {
    let pairs = pairs();
    let apart = SPAN * 1_000_000_000 / i64::try_from(flows)?.max(1);
    let one = |number: u64| -> Judged {
        let place = usize::try_from(number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 33).unwrap_or(0);
        let mut judged = pairs[place % PAIRS].clone();
        let start = BEGIN * 1_000_000_000 + i64::try_from(number).unwrap_or(0) * apart;
        // Names of flows are hashes: near in time is not near in order.
        judged.flow.id =
            FlowId((u128::from(number.wrapping_mul(0xd134_2543_de82_ef95)) << 64) | u128::from(number));
        judged.flow.start = Timestamp::from_nanos(start);
        judged.flow.end = Timestamp::from_nanos(start + 1_000_000_000);
        judged.flow.client.port = u16::try_from(number % 28_000).unwrap_or(0) + 32_000;
        judged.flow.bytes.server = number % 4096;
        judged
    };
    let made = |number: u64| -> Batch {
        let mut batch: Vec<Judged> = (number..(number + size).min(flows)).map(one).collect();
        // The end of flows that were reported when they settled, in the batch before. Some of them a second agent has seen since.
        batch.extend((number.saturating_sub(size)..number).step_by(10).map(|number| {
            let mut ended = one(number);
            ended.flow.bytes.server += 1;
            if number % 100 == 0 {
                ended.flow.seen_at.push("another".into());
            }
            ended
        }));
        Batch { flows: batch, ..Batch::default() }
    };
    let (mut number, mut spent, mut own) = (0, Duration::ZERO, 0.0);
    let [_, server] = worked();
    while number < flows {
        let ahead = (number..flows).step_by(usize::try_from(size)?).take(AHEAD);
        let batches: Vec<Batch> = ahead.map(made).collect();
        number += size * u64::try_from(batches.len())?;
        let (began, [before, _]) = (Instant::now(), worked());
        let recorded = stream::iter(batches).map(|batch| store.record(batch)).buffered(UNDER_WAY);
        recorded.try_collect::<()>().await?;
        spent += began.elapsed();
        own += worked()[0] - before;
    }
    let rate = flows as f64 / spent.as_secs_f64();
    println!(
        "{flows} flows in {:.1} s: {rate:.0} flows a second, CPU {own:.2} s here, {:.2} s in the server",
        spent.as_secs_f64(),
        worked()[1] - server
    );
    Ok(())
}

/// Records a flow of each pair, so that the shapes are there, and has the server multiply them.
async fn fill(place: &str, flows: u64) -> Done<()> {
    let store = Clickhouse::open(address(place)?, PATIENCE).await?;
    let mut pairs = pairs();
    for (number, judged) in (0..).zip(&mut pairs) {
        judged.flow.id = FlowId(number);
        judged.flow.start = Timestamp::from_nanos(BEGIN * 1_000_000_000);
    }
    store.record(Batch { flows: pairs, ..Batch::default() }).await?;
    let began = Instant::now();
    let (url, user, database) = parts(place)?;
    clickhouse::Client::default()
        .with_url(url)
        .with_user(user)
        .with_database(database)
        .with_password(std::env::var("WIREPROOF_STORE_PASSWORD").unwrap_or_default())
        .query_raw(&format!(
            "INSERT INTO flow SELECT
                toDateTime64('2026-01-01 00:00:00', 9, 'UTC') + toIntervalNanosecond(intDiv(number * {SPAN}000, {flows}) * 1000000) AS start,
                bitShiftLeft(toUInt128(sipHash64(number)), 64) + number AS id, 1 AS version,
                start + toIntervalSecond(1) AS finish, toIPv6('10.0.0.2') AS server, 32000 + number % 28000 AS client_port,
                'fin' AS close, 3 AS packets_client, 2 AS packets_server, 30 AS bytes_client, number % 4096 AS bytes_server,
                shapes[1 + sipHash64(number, 1) % length(shapes)] AS shape, 1 AS sign, NULL AS tcp_handshake, NULL AS translated,
                sipHash64(shape, client_port) AS community_id, now() AS at, 1 AS writer
             FROM numbers({flows}) AS numbers CROSS JOIN (SELECT groupArray(hash) AS shapes FROM shape) AS known
             SETTINGS max_partitions_per_insert_block = 0"
        ))
        .execute()
        .await?;
    println!("{flows} flows made by the server in {:.1} s", began.elapsed().as_secs_f64());
    Ok(())
}

/// Takes a whole address apart: the HTTP interface, the user, the database.
fn parts(place: &str) -> Done<(String, &str, &str)> {
    let told = "give clickhouse://USER@HOST:PORT/DATABASE in full";
    let (user, rest) =
        place.strip_prefix("clickhouse://").and_then(|rest| rest.split_once('@')).ok_or(told)?;
    let (host, database) = rest.split_once('/').ok_or(told)?;
    Ok((format!("http://{host}"), user, database))
}

async fn ask(store: &dyn Store) -> Done<()> {
    let at = |seconds: i64| Some(Timestamp::from_nanos((BEGIN + seconds) * 1_000_000_000));
    let all = Query::default();
    // Neither end falls on a whole hour.
    let week = Query { since: at(SPAN - 7 * 86_400 - 1234), until: at(SPAN - 777), ..Query::default() };
    let plain = Query { class: vec![Class::Plaintext], ..Query::default() };
    let team = Query { to_namespace: vec!["team-7".into()], ..Query::default() };
    let first = Paging::first(100);
    let page = store.flows(&plain, &first).await?;
    let later = Paging { limit: 100, cursor: page.next_cursor };
    let found = page.rows.first().ok_or("the store is empty")?;
    let (one, name) = (found.flow.id, found.flow.community_id());
    told("edges of 30 days", async || store.edges(&all, &first).await.map(drop)).await?;
    told("edges in the clear", async || store.edges(&plain, &first).await.map(drop)).await?;
    told("findings", async || store.violations(&all, &first).await.map(drop)).await?;
    told("findings, counted", async || store.violations_summary(&all).await.map(drop)).await?;
    told("matrix", async || store.matrix(&all).await.map(drop)).await?;
    told("matrix of a week", async || store.matrix(&week).await.map(drop)).await?;
    told("totals", async || store.totals(&all).await.map(drop)).await?;
    told("totals of a week", async || store.totals(&week).await.map(drop)).await?;
    told("timeline of 30 days", async || store.timeline(&all, 120).await.map(drop)).await?;
    told("timeline of a week", async || store.timeline(&week, 120).await.map(drop)).await?;
    told("newest flows", async || store.flows(&all, &first).await.map(drop)).await?;
    told("newest flows to a namespace", async || store.flows(&team, &first).await.map(drop)).await?;
    told("next page in the clear", async || store.flows(&plain, &later).await.map(drop)).await?;
    told("one flow", async || store.flow(one).await.map(drop)).await?;
    told("coverage, from when to when", async || store.coverage().await.map(drop)).await?;
    let named = Query { community_id: vec![name], ..Query::default() };
    told("flows of a Community ID", async || store.flows(&named, &first).await.map(drop)).await?;
    told("edges of a Community ID", async || store.edges(&named, &first).await.map(drop)).await
}

async fn told<F, Fut>(name: &str, question: F) -> Done<()>
where
    F: Fn() -> Fut,
    Fut: Future<Output = Result<(), store::error::StoreError>>,
{
    let (mut times, worked) = (Vec::new(), worked());
    for _ in 0..TURNS {
        let began = Instant::now();
        question().await?;
        times.push(began.elapsed());
    }
    times.sort();
    let median = times.get(times.len() / 2).copied().unwrap_or_default().as_secs_f64();
    println!("{name:28} {median:7.3} s, {TURNS} times {}", since(worked));
    Ok(())
}

/// Seconds that this program, and the server where one is named, spent on a processor so far.
fn worked() -> [f64; 2] {
    let server = std::env::var("CLICKHOUSE_PID").unwrap_or_else(|_| "none".into());
    ["self", &server].map(|process| {
        let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
        // The name, in brackets, may hold blanks; user and system time stand 12 and 13 places after it, in hundredths.
        let after = stat.rsplit(')').next().unwrap_or_default();
        let ticks = after.split_whitespace().skip(11).take(2);
        ticks.filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0
    })
}

fn since(begin: [f64; 2]) -> String {
    let [own, server] = worked();
    format!("CPU {:.2} s here, {:.2} s in the server", own - begin[0], server - begin[1])
}
