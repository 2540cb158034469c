//! Damages every labelled capture of a folder in every way and counts what becomes of the verdicts:
//! `cargo run --release -p bench --example faults -- FOLDER [SEEDS]`.
//!
//! The folder holds captures and `labels.jsonl`, as `testdata/lab` does. Wrong claims are listed on standard error.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program")]

#[path = "../../capture/tests/recorded/mod.rs"]
mod recorded;

use std::collections::BTreeMap;
use std::path::PathBuf;

use recorded::labels::{self, Judgement};
use recorded::{Fault, Packet};

fn main() {
    let mut arguments = std::env::args().skip(1);
    let Some(folder) = arguments.next().map(PathBuf::from) else {
        eprintln!("usage: faults FOLDER [SEEDS]");
        std::process::exit(2);
    };
    let seeds = arguments.next().and_then(|seeds| seeds.parse().ok()).unwrap_or(10);
    let captures: Vec<_> = labels::read(&folder)
        .into_iter()
        .map(|(name, labels)| (recorded::read(&folder.join(&name)), name, labels))
        .collect();
    let mut kinds: Vec<&str> = vec!["intact"];
    let mut faults: Vec<(&str, Option<Fault>)> = vec![("intact", None)];
    for (kind, fault) in Fault::all(seeds) {
        if !kinds.contains(&kind) {
            kinds.push(kind);
        }
        faults.push((kind, Some(fault)));
    }
    let mut table: BTreeMap<&str, [u64; 5]> = BTreeMap::new();
    for (packets, name, labels) in &captures {
        for (kind, fault) in &faults {
            let left: Vec<Packet> = fault.map_or_else(|| packets.clone(), |fault| fault.applied(packets));
            let flows = recorded::observe(&left);
            let counts = table.entry(kind).or_default();
            for label in labels {
                let Some(flow) = label.flow_in(&flows) else {
                    counts[4] += 1;
                    continue;
                };
                let judgement = label.judge(&flow.security);
                counts[match judgement {
                    Judgement::Right => 0,
                    Judgement::WrongWord => 1,
                    Judgement::Wrong => 2,
                    Judgement::Undecided => 3,
                }] += 1;
                let undecided_intact = fault.is_none() && judgement == Judgement::Undecided;
                if undecided_intact || matches!(judgement, Judgement::Wrong | Judgement::WrongWord) {
                    eprintln!(
                        "{judgement:?}: {name} {:?} port {} is {:?}, not {:?} {:?}",
                        fault,
                        label.client.port,
                        label.truth,
                        recorded::verdict(&flow.security),
                        flow.security.evidence().reason,
                    );
                }
            }
        }
    }
    println!("| fault | decided | wrong class | wrong word | undecided | no flow |");
    println!("| --- | --- | --- | --- | --- | --- |");
    for kind in kinds {
        let [right, word, wrong, undecided, missing] = table.get(kind).copied().unwrap_or_default();
        println!("| {kind} | {} | {wrong} | {word} | {undecided} | {missing} |", right + word + wrong);
    }
}
