//! Encapsulations: in come the bytes of one, out come its identifier and what it carries.
//!
//! The ones inside UDP are chosen by the port that their standard names and then have to prove themselves by their
//! header; what does not is an ordinary UDP flow.

pub(crate) mod erspan;
pub(crate) mod geneve;
pub(crate) mod gre;
pub(crate) mod gtpu;
pub(crate) mod mpls;
pub(crate) mod pppoe;
pub(crate) mod teredo;
pub(crate) mod vxlan;

use flow::Tunnel;

use crate::packet::{Captured, Layer};

/// Opens the encapsulation in a UDP datagram's payload, if it is one.
pub(crate) fn inside_udp(
    source: u16,
    destination: u16,
    payload: Captured<'_>,
) -> Option<(Tunnel, Layer, Captured<'_>)> {
    match (source, destination) {
        // 8472 is what Linux used before the number was assigned, and Flannel and Cilium still do.
        (_, 4789 | 8472) => vxlan::open(payload),
        (_, 6081) => geneve::open(payload),
        (_, 2152) | (2152, _) => gtpu::open(payload),
        (_, 3544) | (3544, _) => teredo::open(payload),
        _ => None,
    }
}
