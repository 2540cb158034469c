//! Frames from live interfaces, through libpcap: the only use of it.
//!
//! An exact name is watched through a socket of its own, bound to that interface. `any`, a pattern such as `veth*` and
//! [`Settings::follow`] are watched through one socket that sees every interface of the namespace, those that come later
//! included; what is not asked for is left aside here. So following interfaces takes no capability once the socket is
//! open.
//!
//! libpcap's blocking read does not come back while nothing arrives, whatever its timeout; so no read blocks, and
//! [`Live::wait`] polls, with a time of its own.

mod links;
mod namespace;
mod pattern;
mod soundness;

use std::collections::HashMap;
use std::os::fd::{AsFd as _, AsRawFd as _, RawFd};
use std::time::Duration;

use flow::Timestamp;
use pcap::{Active, Linktype};
use rustix::event::{PollFd, PollFlags, Timespec};
use thiserror::Error;

use crate::agent::Proof;
use crate::frame::{Frame, LinkType};
use links::{Change, Links};
use pattern::Patterns;

pub use namespace::Namespace;
pub use soundness::HANDSHAKE;

/// What to open, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Names of interfaces or patterns of names (`veth*`, `eth?`); `any` for all of them.
    pub interfaces: Vec<String>,
    /// Whether exact names are followed too: an interface that goes and comes again is watched again.
    pub follow: bool,
    /// A libpcap filter; absent for everything.
    pub filter: Option<String>,
    /// Bytes kept of a frame.
    pub snap_length: i32,
    /// Bytes of the kernel's ring of each socket: what absorbs the moments in which this process does not run.
    pub buffer: i32,
    /// Whether each frame is handed over when it arrives. Otherwise they come in blocks, up to a tenth of a second late,
    /// which costs less and holds more.
    pub immediate: bool,
    /// The network namespace whose interfaces are meant; absent for this process's own.
    pub namespace: Option<Namespace>,
}

/// Open sockets from which nothing was read yet, and nothing can be until the process is confined.
///
/// ```compile_fail,E0599
/// fn unconfined(mut opened: capture::source::live::Opened) {
///     let _ = opened.read(1, |_| ());
/// }
/// ```
#[expect(missing_debug_implementations, reason = "libpcap's handle has none")]
pub struct Opened(Live);

/// The interfaces being watched.
#[expect(missing_debug_implementations, reason = "libpcap's handle has none")]
pub struct Live {
    rings: Vec<Ring>,
    links: Links,
    patterns: Patterns,
    numbers: Numbers,
    /// For how long frames gather while some keep coming; absent where each is handed over when it arrives, or the ring holds too few.
    rest: Option<Duration>,
    /// Whether the last read brought any.
    busy: bool,
}

/// One socket and its ring.
struct Ring {
    name: String,
    capture: pcap::Capture<Active>,
    link: LinkType,
    of: Of,
    counts: Counts,
    /// The kernel's counter as last read: it wraps.
    last: (u32, u32),
}

/// What a ring sees.
enum Of {
    /// The one interface that it is bound to, by its number in frames, and whether frames can still come.
    One { number: Option<u32>, gone: bool },
    /// All interfaces, by kernel index: their numbers in frames, or absent where they were not asked for.
    All(HashMap<u32, Option<u32>>),
}

/// What the kernel counts of one socket.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Packets that passed the filter, those dropped included.
    pub received: u64,
    /// Packets that the kernel dropped because the ring was full.
    pub dropped: u64,
}

