//! The opening of a connection: bytes put in order, shown to detection, then fed to the TLS handshake.

use std::sync::Arc;

use flow::{ClientAuth, Evidence, Proof, Protocol, Reason, Security, Transport, Upgrade};

use super::datagrams::Datagrams;
use super::reassembly::{Origin, Piece, Segment, Stream, after, may_precede};
use super::{Settled, side};
use crate::detect::upgrade::tds::Unwrapper;
use crate::detect::{self, Detected, OPENING, RuledOut};
use crate::key::{Both, Key, Way};
use crate::packet::Captured;
use crate::tls::{self, Ending, Ends, Handshake, Mark, Memory, Probe};

/// How many bytes more detection is asked about at least, once no protocol is possible any more.
const ASKED_LEAST: u64 = 64;

/// After how many packets detection has to do with what it has.
const PATIENCE: u32 = 512;

/// How far from a SYN an acknowledgment points that belongs to another SYN: more bytes than an opening has.
const FAR: u32 = 1 << 28;

/// What the opening says.
pub(crate) enum Answer {
    /// Settled without a handshake.
    Settled(Settled),
    /// The handshake is settled, or has to conclude now.
    Tls,
}

/// The opening of one connection. In front, in this order, what every packet touches.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Opening {
    streams: Both<Stream>,
    tls: Option<Box<Tls>>,
    packets: u32,
    closed: Both<Option<Ending>>,
    /// Whether anything came since [`Opening::answer`] was last asked.
    stirred: bool,
    /// Whether anything came since detection was last asked.
    fresh: bool,
    /// Whether the bytes held begin after a hole, so that they are no opening.
    late: bool,
    /// What the latest segment each way acknowledges, and what the one did that ended the direction.
    acknowledges: Both<Option<u32>>,
    sequence: Both<u32>,
    acknowledged_at_close: Both<Option<u32>>,
    /// Who sent the first payload byte.
    first: Way,
    /// Whether a SYN told where the stream begins.
    told: Both<bool>,
    /// Whether a byte that may have been a keep-alive was left out before the stream's first.
    preceded: Both<bool>,
    transport: Transport,
    /// The sequence number after the stream's last byte, where a FIN tells it.
    last: Both<Option<u32>>,
    held: Both<Held>,
    /// How many bytes had been seen when detection was last asked.
    asked: u64,
    /// What detection has ruled out, and which way the client was taken to send then, and whether from its start.
    ruled_out: RuledOut,
    seen_as: Option<(Way, bool)>,
    /// Whether a bound of the engine ended it.
    given_up: bool,
    /// A handshake that comes in datagrams.
    datagrams: Option<Datagrams>,
}

/// TLS found, and where. In front, in this order, what every packet touches.
#[derive(Debug)]
#[repr(C)]
struct Tls {
    /// How many bytes of each stream have come, TLS or not.
    position: Both<u64>,
    /// First byte of TLS in each stream.
    start: Both<usize>,
    /// Takes TDS packets off the handshake inside them.
    unwrap: Option<Box<Both<Unwrapper>>>,
    /// Which way the client sends.
    client: Way,
    gap_told: Both<bool>,
    close_told: Both<bool>,
    upgrade: Option<Upgrade>,
    protocol: Option<Protocol>,
    handshake: Handshake,
}

/// In-order bytes of one direction, kept until detection settles.
#[derive(Debug, Default)]
struct Held {
    bytes: Vec<u8>,
    /// Where they came from: mostly from one packet.
    first: Option<Run>,
    later: Vec<Run>,
    /// Whether no more is kept: the bound, or a cut, was reached.
    full: bool,
    /// Whether the snap length cut bytes out.
    cut: bool,
}

/// Where some held bytes came from.
#[derive(Debug, Clone, Copy)]
struct Run {
    length: usize,
    missing: usize,
    origin: Origin,
}

impl Held {
    /// Returns how many bytes of memory it takes beside its own.
    fn room(&self) -> usize {
        self.bytes.capacity().saturating_add(self.later.capacity().saturating_mul(size_of::<Run>()))
    }

    fn keep(&mut self, piece: &Piece<'_>) {
        if self.full {
            return;
        }
        self.bytes.extend_from_slice(piece.payload.bytes);
        let Captured { bytes, missing } = piece.payload;
        let run = Run { length: bytes.len(), missing, origin: piece.origin };
        match self.first {
            None => self.first = Some(run),
            Some(_) => self.later.push(run),
        }
        self.cut |= missing > 0;
        // A super-packet goes in whole, so the bound may be passed by one packet.
        self.full = self.bytes.len() >= OPENING || missing > 0;
    }

