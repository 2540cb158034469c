//! A connection inside each encapsulation is reported once, by its innermost addresses.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may stop here")]

mod seldom;

use capture::engine::{Engine, Frame, Limits, LinkType};
use etherparse::PacketBuilder;
use flow::{Class, Close, Flow, Timestamp, Tunnel};

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

/// The packets of one HTTP exchange, from IP on.
fn exchange(six: bool) -> Vec<Vec<u8>> {
    let segment = |client: bool, sequence: u32, acknowledged: Option<u32>, text: &[u8]| {
        let (near, far) = if client { (1, 2) } else { (2, 1) };
        let address = |last| {
            let mut address = [0; 16];
            (address[0], address[15]) = (0xfd, last);
            address
        };
        let ports = if client { (40_000, 8080) } else { (8080, 40_000) };
        let builder = if six {
            PacketBuilder::ipv6(address(near), address(far), 64)
        } else {
            PacketBuilder::ipv4([10, 0, 0, near], [10, 0, 0, far], 64)
        };
        let mut tcp = builder.tcp(ports.0, ports.1, sequence, 1024);
        if text.is_empty() {
            tcp = tcp.syn();
        }
        if let Some(number) = acknowledged {
            tcp = tcp.ack(number);
        }
        let mut bytes = Vec::new();
        tcp.write(&mut bytes, text).unwrap();
        bytes
    };
    vec![
        segment(true, 999, None, b""),
        segment(false, 4999, Some(1000), b""),
        segment(true, 1000, Some(5000), REQUEST),
        segment(false, 5000, Some(1000 + u32::try_from(REQUEST.len()).unwrap()), RESPONSE),
    ]
}

fn ethernet(kind: u16, inner: &[u8]) -> Vec<u8> {
    [&[0; 12][..], &kind.to_be_bytes(), inner].concat()
}

/// IPv4 between the tunnel's ends.
fn ip(protocol: u8, inner: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    PacketBuilder::ipv4([192, 0, 2, 1], [192, 0, 2, 2], 64)
        .write(&mut bytes, protocol.into(), inner)
        .unwrap();
    bytes
}

fn udp(port: u16, inner: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    PacketBuilder::ipv4([192, 0, 2, 1], [192, 0, 2, 2], 64)
        .udp(50_000, port)
        .write(&mut bytes, inner)
        .unwrap();
    bytes
}

fn vlan(id: u16, kind: u16, inner: &[u8]) -> Vec<u8> {
    [&id.to_be_bytes()[..], &kind.to_be_bytes(), inner].concat()
}

fn observe(link: LinkType, frames: &[Vec<u8>]) -> (Vec<Flow>, flow::Coverage) {
    observe_within(Limits::default(), link, frames)
}

fn observe_within(limits: Limits, link: LinkType, frames: &[Vec<u8>]) -> (Vec<Flow>, flow::Coverage) {
    let mut engine = Engine::new(limits);
    for (number, bytes) in frames.iter().enumerate() {
        let at = Timestamp::from_nanos(i64::try_from(number).unwrap() * 1_000_000);
        let original_len = u32::try_from(bytes.len()).unwrap();
        engine.frame(&Frame { at, link, interface: 0, original_len, bytes });
    }
    engine.finish();
    let flows = std::iter::from_fn(|| engine.poll()).filter(|flow| flow.close != Close::Open).collect();
    (flows, engine.coverage())
}

fn check(link: LinkType, six: bool, wrap: impl Fn(&[u8]) -> Vec<u8>, tunnels: &[Tunnel]) {
    let frames: Vec<_> = exchange(six).iter().map(|packet| wrap(packet)).collect();
    let (flows, coverage) = observe(link, &frames);
    let [flow] = flows.as_slice() else { panic!("{tunnels:?}: {flows:?}, {:?}", coverage.skipped) };
    assert_eq!(flow.tunnel, tunnels);
    assert_eq!(flow.security.class(), Class::Plaintext, "{tunnels:?}");
    assert_eq!((flow.client.port, flow.server.port), (40_000, 8080), "{tunnels:?}");
    assert_eq!(flow.client.ip.is_ipv6(), six);
    assert_eq!((flow.packets.client, flow.packets.server), (2, 2), "{tunnels:?}");
    assert!(coverage.skipped.is_empty(), "{tunnels:?}: {:?}", coverage.skipped);
    cut_anywhere(link, &frames);
}

