//! Bytes from the wire to flows, with the proof of how each is protected.
//!
//! Knows no Istio resource and no policy. The engine reads no clock and does no I/O: time comes from the capture.
#![warn(clippy::arithmetic_side_effects, clippy::cast_possible_truncation, clippy::indexing_slicing)]

#[cfg(feature = "agent")]
pub mod agent;
mod clock;
mod connection;
mod detect;
mod dtls;
pub mod engine;
mod fragments;
mod frame;
mod intake;
#[cfg(feature = "internals")]
#[doc(hidden)]
pub mod internals;
mod key;
mod packet;
mod partition;
mod prefetch;
mod quic;
#[cfg(feature = "agent")]
pub mod ship;
pub mod source;
mod tls;
mod tunnel;
pub mod workers;
