//! What the kernel says about interfaces: those that are there, come, go and change their names.
//!
//! A netlink socket that is opened early and asked once; afterwards it is only read, and names are looked up through it.
//! Neither takes a capability.

use std::collections::HashMap;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, bind, netdevice, recv, send, socket_with,
};

/// The interfaces of the namespace in which it was opened.
#[derive(Debug)]
pub(super) struct Links {
    socket: OwnedFd,
    names: HashMap<u32, String>,
    /// Those that went away: frames of theirs may still wait to be read.
    former: HashMap<u32, String>,
    block: Vec<u8>,
}

/// What happened to an interface.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Change<'a> {
    /// It is there and has this name; only told when that is news.
    Is { index: u32, name: &'a str },
    /// It is no longer in this namespace.
    Gone { index: u32, name: &'a str },
    /// The kernel had more to say than was read in time.
    Missed,
}

/// One message of the kernel.
#[derive(Debug, PartialEq, Eq)]
enum Message {
    Is(u32, String),
    Gone(u32),
    Done,
}

/// Multicast group of link changes (rtnetlink(7), `RTMGRP_LINK`).
const GROUP: u32 = 1;
const NEW_LINK: u16 = 16;
const DEL_LINK: u16 = 17;
const GET_LINK: u16 = 18;
const DONE: u16 = 3;
/// `NLM_F_REQUEST | NLM_F_DUMP` (netlink(7)).
const DUMP: u16 = 0x301;
/// `IFLA_IFNAME` (rtnetlink(7)).
const NAME: u16 = 3;

/// How many interfaces that went away are remembered by name.
const MAX_FORMER: usize = 1024;

/// How long the kernel may take to list its interfaces.
const PATIENCE: Timespec = Timespec { tv_sec: 2, tv_nsec: 0 };

impl Links {
    /// Subscribes to changes, then asks for what is there.
    pub(super) fn open() -> rustix::io::Result<Self> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None)?;
        bind(&socket, &SocketAddrNetlink::new(0, GROUP))?;
        let mut links =
            Self { socket, names: HashMap::new(), former: HashMap::new(), block: vec![0; 64 * 1024] };
        send(&links.socket, &request(), SendFlags::empty())?;
        while !links.read(|_| ())? {
            rustix::event::poll(&mut [PollFd::new(&links.socket, PollFlags::IN)], Some(&PATIENCE))
                .and_then(|ready| if ready == 0 { Err(Errno::TIMEDOUT) } else { Ok(()) })?;
        }
        Ok(links)
    }

    pub(super) fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Returns the names of the interfaces that are known, in order.
    pub(super) fn names(&self) -> Vec<&str> {
        let mut names: Vec<_> = self.names.values().map(String::as_str).collect();
        names.sort_unstable();
        names
    }

    /// Returns the name of an interface, even of one that went away just now.
    pub(super) fn name(&self, index: u32) -> Option<String> {
        netdevice::index_to_name(&self.socket, index)
            .ok()
            .map(|name| printable(name.as_bytes()))
            .or_else(|| self.names.get(&index).or_else(|| self.former.get(&index)).cloned())
    }

    /// Tells whether there is an interface of this name now.
    pub(super) fn is_there(&self, name: &str) -> bool {
        netdevice::name_to_index(&self.socket, name).is_ok()
    }

    /// Tells what has changed since the last time.
    pub(super) fn changes(&mut self, mut each: impl FnMut(Change<'_>)) {
        if self.read(&mut each).is_err() {
            // The only lasting error is that messages were lost (ENOBUFS).
            each(Change::Missed);
        }
    }

    /// Reads what is at hand; returns whether the list that was asked for is complete.
    fn read(&mut self, mut each: impl FnMut(Change<'_>)) -> rustix::io::Result<bool> {
        let mut whole = false;
        loop {
            let count = match recv(&self.socket, self.block.as_mut_slice(), RecvFlags::empty()) {
                Ok((count, _)) => count,
                Err(Errno::INTR) => continue,
                Err(Errno::AGAIN) => return Ok(whole),
                Err(errno) => return Err(errno),
            };
            for message in messages(self.block.get(..count).unwrap_or_default()) {
                match message {
                    Message::Done => whole = true,
                    Message::Is(index, name) => {
                        if self.names.get(&index) != Some(&name) {
                            each(Change::Is { index, name: &name });
                            self.names.insert(index, name);
                        }
                    }
                    Message::Gone(index) => {
                        if let Some(name) = self.names.remove(&index) {
                            each(Change::Gone { index, name: &name });
                            if self.former.len() >= MAX_FORMER {
                                self.former.clear();
                            }
                            self.former.insert(index, name);
                        }
                    }
                }
            }
        }
    }
}

fn request() -> Vec<u8> {
    let mut request = Vec::with_capacity(32);
    request.extend(32_u32.to_ne_bytes());
    request.extend(GET_LINK.to_ne_bytes());
    request.extend(DUMP.to_ne_bytes());
    // Sequence number, port, and an `ifinfomsg` that asks for all.
    request.extend([0; 24]);
    request
}

/// Reads the messages of a datagram; what is malformed ends them.
fn messages(mut bytes: &[u8]) -> Vec<Message> {
    let mut found = Vec::new();
    while let Some((length, kind)) = u32_at(bytes, 0).zip(u16_at(bytes, 4)) {
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let Some(body) = bytes.get(16..length) else { break };
        match kind {
            DONE => found.push(Message::Done),
            NEW_LINK | DEL_LINK => found.extend(link(kind, body)),
            _ => {}
        }
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    found
}

fn link(kind: u16, body: &[u8]) -> Option<Message> {
    // Of another family (a bridge's) it is about a port of a bridge: the interface itself neither comes nor goes.
    if body.first() != Some(&0) {
        return None;
    }
    let index = u32_at(body, 4)?;
    if kind == DEL_LINK {
        return Some(Message::Gone(index));
    }
    let mut attributes = body.get(16..)?;
    while let Some((length, kind)) = u16_at(attributes, 0).zip(u16_at(attributes, 2)) {
        let length = usize::from(length);
        let value = attributes.get(4..length)?;
        if kind == NAME {
            return Some(Message::Is(index, printable(value.strip_suffix(b"\0").unwrap_or(value))));
        }
        attributes = attributes.get(length.next_multiple_of(4)..)?;
    }
    None
}

/// A name that can be shown: the kernel lets names hold nearly any byte.
fn printable(name: &[u8]) -> String {
    String::from_utf8_lossy(name)
        .chars()
        .map(|letter| if letter.is_control() { '?' } else { letter })
        .collect()
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes))
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|bytes| u16::from_ne_bytes(*bytes))
}

