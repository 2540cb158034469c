//! Captures of many stacks, whose truth is known, with something taken away: an answer may become none, never a wrong one.

mod recorded;

use recorded::labels::{self, Judgement};
use recorded::{Fault, observe, read, testdata, verdict};

/// How often packets are dropped at random, each time others.
const SEEDS: u64 = 20;

/// Takes away what a kind of fault takes, from every capture, and demands that no answer is wrong and that at least this
/// many are right: an engine that never answers would be of no use.
fn check(kinds: &[&str], at_least: usize) {
    let folder = testdata("lab");
    let faults: Vec<_> = Fault::all(SEEDS).into_iter().filter(|(kind, _)| kinds.contains(kind)).collect();
    assert!(!faults.is_empty(), "{kinds:?} are kinds of faults");
    let mut wrong = Vec::new();
    let mut right = 0;
    for (name, labels) in labels::read(&folder) {
        let packets = read(&folder.join(&name));
        for (kind, fault) in &faults {
            let flows = observe(&fault.applied(&packets));
            for label in &labels {
                let Some(flow) = label.flow_in(&flows) else { continue };
                match label.judge(&flow.security) {
                    Judgement::Wrong => wrong.push(format!(
                        "{kind}: {name} after {fault:?}: port {} is {:?} ({}), and the answer {:?}",
                        label.client.port,
                        label.truth,
                        label.note,
                        verdict(&flow.security),
                    )),
                    Judgement::Right | Judgement::WrongWord => right += 1,
                    Judgement::Undecided => {}
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} wrong answers:\n{}", wrong.len(), wrong.join("\n"));
    assert!(right >= at_least, "only {right} answers were right");
}

#[test]
fn intact_captures_are_answered_right() {
    let folder = testdata("lab");
    let mut captures = 0;
    for (name, labels) in labels::read(&folder) {
        captures += 1;
        let flows = observe(&read(&folder.join(&name)));
        for label in &labels {
            let Some(flow) = label.flow_in(&flows) else {
                panic!("{name}: port {} is missing", label.client.port)
            };
            let what = format!("{name}: port {}: {:?}", label.client.port, flow.security);
            match (label.judge(&flow.security), label.decidable) {
                (Judgement::Right, _) | (Judgement::Undecided, Some(false)) => {}
                (judgement, _) => panic!("{judgement:?}, and the truth is {:?}: {what}", label.truth),
            }
        }
    }
    let recorded = std::fs::read_dir(&folder).into_iter().flatten().flatten();
    let recorded =
        recorded.filter(|entry| entry.path().extension().is_some_and(|kind| kind == "pcap")).count();
    assert_eq!(captures, recorded, "every capture has its labels");
}

#[test]
fn packets_lost_now_and_then() {
    check(&["drop 1 %"], 2_250);
}

#[test]
fn packets_lost_often() {
    check(&["drop 5 %"], 2_000);
}

#[test]
fn packets_lost_all_the_time() {
    check(&["drop 20 %"], 1_200);
}

#[test]
fn captures_and_connections_that_begin_late() {
    check(&["capture begins late", "connections begin late"], 800);
}

#[test]
fn one_direction_only() {
    check(&["opener's direction only", "other direction only"], 90);
}

#[test]
fn half_of_a_hello_lost() {
    check(&["half of the hello"], 500);
}

#[test]
fn frames_cut_by_a_snap_length() {
    check(&["snap 54", "snap 96", "snap 128", "snap 256"], 110);
}

#[test]
fn one_direction_behind_the_other() {
    check(&["one direction behind", "behind, snap 256", "behind, snap 128"], 2_000);
}
