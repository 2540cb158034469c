//! XC07: Istio mTLS goes to a container port that the sidecar does not intercept.

#[cfg(test)]
use crate::lint::Broken;
use crate::lint::survey::Survey;
use crate::lint::survey::meetings::Meeting;
use crate::lint::survey::meetings::{rule_yaml, workload};
use crate::lint::{Problem, Rule};
use crate::report::Severity;
use std::collections::BTreeMap;

pub(super) const RULE: Rule = Rule {
    id: "XC07",
    severity: Severity::High,
    title: "Istio mTLS to a port excluded from interception",
    page: include_str!("../../../docs/findings/XC07.md"),
    check,
    #[cfg(test)]
    broken: Broken { replace: &[], add: "", also: &[] },
};

fn check(survey: &Survey<'_>) -> Vec<Problem> {
    let mut by_pod: BTreeMap<(String, u16), &Meeting<'_>> = BTreeMap::new();
    for meeting in survey.meetings.iter().filter(|meeting| meeting.ids.contains(&"XC07")) {
        if let Some(server) = meeting.server {
            by_pod.entry((workload(server), meeting.wire)).or_insert(meeting);
        }
    }
    by_pod
        .into_values()
        .filter_map(|meeting| {
            let server = meeting.server?;
            let message = format!(
                "{} does not intercept port {}, yet clients of {} send it Istio mTLS ({} decides)",
                workload(server),
                meeting.wire,
                meeting.host.host,
                meeting.expectation.expected.client_tls_from
            );
            let remedy = "Add a DestinationRule with DISABLE or a portLevelMtls DISABLE for this port, or stop excluding it.";
            let line = server.meta.line;
            Some(Problem::at(&server.meta, line, message, remedy).yaml(rule_yaml(meeting, "DISABLE")))
        })
        .collect()
}