    /// Lists the pieces as they came.
    fn pieces(&self) -> impl Iterator<Item = Piece<'_>> {
        let mut rest = self.bytes.as_slice();
        self.first.iter().chain(&self.later).map(move |run| {
            let (bytes, after) = rest.split_at_checked(run.length).unwrap_or((rest, &[]));
            rest = after;
            Piece { payload: Captured { bytes, missing: run.missing }, origin: run.origin }
        })
    }
}

impl Opening {
    pub(crate) fn new(transport: Transport, first: Way) -> Self {
        Self {
            transport,
            streams: Both::default(),
            held: Both::default(),
            closed: Both::default(),
            last: Both::default(),
            acknowledges: Both::default(),
            sequence: Both::default(),
            acknowledged_at_close: Both::default(),
            first,
            told: Both::default(),
            preceded: Both::default(),
            packets: 0,
            late: false,
            fresh: false,
            asked: 0,
            ruled_out: RuledOut::default(),
            seen_as: None,
            given_up: false,
            stirred: false,
            tls: None,
            datagrams: None,
        }
    }

    /// Tells whether the connection's stream may begin at this sequence number, given what was seen.
    pub(crate) fn may_begin_at(&self, way: Way, sequence: u32) -> bool {
        self.streams.of(way).start.is_none_or(|start| may_precede(sequence, start))
    }

    /// Begins a stream anew where an acknowledgment of it points far away from the SYN that was seen, as long as no
    /// byte of it was: a server may answer each of several SYNs with another number (RFC 9293 section 3.4.1), and the
    /// client has taken one of them.
    fn restart(&mut self, way: Way, acknowledged: u32) {
        let stream = self.streams.of_mut(way);
        let far = stream.start.is_some_and(|start| acknowledged.wrapping_sub(start) >= FAR);
        if far && !stream.begun() && !stream.has_hole() {
            *stream = Stream::starting_at(acknowledged);
        }
    }

    /// Notes where a SYN says that a stream begins.
    pub(crate) fn begins_at(&mut self, way: Way, sequence: u32) {
        *self.told.of_mut(way) = true;
        match self.streams.of(way).start {
            None => self.streams.of_mut(way).start = Some(sequence),
            Some(start) if start == sequence => {}
            Some(_) => self.rebase(way, sequence),
        }
        self.stirred = true;
    }

    /// Notes where the answer to a SYN says that a stream begins, the SYN itself not being there.
    pub(crate) fn may_have_begun_at(&mut self, way: Way, sequence: u32) {
        self.streams.of_mut(way).start.get_or_insert(sequence);
    }

    /// Takes a segment, with or without payload.
    pub(crate) fn segment(&mut self, way: Way, segment: Segment<'_>, from_start: bool) {
        self.packets = self.packets.saturating_add(1);
        *self.acknowledges.of_mut(way) = segment.origin.acknowledgment;
        *self.sequence.of_mut(way) = segment.sequence;
        self.take(way, segment, from_start);
        // After a reset or a FIN even an acknowledgment tells what is missing.
        self.stirred |= segment.payload.on_wire() > 0
            || self.streams.up.gap
            || self.streams.down.gap
            || self.closed.up.is_some()
            || self.closed.down.is_some();
    }

    fn take(&mut self, way: Way, segment: Segment<'_>, from_start: bool) {
        if let Some(number) = segment.origin.acknowledgment {
            self.restart(way.other(), number);
        }
        self.streams.of_mut(way.other()).acknowledge(segment.origin.acknowledgment);
        if from_start && self.streams.of(way.other()).start.is_none() {
            // The other side's SYN was not captured; its stream begins where the first acknowledgment points.
            let stream = self.streams.of_mut(way.other());
            stream.start = stream.expected();
        }
        if segment.payload.on_wire() > 0 {
            let stream = self.streams.of(way);
            let early = stream
                .start
                .is_some_and(|start| start != segment.sequence && may_precede(segment.sequence, start));
            // A single zero byte before anything else is how some systems keep a connection alive (RFC 9293, 3.8.4).
            if !from_start && !stream.begun() && segment.payload.bytes == [0] && segment.payload.missing == 0
            {
                *self.preceded.of_mut(way) = true;
                return;
            }
            if !from_start && early && self.tls.is_none() {
                self.rebase(way, segment.sequence);
            }
            self.push(way, segment);
        }
        if self.streams.up.gap || self.streams.down.gap {
            self.holes();
        }
    }

