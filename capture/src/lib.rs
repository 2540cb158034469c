//! Bytes from the wire to flows, with the proof of how each is protected.
//!
//! Knows no Istio resource and no policy. The engine reads no clock and does no I/O: time comes from the capture.
#![warn(clippy::arithmetic_side_effects, clippy::cast_possible_truncation, clippy::indexing_slicing)]

mod detect;
mod dtls;
mod quic;
mod tls;
