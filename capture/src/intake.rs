//! From frames to packets: decoding, reassembly of fragments, the numbers of capture points, and the account of what
//! was read and what was of no use.

use std::collections::BTreeMap;

use flow::{Coverage, Timestamp, Tunnel};
use hashbrown::HashMap;

use crate::connection::points::Points;
use crate::fragments::{Added, Fragments};
use crate::frame::{Frame, LinkType};
use crate::packet::{self, Captured, Decoded, Layer, Packet, Skip};
use crate::partition::Counts;

/// How many capture points the engine tells apart; later ones count as the last.
const MAX_POINTS: usize = 4096;

/// Where a frame was captured: the source's interface, and the one that the frame itself names (SLL2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Point {
    interface: u32,
    named: Option<u32>,
}

/// What stands between a source and the flow table.
#[derive(Debug, Default)]
pub(crate) struct Intake {
    fragments: Fragments,
    /// Capture points by number, and the numbers of those met.
    points: Vec<Point>,
    point_numbers: HashMap<Point, u16>,
    /// The last frame's capture point: mostly the next one's too.
    latest: Option<(Point, u16)>,
    names: HashMap<u32, String>,
    packets: u64,
    bytes: u64,
    skipped: BTreeMap<Skip, u64>,
    tunnels: Vec<Tunnel>,
}

impl Intake {
    /// Gives an interface its name, by which flows say where they were seen.
    pub(crate) fn name(&mut self, interface: u32, name: &str) {
        self.names.insert(interface, name.to_owned());
    }

    /// Counts a frame.
    #[inline]
    pub(crate) const fn count(&mut self, frame: &Frame<'_>) {
        self.packets = self.packets.saturating_add(1);
        self.bytes = self.bytes.saturating_add(frame.bytes.len() as u64);
    }

    /// Reads a frame that holds no plain packet, and gives it to `each`, with the encapsulations around it, once it is
    /// one: that takes several frames where it came in fragments.
    pub(crate) fn read(&mut self, frame: &Frame<'_>, each: &mut dyn FnMut(&Packet<'_>, &[Tunnel])) {
        let mut tunnels = std::mem::take(&mut self.tunnels);
        tunnels.clear();
        let decoded = packet::decode(frame, &mut tunnels);
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
                Added::Whole(_) if depth >= packet::MAX_TUNNELS => self.skip(Skip::TooDeep, 1),
                Added::Whole(bytes) => {
                    let captured = Captured { bytes: &bytes, missing: 0 };
                    let inner = packet::decode_from(Layer::Inside(fragment.network), captured, tunnels);
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

    /// Returns the number of a frame's capture point.
    pub(crate) fn point(&mut self, frame: &Frame<'_>) -> u16 {
        let named = match (frame.link, frame.bytes.get(4..8)) {
            (LinkType::LINUX_SLL2, Some(&[a, b, c, d])) => Some(u32::from_be_bytes([a, b, c, d])),
            _ => None,
        };
        let point = Point { interface: frame.interface, named };
        if let Some((latest, number)) = self.latest
            && latest == point
        {
            return number;
        }
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

    /// Says where a flow was seen: by the interfaces' names, else by their numbers. The only interface of a source that
    /// gives it no name goes without.
    pub(crate) fn seen_at(&self, points: &Points) -> Vec<String> {
        let several = points.iter().nth(1).is_some();
        let named = |number: u16| {
            let point = self.points.get(usize::from(number))?;
            match (self.names.get(&point.interface), point.named) {
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