/// What [`Live::read`] hands over.
#[derive(Debug)]
pub enum Seen<'a, 'b> {
    /// The frames of this number come from the interface of this name. Comes before the first of them, and again when
    /// the interface is renamed.
    Interface {
        /// The number in [`Frame::interface`].
        number: u32,
        /// The interface's name.
        name: &'a str,
    },
    /// An interface went away, or came again; as a sentence.
    Changed(&'a str),
    /// A captured frame.
    Frame(&'a Frame<'b>),
}

/// Why an interface cannot be watched.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LiveError {
    /// The process may not open packet sockets.
    #[error(
        "opening {0} needs the capability CAP_NET_RAW: run as root, or once `setcap cap_net_raw+ep` on this program's file; `wireproof-agent doctor` says more"
    )]
    Permission(String),
    /// There is no such interface.
    #[error("there is no interface {0}; there are: {1}. With --follow the agent waits for one of that name")]
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
    /// The namespace cannot be entered, or left again.
    #[error("network namespace {0}: {1}")]
    Namespace(String, String),
    /// The kernel does not say which interfaces there are.
    #[error("listing the interfaces (netlink): {0}")]
    Netlink(String),
    /// libpcap failed otherwise.
    #[error("capturing on {0}: {1}")]
    Capture(String, String),
    /// Everything that was watched has gone away.
    #[error(
        "{0} went away, and nothing is left to watch; with --follow the agent waits for it to come again"
    )]
    Gone(String),
}

/// Returns the names of the interfaces that there are.
///
/// # Errors
///
/// Returns an error if the kernel does not say.
pub fn interfaces() -> Result<Vec<String>, LiveError> {
    let links = Links::open().map_err(|errno| LiveError::Netlink(errno.to_string()))?;
    Ok(links.names().into_iter().map(str::to_owned).collect())
}

/// How many interfaces are told apart; later ones share the last number. As many capture points as the engine knows.
const MAX_INTERFACES: u32 = 4095;

/// For how long the kernel gathers frames before it hands over a block that is not full.
pub const BLOCK_TIME: Duration = Duration::from_millis(100);

/// For how long frames gather in the ring before they are looked for again, while there is traffic. A block of the kernel's is full after
/// some hundred frames, and to be woken for each takes more than to read it. At 10 Gbit/s this fills a fifth of a ring of 64 MiB.
const REST: Duration = Duration::from_millis(10);

impl Opened {
    /// Opens what is asked for. Not in promiscuous mode: that takes another capability, and a pod's traffic is its own.
    ///
    /// # Errors
    ///
    /// Returns what is in the way, with what mends it.
    pub fn open(settings: &Settings) -> Result<Self, LiveError> {
        match &settings.namespace {
            Some(namespace) => namespace.inside(|| Self::open_here(settings)),
            None => Self::open_here(settings),
        }
    }

    fn open_here(settings: &Settings) -> Result<Self, LiveError> {
        // Before anything is opened, so that no change is missed.
        let links = Links::open().map_err(|errno| LiveError::Netlink(errno.to_string()))?;
        let patterns = Patterns::new(&settings.interfaces);
        let rings = if settings.follow || patterns.several() {
            vec![Ring::open("any", settings, &links, Of::All(HashMap::new()))?]
        } else {
            let open =
                |name: &String| Ring::open(name, settings, &links, Of::One { number: None, gone: false });
            settings.interfaces.iter().map(open).collect::<Result<_, _>>()?
        };
        let rest = (!settings.immediate && settings.buffer >= soundness::RING).then_some(REST);
        Ok(Self(Live { rings, links, patterns, numbers: Numbers::default(), rest, busy: false }))
    }

    /// Says what these settings, and the interfaces as they are, make impossible to see; one sentence each.
    #[must_use]
    pub fn doubts(&self, settings: &Settings) -> Vec<String> {
        let mut doubts = soundness::doubts(settings);
        if self.0.rings.iter().any(|ring| matches!(ring.of, Of::All(_))) {
            let names = self.0.links.names();
            if !names.is_empty() && !names.iter().any(|name| self.0.patterns.matches(name)) {
                doubts.push(format!(
                    "no interface is called {} yet: there are {}",
                    settings.interfaces.join(" or "),
                    names.join(", ")
                ));
            }
        }
        doubts
    }

    /// Returns the packet sockets, into which nothing may ever be written.
    pub(crate) fn sockets(&self) -> Vec<RawFd> {
        self.0.rings.iter().map(|ring| ring.capture.as_raw_fd()).collect()
    }

    /// Begins to read, which only a confined process can.
    #[must_use]
    pub fn confined(self, _: &Proof) -> Live {
        self.0
    }
}

