//! Settings that make an answer impossible, said before the capture and not found out after it.

use pcap::{BpfProgram, Capture, Linktype};

use super::Settings;
use crate::frame::LinkType;

/// A snap length below this cuts ClientHellos with post-quantum key shares, and certificates.
pub const HANDSHAKE: i32 = 4096;

/// A ring below this does not hold a tenth of a second of a busy interface.
pub(super) const RING: i32 = 8 * 1024 * 1024;

/// In immediate mode the ring has slots of one size each, and below this many the shortest pause loses frames.
const SLOTS: i32 = 2048;

/// How many addresses and ports of a filter are tried.
const TRIED: usize = 6;

/// Returns what will be missing, and why; one sentence each.
pub(super) fn doubts(settings: &Settings) -> Vec<String> {
    let mut doubts = Vec::new();
    let (snap, buffer) = (settings.snap_length, settings.buffer);
    if snap < HANDSHAKE {
        doubts.push(format!(
            "frames are cut at {snap} bytes: handshakes need about {HANDSHAKE}, and longer ones will be unknown"
        ));
    }
    let slots = buffer.checked_div(snap.max(1)).unwrap_or(0);
    if settings.immediate && slots < SLOTS {
        doubts.push(format!(
            "the ring of {} MiB holds only {slots} frames of --snaplen {snap} in immediate mode: a moment's pause loses packets. Shorten --snaplen or raise --buffer-size",
            buffer >> 20
        ));
    } else if buffer < RING {
        doubts.push(format!(
            "the ring of {} MiB is small: a moment's pause loses packets. 64 MiB lost none in most measurements",
            buffer >> 20
        ));
    }
    doubts.extend(settings.filter.as_deref().and_then(one_way));
    doubts
}

/// Says so if a filter lets packets through whose answers it hides.
///
/// Tried on packets between the addresses and ports that the filter itself names, and others; so it says nothing about a
/// filter that looks at other fields, and its silence is no proof.
fn one_way(filter: &str) -> Option<String> {
    let words: Vec<_> =
        filter.split(|letter: char| letter.is_whitespace() || "()".contains(letter)).collect();
    if let Some(word) =
        words.iter().find(|word| ["inbound", "outbound"].contains(&word.to_lowercase().as_str()))
    {
        return Some(hides(filter, &format!("the packets of the other direction ('{word}')")));
    }
    let dead = Capture::dead(Linktype(i32::from(LinkType::ETHERNET.0))).ok()?;
    // Some filters compile for other kinds of frames only; then nothing can be said.
    let program = dead.compile(filter, true).ok()?;
    let constants = constants(&program);
    let mut ports = vec![1];
    let mut addresses = vec![u32::from_be_bytes([192, 0, 2, 1]), u32::from_be_bytes([192, 0, 2, 2])];
    for constant in constants {
        match u16::try_from(constant) {
            Ok(port) if ports.len() < TRIED && !ports.contains(&port) => ports.push(port),
            Err(_) if addresses.len() < TRIED && !addresses.contains(&constant) => addresses.push(constant),
            Ok(_) | Err(_) => {}
        }
    }
    let ends = |of: &[u32]| -> Vec<(u32, u16)> {
        of.iter().flat_map(|address| ports.iter().map(|port| (*address, *port))).collect()
    };
    let ends = ends(&addresses);
    for flags in [0x02, 0x12, 0x10, 0x18] {
        for from in &ends {
            for to in ends.iter().filter(|to| to.0 != from.0) {
                if program.filter(&segment(*from, *to, flags)) {
                    let back = segment(*to, *from, 0x18);
                    if !program.filter(&back) {
                        return Some(hides(filter, "the answers to packets that it lets through"));
                    }
                    if !program.filter(&segment(*from, *to, 0x18)) {
                        return Some(hides(filter, "what follows the packets that it lets through"));
                    }
                }
            }
        }
    }
    None
}

fn hides(filter: &str, what: &str) -> String {
    format!("the filter '{filter}' hides {what}: what it shows one side of will be unknown")
}

/// Returns the constants that a compiled filter compares with: ports and addresses among them.
fn constants(program: &BpfProgram) -> Vec<u32> {
    // An instruction shows itself as its code, two jumps and its constant; conditional jumps are of class 5.
    let constant = |text: String| {
        let fields: Vec<u32> = text.split(' ').filter_map(|field| field.parse().ok()).collect();
        match fields.as_slice() {
            [code, _, _, constant] if code & 7 == 5 => Some(*constant),
            _ => None,
        }
    };
    program.get_instructions().iter().filter_map(|instruction| constant(instruction.to_string())).collect()
}

/// A TCP segment with a byte of payload over IPv4 and Ethernet; what checks need and no filter reads is left zero.
fn segment(from: (u32, u16), to: (u32, u16), flags: u8) -> Vec<u8> {
    let mut bytes = vec![0; 12];
    bytes.extend([0x08, 0x00]);
    bytes.extend([0x45, 0, 0, 41, 0, 0, 0, 0, 64, 6, 0, 0]);
    bytes.extend(from.0.to_be_bytes());
    bytes.extend(to.0.to_be_bytes());
    bytes.extend(from.1.to_be_bytes());
    bytes.extend(to.1.to_be_bytes());
    bytes.extend([0, 0, 0, 1, 0, 0, 0, 1, 0x50, flags, 0x10, 0, 0, 0, 0, 0, 0]);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_that_hide_a_direction_are_found() {
        for filter in [
            "dst port 8080",
            "tcp and src port 443",
            "src host 10.0.0.1",
            "dst net 10.0.0.0/8",
            "inbound",
            "tcp port 80 and outbound",
            "tcp[tcpflags] & tcp-syn != 0",
            "src host 10.0.0.1 and dst host 10.0.0.2",
            "tcp dst port 80 or tcp dst port 443",
        ] {
            assert!(one_way(filter).is_some(), "{filter}");
        }
    }

    #[test]
    fn filters_that_show_both_are_left_alone() {
        for filter in [
            "tcp",
            "tcp port 8080",
            "host 10.0.0.1",
            "src or dst port 443",
            "net 10.0.0.0/8 and not port 22",
            "(src host 10.0.0.1 and dst host 10.0.0.2) or (src host 10.0.0.2 and dst host 10.0.0.1)",
            "udp",
            "ip6",
            "not host 192.0.2.1",
            "tcp portrange 8000-9000",
            "vlan 5",
        ] {
            assert_eq!(one_way(filter), None, "{filter}");
        }
    }

    #[test]
    fn rings_and_snap_lengths_that_cannot_do_are_named() {
        let settings = |snap_length, mib: i32, immediate| Settings {
            interfaces: vec!["eth0".to_owned()],
            follow: false,
            filter: None,
            snap_length,
            buffer: mib << 20,
            immediate,
            namespace: None,
        };
        let count = |settings: &Settings| doubts(settings).len();
        assert_eq!(count(&settings(262_144, 64, false)), 0);
        assert_eq!(count(&settings(16_384, 64, true)), 0);
        assert_eq!(count(&settings(262_144, 64, true)), 1);
        assert_eq!(count(&settings(262_144, 2, false)), 1);
        assert_eq!(count(&settings(128, 64, false)), 1);
        assert_eq!(count(&settings(128, 1, false)), 2);
    }
}
