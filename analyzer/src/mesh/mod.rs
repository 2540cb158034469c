//! The declarations: text of manifests in, an immutable [`Mesh`] out.

mod delegation;
mod document;
mod find;
mod hosts;
mod index;
pub(crate) mod joining;
mod kinds;
mod lookup;
mod manifest;
mod notes;
mod reading;
mod reference_grant;
mod refusal;
mod schema;
pub(crate) mod spelling;
mod switched_off;

pub mod authorization_policy;
pub mod control_plane;
pub mod destination_rule;
pub mod entry_visibility;
pub mod gateway;
pub mod gateway_api;
pub mod mesh_config;
pub mod meta;
pub mod network_policy;
pub mod networks;
pub mod node;
pub mod peer_authentication;
pub mod pod;
pub mod service;
pub mod service_entry;
pub mod sidecar;
pub mod virtual_service;
pub mod waypoint;

pub use document::{ALIAS_NODES, DOCUMENT_BYTES, DOCUMENT_NODES, NESTING};
pub(crate) use hosts::fqdn;
pub use hosts::{Behind, HostEndpoint, HostPort, HostService, Owner};
pub use index::Mesh;
pub use kinds::KINDS;
pub use manifest::{Declared, FILE_BYTES, FILE_DOCUMENTS, Manifest};
pub(crate) use spelling::{meant, nearest};