impl Live {
    /// Waits until something can be read, at most for `time`. A signal ends it early.
    pub fn wait(&self, time: Duration) {
        if let Some(rest) = self.pause() {
            let _ = rustix::event::poll(&mut [], Timespec::try_from(rest).ok().as_ref());
        }
        let mut fds: Vec<PollFd<'_>> =
            self.rings.iter().filter(|ring| !ring.gone()).map(|ring| poll(&ring.capture)).collect();
        fds.push(PollFd::from_borrowed_fd(self.links.socket(), PollFlags::IN));
        let time = Timespec::try_from(time).ok();
        // An error, an interrupting signal among them, only makes the caller look at once.
        let _ = rustix::event::poll(&mut fds, time.as_ref());
    }

    /// For how long frames gather before the next look; absent where nothing is won by waiting.
    fn pause(&self) -> Option<Duration> {
        self.rest.filter(|_| self.busy)
    }

    /// Hands over the frames that have arrived, at most `most` of each socket, and returns how many there were. Never
    /// waits.
    ///
    /// # Errors
    ///
    /// Returns an error if nothing is left to watch, or libpcap failed.
    pub fn read(&mut self, most: usize, mut each: impl FnMut(Seen<'_, '_>)) -> Result<usize, LiveError> {
        self.changes(&mut each);
        let Self { rings, links, patterns, numbers, busy, .. } = self;
        let mut read = 0_usize;
        let mut full = false;
        for ring in &mut *rings {
            if !ring.gone() {
                let count = ring.read(most, links, patterns, numbers, &mut each)?;
                read = read.saturating_add(count);
                full |= count == most;
            }
        }
        // More is there already where one is not read to its end.
        *busy = read > 0 && !full;
        if rings.iter().all(Ring::gone) {
            let names: Vec<_> = rings.iter().map(|ring| ring.name.as_str()).collect();
            return Err(LiveError::Gone(names.join(", ")));
        }
        Ok(read)
    }

    /// Returns what the kernel counts of each socket, by its interface's name (`any` for all), since it was opened.
    pub fn counts(&mut self) -> impl Iterator<Item = (&str, Counts)> {
        self.rings.iter_mut().map(|ring| {
            ring.count();
            (ring.name.as_str(), ring.counts)
        })
    }

    /// Takes over what the kernel says about interfaces that came, went or changed their names.
    fn changes(&mut self, each: &mut impl FnMut(Seen<'_, '_>)) {
        let Self { rings, links, patterns, numbers, .. } = self;
        links.changes(|change| match change {
            Change::Is { index, name } => {
                for ring in &mut *rings {
                    let Of::All(known) = &mut ring.of else { continue };
                    let number = patterns.matches(name).then(|| numbers.of(name, each));
                    let before = known.insert(index, number);
                    if number.is_some() {
                        each(Seen::Changed(&format!("{name} is there and watched")));
                    } else if before.flatten().is_some() {
                        each(Seen::Changed(&format!("an interface is now called {name}, and no longer watched")));
                    }
                }
            }
            Change::Gone { index, name } => {
                for ring in &mut *rings {
                    match &mut ring.of {
                        Of::All(known) => {
                            if known.remove(&index).flatten().is_some() {
                                each(Seen::Changed(&format!("{name} went away; it is waited for")));
                            }
                        }
                        Of::One { gone, .. } if ring.name == name && !*gone => {
                            *gone = true;
                            each(Seen::Changed(&format!(
                                "{name} went away, and is no longer watched; with --follow it would be waited for"
                            )));
                        }
                        Of::One { .. } => {}
                    }
                }
            }
            // Everything is looked up anew when its next frame comes.
            Change::Missed => {
                for ring in &mut *rings {
                    if let Of::All(known) = &mut ring.of {
                        known.clear();
                    }
                }
            }
        });
    }
}