    /// Takes a datagram: only the first of each direction is looked at, unless the first opens QUIC or DTLS, or a
    /// later one opens DTLS, as it does on a path that STUN found (RFC 5764 section 5.1.2).
    pub(crate) fn datagram(&mut self, way: Way, payload: Captured<'_>) {
        self.packets = self.packets.saturating_add(1);
        self.stirred = true;
        if self.packets == 1 {
            self.datagrams = Datagrams::begin(way, payload.bytes);
        } else if self.datagrams.is_none() {
            self.datagrams = Datagrams::begin_late(way, payload.bytes);
        }
        if let Some(datagrams) = &mut self.datagrams {
            datagrams.datagram(way, payload.bytes);
            return;
        }
        let held = self.held.of_mut(way);
        if held.first.is_none() && payload.on_wire() > 0 {
            let origin = Origin { packet: self.packets, acknowledgment: None };
            held.keep(&Piece { payload, origin });
            self.fresh = true;
        }
    }

    /// Notes the end of a direction, and after which byte it comes where that is certain.
    pub(crate) fn close(&mut self, way: Way, ending: Ending, last: Option<u32>) {
        if self.closed.of(way).is_none() {
            *self.closed.of_mut(way) = Some(ending);
            *self.acknowledged_at_close.of_mut(way) = *self.acknowledges.of(way);
        }
        if self.last.of(way).is_none() {
            // A RST stands where the stream would go on; one before that may be a FIN that was not captured.
            let reset = (ending == Ending::Reset).then(|| self.sequence.of(way).wrapping_sub(1));
            *self.last.of_mut(way) = last.or(reset);
        }
        self.fresh = true;
        self.stirred = true;
    }

    /// Notes that the bound on held bytes ends it: what is missing then is missing for that. Called before the last
    /// [`Opening::answer`].
    pub(crate) const fn give_up(&mut self) {
        self.given_up = true;
    }

    /// Prefers the bound over what was missing because of it, or was said of too few bytes because of it.
    fn or_the_bound(&self, reason: Reason) -> Reason {
        let missing = [Reason::Incomplete, Reason::Gap, Reason::OneSided, Reason::NotTls];
        if self.given_up && missing.contains(&reason) { Reason::Bound } else { reason }
    }

    /// Tells whether bytes before others, or before the stream's end, are missing so far.
    fn incomplete(&self, way: Way) -> bool {
        let stream = self.streams.of(way);
        let short = match (stream.expected(), *self.last.of(way)) {
            (Some(next), Some(last)) => after(last, next),
            (None, _) | (_, None) => false,
        };
        short || stream.has_hole()
    }

    /// Tells whether the opening of a connection that is silent for now may be settled with what it shows.
    pub(crate) fn may_rest(&self) -> bool {
        let whole = |way: Way| !self.incomplete(way) && !self.streams.of(way).lacks_acknowledged();
        whole(Way::Up) && whole(Way::Down) && self.tls.as_ref().is_some_and(|tls| tls.handshake.may_rest())
    }

    /// Tells whether nothing is missing before what was seen, and before the ends of the streams where those are known.
    pub(crate) fn whole(&self) -> bool {
        !self.incomplete(Way::Up) && !self.incomplete(Way::Down)
    }

    /// Gives back the room that is not in use.
    pub(crate) fn shrink(&mut self) {
        for way in [Way::Up, Way::Down] {
            let Held { bytes, later, .. } = self.held.of_mut(way);
            bytes.shrink_to_fit();
            later.shrink_to_fit();
        }
        if let Some(tls) = &mut self.tls {
            tls.handshake.shrink();
        }
    }

    /// Returns how many bytes were seen. Who asks has all of the memory on its way that the next packet touches.
    pub(crate) fn seen(&self) -> u64 {
        let seen = self.streams.up.position().saturating_add(self.streams.down.position());
        // The handshake has read no more than came.
        self.tls.as_ref().map_or(seen, |tls| seen.max(tls.position.up).max(tls.handshake.read()))
    }

    /// Returns how many payload bytes are held.
    pub(crate) fn held(&self) -> usize {
        let Self { held, streams, .. } = self;
        let waiting = streams.up.held().saturating_add(streams.down.held());
        if self.tls.is_some() {
            // What was held went to the handshake.
            return waiting;
        }
        waiting.saturating_add(held.up.room()).saturating_add(held.down.room())
    }

