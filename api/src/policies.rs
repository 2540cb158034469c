//! The policies that questions are answered by, fixed or watched.

use std::sync::Arc;

use analyzer::mesh::Mesh;
use flow::Timestamp;

/// Tells the policies in force, and how the watch for them fares.
pub trait Policies: Send + Sync {
    /// Returns what is in force now; absent while nothing was loaded.
    fn mesh(&self) -> Option<Arc<Mesh>>;

    /// Tells whether they change while this runs, and how their watch fares; absent for what was loaded once.
    fn watch(&self) -> Option<Watch> {
        None
    }
}

/// How a watch for policies fares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watch {
    /// Since when the policies are in force that are now; absent before the first.
    pub since: Option<Timestamp>,
    /// Each kind's watch, in a fixed order.
    pub kinds: Vec<Watched>,
}

/// How the watch for one kind fares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watched {
    /// What is watched, as `kubectl` names it.
    pub kind: String,
    /// How many objects there are.
    pub objects: u64,
    /// How many errors were met.
    pub errors: u64,
}

impl Policies for Option<Arc<Mesh>> {
    fn mesh(&self) -> Option<Arc<Mesh>> {
        self.clone()
    }
}
