//! Where frames come from. Sources do the I/O; the engine does none.

pub mod file;
mod pcap;
mod pcapng;
