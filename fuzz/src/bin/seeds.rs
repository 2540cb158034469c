//! Derives what the fuzz targets start from out of the captures in `testdata/`: `seeds FOLDER` writes one folder a target.

#[path = "../../../capture/tests/recorded/mod.rs"]
mod recorded;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::PathBuf;

use capture::internals;
use flow::{Endpoint, Transport};
use recorded::{Packet, Pair, layout, testdata};

/// Longer captures make slow seeds.
const MOST: usize = 60_000;

fn main() {
    let Some(folder) = std::env::args().nth(1).map(PathBuf::from) else {
        eprintln!("usage: seeds FOLDER");
        std::process::exit(2);
    };
    let mut captures: Vec<PathBuf> = Vec::new();
    for inside in ["", "wire", "lab"] {
        for entry in std::fs::read_dir(testdata(inside)).expect("testdata").flatten() {
            let path = entry.path();
            captures.extend([path.clone(), path.join("capture.pcap")]);
        }
    }
    captures.retain(|path| path.extension().is_some_and(|kind| kind == "pcap") && path.is_file());
    captures.sort();
    for (number, path) in captures.iter().enumerate() {
        let file = std::fs::read(path).expect("a capture");
        let packets = recorded::read(path);
        let write = |target: &str, part: usize, bytes: &[u8]| {
            let folder = folder.join(target);
            std::fs::create_dir_all(&folder).expect("a folder to write to");
            std::fs::write(folder.join(format!("{number:03}-{part:02}")), bytes).expect("a seed");
        };
        if file.len() <= MOST {
            write("reader", 0, &file);
            write("reader", 1, &pcapng(&packets));
            write("reader", 2, &gzip(&file));
            write(
                "engine",
                0,
                &packets.iter().flat_map(|packet| piece(81, &packet.bytes)).collect::<Vec<_>>(),
            );
        }
        for (part, packet) in packets.iter().take(6).enumerate() {
            write("decode", part, &[&[0][..], &packet.bytes].concat());
        }
        for (part, (pair, opener, packets)) in connections(&packets).into_iter().take(4).enumerate() {
            let said = |packet: &Packet| {
                let layout = layout(packet).expect("a segment or a datagram");
                let bytes = packet.bytes.get(layout.payload.clone()).unwrap_or_default().to_vec();
                (layout, bytes)
            };
            let exchange: Vec<u8> = packets
                .iter()
                .map(said)
                .filter(|(_, bytes)| !bytes.is_empty())
                .flat_map(|(layout, bytes)| piece(u8::from(layout.source != opener), &bytes))
                .take(MOST)
                .collect();
            if pair.0 == Transport::Udp {
                write("quic", part, &exchange);
                write("detection", part, &[&[1, 1, 187][..], &exchange].concat());
                continue;
            }
            write("handshake", part, &[&exchange[..], &piece(0x0e, b""), &piece(0x0f, b"")].concat());
            write("dtls", part, &over_datagrams(&exchange));
            write("quic", part, &over_initials(&exchange));
            write("upgrade", part, &exchange);
            write("detection", part, &[&[0, 1, 187][..], &exchange].concat());
            for from in [true, false] {
                let segments: Vec<_> =
                    packets.iter().filter(|packet| (said(packet).0.source == opener) == from).collect();
                let sequence = |packet: &Packet| {
                    let at = said(packet).0.header + 4;
                    u32::from_be_bytes(packet.bytes[at..at + 4].try_into().expect("four bytes"))
                };
                let Some(start) = segments.first().map(|packet| sequence(packet).wrapping_add(1)) else {
                    continue;
                };
                let mut seed = start.to_be_bytes().to_vec();
                let (stream, _) = internals::reassemble(
                    start,
                    segments.iter().map(|packet| {
                        let layout = said(packet).0;
                        (sequence(packet), packet.bytes.get(layout.payload).unwrap_or_default(), 0)
                    }),
                );
                for packet in &segments {
                    let offset = sequence(packet).wrapping_sub(start).wrapping_add(64) & 0xffff;
                    let offset = u16::try_from(offset).expect("two bytes").to_be_bytes();
                    seed.extend(piece(0, &[&offset[..], &said(packet).1].concat()));
                }
                seed.truncate(MOST);
                write("reassembly", part * 2 + usize::from(from), &seed);
                let stream: Vec<u8> = stream.into_iter().map_while(|byte| byte).collect();
                for (leaf, certificate) in certificates(&stream).into_iter().enumerate() {
                    write("leaf", part * 8 + usize::from(from) * 4 + leaf, &certificate);
                }
            }
        }
    }
    for name in [
        "reader",
        "decode",
        "reassembly",
        "handshake",
        "quic",
        "dtls",
        "leaf",
        "upgrade",
        "detection",
        "engine",
    ] {
        let made = std::fs::read_dir(folder.join(name)).map_or(0, Iterator::count);
        assert!(made > 0, "no seeds for {name}");
        println!("{name}: {made} seeds");
    }
}

