//! The hosts of a mesh by their names.

use std::collections::HashMap;

use crate::mesh::{HostService, Mesh};
use crate::policy::visibility::covers;

/// Finds hosts by name without going through all of them.
pub(crate) struct Hosts<'a> {
    all: &'a [HostService],
    exact: HashMap<String, Vec<usize>>,
    patterns: Vec<&'a str>,
}

impl<'a> Hosts<'a> {
    /// Sorts the hosts of a mesh.
    pub(crate) fn of(mesh: &'a Mesh) -> Self {
        let mut exact: HashMap<String, Vec<usize>> = HashMap::new();
        for (place, host) in mesh.hosts.iter().enumerate() {
            exact.entry(host.host.to_ascii_lowercase()).or_default().push(place);
        }
        let patterns =
            mesh.hosts.iter().map(|host| host.host.as_str()).filter(|host| host.starts_with('*')).collect();
        Self { all: &mesh.hosts, exact, patterns }
    }

    /// Returns the places of the hosts that a name or pattern covers, the oldest first.
    pub(crate) fn places(&self, pattern: &str) -> Vec<usize> {
        if pattern.starts_with('*') {
            let hosts = self.all.iter().enumerate();
            return hosts.filter(|(_, host)| covers(pattern, &host.host)).map(|(place, _)| place).collect();
        }
        self.exact.get(&pattern.to_ascii_lowercase()).cloned().unwrap_or_default()
    }

    /// Returns the hosts that a name or pattern covers, the oldest first.
    pub(crate) fn covered(&self, pattern: &str) -> Vec<&'a HostService> {
        self.places(pattern).into_iter().filter_map(|place| self.all.get(place)).collect()
    }

    /// Tells whether a name or pattern covers a host, or a host that is a pattern covers it.
    pub(crate) fn knows(&self, pattern: &str) -> bool {
        self.patterns.iter().any(|known| covers(known, pattern)) || !self.places(pattern).is_empty()
    }
}
