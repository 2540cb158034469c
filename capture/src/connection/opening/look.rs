//! What detection makes of an opening, and what can be said of it given what the capture lacks.

use std::sync::Arc;

use flow::{ClientAuth, Evidence, Proof, Protocol, Reason, Security, Transport, Upgrade};

use super::super::reassembly::Stream;
use super::super::{Settled, side};
use super::Opening;
use crate::detect::{self, Detected, OPENING, Progress};
use crate::key::{Both, Key, Way};
use crate::tls::{self, Ending, Probe};

/// How many bytes more detection is asked about at least, once no protocol is possible any more.
const ASKED_LEAST: u64 = 64;

/// After how many packets detection has to do with what it has.
pub(super) const PATIENCE: u32 = 512;

/// Returns of how many bytes detection is asked next, once no protocol is possible any more, after it was asked of so many.
pub(super) const fn next_asked(asked: u64) -> u64 {
    asked.saturating_add(asked / 4).saturating_add(ASKED_LEAST)
}

impl Opening {
    /// Looks for TLS or a protocol, if there is anything new to look at.
    pub(super) fn look(
        &mut self,
        client: &mut Way,
        roles_known: bool,
        from_start: bool,
        key: Key,
        ended: bool,
    ) -> Option<Settled> {
        let hidden = |stream: &Stream| !stream.begun() && stream.has_hole();
        if (hidden(&self.streams.up) || hidden(&self.streams.down))
            && (ended || (self.stopped(Way::Up) && self.stopped(Way::Down)))
        {
            // A hole before everything else will not fill any more.
            for way in [Way::Up, Way::Down] {
                let stream = self.streams.of_mut(way);
                stream.gap |= hidden(stream);
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
    pub(super) fn is_due(&self) -> bool {
        let stopped = self.closed.up.is_some() || self.closed.down.is_some();
        if !self.fresh || stopped || !self.progress.all_ruled_out() {
            return self.fresh;
        }
        self.seen() >= next_asked(self.asked) || self.goes_on_in_records()
    }

    pub(super) fn detect(
        &mut self,
        client: &mut Way,
        roles_known: bool,
        from_start: bool,
        key: Key,
        ended: bool,
    ) -> Option<Settled> {
        let over = ended || self.packets >= PATIENCE;
        let ended = over
            || (self.stopped(Way::Up) && self.stopped(Way::Down))
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
            (self.seen_as, self.progress) = (Some(seen_as), Progress::default());
        }
        match detect::detect_on(&opening, &mut self.progress) {
            Detected::Reversed if roles_known => settled(Security::Unknown(Reason::Conflict)),
            Detected::Reversed => {
                *client = client.other();
                self.detect(client, true, from_start, key, over)
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
            // Of datagrams no more than the first ones are kept, whole or cut; what begins comes in others.
            Detected::Upgradable(_) if self.transport == Transport::Udp && !over => None,
            detected @ (Detected::Upgradable(protocol) | Detected::Asked(protocol)) => {
                let open = self.closed.up.is_none() && self.closed.down.is_none();
                // A dialogue in the clear may go on without TLS; these only lead up to it, or to a login.
                let pending = matches!(detected, Detected::Asked(_))
                    || matches!(
                        protocol,
                        Protocol::Postgres | Protocol::Mysql | Protocol::Tds | Protocol::Rdp
                    );
                let security = if open && pending {
                    // The client's next message, or the answer to its last, decides, and the capture ends before it.
                    Security::Unknown(self.why_unknown(Reason::Incomplete, from_start))
                } else if self.transport == Transport::Udp && self.goes_on_in_records() {
                    Security::Unknown(self.why_unknown(Reason::Datagram, from_start))
                } else if self.transport == Transport::Tcp && self.lossy() {
                    // What was lost may have been the upgrade.
                    Security::Unknown(self.why_unknown(Reason::Gap, from_start))
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
            Detected::Plaintext { protocol: None, .. } if self.lossy() => {
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
                let reason = match (self.late, from_start) {
                    (true, _) => Reason::Gap,
                    (false, false) => Reason::MidStream,
                    // Records before any hello, as an alert to a client that leaves without a word.
                    (false, true) => self.why_unknown(Reason::Incomplete, from_start),
                };
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
    pub(super) fn credible(&self, client: Way, start: usize) -> bool {
        let bytes = &self.held.of(client).bytes;
        bytes.is_empty() || tls::hello_suites(bytes.get(start..).unwrap_or(&[]))
    }

    /// Tells whether nothing more is kept of a direction.
    pub(super) fn stopped(&self, way: Way) -> bool {
        let over = match self.closed.of(way) {
            Some(Ending::Reset) => true,
            // What is missing before a FIN may still come.
            Some(Ending::Fin) => !self.incomplete(way),
            None => false,
        };
        self.held.of(way).full || self.streams.of(way).gap || over
    }

    /// Tells whether what is held of a direction begins like a TLS record, or a datagram of it like one of DTLS.
    pub(super) fn goes_on_in_records(&self) -> bool {
        self.held.up.in_records || self.held.down.in_records
    }

    /// Tells whether bytes are held of which a SYN says that they are the first of their direction.
    pub(super) fn shows_a_beginning(&self) -> bool {
        [Way::Up, Way::Down].into_iter().any(|way| *self.told.of(way) && !self.held.of(way).bytes.is_empty())
    }

    /// Tells whether bytes before the first ones here are known to be missing, either way.
    pub(super) fn lacks_beginning(&self) -> bool {
        self.streams.up.lacks_beginning() || self.streams.down.lacks_beginning()
    }

    pub(super) fn lossy(&self) -> bool {
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

    /// Tells whether nothing of a direction came by, its SYN neither, though the other side acknowledged something of it.
    fn is_one_sided(&self) -> bool {
        [Way::Up, Way::Down].into_iter().any(|way| {
            let silent = self.held.of(way).bytes.is_empty() && !*self.told.of(way);
            silent && self.streams.of(way).lacks_acknowledged()
        })
    }

    /// Prefers what the capture lacks over what detection could only say for want of it.
    pub(super) fn why_unknown(&self, otherwise: Reason, from_start: bool) -> Reason {
        if self.held.up.cut || self.held.down.cut {
            Reason::SnapLength
        } else if self.is_one_sided() {
            Reason::OneSided
        } else if self.late || self.lossy() {
            Reason::Gap
        } else if !from_start {
            Reason::MidStream
        } else {
            otherwise
        }
    }

    /// Prefers the bound over what was missing because of it, or was said of too few bytes because of it.
    pub(super) fn or_the_bound(&self, reason: Reason) -> Reason {
        let missing = [Reason::Incomplete, Reason::Gap, Reason::OneSided, Reason::NotTls];
        if self.given_up && missing.contains(&reason) { Reason::Bound } else { reason }
    }
}