/// Cuts frames at every length, as a snap length does and as a sender might: what is left of them is a flow of these
/// addresses, or is counted.
fn cut_anywhere(link: LinkType, frames: &[Vec<u8>]) {
    for frame in frames {
        for end in 0..frame.len() {
            let bytes = &frame[..end];
            for original_len in [frame.len(), end] {
                let mut engine = Engine::new(Limits { report_empty: true, ..Limits::default() });
                let original_len = u32::try_from(original_len).unwrap();
                engine.frame(&Frame { at: Timestamp::default(), link, interface: 0, original_len, bytes });
                engine.finish();
                let flows = std::iter::from_fn(|| engine.poll()).filter(|flow| flow.close != Close::Open);
                let flows = u64::try_from(flows.count()).unwrap();
                let skipped: u64 = engine.coverage().skipped.values().sum();
                assert_eq!(flows + skipped, 1, "{link:?} cut to {end} of {frame:02x?}");
            }
        }
    }
}

#[test]
fn every_link_type_that_is_read() {
    check(LinkType::ETHERNET, false, |inner| ethernet(0x0800, inner), &[]);
    check(LinkType::ETHERNET, true, |inner| ethernet(0x86dd, inner), &[]);
    check(LinkType::RAW, true, <[u8]>::to_vec, &[]);
    check(LinkType::IPV4, false, <[u8]>::to_vec, &[]);
    check(LinkType::NULL, false, |inner| [&[2, 0, 0, 0], inner].concat(), &[]);
    check(LinkType::NULL, true, |inner| [&[0, 0, 0, 30], inner].concat(), &[]);
    check(LinkType::LINUX_SLL, false, |inner| [&[0; 14][..], &[8, 0], inner].concat(), &[]);
    check(LinkType::LINUX_SLL2, true, |inner| [&[0x86, 0xdd][..], &[0; 18], inner].concat(), &[]);
    check(LinkType::PPP, false, |inner| [&[0xff, 3, 0, 0x21], inner].concat(), &[]);
}

#[test]
fn every_other_link_type_that_is_read() {
    let headed = |number: u16, head: &[u8]| {
        check(LinkType(number), false, |inner| [head, inner].concat(), &[]);
    };
    let snap = [0xaa, 0xaa, 3, 0, 0, 0, 8, 0];
    let after = |head: &[u8]| [head, &snap].concat();
    // Token ring, without and with a route; FDDI; ATM with LLC.
    headed(6, &after(&[0; 14]));
    headed(6, &after(&[&[0, 0, 0, 0, 0, 0, 0, 0, 0x80, 0, 0, 0, 0, 0][..], &[4, 0, 0, 0]].concat()));
    headed(10, &after(&[0; 13]));
    headed(100, &snap);
    headed(100, &[6, 6, 3]);
    headed(8, &[0; 16]);
    // What analysers of a manufacturer write, Ethernet with its preamble, and inside passive optical networks.
    for (number, length) in [(240, 4), (241, 12), (259, 8), (274, 8)] {
        headed(number, &[&vec![0x55; length][..], &ethernet(0x0800, b"")].concat());
    }
    for raw in [12, 14] {
        headed(raw, &[]);
    }
    // PPP in its variants, Cisco HDLC, frame relay.
    headed(50, &[0xff, 3, 0, 0x21]);
    headed(166, &[0, 3, 0, 0x21]);
    headed(204, &[1, 0xff, 3, 0, 0x21]);
    headed(104, &[0x0f, 0, 8, 0]);
    headed(205, &[1, 0x0f, 0, 8, 0]);
    headed(107, &[0x18, 0x41, 3, 0xcc]);
    headed(107, &[0x18, 0x41, 8, 0]);
    headed(107, &[0x18, 0x41, 3, 0, 0x80, 0, 0, 0, 8, 0]);
    headed(107, &[0x18, 0x41, 3, 0x80, 0, 0, 0, 8, 0]);
    // OpenBSD's two, FireWire, InfiniBand, Solaris.
    headed(109, &[0; 12]);
    headed(117, &[&[61, 2][..], &[0; 62]].concat());
    headed(138, &[&[0; 16][..], &[8, 0]].concat());
    headed(242, &[8, 0, 0, 0]);
    headed(226, &[0; 24]);
    // Headers that name the link type that follows: per-packet information, macOS's packet tap.
    headed(192, &[&[0, 0, 12, 0, 1, 0, 0, 0, 9, 9, 9, 9][..], &ethernet(0x0800, b"")].concat());
    headed(258, &[&[16, 0, 0, 0, 1, 0, 0, 0, 12, 0, 0, 0][..], &[9; 4]].concat());
}

