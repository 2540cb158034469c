//! What was seen on the wire: the vocabulary that every stage of wireproof shares.
//!
//! A [`Flow`] states facts about one connection and how each fact is known. It never says "allowed": what a
//! declaration makes of a flow is the analyzer's business. Types only; nothing here reads a packet, a file or a clock.

mod community_id;
mod digits;
mod named;

pub mod blind;
pub mod certificate;
pub mod coverage;
pub mod delivery;
pub mod endpoint;
pub mod flow;
mod json;
pub mod merge;
pub mod protocol;
pub mod security;
pub mod text;
pub mod time;
pub mod tls;
pub mod tunnel;
mod wire_form;

pub use blind::Reason;
pub use certificate::Certificate;
pub use community_id::CommunityId;
pub use coverage::Coverage;
pub use endpoint::{Endpoint, Transport};
pub use flow::{Close, Flow, FlowId, LOOPBACK, PerSide, Side, TcpHandshake};
pub use json::JsonWriter;
pub use protocol::{Protocol, Upgrade};
pub use security::{AuthWord, Class, ClientAuth, Evidence, Presented, Proof, Security, Withheld};
pub use time::Timestamp;
pub use tls::{Outcome, TlsSession, TlsVersion};
pub use tunnel::Tunnel;
