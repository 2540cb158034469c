//! Carriers that are seldom met.

use capture::engine::LinkType;
use flow::{Class, Transport, Tunnel};

use super::{check, ethernet, exchange, ip, observe, udp, vlan, wifi};

const LINK: LinkType = LinkType::ETHERNET;

/// An IP packet in Ethernet between addresses of a kind.
fn frame_of(addresses: u8, inner: &[u8]) -> Vec<u8> {
    let kind: [u8; 2] = if inner[0] >> 4 == 4 { [8, 0] } else { [0x86, 0xdd] };
    [&[addresses; 12][..], &kind, inner].concat()
}

fn frame(inner: &[u8]) -> Vec<u8> {
    frame_of(2, inner)
}

/// Checks an encapsulation inside UDP: this head, then what `wrap` makes of the packet.
fn in_udp(port: u16, head: &[u8], wrap: impl Fn(&[u8]) -> Vec<u8>, tunnel: Tunnel) {
    for six in [false, true] {
        let all = |inner: &[u8]| ethernet(0x0800, &udp(port, &[head, &wrap(inner)].concat()));
        check(LINK, six, all, &[tunnel]);
    }
}

#[test]
fn tags_of_bridges_and_fabrics() {
    let tagged = |kind: u16, tag: &[u8]| {
        check(LINK, false, |inner| ethernet(kind, &[tag, &[8, 0], inner].concat()), &[]);
    };
    tagged(0x892f, &[0, 60, 0, 1]);
    tagged(0xf1c1, &[0, 0, 0, 1]);
    tagged(0x8926, &[0, 0, 0, 1]);
    tagged(0x893f, &[0, 0, 0, 1, 0, 0]);
    let framed = |kind: u16, tag: &[u8]| {
        check(LINK, true, |inner| ethernet(kind, &[tag, &frame(inner)].concat()), &[]);
    };
    framed(0x88e7, &[0, 0, 0, 1]);
    framed(0x22f3, &[0, 0x3f, 0, 1, 0, 2]);
    // With two words of options.
    framed(0x22f3, &[0, 0xbf, 0, 1, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0]);
    framed(0x8903, &[4, 6]);
    framed(0x4305, &[0x40, 15, 50, 1, 2, 2, 2, 2, 2, 2]);
    let tagged_twice =
        |inner: &[u8]| ethernet(0x88a8, &vlan(5, 0x88e7, &[&[0; 4], &frame(inner)[..]].concat()));
    check(LINK, false, tagged_twice, &[Tunnel::Vlan(5)]);
}

#[test]
fn a_pseudowire_with_and_without_a_control_word() {
    for addresses in [0x00, 0x02, 0x12] {
        let wire =
            |inner: &[u8]| ethernet(0x8847, &[&[0, 1, 0x11, 64][..], &frame_of(addresses, inner)].concat());
        check(LINK, false, wire, &[Tunnel::Mpls(17)]);
        let controlled = |inner: &[u8]| {
            ethernet(0x8847, &[&[0, 1, 0x11, 64, 0, 0, 0, 1][..], &frame_of(addresses, inner)].concat())
        };
        check(LINK, true, controlled, &[Tunnel::Mpls(17)]);
    }
}

#[test]
fn encapsulations_inside_udp() {
    let bare = <[u8]>::to_vec;
    in_udp(4341, &[0xc8, 0, 0, 1, 0, 0, 7, 0], bare, Tunnel::Lisp(7));
    in_udp(4341, &[0xc0, 0, 0, 1, 0, 0, 0, 1], bare, Tunnel::Lisp(0));
    in_udp(6080, &[], bare, Tunnel::Gue);
    let numbered = |inner: &[u8]| {
        let protocol = if inner[0] >> 4 == 4 { 4 } else { 41 };
        [&[1, protocol, 0, 0, 9, 9, 9, 9], inner].concat()
    };
    in_udp(6080, &[], numbered, Tunnel::Gue);
    let ayiya = |inner: &[u8]| [&[0x44, 0x52, 0x11, 41][..], &[0; 40], inner].concat();
    in_udp(5072, &[], ayiya, Tunnel::Ayiya);
    in_udp(6635, &[0, 1, 1, 64], bare, Tunnel::Mpls(16));
    in_udp(6635, &[0, 1, 1, 64, 0, 0, 0, 0], frame, Tunnel::Mpls(16));
    in_udp(4754, &[0x20, 0, 0x65, 0x58, 0, 0, 0, 1], frame, Tunnel::Gre);
    in_udp(37008, &[1, 0, 0, 1, 1], frame, Tunnel::Tzsp);
    in_udp(37008, &[1, 1, 0, 1, 0, 10, 1, 5, 1], frame, Tunnel::Tzsp);
    in_udp(2152, &[0x34, 0xff, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0x85, 1, 0, 9, 0], frame, Tunnel::GtpU(9));
    let labelled = |inner: &[u8]| {
        ethernet(0x0800, &udp(6081, &[&[0, 0, 0x88, 0x47, 0, 0, 7, 0, 0, 1, 1, 64], inner].concat()))
    };
    check(LINK, false, labelled, &[Tunnel::Geneve(7), Tunnel::Mpls(16)]);
    let on_the_air = |inner: &[u8]| [&wifi([0x08, 2], &[]), inner].concat();
    let sniffed =
        |inner: &[u8]| ethernet(0x0800, &udp(37008, &[&[1, 0, 0, 18, 1], &on_the_air(inner)[..]].concat()));
    check(LINK, false, sniffed, &[Tunnel::Tzsp]);
}

