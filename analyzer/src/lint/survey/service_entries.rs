//! ServiceEntries: their ports, and the workloads behind them.

use crate::lint::Problem;
use crate::lint::survey::Survey;
use crate::lint::survey::destination_rules::originator;
use crate::mesh::Mesh;
use crate::mesh::service_entry::{EntryPort, ServiceEntry, WorkloadEntry};
use crate::report::ClientTls;

/// Ports that speak TLS by convention.
pub(crate) const TLS_PORTS: [u16; 2] = [443, 8443];

pub(crate) fn each_port<'a>(
    survey: &Survey<'a>,
    broken: impl Fn(&'a ServiceEntry, &'a EntryPort) -> Option<Problem>,
) -> Vec<Problem> {
    survey
        .mesh
        .service_entries
        .iter()
        .flat_map(|entry| entry.ports.iter().filter_map(|port| broken(entry, port)).collect::<Vec<_>>())
        .collect()
}

/// Tells whether a rule makes clients send TLS of whatever kind to the port.
pub(crate) fn originates(survey: &Survey<'_>, entry: &ServiceEntry, port: &EntryPort) -> bool {
    const TLS: [ClientTls; 3] = [ClientTls::Simple, ClientTls::Mutual, ClientTls::IstioMutual];
    entry.hosts.iter().any(|host| originator(survey, entry, host, port.number, &TLS).is_some())
}

/// WorkloadEntries that an entry selects.
pub(crate) fn workloads<'a>(
    mesh: &'a Mesh,
    entry: &'a ServiceEntry,
) -> impl Iterator<Item = &'a WorkloadEntry> + 'a {
    let selectors = entry.workload_selector.iter();
    selectors.flat_map(|selector| mesh.workload_entries_with(&entry.meta.namespace, selector))
}