#[test]
fn netfilter_log_in_either_byte_order() {
    for big in [false, true] {
        let attribute = |kind: u16, value: &[u8]| {
            let length = u16::try_from(value.len() + 4).unwrap();
            let number = |number: u16| if big { number.to_be_bytes() } else { number.to_le_bytes() };
            let mut bytes = [&number(length)[..], &number(kind), value].concat();
            bytes.resize(bytes.len().next_multiple_of(4), 0);
            bytes
        };
        let log = |inner: &[u8]| {
            [&[2, 0, 0, 40][..], &attribute(1, &[0, 0, 3, 0]), &attribute(10, b"\0"), &attribute(9, inner)]
                .concat()
        };
        check(LinkType(239), false, log, &[]);
    }
}

/// The start of an IEEE 802.11 data frame, with LLC after it.
fn wifi(control: [u8; 2], more: &[u8]) -> Vec<u8> {
    [&control[..], &[0; 22], more, &[0xaa, 0xaa, 3, 0, 0, 0, 8, 0]].concat()
}

#[test]
fn wifi_with_and_without_radiotap() {
    let headed = |number: u16, head: &[u8]| {
        check(LinkType(number), false, |inner| [head, inner].concat(), &[]);
    };
    // Data, with quality of service, with high throughput control, between two distribution systems.
    headed(105, &wifi([0x08, 0x01], &[]));
    headed(105, &wifi([0x88, 0x02], &[0, 0]));
    headed(105, &wifi([0x88, 0x82], &[0, 0, 1, 2, 3, 4]));
    headed(105, &wifi([0x08, 0x03], &[0; 6]));
    headed(105, &wifi([0x88, 0x03], &[0; 8]));
    // Radiotap: bare, with a timer and flags, and with padding after the frame's header.
    headed(127, &[&[0, 0, 8, 0, 0, 0, 0, 0][..], &wifi([0x08, 1], &[])].concat());
    let padded = [&[0, 0, 20, 0, 3, 0, 0, 0x80, 0, 0, 0, 0][..], &[0; 8]].concat();
    let padded = |flags: u8| [&padded[..], &[flags]].concat();
    let mut with_flags = padded(0x20);
    with_flags[2] = 25;
    // Two words of what is present: the timer begins at 16, the flags are at 24.
    let with_flags = [&with_flags[..12], &[0; 4], &[0; 8], &[0x20]].concat();
    headed(127, &[&with_flags[..], &wifi([0x88, 1], &[0, 0, 0, 0])].concat());
    let without = [&with_flags[..24], &[0]].concat();
    headed(127, &[&without[..], &wifi([0x88, 1], &[0, 0])].concat());
    // The headers of other capturing drivers.
    headed(119, &[&[0x44, 0, 0, 0, 144, 0, 0, 0][..], &[0; 136], &wifi([0x08, 1], &[])].concat());
    headed(163, &[&[0x80, 0x21, 0x10, 1, 0, 0, 0, 64][..], &[0; 56], &wifi([0x08, 1], &[])].concat());
}

#[test]
fn what_wifi_does_not_show_is_counted() {
    let skipped = |control: [u8; 2], more: &[u8], reason: &str| {
        let frames: Vec<_> =
            exchange(false).iter().map(|inner| [&wifi(control, more), &inner[..]].concat()).collect();
        let (flows, coverage) = observe(LinkType(105), &frames);
        assert_eq!(flows, []);
        assert_eq!(coverage.skipped.get(reason), Some(&4), "{control:02x?}: {:?}", coverage.skipped);
    };
    skipped([0x08, 0x41], &[], "encrypted-link");
    skipped([0x08, 0x05], &[], "incomplete-fragments");
    skipped([0x88, 0x01], &[0x80, 0], "aggregated-frame");
    // A beacon, an acknowledgment, and data without data.
    skipped([0x80, 0x00], &[], "not-ip");
    skipped([0xd4, 0x00], &[], "not-ip");
    skipped([0x48, 0x01], &[], "not-ip");
}