    fn push(&mut self, way: Way, segment: Segment<'_>) {
        let Self { streams, held, tls, fresh, .. } = self;
        // The streams' starts cannot change once TLS is found, so marks can be placed while pieces come out.
        let other = streams.of(way.other()).start;
        let stream = streams.of_mut(way);
        match tls {
            None => stream.push(segment, &mut |piece| {
                held.of_mut(way).keep(&piece);
                *fresh = true;
            }),
            Some(tls) => stream.push(segment, &mut |piece| tls.feed(way, other, &piece)),
        }
    }

    /// Draws the consequences of holes that will not fill.
    fn holes(&mut self) {
        for way in [Way::Up, Way::Down] {
            if !self.streams.of(way).gap {
                continue;
            }
            let begun = self.streams.of(way).begun();
            if self.tls.is_none() && !begun && self.streams.of(way).has_hole() {
                // The opening is lost, but what follows it may still show what the connection is.
                self.late = true;
                self.seen_as = None;
                self.fresh = true;
                let Self { streams, held, .. } = self;
                streams.of_mut(way).resume(&mut |piece| held.of_mut(way).keep(&piece));
            }
        }
    }

    /// Starts a stream earlier than was thought: what is held becomes what waits.
    fn rebase(&mut self, way: Way, sequence: u32) {
        // The opening begins elsewhere: nothing said of it holds.
        self.seen_as = None;
        if self.tls.is_some() {
            let stream = self.streams.of_mut(way);
            if !stream.begun() && !stream.has_hole() {
                stream.begin_anew(sequence);
            } else {
                // What was read as its beginning is not.
                stream.gap |= stream.start.is_some_and(|start| after(start, sequence));
            }
            return;
        }
        let old = self.streams.of(way).start.unwrap_or(sequence);
        let held = std::mem::take(self.held.of_mut(way));
        self.streams.of_mut(way).begin_anew(sequence);
        let mut at = old;
        for Piece { payload, origin } in held.pieces() {
            self.push(way, Segment { sequence: at, payload, origin });
            at = at.wrapping_add(u32::try_from(payload.on_wire()).unwrap_or_default());
        }
    }

    /// Returns the answer if there is one; with `ended`, there is unless nothing can be said at all.
    pub(crate) fn answer(
        &mut self,
        client: &mut Way,
        roles_known: bool,
        from_start: bool,
        key: Key,
        ended: bool,
    ) -> Option<Answer> {
        // Most packets of an opening acknowledge, and say nothing: there was no answer before them, so there is none.
        if !std::mem::take(&mut self.stirred) && !ended && self.packets < PATIENCE {
            return None;
        }
        if self.tls.is_none() {
            if let Some(datagrams) = &self.datagrams {
                if !roles_known {
                    *client = datagrams.client();
                }
                return (ended || datagrams.settled()).then_some(Answer::Tls);
            }
            if let Some(settled) = self.look(client, roles_known, from_start, key, ended) {
                let security = match settled.security {
                    Security::Unknown(reason) => Security::Unknown(self.or_the_bound(reason)),
                    known @ (Security::Tls(..) | Security::Plaintext(_) | Security::Opaque(_)) => known,
                };
                return Some(Answer::Settled(Settled { security, ..settled }));
            }
        }
        let Self { streams, closed, .. } = self;
        let gone = streams.up.gap || streams.down.gap || closed.up.is_some() || closed.down.is_some();
        if gone || ended {
            self.tell(*client, ended);
        }
        (ended | self.tls.as_mut()?.handshake.settled()).then_some(Answer::Tls)
    }

    /// Looks for TLS or a protocol, if there is anything new to look at.
    fn look(
        &mut self,
        client: &mut Way,
        roles_known: bool,
        from_start: bool,
        key: Key,
        ended: bool,
    ) -> Option<Settled> {
        if ended || (self.stopped(Way::Up) && self.stopped(Way::Down)) {
            // A hole before everything else will not fill any more.
            for way in [Way::Up, Way::Down] {
                let stream = self.streams.of_mut(way);
                stream.gap |= !stream.begun() && stream.has_hole();
            }
            self.holes();
        }
        if !(self.is_due() || ended || self.packets >= PATIENCE) {
            return None;
        }
        self.fresh = false;
        self.asked = self.seen();
        self.detect(client, roles_known, from_start, key, ended)
    }