/// The packets as a pcapng file with one interface.
fn pcapng(packets: &[Packet]) -> Vec<u8> {
    let block = |kind: u32, body: &[u8]| {
        let padding = body.len().next_multiple_of(4) - body.len();
        let length = u32::try_from(body.len() + padding + 12).expect("a small block").to_le_bytes();
        [&kind.to_le_bytes()[..], &length, body, &[0; 3][..padding], &length].concat()
    };
    let mut file =
        block(0x0a0d_0d0a, &[&0x1a2b_3c4d_u32.to_le_bytes()[..], &[1, 0, 0, 0], &[0xff; 8]].concat());
    file.extend(block(
        1,
        &[1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 4, 0, b'e', b't', b'h', b'0', 9, 0, 1, 0, 9, 0, 0, 0, 0, 0, 0, 0],
    ));
    for packet in packets {
        let at = packet.at.as_nanos().unsigned_abs();
        let length = u32::try_from(packet.bytes.len()).expect("a frame");
        let fields = [0, (at >> 32) as u32, at as u32, length, packet.original_len];
        let fields: Vec<u8> = fields.into_iter().flat_map(u32::to_le_bytes).collect();
        file.extend(block(6, &[&fields[..], &packet.bytes].concat()));
    }
    file
}

fn gzip(file: &[u8]) -> Vec<u8> {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(file).and_then(|()| gzip.finish()).expect("memory")
}

/// The cleartext handshake of a TLS stream as DTLS 1.2 would send it: each message a fragment in a record in a datagram.
fn over_datagrams(exchange: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut streams = [Vec::new(), Vec::new()];
    let mut numbers = [0_u16; 2];
    for (kind, bytes) in fuzz::pieces(exchange) {
        let from = usize::from(kind & 1);
        streams[from].extend_from_slice(bytes);
        while let Some((&[record, 3, _, high, low], rest)) = streams[from].split_first_chunk() {
            let length = usize::from(u16::from_be_bytes([high, low]));
            let Some(body) = rest.get(..length) else { break };
            let mut rest = body;
            let mut sent = Vec::new();
            while record == 22
                && let Some((&[message, l0, l1, l2], after)) = rest.split_first_chunk()
            {
                let length = u32::from_be_bytes([0, l0, l1, l2]) as usize;
                let Some(body) = after.get(..length) else { break };
                let mut body = body.to_vec();
                if message == 1 && body.len() > 34 {
                    // An empty cookie after the session id.
                    let at = 35 + usize::from(body[34]);
                    body.insert(at.min(body.len()), 0);
                }
                if matches!(message, 1 | 2) {
                    body[..2].copy_from_slice(&[0xfe, 0xfd]);
                }
                let length = u32::try_from(body.len()).expect("a message").to_be_bytes();
                let number = numbers[from].to_be_bytes();
                sent.push([&[message][..], &length[1..], &number, &[0; 3], &length[1..], &body].concat());
                numbers[from] += 1;
                rest = &after[(u32::from_be_bytes([0, l0, l1, l2]) as usize)..];
            }
            if record != 22 {
                sent.push(body.to_vec());
            }
            for (number, body) in (0_u8..).zip(sent) {
                let length = u16::try_from(body.len()).unwrap_or(u16::MAX).to_be_bytes();
                let head = [record, 0xfe, 0xfd, 0, u8::from(record == 23), 0, 0, 0, 0, 0, number];
                out.extend(piece(kind & 1, &[&head[..], &length, &body].concat()));
            }
            streams[from].drain(..5 + length);
        }
    }
    out
}

/// The hellos of a TLS stream as frames of QUIC's Initial packets, a CRYPTO frame each, for the target to seal.
fn over_initials(exchange: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut sent = [0_u16; 2];
    for (kind, bytes) in fuzz::pieces(exchange) {
        let from = usize::from(kind & 1);
        if let Some((&[22, 3, _, _, _], message)) = bytes.split_first_chunk()
            && let &[1 | 2, 0, high, low, ..] = message
            && let Some(message) = message.get(..usize::from(u16::from_be_bytes([high, low])) + 4)
        {
            let length = u16::try_from(message.len()).expect("a record's message");
            let varints = [(sent[from] | 0x4000).to_be_bytes(), (length | 0x4000).to_be_bytes()].concat();
            out.extend(piece(kind & 1 | 2, &[&[6][..], &varints, message].concat()));
            sent[from] += length;
        }
    }
    out
}

fn piece(kind: u8, bytes: &[u8]) -> Vec<u8> {
    let length = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
    [&[kind][..], &length.to_be_bytes(), &bytes[..usize::from(length)]].concat()
}

/// The packets of each connection, with whoever sent the first.
fn connections(packets: &[Packet]) -> Vec<(Pair, Endpoint, Vec<Packet>)> {
    let mut order = Vec::new();
    let mut by_pair: BTreeMap<Pair, (Endpoint, Vec<Packet>)> = BTreeMap::new();
    for packet in packets {
        let Some(layout) = layout(packet) else { continue };
        let entry = by_pair.entry(layout.pair()).or_insert_with(|| {
            order.push(layout.pair());
            (layout.source, Vec::new())
        });
        entry.1.push(packet.clone());
    }
    order
        .into_iter()
        .filter_map(|pair| by_pair.remove(&pair).map(|(opener, packets)| (pair, opener, packets)))
        .collect()
}

/// The first certificates of Certificate messages that stand whole in one record in the clear.
fn certificates(stream: &[u8]) -> Vec<Vec<u8>> {
    let found = stream.windows(3).enumerate().filter(|(_, window)| {
        *window == [0x30, 0x82, 1] || *window == [0x30, 0x82, 2] || *window == [0x30, 0x82, 3]
    });
    found
        .filter_map(|(at, _)| {
            let length = u16::from_be_bytes([*stream.get(at + 2)?, *stream.get(at + 3)?]);
            // The outer SEQUENCE of a certificate holds another one.
            (stream.get(at + 4..at + 6)? == [0x30, 0x82]).then_some(())?;
            Some(stream.get(at..at + 4 + usize::from(length))?.to_vec())
        })
        .take(3)
        .collect()
}
