//! How each watch fares, for metrics, messages and log lines.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::kinds::Target;

/// How the watches fare. Copies show the same.
#[derive(Debug, Clone)]
pub struct Progress(Arc<Mutex<Vec<Watched>>>);

/// How one watch fares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watched {
    /// What is watched: `pods`, `sidecars.networking.istio.io`, `configmaps/istio`.
    pub name: String,
    /// How many objects are held.
    pub objects: usize,
    /// How many errors were met since the start.
    pub errors: u64,
    /// How it stands now.
    pub state: State,
    /// Whether all objects were listed once, or the kind is known to be absent.
    pub listed: bool,
}

/// How a watch stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// The first list is not complete.
    Listing,
    /// Listed, and changes come as they happen.
    Watching,
    /// The cluster does not know the kind; it is asked for now and then.
    Absent,
    /// The last attempt failed, for this reason. What is held stays as it was.
    Failing(String),
}

impl Progress {
    pub(crate) fn new(targets: &[Target]) -> Self {
        let watched = targets
            .iter()
            .map(|target| Watched {
                name: target.name(),
                objects: 0,
                errors: 0,
                state: State::Listing,
                listed: false,
            })
            .collect();
        Self(Arc::new(Mutex::new(watched)))
    }

    /// Tells how every watch fares, in a fixed order.
    #[must_use]
    pub fn watched(&self) -> Vec<Watched> {
        self.held().clone()
    }

    /// Says why there is no snapshot yet: each watch that has listed nothing, with its last error.
    #[must_use]
    pub fn missing(&self) -> Vec<String> {
        let held = self.held();
        held.iter()
            .filter(|watched| !watched.listed)
            .map(|watched| match &watched.state {
                State::Failing(why) => why.clone(),
                State::Listing | State::Watching | State::Absent => {
                    format!("{}: not listed yet", watched.name)
                }
            })
            .collect()
    }

    pub(crate) fn set(&self, place: usize, state: State) {
        self.change(place, |watched| {
            if watched.state != state {
                match (&watched.state, &state) {
                    (State::Failing(_), State::Watching) => tracing::warn!(watch = watched.name, "goes on"),
                    (_, State::Absent) => {
                        tracing::info!(watch = watched.name, "the cluster does not serve this kind");
                    }
                    _ => tracing::info!(watch = watched.name, "listed"),
                }
                watched.state = state;
            }
        });
    }

    pub(crate) fn failed(&self, place: usize, why: &str) {
        self.change(place, |watched| {
            watched.errors = watched.errors.saturating_add(1);
            let state = State::Failing(why.to_owned());
            // The same again is no news.
            if watched.state != state {
                tracing::warn!("watching the cluster: {why}");
                watched.state = state;
            }
        });
    }

    pub(crate) fn holds(&self, place: usize, objects: usize) {
        self.change(place, |watched| {
            watched.objects = objects;
            watched.listed = true;
        });
    }

    fn change(&self, place: usize, change: impl FnOnce(&mut Watched)) {
        if let Some(watched) = self.held().get_mut(place) {
            change(watched);
        }
    }

    fn held(&self) -> MutexGuard<'_, Vec<Watched>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
