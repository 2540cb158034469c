//! Where frames come from. Sources do the I/O; the engine does none.

pub mod file;
mod input;
#[cfg(feature = "agent")]
pub mod live;
mod pcap;
mod pcapng;
mod snoop;
mod zstd;
