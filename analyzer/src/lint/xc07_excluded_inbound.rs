//! XC07: Istio mTLS goes to a container port that the sidecar does not intercept.

use std::collections::{BTreeMap, BTreeSet};

#[cfg(test)]
use crate::lint::Broken;
use crate::lint::survey::Survey;
use crate::lint::survey::injection::intercept;
use crate::lint::survey::meetings::{Meeting, workload};
use crate::lint::{Problem, Rule};
use crate::policy::inbound::InboundKind;
use crate::report::Severity;

pub(super) const RULE: Rule = Rule {
    id: "XC07",
    severity: Severity::High,
    title: "Istio mTLS to a port excluded from interception",
    page: include_str!("../../../docs/findings/XC07.md"),
    check,
    #[cfg(test)]
    broken: Broken {
        replace: &[(
            "  name: web-0\n  namespace: shop\n",
            "  name: web-0\n  namespace: shop\n  annotations: {traffic.sidecar.istio.io/excludeInboundPorts: '8080'}\n",
        )],
        add: "",
        // STRICT is not enforced at the port either.
        also: &["PA07"],
    },
};

fn check(survey: &Survey<'_>) -> Vec<Problem> {
    let mut by_pod: BTreeMap<(String, u16), &Meeting<'_>> = BTreeMap::new();
    for meeting in survey.meetings.iter().filter(|meeting| meeting.ids.contains(&"XC07")) {
        if let Some(server) = meeting.server {
            by_pod.entry((workload(server), meeting.wire)).or_insert(meeting);
        }
    }
    by_pod
        .into_iter()
        .filter_map(|((name, port), meeting)| {
            let server = meeting.server?;
            let InboundKind::NotIntercepted(why) = &meeting.expectation.server else { return None };
            let message = format!(
                "the sidecar of {name} does not intercept port {port} ({why}), yet clients of {} send it Istio mTLS ({} decides): the application gets bytes that it cannot read",
                meeting.host.host, meeting.expectation.expected.client_tls_from
            );
            let remedy = "Stop excluding the port, or switch mTLS off for it with portLevelMtls DISABLE or a DestinationRule.";
            let yaml = intercept(server, &BTreeSet::from([port])).yaml();
            Some(Problem::at(&server.meta, server.meta.line, message, remedy).yaml(yaml))
        })
        .collect()
}
