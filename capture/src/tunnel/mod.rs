//! Encapsulations: in come the bytes of one, out come its identifier and what it carries.
//!
//! The ones inside UDP are chosen by the port that their standard names and then have to prove themselves by their
//! header; what does not is an ordinary UDP flow.

mod ayiya;
mod capwap;
pub(crate) mod erspan;
pub(crate) mod geneve;
pub(crate) mod gre;
pub(crate) mod gtpu;
mod gue;
pub(crate) mod l2tp;
mod lisp;
pub(crate) mod mpls;
pub(crate) mod nsh;
pub(crate) mod pppoe;
mod prove;
pub(crate) mod tag;
pub(crate) mod teredo;
mod tzsp;
pub(crate) mod vxlan;

use flow::Tunnel;

use crate::packet::{Captured, Layer};

/// The ports that encapsulations use, either as the destination or at both ends.
const VXLAN: u16 = 4789;
/// What Linux used for VXLAN before the number was assigned, and Flannel and Cilium still do.
const VXLAN_LINUX: u16 = 8472;
const VXLAN_GENERIC: u16 = 4790;
const GENEVE: u16 = 6081;
const GTP_U: u16 = 2152;
const TEREDO: u16 = 3544;
const L2TP: u16 = 1701;
const LISP: u16 = 4341;
const GRE_IN_UDP: u16 = 4754;
const AYIYA: u16 = 5072;
const CAPWAP: u16 = 5247;
const GUE: u16 = 6080;
const MPLS_IN_UDP: u16 = 6635;
const TZSP: u16 = 37008;

/// The `EtherType` of the network service header.
pub(crate) const NSH: u16 = 0x894f;

/// Opens the encapsulation in a UDP datagram's payload, if it is one.
pub(crate) fn inside_udp(
    source: u16,
    destination: u16,
    payload: Captured<'_>,
) -> Option<(Tunnel, Layer, Captured<'_>)> {
    match (source, destination) {
        (_, VXLAN | VXLAN_LINUX) => vxlan::open(payload),
        (_, VXLAN_GENERIC) => vxlan::open_generic(payload),
        (_, GENEVE) => geneve::open(payload),
        (_, GTP_U) | (GTP_U, _) => gtpu::open(payload),
        (_, TEREDO) | (TEREDO, _) => teredo::open(payload),
        (_, L2TP) | (L2TP, _) => l2tp::open(payload),
        (_, LISP) => lisp::open(payload),
        (_, GRE_IN_UDP) => gre::open_in_udp(payload),
        (_, AYIYA) | (AYIYA, _) => ayiya::open(payload),
        (_, CAPWAP) | (CAPWAP, _) => capwap::open(payload),
        (_, GUE) => gue::open(payload),
        (_, MPLS_IN_UDP) => mpls::open_in_udp(payload),
        (_, TZSP) => tzsp::open(payload),
        _ => None,
    }
}