impl Ring {
    fn open(name: &str, settings: &Settings, links: &Links, of: Of) -> Result<Self, LiveError> {
        let other = |error: pcap::Error| match error.to_string() {
            text if text.contains("ermission") || text.contains("not permitted") => {
                LiveError::Permission(name.to_owned())
            }
            text if text.contains("No such device") || text.contains("doesn't exist") => {
                LiveError::NoInterface(name.to_owned(), links.names().join(", "))
            }
            text => LiveError::Capture(name.to_owned(), text),
        };
        let mut capture = pcap::Capture::from_device(name)
            .and_then(|capture| {
                capture
                    .promisc(false)
                    .snaplen(settings.snap_length)
                    .buffer_size(settings.buffer)
                    .timeout(i32::try_from(BLOCK_TIME.as_millis()).unwrap_or(i32::MAX))
                    .immediate_mode(settings.immediate)
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
            .ok_or_else(|| LiveError::LinkType { interface: name.to_owned(), link: number })?;
        let capture = capture.setnonblock().map_err(other)?;
        Ok(Self { name: name.to_owned(), capture, link, of, counts: Counts::default(), last: (0, 0) })
    }

    const fn gone(&self) -> bool {
        matches!(self.of, Of::One { gone: true, .. })
    }

    fn read(
        &mut self,
        most: usize,
        links: &Links,
        patterns: &Patterns,
        numbers: &mut Numbers,
        each: &mut impl FnMut(Seen<'_, '_>),
    ) -> Result<usize, LiveError> {
        for count in 0..most {
            let packet = match self.capture.next_packet() {
                Ok(packet) => packet,
                Err(pcap::Error::TimeoutExpired | pcap::Error::NoMorePackets) => return Ok(count),
                Err(error) => {
                    let Of::One { gone, .. } = &mut self.of else {
                        return Err(LiveError::Capture(self.name.clone(), error.to_string()));
                    };
                    // The socket of an interface that is only down goes on when it comes up again; newer libpcap
                    // does not even say so.
                    if links.is_there(&self.name) {
                        each(Seen::Changed(&format!(
                            "{} is down; it is watched again once it is up",
                            self.name
                        )));
                        return Ok(count);
                    }
                    *gone = true;
                    each(Seen::Changed(&format!("{} went away, and is no longer watched", self.name)));
                    return Ok(count);
                }
            };
            let mut frame = Frame {
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
            };
            match &mut self.of {
                Of::One { number: Some(number), .. } => frame.interface = *number,
                Of::One { number, .. } => frame.interface = *number.insert(numbers.of(&self.name, each)),
                Of::All(known) => {
                    let Some(index) = uncook(&mut frame) else { continue };
                    let number = *known.entry(index).or_insert_with(|| match links.name(index) {
                        Some(name) => patterns.matches(&name).then(|| numbers.of(&name, each)),
                        // Gone before its name was known: rather one flow too many than one lost.
                        None => Some(numbers.of(&format!("index {index}"), each)),
                    });
                    let Some(number) = number else { continue };
                    frame.interface = number;
                }
            }
            each(Seen::Frame(&frame));
        }
        Ok(most)
    }

    fn count(&mut self) {
        if let Ok(stats) = self.capture.stats() {
            let (received, dropped) = self.last;
            self.counts.received =
                self.counts.received.saturating_add(u64::from(stats.received.wrapping_sub(received)));
            self.counts.dropped =
                self.counts.dropped.saturating_add(u64::from(stats.dropped.wrapping_sub(dropped)));
            self.last = (stats.received, stats.dropped);
        }
    }
}

/// Takes the cooked header (20 bytes, LINKTYPE_LINUX_SLL2) off an IP packet, and returns the kernel's index of its interface.
///
/// What is no IP packet keeps the header: its reader knows what follows.
fn uncook(frame: &mut Frame<'_>) -> Option<u32> {
    let (&[p0, p1, _, _, i0, i1, i2, i3], _) = frame.bytes.split_first_chunk::<8>()?;
    if matches!([p0, p1], [0x08, 0x00] | [0x86, 0xdd])
        && let Some(inner) = frame.bytes.get(20..)
    {
        frame.link = LinkType::RAW;
        frame.bytes = inner;
        frame.original_len = frame.original_len.saturating_sub(20);
    }
    Some(u32::from_be_bytes([i0, i1, i2, i3]))
}

/// The numbers by which frames name their interfaces: one a name, whenever it comes again.
#[derive(Debug, Default)]
struct Numbers(HashMap<String, u32>);

impl Numbers {
    fn of(&mut self, name: &str, each: &mut impl FnMut(Seen<'_, '_>)) -> u32 {
        if let Some(number) = self.0.get(name) {
            return *number;
        }
        let number = u32::try_from(self.0.len()).unwrap_or(MAX_INTERFACES).min(MAX_INTERFACES);
        if number < MAX_INTERFACES {
            self.0.insert(name.to_owned(), number);
            each(Seen::Interface { number, name });
        } else {
            each(Seen::Interface { number, name: "others" });
        }
        number
    }
}

fn poll(capture: &pcap::Capture<Active>) -> PollFd<'_> {
    PollFd::from_borrowed_fd(capture.as_fd(), PollFlags::IN)
}

#[cfg(test)]
#[expect(clippy::print_stderr, reason = "says why it was skipped")]
mod tests {
    use std::net::UdpSocket;
    use std::time::Instant;

