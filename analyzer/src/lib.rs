//! Declared Istio policy on one side, observed flows on the other, findings out.
//!
//! Pure: no clock, no file, no socket. Text in ([`mesh::Manifest`]), values out.

pub mod mesh;
pub mod report;
