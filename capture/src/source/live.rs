//! Frames from a live interface, through libpcap: the only use of it.
//!
//! libpcap's blocking read does not come back while nothing arrives, whatever its timeout; so the source does not block,
//! and its caller decides how long to wait.

use flow::Timestamp;
use pcap::{Active, Linktype};
use thiserror::Error;

use crate::engine::{Frame, LinkType};

/// What to open, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Name of the interface; `any` for all of them.
    pub interface: String,
    /// A libpcap filter; absent for everything.
    pub filter: Option<String>,
    /// Bytes kept of a frame.
    pub snap_length: i32,
    /// Bytes of the kernel's ring: what absorbs the moments in which this process does not run.
    pub buffer: i32,
}

/// An open interface.
#[expect(missing_debug_implementations, reason = "libpcap's handle has none")]
pub struct Live {
    capture: pcap::Capture<Active>,
    link: LinkType,
}

/// Why an interface cannot be watched.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LiveError {
    /// The process may not open packet sockets.
    #[error(
        "opening {0} needs the capability CAP_NET_RAW: run as root, or once `setcap cap_net_raw+ep` on this program's file"
    )]
    Permission(String),
    /// There is no such interface.
    #[error("there is no interface {0}; there are: {1}")]
    NoInterface(String, String),
    /// The filter is faulty.
    #[error("the filter '{0}' cannot be read: {1}")]
    Filter(String, String),
    /// Frames of this kind are not read.
    #[error("{interface} delivers frames of link type {link}, which is not read")]
    LinkType {
        /// The interface.
        interface: String,
        /// Its link type's number.
        link: i32,
    },
    /// libpcap failed otherwise.
    #[error("capturing on {0}: {1}")]
    Capture(String, String),
}

impl Live {
    /// Opens an interface. Not in promiscuous mode: that takes another capability, and a pod's traffic is its own.
    ///
    /// # Errors
    ///
    /// Returns what is in the way, with what mends it.
    pub fn open(settings: &Settings) -> Result<Self, LiveError> {
        let name = &settings.interface;
        let other = |error: pcap::Error| match error.to_string() {
            text if text.contains("ermission") || text.contains("not permitted") => {
                LiveError::Permission(name.clone())
            }
            text if text.contains("No such device") || text.contains("doesn't exist") => {
                LiveError::NoInterface(name.clone(), interfaces())
            }
            text => LiveError::Capture(name.clone(), text),
        };
        let mut capture = pcap::Capture::from_device(name.as_str())
            .and_then(|capture| {
                capture
                    .promisc(false)
                    .snaplen(settings.snap_length)
                    .buffer_size(settings.buffer)
                    .timeout(100)
                    .precision(pcap::Precision::Nano)
                    .open()
            })
            .map_err(other)?;
        if name == "any" {
            // The second version of the cooked header names the interface of each frame.
            capture.set_datalink(Linktype(i32::from(LinkType::LINUX_SLL2.0))).map_err(other)?;
        }
        if let Some(filter) = &settings.filter {
            capture
                .filter(filter, true)
                .map_err(|error| LiveError::Filter(filter.clone(), error.to_string()))?;
        }
        let number = capture.get_datalink().0;
        let link = u16::try_from(number)
            .map(LinkType)
            .ok()
            .filter(|link| link.is_read())
            .ok_or_else(|| LiveError::LinkType { interface: name.clone(), link: number })?;
        let capture = capture.setnonblock().map_err(other)?;
        Ok(Self { capture, link })
    }

    /// Hands over the frames that have arrived, at most `most`, and returns how many.
    ///
    /// # Errors
    ///
    /// Returns an error if the interface went away or libpcap failed.
    pub fn read(&mut self, most: usize, mut each: impl FnMut(&Frame<'_>)) -> Result<usize, LiveError> {
        for count in 0..most {
            match self.capture.next_packet() {
                Ok(packet) => each(&Frame {
                    // Opened for nanoseconds, libpcap keeps them in the field for microseconds.
                    at: Timestamp::from_nanos(
                        packet
                            .header
                            .ts
                            .tv_sec
                            .saturating_mul(1_000_000_000)
                            .saturating_add(packet.header.ts.tv_usec),
                    ),
                    link: self.link,
                    interface: 0,
                    original_len: packet.header.len,
                    bytes: packet.data,
                }),
                Err(pcap::Error::TimeoutExpired | pcap::Error::NoMorePackets) => return Ok(count),
                Err(error) => return Err(LiveError::Capture("the interface".to_owned(), error.to_string())),
            }
        }
        Ok(most)
    }

    /// Returns how many packets the kernel dropped because they were not read in time; absent when it does not tell.
    pub fn dropped(&mut self) -> Option<u64> {
        self.capture
            .stats()
            .ok()
            .map(|stats| u64::from(stats.dropped).saturating_add(u64::from(stats.if_dropped)))
    }
}

fn interfaces() -> String {
    pcap::Device::list()
        .map(|list| list.into_iter().map(|device| device.name).collect::<Vec<_>>().join(", "))
        .unwrap_or_default()
}
