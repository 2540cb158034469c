//! The headers of TCP and UDP.

use flow::{Transport, Tunnel};

use super::{Captured, Decoded, Network, Packet, Skip, Step};
use crate::{key, tunnel};

/// What the transport header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Header {
    Tcp(Tcp),
    Udp {
        /// The checksum as sent, which tells datagrams apart.
        checksum: u16,
    },
}

/// The fields of a TCP header that are used (RFC 9293 section 3.1), as they stand there: they are copied with every
/// packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tcp {
    pub(crate) sequence: u32,
    /// 0 without the ACK flag.
    acknowledgment: u32,
    /// 0 without [`STAMPED`] or [`OPENED`].
    stamp: u32,
    /// The header's flags up to ACK, [`STAMPED`] and [`OPENED`].
    flags: u8,
}

const FIN: u8 = 0x01;
const SYN: u8 = 0x02;
const RST: u8 = 0x04;
const ACK: u8 = 0x10;
/// Says that there is a timestamp.
const STAMPED: u8 = 0x80;
/// Says that it is a SYN-ACK and has timestamps: the stamp is a mixture of both.
const OPENED: u8 = 0x40;

impl Tcp {
    #[inline]
    pub(crate) const fn syn(&self) -> bool {
        self.flags & SYN != 0
    }

    #[inline]
    pub(crate) const fn fin(&self) -> bool {
        self.flags & FIN != 0
    }

    #[inline]
    pub(crate) const fn reset(&self) -> bool {
        self.flags & RST != 0
    }

    /// Tells whether it is a SYN that answers none.
    #[inline]
    pub(super) const fn begins(&self) -> bool {
        self.flags & (SYN | ACK) == SYN
    }

    /// Returns the flags that begin or end a connection, as a number: 0 for most segments.
    #[inline]
    pub(crate) const fn turns(&self) -> u32 {
        (self.flags & (FIN | SYN | RST)) as u32
    }

    /// Returns what it acknowledges; absent without the ACK flag.
    #[inline]
    pub(crate) fn acknowledgment(&self) -> Option<u32> {
        (self.flags & ACK != 0).then_some(self.acknowledgment)
    }

    /// Returns the timestamp option's value where it stands in its usual place (RFC 7323 appendix A).
    #[inline]
    pub(crate) fn stamp(&self) -> Option<u32> {
        (self.flags & STAMPED != 0).then_some(self.stamp)
    }

    /// Returns a mixture of the two timestamps of a SYN-ACK, wherever they stand; absent for other segments, and without
    /// timestamps.
    pub(crate) fn opening_stamps(&self) -> Option<u32> {
        (self.flags & OPENED != 0).then_some(self.stamp)
    }
}

/// Mixes the timestamp option's value and echo, found among the options of a SYN-ACK (RFC 9293 section 3.1, RFC 7323
/// section 3.2).
#[cold]
fn stamps(mut options: &[u8]) -> Option<u32> {
    loop {
        options = match options {
            [8, 10, rest @ ..] => {
                let numbers = u64::from_be_bytes(*rest.first_chunk()?);
                return Some(key::mix([numbers, 0, 0]));
            }
            [1, rest @ ..] => rest,
            [2..=u8::MAX, length @ 2..=u8::MAX, ..] => options.get(usize::from(*length)..)?,
            _ => return None,
        };
    }
}

#[inline]
pub(super) fn tcp(network: Network, captured: Captured<'_>) -> Result<Packet<'_>, Skip> {
    let header = captured.head::<20>()?;
    let options = captured.bytes.get(20..).unwrap_or_default();
    let (fields, length) = tcp_fields(header, options).ok_or(Skip::Malformed)?;
    let &[s0, s1, d0, d1, ..] = header;
    let (key, way) = network.key(Transport::Tcp, [s0, s1], [d0, d1]);
    Ok(Packet {
        key,
        way,
        header: Header::Tcp(fields),
        payload: captured.skip(length)?,
        identification: network.identification,
    })
}

/// Reads the fields of a TCP header and its length in bytes; nothing if that is less than the fixed part's.
#[inline(always)]
pub(super) fn tcp_fields(header: &[u8; 20], options: &[u8]) -> Option<(Tcp, usize)> {
    let &[_, _, _, _, q0, q1, q2, q3, a0, a1, a2, a3, words, flags, ..] = header;
    let length = usize::from(words >> 4).saturating_mul(4);
    let (stamp, stamped) = match options.first_chunk() {
        // Compared as one number.
        Some(&[a, b, c, d, t0, t1, t2, t3])
            if u32::from_be_bytes([a, b, c, d]) == 0x0101_080a && length >= 32 =>
        {
            (u32::from_be_bytes([t0, t1, t2, t3]), STAMPED)
        }
        _ => (0, 0),
    };
    let (stamp, stamped) = if flags & (SYN | ACK) == SYN | ACK {
        let stamps = options.get(..length.saturating_sub(20)).and_then(stamps);
        stamps.map_or((stamp, stamped), |stamps| (stamps, stamped | OPENED))
    } else {
        (stamp, stamped)
    };
    let acknowledgment = if flags & ACK == 0 { 0 } else { u32::from_be_bytes([a0, a1, a2, a3]) };
    let flags = flags & (FIN | SYN | RST | ACK) | stamped;
    let tcp = Tcp { sequence: u32::from_be_bytes([q0, q1, q2, q3]), acknowledgment, stamp, flags };
    (length >= 20).then_some((tcp, length))
}

pub(super) fn udp<'a>(
    network: Network,
    captured: Captured<'a>,
    tunnels: &mut Vec<Tunnel>,
) -> Result<Step<'a>, Skip> {
    let packet = datagram(network, captured)?;
    if let Some((tunnel, layer, inner)) =
        tunnel::inside_udp(packet.source_port(), packet.destination_port(), packet.payload)
    {
        tunnels.push(tunnel);
        return Ok(Step::Next(layer, inner));
    }
    Ok(Step::Done(Decoded::Packet(packet)))
}

/// Reads a UDP header (RFC 768).
#[inline]
pub(super) fn datagram(network: Network, captured: Captured<'_>) -> Result<Packet<'_>, Skip> {
    let &[s0, s1, d0, d1, l0, l1, c0, c1] = captured.head::<8>()?;
    let rest = captured.skip(8)?;
    let payload = match usize::from(u16::from_be_bytes([l0, l1])) {
        0 => rest,
        length => rest.limit(length.checked_sub(8).ok_or(Skip::Malformed)?.min(rest.on_wire())),
    };
    let (key, way) = network.key(Transport::Udp, [s0, s1], [d0, d1]);
    Ok(Packet {
        key,
        way,
        header: Header::Udp { checksum: u16::from_be_bytes([c0, c1]) },
        payload,
        identification: network.identification,
    })
}
