//! Flows on their way to a collector, at least once each: gathered into deliveries ([`outbox`]), written to a spool on the
//! disk ([`spool`]), sent in order ([`send`]), and removed only when the collector has kept them.
//!
//! Two processes share the work. The one that captures reaches nothing but the spool; the one that sends reaches the
//! network and never had a packet in its hands. What is in the spool survives both, however they end. The spool is
//! bounded: when it is full the oldest delivery gives way, and how many flows that cost is counted and told with every
//! later delivery. Back-pressure is plain: the collector answers 429 or 503 and says when to come again; until then the
//! spool grows.

pub mod outbox;
pub mod post;
pub mod send;
pub mod sender;
pub mod spool;
