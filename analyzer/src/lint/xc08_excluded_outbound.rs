//! XC08: The client's annotations keep traffic to STRICT servers from its proxy.

use std::collections::BTreeMap;
use std::net::IpAddr;

#[cfg(test)]
use crate::lint::Broken;
use crate::lint::survey::Survey;
use crate::lint::survey::interception::intercept_outbound;
use crate::lint::survey::meetings::{Meeting, hosts, workload};
use crate::lint::{Problem, Rule};
use crate::mesh::pod::Pod;
use crate::report::Severity;

pub(super) const RULE: Rule = Rule {
    id: "XC08",
    severity: Severity::Medium,
    title: "Traffic to a STRICT server bypasses its proxy",
    page: include_str!("../../../docs/findings/XC08.md"),
    check,
    #[cfg(test)]
    broken: Broken {
        replace: &[(
            "  name: web-0\n  namespace: shop\n",
            "  name: web-0\n  namespace: shop\n  annotations: {traffic.sidecar.istio.io/excludeOutboundPorts: '9090'}\n",
        )],
        add: "",
        also: &[],
    },
};

fn check(survey: &Survey<'_>) -> Vec<Problem> {
    let mut by_client: BTreeMap<String, (&Pod, Vec<&Meeting<'_>>)> = BTreeMap::new();
    for meeting in survey.meetings.iter().filter(|meeting| meeting.ids.contains(&"XC08")) {
        for client in &meeting.clients {
            by_client.entry(workload(client)).or_insert_with(|| (*client, Vec::new())).1.push(meeting);
        }
    }
    by_client
        .into_iter()
        .map(|(name, (client, group))| {
            let message = format!(
                "{name} keeps traffic to {} from its proxy; the servers there are STRICT and refuse it",
                hosts(&group)
            );
            let remedy = "Remove the port or range from the traffic.sidecar.istio.io annotations.";
            let yaml = intercept_outbound(client, &dialled(&group));
            Problem::at(&client.meta, client.meta.line, message, remedy).yaml(yaml)
        })
        .collect()
}

/// What the application dials: the Services' addresses, or the pods' where a Service has none.
fn dialled(group: &[&Meeting<'_>]) -> Vec<(IpAddr, u16)> {
    let mut dialled = Vec::new();
    for meeting in group {
        let port = meeting.port.number;
        let addresses = meeting.host.addresses.iter().map(|network| (network.addr(), port));
        let before = dialled.len();
        dialled.extend(addresses);
        if dialled.len() == before {
            let endpoints = meeting.host.endpoints.iter();
            dialled.extend(endpoints.map(|endpoint| (endpoint.ip, meeting.wire)));
        }
    }
    dialled
}
