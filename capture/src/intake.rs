//! From frames to packets: decoding, reassembly of fragments, the numbers of capture points, and the account of what
//! was read and what was of no use.

use std::collections::BTreeMap;

use flow::{Coverage, LOOPBACK, Timestamp, Tunnel};
use hashbrown::HashMap;

use crate::connection::points::Points;
use crate::engine::Limits;
use crate::fragments::{Added, Fragments};
use crate::frame::{Frame, LinkType};
use crate::packet::{self, Captured, Decoded, Layer, Packet, Skip};
use crate::partition::Counts;

/// How many capture points the engine tells apart; later ones count as the last.
const MAX_POINTS: usize = 4096;

/// Where a frame was captured: the source's interface, and what the frame itself says of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Point {
    interface: u32,
    /// Its number (SLL2).
    named: Option<u32>,
    /// Whether it is loopback (SLL, SLL2: the ARPHRD type).
    loopback: bool,
}

impl Point {
    #[inline]
    fn of(frame: &Frame<'_>) -> Self {
        /// `ARPHRD_LOOPBACK` of Linux.
        const LOOPBACK_TYPE: [u8; 2] = 772_u16.to_be_bytes();
        let (named, kind) = match frame.link {
            // Link types 113 and 276: where the headers have the ARPHRD type, and the interface's number.
            LinkType::LINUX_SLL => (None, frame.bytes.get(2..4)),
            LinkType::LINUX_SLL2 => (frame.bytes.first_chunk::<8>(), frame.bytes.get(8..10)),
            _ => (None, None),
        };
        Self {
            interface: frame.interface,
            named: named.map(|&[_, _, _, _, a, b, c, d]| u32::from_be_bytes([a, b, c, d])),
            loopback: kind == Some(&LOOPBACK_TYPE),
        }
    }
}

/// What stands between a source and the flow table.
#[derive(Debug)]
pub(crate) struct Intake {
    fragments: Fragments,
    /// Capture points by number, and the numbers of those met.
    points: Vec<Point>,
    point_numbers: HashMap<Point, u16>,
    /// The last frame's capture point: mostly the next one's too.
    latest: Option<(Point, u16)>,
    /// The last Ethernet frame's interface and capture point.
    ethernet: Option<(u32, u16)>,
    names: HashMap<u32, String>,
    packets: u64,
    bytes: u64,
    skipped: BTreeMap<Skip, u64>,
    tunnels: Vec<Tunnel>,
    /// The most encapsulations around a packet.
    most: usize,
}