    use super::*;

    /// A bound on hanging, never reached.
    const PATIENCE: Duration = Duration::from_secs(60);

    /// Watches what `from` sends over the loopback; absent where that takes more rights than the test has.
    fn watching(from: &UdpSocket, buffer: i32, immediate: bool) -> Option<Live> {
        let settings = Settings {
            interfaces: vec!["lo".to_owned()],
            follow: false,
            filter: Some(format!("udp and src port {}", from.local_addr().unwrap().port())),
            snap_length: 16_384,
            buffer,
            immediate,
            namespace: None,
        };
        match Opened::open(&settings) {
            Ok(Opened(live)) => Some(live),
            Err(error) => {
                assert!(std::env::var_os("WIREPROOF_REQUIRE_LIVE").is_none(), "{error}");
                eprintln!("skipped: {error}");
                None
            }
        }
    }

    /// Reads once there is something to be read, at most so many frames.
    fn look(live: &mut Live, most: usize) -> usize {
        live.wait(PATIENCE);
        live.read(most, |_| ()).unwrap()
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "how long is waited at least")]
    fn frames_gather_while_more_keep_coming() {
        let (from, to) = (UdpSocket::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
        let send = || from.send_to(b"frame", to.local_addr().unwrap()).unwrap();
        let Some(mut live) = watching(&from, soundness::RING, false) else { return };
        assert_eq!(live.pause(), None, "nothing has come yet");
        send();
        assert!(look(&mut live, 4096) > 0);
        assert_eq!(live.pause(), Some(REST));
        // What is there already waits as well.
        send();
        send();
        let mut there = [poll(&live.rings[0].capture)];
        rustix::event::poll(&mut there, Timespec::try_from(PATIENCE).ok().as_ref()).unwrap();
        let began = Instant::now();
        assert_eq!(look(&mut live, 1), 1);
        assert!(began.elapsed() >= REST, "{:?}", began.elapsed());
        assert_eq!(live.pause(), None, "the rest is there, and may be much");
        assert!(look(&mut live, 4096) > 0);
        assert_eq!(live.pause(), Some(REST));
        while live.read(4096, |_| ()).unwrap() > 0 {}
        assert_eq!(live.pause(), None, "nothing comes any more");
    }

    #[test]
    fn nothing_gathers_in_immediate_mode_and_in_a_small_ring() {
        let (from, to) = (UdpSocket::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
        for (buffer, immediate) in [(soundness::RING, true), (soundness::RING - 1, false)] {
            let Some(mut live) = watching(&from, buffer, immediate) else { return };
            from.send_to(b"frame", to.local_addr().unwrap()).unwrap();
            assert!(look(&mut live, 4096) > 0 && live.busy);
            assert_eq!(live.pause(), None, "{buffer} {immediate}");
        }
    }
}