#[test]
fn every_encapsulation() {
    let on_ethernet = |bytes: &[u8]| ethernet(0x0800, bytes);
    let frame = |inner: &[u8]| ethernet(0x0800, inner);
    let link = LinkType::ETHERNET;
    check(link, false, |inner| ethernet(0x8100, &vlan(12, 0x0800, inner)), &[Tunnel::Vlan(12)]);
    check(
        link,
        false,
        |inner| ethernet(0x88a8, &vlan(3, 0x8100, &vlan(12, 0x0800, inner))),
        &[Tunnel::Vlan(3), Tunnel::Vlan(12)],
    );
    check(link, true, |inner| ethernet(0x8847, &[&[0, 0x01, 0x11, 64], inner].concat()), &[Tunnel::Mpls(17)]);
    check(LinkType(219), true, |inner| [&[0, 0x01, 0x11, 64], inner].concat(), &[Tunnel::Mpls(17)]);
    let session = |inner: &[u8]| {
        let length = u16::try_from(inner.len() + 2).unwrap().to_be_bytes();
        ethernet(0x8864, &[&[0x11, 0, 0, 7][..], &length, &[0, 0x21], inner].concat())
    };
    check(link, false, session, &[Tunnel::Pppoe(7)]);
    check(link, false, |inner| on_ethernet(&ip(4, inner)), &[Tunnel::IpInIp]);
    check(link, true, |inner| on_ethernet(&ip(41, inner)), &[Tunnel::SixInFour]);
    check(link, false, |inner| on_ethernet(&ip(47, &[&[0, 0, 8, 0], inner].concat())), &[Tunnel::Gre]);
    // With a key and a sequence number.
    let keyed = |inner: &[u8]| on_ethernet(&ip(47, &[&[0x30, 0, 0x86, 0xdd][..], &[9; 8], inner].concat()));
    check(link, true, keyed, &[Tunnel::Gre]);
    let mirrored = |inner: &[u8]| {
        let head = [0x10, 0, 0x88, 0xbe, 0, 0, 0, 1, 0x10, 0, 0, 5, 0, 0, 0, 0];
        on_ethernet(&ip(47, &[&head[..], &frame(inner)].concat()))
    };
    check(link, false, mirrored, &[Tunnel::Erspan(5)]);
    for port in [4789, 8472] {
        let vxlan =
            |inner: &[u8]| on_ethernet(&udp(port, &[&[8, 0, 0, 0, 0, 16, 0, 0][..], &frame(inner)].concat()));
        check(link, false, vxlan, &[Tunnel::Vxlan(4096)]);
    }
    let geneve = |inner: &[u8]| {
        let head = [1, 0, 0x65, 0x58, 0, 0, 7, 0, 1, 2, 3, 4];
        on_ethernet(&udp(6081, &[&head[..], &frame(inner)].concat()))
    };
    check(link, false, geneve, &[Tunnel::Geneve(7)]);
    let gtp = |inner: &[u8]| {
        let length = u16::try_from(inner.len()).unwrap().to_be_bytes();
        on_ethernet(&udp(2152, &[&[0x30, 0xff][..], &length, &[0, 0, 0, 9], inner].concat()))
    };
    check(link, false, gtp, &[Tunnel::GtpU(9)]);
    check(link, true, |inner| on_ethernet(&udp(3544, inner)), &[Tunnel::Teredo]);
    for (flags, next, layer) in [(0x08, 0, 0x6558), (0x0c, 3, 0x6558), (0x0c, 1, 0x0800)] {
        let generic = |inner: &[u8]| {
            let inner = if layer == 0x6558 { frame(inner) } else { inner.to_vec() };
            on_ethernet(&udp(4790, &[&[flags, 0, 0, next, 0, 16, 0, 0][..], &inner].concat()))
        };
        check(link, false, generic, &[Tunnel::Vxlan(4096)]);
    }
    let service = |inner: &[u8]| {
        let head = [0x0c, 0, 0, 4, 0, 16, 0, 0, 0, 2, 2, 1, 0, 0, 1, 255];
        on_ethernet(&udp(4790, &[&head[..], inner].concat()))
    };
    check(link, false, service, &[Tunnel::Vxlan(4096)]);
    for head in [
        &[0, 2, 0, 1, 0, 9, 0xff, 3, 0, 0x21][..],
        &[0x08, 2, 0, 1, 0, 9, 0, 1, 0, 2, 0x21],
        &[0x02, 2, 0, 1, 0, 9, 0, 3, 7, 7, 7, 0, 0x21],
    ] {
        check(link, false, |inner| on_ethernet(&udp(1701, &[head, inner].concat())), &[Tunnel::L2tp(9)]);
    }
    let redirected = |inner: &[u8]| on_ethernet(&ip(47, &[&[0, 0, 0x88, 0x3e][..], inner].concat()));
    check(link, false, redirected, &[Tunnel::Gre]);
    let redirected =
        |inner: &[u8]| on_ethernet(&ip(47, &[&[0, 0, 0x88, 0x3e, 0, 0, 0, 0][..], inner].concat()));
    check(link, false, redirected, &[Tunnel::Gre]);
    let mirrored = |inner: &[u8]| {
        let head = [0x10, 0, 0x22, 0xeb, 0, 0, 0, 1, 0x20, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 1];
        on_ethernet(&ip(47, &[&head[..], &[0; 8], &frame(inner)].concat()))
    };
    check(link, false, mirrored, &[Tunnel::Erspan(5)]);
    let bare = |inner: &[u8]| {
        let head = [0x10, 0, 0x22, 0xeb, 0, 0, 0, 1, 0x20, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0x08, 0];
        on_ethernet(&ip(47, &[&head[..], inner].concat()))
    };
    check(link, false, bare, &[Tunnel::Erspan(5)]);
    let mirrored = |inner: &[u8]| on_ethernet(&ip(47, &[&[0, 0, 0x88, 0xbe][..], &frame(inner)].concat()));
    check(link, false, mirrored, &[Tunnel::Erspan(0)]);
    // MACsec that only signs, without and with a channel identifier.
    let signed = |inner: &[u8]| ethernet(0x88e5, &[&[0, 0, 0, 0, 0, 1, 8, 0][..], inner, &[7; 16]].concat());
    check(link, false, signed, &[]);
    let signed =
        |inner: &[u8]| ethernet(0x88e5, &[&[0x20, 0, 0, 0, 0, 1][..], &[3; 8], &[8, 0], inner].concat());
    check(link, false, signed, &[]);
    // GTP-U with a sequence number and an extension header.
    let gtp = |inner: &[u8]| {
        let length = u16::try_from(inner.len() + 8).unwrap().to_be_bytes();
        let more = [0, 1, 0, 0x85, 1, 0x10, 9, 0];
        on_ethernet(&udp(2152, &[&[0x36, 0xff][..], &length, &[0, 0, 0, 9], &more, inner].concat()))
    };
    check(link, false, gtp, &[Tunnel::GtpU(9)]);
}

