//! XC08: The client's annotations keep traffic to STRICT servers from its proxy.

#[cfg(test)]
use crate::lint::Broken;
use crate::lint::survey::Survey;
use crate::lint::survey::meetings::Meeting;
use crate::lint::survey::meetings::{hosts, workload};
use crate::lint::{Problem, Rule};
use crate::report::Severity;
use std::collections::BTreeMap;

pub(super) const RULE: Rule = Rule {
    id: "XC08",
    severity: Severity::Medium,
    title: "Traffic to a STRICT server bypasses its proxy",
    page: include_str!("../../../docs/findings/XC08.md"),
    check,
    #[cfg(test)]
    broken: Broken { replace: &[], add: "", also: &[] },
};

fn check(survey: &Survey<'_>) -> Vec<Problem> {
    let mut by_client: BTreeMap<String, Vec<&Meeting<'_>>> = BTreeMap::new();
    for meeting in survey.meetings.iter().filter(|meeting| meeting.ids.contains(&"XC08")) {
        by_client.entry(workload(meeting.client)).or_default().push(meeting);
    }
    by_client
        .into_iter()
        .filter_map(|(name, group)| {
            let client = group.first()?.client;
            let message = format!(
                "{name} excludes traffic to {} from its proxy; the servers there are STRICT and refuse it",
                hosts(&group)
            );
            let remedy = "Remove the port or range from the traffic.sidecar.istio.io annotations.";
            Some(Problem::at(&client.meta, client.meta.line, message, remedy))
        })
        .collect()
}