impl Intake {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            fragments: Fragments::bounded(limits.datagrams),
            points: Vec::new(),
            point_numbers: HashMap::new(),
            latest: None,
            ethernet: None,
            names: HashMap::new(),
            packets: 0,
            bytes: 0,
            skipped: BTreeMap::new(),
            tunnels: Vec::new(),
            most: limits.tunnels,
        }
    }

    /// Gives an interface its name, by which flows say where they were seen.
    pub(crate) fn name(&mut self, interface: u32, name: &str) {
        self.names.insert(interface, name.to_owned());
    }

    /// Counts frames and their bytes.
    pub(crate) const fn count(&mut self, frames: usize, bytes: u64) {
        self.packets = self.packets.saturating_add(frames as u64);
        self.bytes = self.bytes.saturating_add(bytes);
    }

    /// Reads a frame that [`packet::alone`] does not, and gives it to `each`, with the encapsulations around it, once it is
    /// one: that takes several frames where it came in fragments.
    pub(crate) fn read(&mut self, frame: &Frame<'_>, each: &mut dyn FnMut(&Packet<'_>, &[Tunnel])) {
        let mut tunnels = std::mem::take(&mut self.tunnels);
        tunnels.clear();
        let decoded = packet::walk(frame, &mut tunnels, self.most);
        self.step(decoded, frame.at, &mut tunnels, 0, each);
        self.tunnels = tunnels;
    }

    fn step(
        &mut self,
        decoded: Result<Decoded<'_>, Skip>,
        at: Timestamp,
        tunnels: &mut Vec<Tunnel>,
        depth: usize,
        each: &mut dyn FnMut(&Packet<'_>, &[Tunnel]),
    ) {
        match decoded {
            Ok(Decoded::Packet(packet)) => each(&packet, tunnels),
            Ok(Decoded::Fragment(fragment)) => match self.fragments.add(&fragment, at) {
                // Fragments of a tunnel's packets may hold fragments again.
                Added::Whole(_) if depth > self.most => self.skip(Skip::TooDeep, 1),
                Added::Whole(bytes) => {
                    let captured = Captured { bytes: &bytes, missing: 0 };
                    let inner =
                        packet::decode_from(Layer::Inside(fragment.network), captured, tunnels, self.most);
                    self.step(inner, at, tunnels, depth.saturating_add(1), each);
                }
                Added::Waiting => {}
                Added::Refused => self.skip(Skip::FragmentTable, 1),
            },
            Err(reason) => self.skip(reason, 1),
        }
    }

    /// Drops the fragments that have waited too long.
    pub(crate) fn expire(&mut self, now: Timestamp) {
        let lost = self.fragments.expire(now);
        self.skip(Skip::Fragments, lost as u64);
    }

    /// Drops the fragments that still wait.
    pub(crate) fn finish(&mut self) {
        let lost = self.fragments.finish();
        self.skip(Skip::Fragments, lost as u64);
    }

    /// Returns the number of the capture point of an Ethernet frame, which says nothing of it itself.
    #[inline]
    pub(crate) fn point_of_ethernet(&mut self, frame: &Frame<'_>) -> u16 {
        match self.ethernet {
            Some((interface, number)) if interface == frame.interface => number,
            Some(_) | None => {
                let number = self.point(frame);
                self.ethernet = Some((frame.interface, number));
                number
            }
        }
    }

    /// Returns the number of a frame's capture point.
    pub(crate) fn point(&mut self, frame: &Frame<'_>) -> u16 {
        let point = Point::of(frame);
        match self.latest {
            Some((latest, number)) if latest == point => number,
            Some(_) | None => self.number(point),
        }
    }

    #[inline(never)]
    fn number(&mut self, point: Point) -> u16 {
        let number = match self.point_numbers.get(&point) {
            Some(number) => *number,
            None => {
                let number = u16::try_from(self.points.len().min(MAX_POINTS)).unwrap_or(u16::MAX);
                if self.points.len() < MAX_POINTS {
                    self.points.push(point);
                    self.point_numbers.insert(point, number);
                }
                number
            }
        };
        self.latest = Some((point, number));
        number
    }

    /// Says where a flow was seen: by the interfaces' names, else by their numbers; loopback always by its name. The only interface of a source that
    /// gives it no name goes without.
    pub(crate) fn seen_at(&self, points: &Points) -> Vec<String> {
        let several = points.iter().nth(1).is_some();
        let named = |number: u16| {
            let point = self.points.get(usize::from(number))?;
            match (self.names.get(&point.interface), point.named) {
                (_, _) if point.loopback => Some(LOOPBACK.to_owned()),
                (Some(name), None) => Some(name.clone()),
                (Some(name), Some(index)) => Some(format!("{name}/{index}")),
                (None, Some(index)) => Some(index.to_string()),
                (None, None) if several || point.interface > 0 => Some(point.interface.to_string()),
                (None, None) => None,
            }
        };
        points.iter().filter_map(named).collect()
    }

    /// Returns the account, given what the table counted and how many sessions were forgotten.
    pub(crate) fn coverage(&self, table: Counts, forgotten: u64) -> Coverage {
        let mut skipped = self.skipped.clone();
        for (reason, count) in [
            (Skip::TableFull, table.evicted),
            (Skip::BytesHeld, table.given_up),
            (Skip::SessionsForgotten, forgotten),
        ] {
            if count > 0 {
                skipped.insert(reason, count);
            }
        }
        Coverage {
            packets: self.packets,
            bytes: self.bytes,
            flows: table.flows,
            from_start: table.from_start,
            mid_stream: table.mid_stream,
            empty: table.empty,
            skipped: skipped.into_iter().map(|(reason, count)| (reason.name().to_owned(), count)).collect(),
            ..Coverage::default()
        }
    }

    fn skip(&mut self, reason: Skip, count: u64) {
        if count > 0 {
            let total = self.skipped.entry(reason).or_default();
            *total = total.saturating_add(count);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen_at(link: LinkType, header: &[u8], name: Option<&str>) -> Vec<String> {
        let mut intake = Intake::new(&Limits::default());
        if let Some(name) = name {
            intake.name(0, name);
        }
        let frame =
            Frame { at: Timestamp::from_nanos(0), link, interface: 0, original_len: 20, bytes: header };
        let number = intake.point(&frame);
        intake.seen_at(&Points::of(number, Vec::new()))
    }

    #[test]
    fn loopback_has_its_name_whoever_names_it() {
        // Protocol, reserved, interface 1, ARPHRD type.
        let sll2 = |kind: [u8; 2]| [&[8, 0, 0, 0, 0, 0, 0, 1][..], &kind].concat();
        assert_eq!(seen_at(LinkType::LINUX_SLL2, &sll2([3, 4]), None), ["lo"]);
        assert_eq!(seen_at(LinkType::LINUX_SLL2, &sll2([3, 4]), Some("any")), ["lo"]);
        assert_eq!(seen_at(LinkType::LINUX_SLL2, &sll2([0, 1]), None), ["1"]);
        assert_eq!(seen_at(LinkType::LINUX_SLL2, &sll2([0, 1]), Some("any")), ["any/1"]);
        // Packet type, ARPHRD type.
        assert_eq!(seen_at(LinkType::LINUX_SLL, &[0, 0, 3, 4], None), ["lo"]);
        assert!(seen_at(LinkType::LINUX_SLL, &[0, 0, 0, 1], None).is_empty());
        // An Ethernet frame says nothing of the kind, whatever stands there.
        assert!(seen_at(LinkType::ETHERNET, &[0, 0, 3, 4], None).is_empty());
        assert_eq!(seen_at(LinkType::ETHERNET, &[0, 0, 3, 4], Some("lo")), ["lo"]);
    }
}