/// An IPv4 packet's header with its checksum left alone.
fn with_total_length(packet: &[u8], length: u16) -> Vec<u8> {
    let mut packet = packet.to_vec();
    packet[2..4].copy_from_slice(&length.to_be_bytes());
    packet
}

#[test]
fn headers_of_ip_that_are_seldom_met() {
    let link = LinkType::ETHERNET;
    // Segmentation offload leaves the length out.
    check(link, false, |inner| ethernet(0x0800, &with_total_length(inner, 0)), &[]);
    let options = |inner: &[u8]| {
        let length = u16::try_from(inner.len() + 8).unwrap();
        let mut packet = with_total_length(inner, length);
        packet[0] = 0x47;
        packet.splice(20..20, [7, 7, 4, 0, 0, 0, 0, 0]);
        ethernet(0x0800, &packet)
    };
    check(link, false, options, &[]);
    let extended = |inner: &[u8], length: u16, first: u8, headers: &[u8]| {
        let mut packet = inner.to_vec();
        packet[4..6].copy_from_slice(&length.to_be_bytes());
        packet[6] = first;
        packet.splice(40..40, headers.iter().copied());
        ethernet(0x86dd, &packet)
    };
    // Hop-by-hop with a jumbo payload option (RFC 2675), as Linux writes it for packets beyond 64 KiB.
    let jumbo = |inner: &[u8]| {
        let length = u32::try_from(inner.len() - 40 + 8).unwrap().to_be_bytes();
        extended(inner, 0, 0, &[&[6, 0, 0xc2, 4][..], &length].concat())
    };
    check(link, true, jumbo, &[]);
    // Routing, destination options, an atomic fragment, authentication.
    let chain = |inner: &[u8]| {
        let length = u16::try_from(inner.len() - 40 + 48).unwrap();
        let headers = [
            &[60, 1][..],
            &[0; 14],
            &[44, 0, 0, 0, 0, 0, 0, 0],
            &[51, 0, 0, 0, 0, 0, 0, 7],
            &[6, 2],
            &[0; 14],
        ];
        extended(inner, length, 43, &headers.concat())
    };
    check(link, true, chain, &[]);
}

