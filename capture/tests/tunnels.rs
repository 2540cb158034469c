//! A connection inside each encapsulation is reported once, by its innermost addresses.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may stop here")]

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
    let mut engine = Engine::new(Limits::default());
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