    /// Tells whether detection is to be asked again: when anything came; but where no protocol is possible any more, when
    /// much came, or what may be TLS inside something unknown.
    fn is_due(&self) -> bool {
        let stopped = self.closed.up.is_some() || self.closed.down.is_some();
        if !self.fresh || stopped || !self.ruled_out.all() {
            return self.fresh;
        }
        self.seen() >= self.asked.saturating_add(self.asked / 4).saturating_add(ASKED_LEAST)
            || self.goes_on_in_records()
    }

    /// Tells the handshake what is missing and what has ended.
    fn tell(&mut self, client: Way, ended: bool) {
        let incomplete = Both { up: self.incomplete(Way::Up), down: self.incomplete(Way::Down) };
        let Self { streams, closed, acknowledged_at_close, tls: Some(tls), .. } = self else { return };
        // A reset ends both directions at once, but may be captured before what it follows.
        let lacks = |way: Way| *incomplete.of(way) || streams.of(way).lacks_acknowledged();
        let reset = [closed.up, closed.down].contains(&Some(Ending::Reset));
        if reset && !ended && (lacks(Way::Up) || lacks(Way::Down)) {
            return;
        }
        for way in [Way::Up, Way::Down] {
            let stream = streams.of(way);
            let lost = stream.gap || (ended && lacks(way));
            if lost && !*tls.gap_told.of(way) {
                *tls.gap_told.of_mut(way) = true;
                tls.handshake.gap(side(client, way));
            }
            if let Some(ending) = *closed.of(way)
                && !*tls.close_told.of(way)
                && (!*incomplete.of(way) || ended)
            {
                *tls.close_told.of_mut(way) = true;
                let other = streams.of(way.other()).start;
                let acknowledged = tls.acknowledged(way, other, *acknowledged_at_close.of(way));
                tls.handshake.close(side(client, way), ending, acknowledged.map(u64::from));
            }
        }
    }