/// Cuts an IP packet into fragments of at most `size` bytes.
fn fragments(packet: &[u8], size: usize) -> Vec<Vec<u8>> {
    let six = packet[0] >> 4 == 6;
    let (header, payload) = packet.split_at(if six { 40 } else { 20 });
    let count = payload.len().div_ceil(size);
    payload
        .chunks(size)
        .enumerate()
        .map(|(number, piece)| {
            let more = u16::from(number + 1 < count);
            let offset = u16::try_from(number * size).unwrap();
            let mut header = header.to_vec();
            if six {
                header[4..6].copy_from_slice(&u16::try_from(piece.len() + 8).unwrap().to_be_bytes());
                let next = std::mem::replace(&mut header[6], 44);
                let [high, low] = (offset | more).to_be_bytes();
                // The identification is the packet's own: its TCP sequence number will do.
                let id = &payload[4..8];
                [&header[..], &[next, 0, high, low], id, piece].concat()
            } else {
                header[2..4].copy_from_slice(&u16::try_from(piece.len() + 20).unwrap().to_be_bytes());
                header[4..6].copy_from_slice(&payload[6..8]);
                header[6..8].copy_from_slice(&((offset / 8) | (more << 13)).to_be_bytes());
                [&header[..], piece].concat()
            }
        })
        .collect()
}