#[test]
fn what_access_points_pass_on() {
    in_udp(5247, &[0, 0x10, 0, 0, 0, 0, 0, 0], frame, Tunnel::Capwap);
    // As on the air, and with the frame control's bytes swapped.
    for control in [[0x08, 0x02], [0x02, 0x08]] {
        let native = |inner: &[u8]| {
            ethernet(
                0x0800,
                &udp(5247, &[&[0, 0x10, 3, 0, 0, 0, 0, 0], &wifi(control, &[])[..], inner].concat()),
            )
        };
        check(LINK, false, native, &[Tunnel::Capwap]);
    }
}

#[test]
fn sessions_of_l2tp_version_3() {
    for head in [&[][..], &[0; 4], &[0x9a; 8], &[0x9a, 0x9b, 0x9c, 0x9d, 1, 2, 3, 4, 0, 0, 0, 0]] {
        let wrap = |inner: &[u8]| [head, &frame(inner)].concat();
        in_udp(1701, &[0, 3, 0, 0, 0, 1, 0, 9], wrap, Tunnel::L2tp(65_545));
        let in_ip = |inner: &[u8]| ethernet(0x0800, &ip(115, &[&[0, 0, 0, 9], &wrap(inner)[..]].concat()));
        check(LINK, true, in_ip, &[Tunnel::L2tp(9)]);
    }
}

#[test]
fn ethernet_over_ip_in_its_three_forms() {
    let mikrotik = |inner: &[u8]| {
        let head = [0x20, 1, 0x64, 0, 0, 0, 5, 0];
        ethernet(0x0800, &ip(47, &[&head[..], &frame(inner)].concat()))
    };
    check(LINK, false, mikrotik, &[Tunnel::Gre]);
    check(LINK, true, |inner| ethernet(0x0800, &ip(97, &[&[0x30, 0], &frame(inner)[..]].concat())), &[]);
    // At the end of a segment route.
    check(LINK, true, |inner| ethernet(0x0800, &ip(143, &frame(inner))), &[]);
}

#[test]
fn links_of_wide_area_networks() {
    let headed = |number: u16, head: &[u8]| {
        check(LinkType(number), false, |inner| [head, inner].concat(), &[]);
    };
    let bridged = |number: u16, head: &[u8]| {
        check(LinkType(number), false, |inner| [head, &frame(inner)].concat(), &[]);
    };
    headed(107, &[0x18, 0x40, 0, 3, 3, 0xcc]);
    headed(107, &[0x18, 0x41, 3, 0xcf, 0, 0x21]);
    bridged(107, &[0x18, 0x41, 3, 0, 0x80, 0, 0x80, 0xc2, 0, 7]);
    bridged(100, &[0xaa, 0xaa, 3, 0, 0x80, 0xc2, 0, 7, 0, 0]);
    headed(123, &[2, 0, 0, 32, 0xaa, 0xaa, 3, 0, 0, 0, 8, 0]);
    // Junos, without and with extensions.
    bridged(178, &[0x4d, 0x47, 0x43, 1]);
    bridged(178, &[0x4d, 0x47, 0x43, 0x81, 0, 6, 1, 2, 3, 4, 5, 6]);
    headed(179, &[0x4d, 0x47, 0x43, 0, 0xff, 3, 0, 0x21]);
    headed(180, &[0x4d, 0x47, 0x43, 0, 0x18, 0x41, 3, 0xcc]);
    headed(181, &[0x4d, 0x47, 0x43, 0, 0x0f, 0, 8, 0]);
    // Endace's records, without and with an extension header.
    bridged(197, &[0, 0, 0, 0, 0, 0, 0, 0, 2, 4, 0, 99, 0, 0, 0, 99, 0, 0]);
    bridged(197, &[0, 0, 0, 0, 0, 0, 0, 0, 0x82, 4, 0, 99, 0, 0, 0, 99, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
}

/// What only looks like an encapsulation stays what it is.
#[test]
fn what_a_header_promises_must_follow() {
    // A frame on the air, of which nothing says what it carries.
    let on_the_air = [&[0, 0x10, 3, 0, 0, 0, 0, 0, 8, 2][..], &[0; 22]].concat();
    let heads: [(u16, &[u8]); 10] = [
        (4341, &[0xc0, 0, 0, 1, 0, 0, 0, 1]),
        (6080, &[]),
        (6080, &[0, 4, 0, 0]),
        (6635, &[0, 1, 1, 64]),
        (1701, &[0, 3, 0, 0, 0, 1, 0, 9]),
        (5247, &[0, 0x10, 0, 0, 0, 0, 0, 0]),
        (5247, &on_the_air),
        (37008, &[1, 0, 0, 1, 10]),
        (4754, &[0x40, 0, 8, 0]),
        (5072, &[0x44, 0x52, 0x13, 41]),
    ];
    for (port, head) in heads {
        let frames: Vec<_> = exchange(false)
            .iter()
            // One byte more than the packet's own length says.
            .map(|inner| ethernet(0x0800, &udp(port, &[head, inner, b"x"].concat())))
            .collect();
        let (flows, coverage) = observe(LINK, &frames);
        let [flow] = flows.as_slice() else { panic!("{port}: {flows:?}, {:?}", coverage.skipped) };
        assert_eq!((flow.transport, flow.server.port), (Transport::Udp, port));
        assert!(!matches!(flow.security.class(), Class::Tls | Class::Mtls));
    }
}