    fn detect(
        &mut self,
        client: &mut Way,
        roles_known: bool,
        from_start: bool,
        key: Key,
        ended: bool,
    ) -> Option<Settled> {
        let ended = ended
            || (self.stopped(Way::Up) && self.stopped(Way::Down))
            || self.packets >= PATIENCE
            || self.held.up.bytes.len() >= OPENING
            || self.held.down.bytes.len() >= OPENING;
        let from_start = from_start && !self.late;
        let opening = detect::Opening {
            client: &self.held.of(*client).bytes,
            server: &self.held.of(client.other()).bytes,
            first: side(*client, self.first),
            from_start,
            transport: self.transport,
            port: key.sender(client.other()).port,
            ended,
        };
        let settled = |security| Some(Settled { security, protocol: None, upgrade: None });
        let seen_as = (*client, from_start);
        if self.seen_as != Some(seen_as) {
            (self.seen_as, self.ruled_out) = (Some(seen_as), RuledOut::default());
        }
        match detect::detect_on(&opening, &mut self.ruled_out) {
            Detected::Reversed if roles_known => settled(Security::Unknown(Reason::Conflict)),
            Detected::Reversed => {
                *client = client.other();
                self.detect(client, true, from_start, key, ended)
            }
            Detected::TlsInTds { client: in_client, server: in_server } => {
                let start = match *client {
                    Way::Up => Both { up: in_client, down: in_server },
                    Way::Down => Both { up: in_server, down: in_client },
                };
                let unwrap = Some(Box::default());
                self.begin_tls(*client, start, unwrap, Some(Upgrade::Tds), Some(Protocol::Tds));
                None
            }
            Detected::More if !ended => None,
            Detected::More => settled(Security::Unknown(self.why_unknown(Reason::Incomplete, from_start))),
            Detected::Upgradable(_) | Detected::Asked(_) if !ended => None,
            detected @ (Detected::Upgradable(protocol) | Detected::Asked(protocol)) => {
                let open = self.closed.up.is_none() && self.closed.down.is_none();
                let pending = matches!(protocol, Protocol::Postgres | Protocol::Mysql)
                    || matches!(detected, Detected::Asked(_));
                let security = if open && pending {
                    // The client's next message, or the answer to its last, decides, and the capture ends before it.
                    Security::Unknown(self.why_unknown(Reason::Incomplete, from_start))
                } else if self.transport == Transport::Tcp && self.lossy() {
                    // What was lost may have been the upgrade.
                    Security::Unknown(Reason::Gap)
                } else if from_start {
                    Security::Plaintext(Evidence::WIRE)
                } else {
                    // What looks like this protocol's dialogue may be a part of another one's.
                    Security::Plaintext(Evidence::because(Proof::Strong, Reason::MidStream))
                };
                Some(Settled { security, protocol: Some(protocol), upgrade: None })
            }
            // What is not here yet may be an upgrade's request or its grant: its look is for later.
            Detected::Plaintext { protocol: None, .. } | Detected::Unknown(_)
                if !ended
                    && from_start
                    && self.transport == Transport::Tcp
                    && (self.lossy() || !(self.told.up && self.told.down)) =>
            {
                None
            }
            // What was lost may have been anything but text.
            Detected::Plaintext { protocol: None, .. }
                if self.transport == Transport::Tcp && self.lossy() =>
            {
                settled(Security::Unknown(self.why_unknown(Reason::Gap, from_start)))
            }
            // So may what was sent before, as long as no SYN says of any of these bytes that they come first.
            Detected::Plaintext { protocol: None, .. }
                if self.transport == Transport::Tcp && !self.shows_a_beginning() =>
            {
                if ended {
                    settled(Security::Unknown(self.why_unknown(Reason::Gap, from_start)))
                } else {
                    None
                }
            }
            // After a hole, or before the capture, an upgrade may have been in it.
            Detected::Plaintext { protocol, refused, .. }
                if !from_start
                    && (self.goes_on_in_records()
                        || self.lacks_beginning()
                        || (refused.is_some() && self.lossy())) =>
            {
                let reason = self.why_unknown(Reason::MidStream, from_start);
                Some(Settled { security: Security::Unknown(reason), protocol, upgrade: None })
            }
            Detected::Plaintext { protocol, refused, inside } => {
                let evidence = match (protocol, refused) {
                    (_, Some(_)) => Evidence::because(Proof::Wire, Reason::UpgradeRefused),
                    (Some(_), None) => Evidence::WIRE,
                    (None, None) => Evidence::because(Proof::Strong, Reason::TextLike),
                };
                let upgrade = refused.or(inside);
                Some(Settled { security: Security::Plaintext(evidence), protocol, upgrade })
            }
            // A hello that is not known to come first is payload that looks like one until the other side answers it,
            // unless it is there as far as its list of suites and nothing else answers.
            Detected::Tls { client: in_client, server: in_server, .. }
                if (*self.preceded.of(*client) || (!from_start && !self.credible(*client, in_client)))
                    && tls::server_answer(
                        self.held.of(client.other()).bytes.get(in_server..).unwrap_or(&[]),
                    ) != Probe::Yes =>
            {
                if ended {
                    settled(Security::Unknown(self.why_unknown(Reason::OneSided, true)))
                } else {
                    None
                }
            }
            Detected::Tls { upgrade, client: in_client, server: in_server, protocol } => {
                let start = match *client {
                    Way::Up => Both { up: in_client, down: in_server },
                    Way::Down => Both { up: in_server, down: in_client },
                };
                self.begin_tls(*client, start, None, upgrade, protocol);
                None
            }
            Detected::TlsMidStream => {
                let reason = if self.late { Reason::Gap } else { Reason::MidStream };
                settled(Security::Tls(Arc::default(), ClientAuth::Hidden(reason)))
            }
            Detected::Opaque(protocol) => Some(Settled {
                security: Security::Opaque(Evidence::WIRE),
                protocol: Some(protocol),
                upgrade: None,
            }),
            Detected::Unknown(reason) => settled(Security::Unknown(self.why_unknown(reason, from_start))),
        }
    }

    /// Tells whether a hello in a connection joined late reads like one, rather than like payload that begins like one.
    fn credible(&self, client: Way, start: usize) -> bool {
        let bytes = &self.held.of(client).bytes;
        bytes.is_empty() || tls::hello_suites(bytes.get(start..).unwrap_or(&[]))
    }

    /// Tells whether nothing more is kept of a direction.
    fn stopped(&self, way: Way) -> bool {
        let over = match self.closed.of(way) {
            Some(Ending::Reset) => true,
            // What is missing before a FIN may still come.
            Some(Ending::Fin) => !self.incomplete(way),
            None => false,
        };
        self.held.of(way).full || self.streams.of(way).gap || over
    }