#[test]
fn fragments_inside_and_outside_of_tunnels() {
    let vxlan = |inner: &[u8]| {
        udp(
            4789,
            &[
                &[8, 0, 0, 0, 0, 0, 5, 0][..],
                &ethernet(if inner[0] >> 4 == 6 { 0x86dd } else { 0x0800 }, inner),
            ]
            .concat(),
        )
    };
    let bare = |inner: &[u8]| vec![inner.to_vec()];
    let inside = |inner: &[u8]| fragments(inner, 16).iter().map(|piece| vxlan(piece)).collect::<Vec<_>>();
    let outside = |inner: &[u8]| fragments(&vxlan(inner), 32);
    let both = |inner: &[u8]| {
        fragments(inner, 16).iter().flat_map(|piece| fragments(&vxlan(piece), 24)).collect::<Vec<_>>()
    };
    let only = |inner: &[u8]| fragments(inner, 8);
    let reversed = |inner: &[u8]| fragments(inner, 24).into_iter().rev().collect::<Vec<_>>();
    type Cut<'a> = &'a dyn Fn(&[u8]) -> Vec<Vec<u8>>;
    let ways: [(Cut<'_>, &[Tunnel]); 6] = [
        (&bare, &[]),
        (&only, &[]),
        (&reversed, &[]),
        (&inside, &[Tunnel::Vxlan(5)]),
        (&outside, &[Tunnel::Vxlan(5)]),
        (&both, &[Tunnel::Vxlan(5)]),
    ];
    for (number, (cut, tunnels)) in ways.iter().enumerate() {
        for six in [false, true] {
            let frames: Vec<_> = exchange(six).iter().flat_map(|packet| cut(packet)).collect();
            let (flows, coverage) = observe(LinkType::RAW, &frames);
            let [flow] = flows.as_slice() else { panic!("{number}: {flows:?}, {:?}", coverage.skipped) };
            assert_eq!(flow.security.class(), Class::Plaintext, "{number}");
            assert_eq!(flow.tunnel, *tunnels, "{number}");
            assert!(coverage.skipped.is_empty(), "{number}: {:?}", coverage.skipped);
        }
    }
}

#[test]
fn fragments_that_stay_alone_are_counted() {
    let frames: Vec<_> = exchange(false).iter().map(|packet| fragments(packet, 8).swap_remove(0)).collect();
    let (flows, coverage) = observe(LinkType::RAW, &frames);
    assert_eq!(flows, []);
    assert_eq!(coverage.skipped.get("incomplete-fragments"), Some(&4));
    // Cut by a snap length they are of no use, and that is another matter.
    let frames: Vec<_> = frames.iter().map(|frame| frame[..frame.len() - 1].to_vec()).collect();
    let (flows, coverage) = observe(LinkType::RAW, &frames);
    assert_eq!(flows, []);
    assert_eq!(coverage.skipped.get("cut-fragment"), Some(&4), "{:?}", coverage.skipped);
}

#[test]
fn tunnels_inside_tunnels() {
    let nested = |inner: &[u8]| {
        let innermost = ethernet(0x8100, &vlan(9, 0x0800, inner));
        let vxlan = udp(4789, &[&[8, 0, 0, 0, 0, 0, 5, 0][..], &innermost].concat());
        ethernet(0x8100, &vlan(4, 0x0800, &vxlan))
    };
    check(LinkType::ETHERNET, false, nested, &[Tunnel::Vlan(4), Tunnel::Vxlan(5), Tunnel::Vlan(9)]);
}

#[test]
fn nesting_has_a_bound_and_what_passes_it_is_counted() {
    let deep: Vec<_> = exchange(false)
        .into_iter()
        .map(|packet| ethernet(0x0800, &(0..40).fold(packet, |inner, _| ip(4, &inner))))
        .collect();
    let (flows, coverage) = observe(LinkType::ETHERNET, &deep);
    assert_eq!(flows, []);
    assert_eq!(coverage.skipped.get("nested-too-deep"), Some(&4));
    for (tunnels, read) in [(0, 0), (1, 0), (2, 1), (3, 1)] {
        let double: Vec<_> = exchange(false)
            .into_iter()
            .map(|packet| ethernet(0x8100, &vlan(4, 0x0800, &ip(4, &packet))))
            .collect();
        let limits = Limits { tunnels, ..Limits::default() };
        let (flows, coverage) = observe_within(limits, LinkType::ETHERNET, &double);
        assert_eq!(flows.len(), read, "{tunnels}");
        assert_eq!(coverage.skipped.contains_key("nested-too-deep"), read == 0, "{tunnels}");
    }
}

#[test]
fn datagrams_put_together_have_a_bound_and_what_passes_it_is_counted() {
    // The first fragments of all packets come first, so that all of them wait.
    let pieces: Vec<_> = exchange(false).iter().map(|packet| fragments(packet, 8)).collect();
    let (first, rest): (Vec<_>, Vec<_>) =
        pieces.iter().map(|pieces| (pieces[0].clone(), pieces[1..].to_vec())).unzip();
    let frames: Vec<_> = first.into_iter().chain(rest.into_iter().flatten()).collect();
    let (_, coverage) = observe(LinkType::RAW, &frames);
    assert!(coverage.skipped.is_empty(), "{:?}", coverage.skipped);
    let limits = Limits { datagrams: 3, ..Limits::default() };
    let (_, coverage) = observe_within(limits, LinkType::RAW, &frames);
    assert!(coverage.skipped.contains_key("incomplete-fragments"), "{:?}", coverage.skipped);
}

#[test]
fn the_same_packets_bare_and_wrapped_are_one_flow() {
    let both: Vec<_> = exchange(false)
        .iter()
        .flat_map(|inner| {
            let wrapped = udp(4789, &[&[8, 0, 0, 0, 0, 0, 5, 0][..], &ethernet(0x0800, inner)].concat());
            [ethernet(0x0800, inner), ethernet(0x0800, &wrapped)]
        })
        .collect();
    let (flows, _) = observe(LinkType::ETHERNET, &both);
    assert_eq!(flows.len(), 1);
}

#[test]
fn a_datagram_on_a_tunnels_port_that_is_no_tunnel_is_a_flow_of_its_own() {
    let frames = [ethernet(0x0800, &udp(4789, b"plainly no VXLAN header"))];
    let (flows, _) = observe(LinkType::ETHERNET, &frames);
    assert_eq!(flows.len(), 1);
    assert_eq!((flows[0].server.port, flows[0].tunnel.as_slice()), (4789, &[][..]));
}
