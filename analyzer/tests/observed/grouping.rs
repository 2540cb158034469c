//! Findings are groups: they do not flood.

use analyzer::audit::{Auditor, Ledger};
use flow::{Flow, FlowId};

use super::{FRONT, PLAIN, VAULT, clean, flow, mesh};

fn findings(from: &str, destinations: u8) -> usize {
    let auditor = Auditor::new(mesh(&clean()));
    let mut ledger = Ledger::default();
    for number in 0..destinations {
        let flow = flow(from, &format!("192.0.2.{number}:8081"), PLAIN);
        ledger.add(&auditor.judge(&Flow { id: FlowId(u128::from(number)), ..flow }));
    }
    ledger.findings().len()
}

#[test]
fn what_is_only_worth_knowing_is_one_finding_for_the_whole_internet() {
    assert_eq!(findings(FRONT, 200), 1, "OB19, by client and port");
}

#[test]
fn what_is_wrong_names_every_destination() {
    assert_eq!(findings(VAULT, 3), 3, "OB23, each by itself");
}