    /// Tells whether what is held of a direction begins like a TLS record.
    fn goes_on_in_records(&self) -> bool {
        [Way::Up, Way::Down]
            .into_iter()
            .any(|way| matches!(self.held.of(way).bytes.as_slice(), [20..=23, 3, 0..=4, ..]))
    }

    /// Tells whether bytes are held of which a SYN says that they are the first of their direction.
    fn shows_a_beginning(&self) -> bool {
        [Way::Up, Way::Down].into_iter().any(|way| *self.told.of(way) && !self.held.of(way).bytes.is_empty())
    }

    /// Tells whether bytes before the first ones here are known to be missing, either way.
    fn lacks_beginning(&self) -> bool {
        self.streams.up.lacks_beginning() || self.streams.down.lacks_beginning()
    }

    fn lossy(&self) -> bool {
        self.late
            || [Way::Up, Way::Down].into_iter().any(|way| {
                let stream = self.streams.of(way);
                stream.gap
                    || stream.lacks_beginning()
                    || self.incomplete(way)
                    || stream.lacks_acknowledged()
                    || self.held.of(way).cut
            })
    }

    /// Prefers what the capture lacks over what detection could only say for want of it.
    fn why_unknown(&self, otherwise: Reason, from_start: bool) -> Reason {
        if self.held.up.cut || self.held.down.cut {
            Reason::SnapLength
        } else if self.late || self.lossy() {
            Reason::Gap
        } else if !from_start {
            Reason::MidStream
        } else {
            otherwise
        }
    }

    fn begin_tls(
        &mut self,
        client: Way,
        start: Both<usize>,
        unwrap: Option<Box<Both<Unwrapper>>>,
        upgrade: Option<Upgrade>,
        protocol: Option<Protocol>,
    ) {
        let mut tls = Box::new(Tls {
            handshake: Handshake::default(),
            client,
            start,
            position: Both::default(),
            unwrap,
            upgrade,
            protocol,
            gap_told: Both::default(),
            close_told: Both::default(),
        });
        let held = std::mem::take(&mut self.held);
        let start = Both { up: self.streams.up.start, down: self.streams.down.start };
        if held.of(client.other()).first.is_none() {
            for piece in held.of(client).pieces() {
                tls.feed(client, *start.of(client.other()), &piece);
            }
        } else {
            // Both directions as their bytes became readable: causality is judged by it, and neither stream is reordered.
            let mut pieces = Vec::new();
            for way in [Way::Up, Way::Down] {
                // A piece that overtook those before it in the stream waits for them.
                let mut latest = 0;
                for piece in held.of(way).pieces() {
                    latest = piece.origin.packet.max(latest);
                    pieces.push((latest, way, piece));
                }
            }
            pieces.sort_by_key(|(packet, ..)| *packet);
            for (_, way, piece) in pieces {
                tls.feed(way, *start.of(way.other()), &piece);
            }
        }
        for way in [Way::Up, Way::Down] {
            if held.of(way).full && !held.of(way).cut && self.streams.of(way).begun() {
                // What came after the bound was not kept.
                let kept = held.of(way).bytes.len() as u64;
                if self.streams.of(way).position() > kept {
                    self.streams.of_mut(way).gap = true;
                }
            }
            if held.of(way).cut {
                let kept = held
                    .of(way)
                    .pieces()
                    .fold(0_u64, |sum, piece| sum.saturating_add(piece.payload.on_wire() as u64));
                if self.streams.of(way).position() > kept {
                    self.streams.of_mut(way).gap = true;
                }
            }
        }
        self.tls = Some(tls);
    }

    /// Concludes what the handshake says; called once.
    pub(crate) fn conclude(&self, ends: Ends, memory: &mut Memory) -> Settled {
        if let Some(datagrams) = &self.datagrams {
            return datagrams.conclude(ends, memory);
        }
        let Some(tls) = &self.tls else {
            return Settled {
                security: Security::Unknown(Reason::Incomplete),
                protocol: None,
                upgrade: None,
            };
        };
        let mut conclusion = tls.handshake.settle(ends, memory);
        if self.late && conclusion.client == ClientAuth::Hidden(Reason::MidStream) {
            // The capture did not begin late: it lost the opening.
            conclusion.client = ClientAuth::Hidden(Reason::Gap);
        }
        if let ClientAuth::Hidden(reason) = conclusion.client {
            conclusion.client = ClientAuth::Hidden(self.or_the_bound(reason));
        }
        let protocol = tls.protocol.or_else(|| conclusion.session.alpn.as_deref().and_then(of_alpn));
        Settled {
            security: Security::Tls(conclusion.session, conclusion.client),
            protocol,
            upgrade: tls.upgrade,
        }
    }
}

