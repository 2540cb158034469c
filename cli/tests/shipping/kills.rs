//! Kills at random moments: what was acknowledged is there in the end, once.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use super::{Collector, TESTDATA, agent, ids};
use crate::fleet::Server;

/// Random enough to hit every moment, and the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// How many processes are killed, at least.
const KILLS: u64 = 100;

/// One in so many rounds kills the database server, too: to start it takes some seconds.
const SERVER: u64 = 4;

/// Kills agents, collectors and, where there is one, the server of the store, a hundred times in all.
fn a_hundred_kills(store: &str, server: Option<&Server>) {
    let folder = tempfile::tempdir().unwrap();
    let spool = folder.path().join("spool");
    let mesh = PathBuf::from(format!("{TESTDATA}/boutique/mesh.yaml"));
    let mut captures: Vec<PathBuf> =
        std::fs::read_dir(format!("{TESTDATA}/lab")).unwrap().map(|entry| entry.unwrap().path()).collect();
    captures.retain(|path| path.extension().is_some_and(|extension| extension == "pcap"));
    captures.sort();
    assert!(captures.len() >= 100, "{} captures", captures.len());
    let mut collector = Collector::of(&mesh, store, 0);
    let port = collector.port();
    let (mut random, mut kills, mut servers) = (Random(7), 0, 0);
    let (mut kept, mut all) = (BTreeSet::new(), BTreeSet::new());
    for capture in &captures {
        // With a server the rounds take longer.
        if server.is_some() && kills >= KILLS {
            break;
        }
        all.extend(ids(capture));
        let mut child = agent(capture, &collector.url, &spool, "5s").spawn().unwrap();
        std::thread::sleep(Duration::from_millis(random.below(120)));
        let (of_agent, of_collector) = match random.below(3) {
            0 => (true, false),
            1 => (false, true),
            _ => (true, true),
        };
        let of_server = server.filter(|_| random.below(SERVER) == 0);
        // The server first: what else is killed dies while it is away, or has seen it go.
        if let Some(server) = of_server {
            server.kill();
            servers += 1;
            std::thread::sleep(Duration::from_millis(random.below(120)));
        }
        if of_collector {
            collector.kill();
        }
        if of_agent {
            child.kill().unwrap();
        }
        if let Some(server) = of_server {
            server.revive();
        }
        if of_collector {
            collector = Collector::of(&mesh, store, port);
        }
        kills += u64::from(of_agent) + u64::from(of_collector) + u64::from(of_server.is_some());
        let out = child.wait_with_output().unwrap();
        if out.status.success() {
            // An agent that ended well has put all that it saw into the spool.
            kept.extend(ids(capture));
        }
    }
    assert!(kills >= KILLS && (server.is_none() || servers >= 10), "{kills} kills, {servers} of the server");
    let last = agent(&captures[0], &collector.url, &spool, "60s").output().unwrap();
    assert!(last.status.success());
    kept.extend(ids(&captures[0]));
    let stored = collector.flows();
    let unique: BTreeSet<String> = stored.iter().cloned().collect();
    assert_eq!(stored.len(), unique.len(), "a flow is there twice");
    assert!(unique.is_superset(&kept), "lost: {:?}", kept.difference(&unique).collect::<Vec<_>>());
    assert!(unique.is_subset(&all), "invented: {:?}", unique.difference(&all).collect::<Vec<_>>());
    let edges = collector.get("/api/v1/edges?limit=1000");
    let counted: u64 =
        edges["data"].as_array().unwrap().iter().map(|edge| edge["flows"].as_u64().unwrap()).sum();
    assert_eq!(counted, unique.len() as u64, "edges count otherwise than flows");
}

#[test]
fn a_hundred_kills_lose_nothing_acknowledged_and_count_nothing_twice() {
    let folder = tempfile::tempdir().unwrap();
    a_hundred_kills(folder.path().join("store.sqlite").to_str().unwrap(), None);
}

#[test]
fn nor_do_they_where_the_server_of_the_store_is_one_of_what_is_killed() {
    let Some((server, store)) = Server::start("kills") else { return };
    a_hundred_kills(&store, Some(&server));
}
