//! What the rules look at: the declarations, and what several rules ask of them.

pub(crate) mod destination_rules;
pub(crate) mod gateways;
pub(crate) mod injection;
pub(crate) mod meetings;
pub(crate) mod peer_authentications;
pub(crate) mod ports;
pub(crate) mod service_entries;

use crate::mesh::Mesh;
use meetings::{Meeting, meetings};

/// The declarations, and the client and server pairs that contradict each other.
pub(crate) struct Survey<'a> {
    pub(crate) mesh: &'a Mesh,
    pub(crate) meetings: Vec<Meeting<'a>>,
}

impl<'a> Survey<'a> {
    /// Looks a mesh over.
    pub(crate) fn of(mesh: &'a Mesh) -> Self {
        Self { mesh, meetings: meetings(mesh) }
    }
}
