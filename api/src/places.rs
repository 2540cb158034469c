//! How many connections are open at a time: of one address, and of all together. One more is closed before a byte of it is read.
//!
//! A connection has its place from when it is accepted, its handshake included, until it is closed.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::serve::Listener;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use tokio::net::{TcpListener, TcpStream};

/// How many connections may be open at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Of all addresses.
    pub in_all: usize,
    /// Of one address: less than all, so that one client alone shuts nobody out.
    pub of_one: usize,
}

impl Default for Bounds {
    /// None to speak of.
    fn default() -> Self {
        Self { in_all: usize::MAX, of_one: usize::MAX }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Bound {
    bound: &'static str,
}

/// Connections that are open, and those that were refused.
#[derive(Debug)]
pub(crate) struct Places {
    bounds: Bounds,
    open: Mutex<Open>,
    refused: Family<Bound, Counter>,
}

#[derive(Debug, Default)]
struct Open {
    all: usize,
    by_address: HashMap<IpAddr, usize>,
}

impl Places {
    pub(crate) fn new(bounds: Bounds) -> Self {
        let refused = Family::<Bound, Counter>::default();
        for bound in ["address", "all"] {
            let _ = refused.get_or_create(&Bound { bound });
        }
        Self { bounds, open: Mutex::default(), refused }
    }

    /// Gives a connection its place, if there is one.
    fn take(self: &Arc<Self>, from: SocketAddr) -> Option<Visitor> {
        let address = from.ip().to_canonical();
        let mut open = self.open();
        let of_one = open.by_address.get(&address).copied().unwrap_or(0);
        let bound = if of_one >= self.bounds.of_one {
            Some("address")
        } else if open.all >= self.bounds.in_all {
            Some("all")
        } else {
            None
        };
        if let Some(bound) = bound {
            drop(open);
            self.refused.get_or_create(&Bound { bound }).inc();
            tracing::info!(%from, bound, "too many connections: refused");
            return None;
        }
        open.by_address.insert(address, of_one.saturating_add(1));
        open.all = open.all.saturating_add(1);
        drop(open);
        Some(Visitor { from, places: Arc::clone(self) })
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn register(&self, registry: &mut Registry) {
        let open = Gauge::<i64>::default();
        open.set(i64::try_from(self.open().all).unwrap_or(i64::MAX));
        registry.register("connections", "Connections that are open to this server", open);
        registry.register(
            "connections_refused",
            "Connections closed at once, by the bound that they would have passed",
            self.refused.clone(),
        );
    }
}

/// Who connected. The place is given up with it.
#[derive(Debug)]
pub(crate) struct Visitor {
    pub(crate) from: SocketAddr,
    places: Arc<Places>,
}

impl Drop for Visitor {
    fn drop(&mut self) {
        let mut open = self.places.open();
        open.all = open.all.saturating_sub(1);
        let address = self.from.ip().to_canonical();
        if let Some(count) = open.by_address.get_mut(&address) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                open.by_address.remove(&address);
            }
        }
    }
}

/// A listener that keeps to the bounds.
pub(crate) struct Door {
    listener: TcpListener,
    places: Arc<Places>,
}

impl Door {
    pub(crate) fn new(listener: TcpListener, places: Arc<Places>) -> Self {
        Self { listener, places }
    }

    /// Waits for the next connection that has a place.
    pub(crate) async fn accept(&mut self) -> (TcpStream, Visitor) {
        loop {
            // This one waits a little where the process may open no more files.
            let (stream, from) = Listener::accept(&mut self.listener).await;
            if let Some(visitor) = self.places.take(from) {
                return (stream, visitor);
            }
        }
    }
}