impl Tls {
    /// Feeds the next bytes of a stream, less what came before TLS began.
    fn feed(&mut self, way: Way, other: Option<u32>, piece: &Piece<'_>) {
        let position = *self.position.of(way);
        let length = piece.payload.on_wire();
        *self.position.of_mut(way) = position.saturating_add(length as u64);
        let before =
            usize::try_from((*self.start.of(way) as u64).saturating_sub(position)).unwrap_or(usize::MAX);
        let Ok(payload) = piece.payload.skip(before) else { return };
        let mark = Mark {
            packet: piece.origin.packet,
            acknowledged: self.acknowledged(way, other, piece.origin.acknowledgment),
        };
        let side = side(self.client, way);
        if let Some(unwrap) = &mut self.unwrap {
            let mut rest = payload.bytes;
            while let Some(inner) = unwrap.of_mut(way).next(&mut rest) {
                self.handshake.bytes(side, mark, inner);
            }
            if payload.missing > 0 {
                self.handshake.gap(side);
            }
            return;
        }
        if !payload.bytes.is_empty() {
            self.handshake.bytes(side, mark, payload.bytes);
        }
        if payload.missing > 0 {
            self.handshake.cut(side, payload.missing as u64);
        }
    }

    /// Translates an acknowledgment number into bytes of the other side's TLS stream, which has to be a part of its
    /// bytes: inside TDS it cannot be placed.
    fn acknowledged(&self, way: Way, other: Option<u32>, acknowledgment: Option<u32>) -> Option<u32> {
        if self.unwrap.is_some() {
            return None;
        }
        let into_stream = acknowledgment?.wrapping_sub(other?).cast_signed();
        let start = i64::try_from(*self.start.of(way.other())).ok()?;
        // What is acknowledged before TLS begins is none of its bytes.
        Some(u32::try_from(i64::from(into_stream).saturating_sub(start)).unwrap_or(0))
    }
}

/// Returns the application protocol that a negotiated ALPN name stands for.
fn of_alpn(name: &str) -> Option<Protocol> {
    match name {
        "h2" => Some(Protocol::Http2),
        "http/1.1" | "http/1.0" => Some(Protocol::Http1),
        "h3" => Some(Protocol::Http3),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_begins_where_it_is_acknowledged_if_its_syn_was_another() {
        let mut opening = Opening::new(Transport::Tcp, Way::Up);
        opening.begins_at(Way::Up, 1000);
        opening.begins_at(Way::Down, 3_212_050_951);
        let mut send = |way, sequence, acknowledgment, bytes| {
            let origin = Origin { packet: 0, acknowledgment: Some(acknowledgment) };
            let payload = Captured { bytes, missing: 0 };
            opening.segment(way, Segment { sequence, payload, origin }, true);
        };
        send(Way::Up, 1000, 97_577_739, b"hello");
        send(Way::Down, 97_577_739, 1005, b"who");
        // Once bytes came, nothing moves the stream.
        send(Way::Up, 1005, 3_212_050_951, b"");
        assert_eq!(opening.held.of(Way::Down).bytes, b"who");
        assert_eq!(opening.held.of(Way::Up).bytes, b"hello");
        assert_eq!(opening.streams.of(Way::Down).next(), Some(97_577_742));
    }

    #[test]
    fn what_the_bound_ended_says_so() {
        let ends = |port| flow::Endpoint { ip: std::net::Ipv4Addr::LOCALHOST.into(), port };
        let (key, _) = Key::of(Transport::Tcp, ends(40_000), ends(443));
        for (given_up, expected) in [(false, Reason::NotTls), (true, Reason::Bound)] {
            let mut opening = Opening::new(Transport::Tcp, Way::Up);
            opening.begins_at(Way::Up, 1);
            opening.begins_at(Way::Down, 1);
            let payload = Captured { bytes: &[22, 3], missing: 0 };
            let origin = Origin { packet: 0, acknowledgment: None };
            opening.segment(Way::Up, Segment { sequence: 1, payload, origin }, true);
            if given_up {
                opening.give_up();
            }
            let answer = opening.answer(&mut { Way::Up }, true, true, key, true);
            let Some(Answer::Settled(settled)) = answer else { panic!("an answer at the end") };
            assert_eq!(settled.security, Security::Unknown(expected));
        }
    }
}
