//! What several agents saw of one connection, found by its opening.

use std::collections::HashMap;

use flow::Flow;
use flow::merge::{self, ALIKE, merge};

/// Flows that are kept, or will be with this delivery, by their openings.
#[derive(Default)]
pub(super) struct Known {
    flows: HashMap<u64, Vec<Flow>>,
}

impl Known {
    pub(super) fn add(&mut self, flow: Flow) {
        if let Some(opening) = flow.opening() {
            self.flows.entry(opening).or_default().push(flow);
        }
    }

    /// Puts a report together with the sightings of others. It keeps the name and the start under which it is kept, whoever saw it first.
    pub(super) fn join(&mut self, flow: &Flow, agent: &str) -> Sighting {
        let Some(opening) = flow.opening() else { return Sighting::Alone };
        let alike = self.flows.entry(opening).or_default();
        let own = alike.iter().position(|known| known.id == flow.id);
        if own.is_none() && alike.len() >= ALIKE {
            return Sighting::OneOfMany;
        }
        let found = own.or_else(|| alike.iter().position(|known| merge::same(known, flow, agent)));
        match found.and_then(|at| alike.get_mut(at)) {
            Some(known) if merge::seen_by_none_but(known, agent) => {
                // The agent's own report replaces the one before it.
                *known = flow.clone();
                Sighting::Alone
            }
            Some(known) => {
                let joined = Flow { id: known.id, start: known.start, ..merge(known, flow) };
                *known = joined.clone();
                Sighting::Of(joined)
            }
            None => {
                alike.push(flow.clone());
                Sighting::Alone
            }
        }
    }
}

/// What a report is beside those of others.
pub(super) enum Sighting {
    /// Nobody else saw the connection.
    Alone,
    /// Others saw it as well: what all of them make together.
    Of(Flow),
    /// Too many have its opening to tell.
    OneOfMany,
}
