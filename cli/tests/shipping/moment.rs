//! Two collectors on one ClickHouse that take both sightings of a connection, or both sides of its translation, at the same moment.

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::Barrier;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use flow::delivery::{Heading, VERSION};
use flow::{Coverage, Endpoint, Flow, FlowId, TcpHandshake, Timestamp};
use serde_json::Value;

use super::fleet::Server;
use super::{Collector, boutique, translated};
use crate::processes::program;

/// How often both collectors get a half each.
const ROUNDS: u64 = 60;

/// How often the end is looked for, half a second apart: a bound on hanging, not on speed.
const LOOKS: u32 = 600;

const CLIENT: [u8; 4] = [192, 0, 2, 11];
const POD: [u8; 4] = [198, 51, 100, 2];
const SERVICE: [u8; 4] = [203, 0, 113, 7];

/// A real flow, to be had again with other names, as if it had begun a moment ago: of such, a collector knows by itself what is kept, as
/// long as it takes itself for the only one.
#[expect(clippy::disallowed_methods, reason = "to a collector, a moment ago is by its own clock")]
fn seen() -> Flow {
    let out =
        Command::new(program("wireproof")).args(["flows", "-o", "ndjson"]).arg(boutique()).output().unwrap();
    let text = String::from_utf8(out.stdout).unwrap();
    let flows = text.lines().map(|line| serde_json::from_str::<Flow>(line).unwrap());
    let seen = flows.into_iter().find(|flow| flow.opening().is_some() && flow.answered()).unwrap();
    let ago = SystemTime::now().duration_since(UNIX_EPOCH).unwrap() - Duration::from_secs(45);
    Flow { start: Timestamp::from_nanos(i64::try_from(ago.as_nanos()).unwrap()), ..seen }
}

/// What both agents saw in a round: a connection that both saw alike, each by its own clock, and one to a Service's address, which only
/// `node-b` saw under the pod's.
fn halves(seen: &Flow, round: u64) -> [Vec<Flow>; 2] {
    let at = |micros: u64| {
        let start = seen.start.as_nanos() + i64::try_from(round * 1_000_000_000 + micros * 1000).unwrap();
        Timestamp::from_nanos(start)
    };
    let one = |opening: u64, start: Timestamp, server: [u8; 4], port: u16| Flow {
        id: FlowId::of_opening(opening, start),
        start,
        end: Timestamp::from_nanos(start.as_nanos() + 1_000_000),
        client: Endpoint { ip: CLIENT.into(), port: 32_768 + u16::try_from(round).unwrap() },
        server: Endpoint { ip: server.into(), port },
        tcp_handshake: None,
        seen_at: vec!["eth0".into()],
        ..seen.clone()
    };
    let side = |flow: Flow| Flow { tcp_handshake: Some(TcpHandshake(1000 + round)), ..flow };
    [
        vec![one(10_000 + round, at(0), POD, 8080), side(one(20_000 + round, at(0), SERVICE, 80))],
        vec![one(10_000 + round, at(7), POD, 8080), side(one(30_000 + round, at(9), POD, 8080))],
    ]
}

fn deliver(collector: &Collector, agent: &str, sequence: u64, flows: &[Flow]) {
    let heading = Heading {
        version: VERSION,
        agent: agent.into(),
        run: "1".into(),
        sequence,
        flows: u32::try_from(flows.len()).unwrap().into(),
        coverage: Coverage { packets: 1, ..Coverage::default() },
        undelivered: 0,
    };
    let mut body = serde_json::to_vec(&heading).unwrap();
    for flow in flows {
        body.push(b'\n');
        flow.write_json(&mut body);
    }
    body.push(b'\n');
    let url = format!("{}/api/v1/ingest", collector.url);
    ureq::post(&url).header("content-type", "application/x-ndjson").send(&body[..]).unwrap();
}

/// What is wrong with what is kept; nothing in the end.
fn wrong(collector: &Collector) -> Option<String> {
    let rows = collector.rows();
    let alone = rows
        .iter()
        .filter(|row| row["flow"]["tcp_handshake"].is_null())
        .filter(|row| row["flow"]["seen_at"] != serde_json::json!(["node-a/eth0", "node-b/eth0"]))
        .count();
    let mut sides: BTreeMap<&str, Vec<(&Value, bool)>> = BTreeMap::new();
    for row in &rows {
        if let Some(handshake) = row["flow"]["tcp_handshake"].as_str() {
            let side = (&row["set_aside"], row["translated"].is_null());
            sides.entry(handshake).or_default().push(side);
        }
    }
    let unpaired = sides
        .values()
        .filter(|sides| {
            let aside = sides.iter().filter(|(aside, _)| **aside == "translated").count();
            sides.len() != 2 || aside != 1 || sides.iter().any(|(_, nobody)| *nobody)
        })
        .count();
    let coverage = collector.get("/api/v1/coverage");
    let counts = ["connections", "translated"].map(|name| coverage["data"][name].as_u64().unwrap());
    let edges = collector.get("/api/v1/edges?limit=1000");
    let on_edges: u64 =
        edges["data"].as_array().unwrap().iter().map(|edge| edge["flows"].as_u64().unwrap()).sum();
    let found = (rows.len() as u64, alone, sides.len() as u64, unpaired, counts, on_edges);
    let expected = (3 * ROUNDS, 0, ROUNDS, 0, [2 * ROUNDS, ROUNDS], 3 * ROUNDS);
    (found != expected).then(|| format!("{found:?} instead of {expected:?}"))
}

fn mended(collector: &Collector) -> u64 {
    let page =
        ureq::get(format!("{}/metrics", collector.url)).call().unwrap().body_mut().read_to_string().unwrap();
    let line = page.lines().find_map(|line| line.strip_prefix("wireproof_sweep_mended_flows_total "));
    line.unwrap().parse().unwrap()
}

#[test]
fn what_two_collectors_take_at_the_same_moment_is_one_in_the_end() {
    let Some((_server, store)) = Server::start("moment") else { return };
    let folder = tempfile::tempdir().unwrap();
    let mesh = folder.path().join("mesh.yaml");
    std::fs::write(&mesh, translated::MESH).unwrap();
    let collectors = [0, 1].map(|_| Collector::of(&mesh, &store, 0));
    let (seen, together) = (seen(), Barrier::new(2));
    std::thread::scope(|scope| {
        for (half, (collector, agent)) in collectors.iter().zip(["node-a", "node-b"]).enumerate() {
            let (seen, together) = (&seen, &together);
            scope.spawn(move || {
                for round in 0..ROUNDS {
                    together.wait();
                    deliver(collector, agent, round + 1, &halves(seen, round)[half]);
                }
            });
        }
    });
    for look in 1.. {
        let Some(wrong) = wrong(&collectors[0]) else { break };
        assert!(look < LOOKS, "{wrong}");
        std::thread::sleep(Duration::from_millis(500));
    }
    assert_eq!(wrong(&collectors[1]), None);
    // It was not for want of what had to be mended.
    assert!(collectors.iter().map(mended).sum::<u64>() > 0, "no two deliveries met");
}
