//! Declared Istio policy on one side, observed flows on the other, findings out.
//!
//! Pure: no clock, no file, no socket. Text in ([`mesh::Manifest`]), values out.

pub mod audit;
pub mod describe;
mod edges;
pub mod expectation;
pub mod explain;
pub mod lint;
pub mod mesh;
pub mod names;
pub mod parties;
pub mod patch;
pub mod policy;
pub mod readiness;
pub mod report;
pub mod translation;
pub mod verdict;
pub mod violation;