#[cfg(test)]
#[expect(clippy::arithmetic_side_effects, reason = "a test may panic")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn message(kind: u16, family: u8, index: u32, name: &str) -> Vec<u8> {
        let mut body = vec![family, 0, 0, 0];
        body.extend(index.to_ne_bytes());
        body.extend([0; 8]);
        for (kind, value) in [(13_u16, b"q".as_slice()), (NAME, &[name.as_bytes(), b"\0"].concat())] {
            body.extend(u16::try_from(4 + value.len()).unwrap().to_ne_bytes());
            body.extend(kind.to_ne_bytes());
            body.extend(value);
            body.resize(body.len().next_multiple_of(4), 0);
        }
        let mut bytes = u32::try_from(16 + body.len()).unwrap().to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend([0; 10]);
        bytes.extend(body);
        bytes
    }

    #[test]
    fn links_come_and_go() {
        let datagram = [
            message(NEW_LINK, 0, 7, "veth7"),
            message(DEL_LINK, 7, 7, "veth7"),
            message(DEL_LINK, 0, 7, "veth7"),
        ]
        .concat();
        // The second one only takes a port off a bridge.
        assert_eq!(messages(&datagram), [Message::Is(7, "veth7".to_owned()), Message::Gone(7)]);
    }

    #[test]
    fn the_kernel_lists_its_interfaces() {
        let links = Links::open().unwrap();
        assert!(links.names().contains(&"lo"), "{:?}", links.names());
        assert!(links.is_there("lo"));
        assert!(!links.is_there("no-such-name"));
        assert_eq!(links.name(1).as_deref(), Some("lo"));
    }

    #[test]
    fn names_cannot_steer_a_terminal() {
        assert_eq!(printable(b"a\x1b[31m"), "a?[31m");
    }

    proptest! {
        #[test]
        fn any_bytes_do_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            messages(&bytes);
        }

        #[test]
        fn cut_messages_do_no_harm(length in 0_usize..44) {
            let bytes = message(NEW_LINK, 0, 7, "veth7");
            prop_assert!(messages(&bytes[..length]).is_empty());
        }
    }
}
