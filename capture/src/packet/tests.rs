//! Frames of every kind read the short way and step by step, and bytes that are none.

use std::fs::{self, File};
use std::path::Path;

use proptest::prelude::*;

use super::transport::tcp_fields;
use super::*;
use crate::source::file::Reader;

const MOST: usize = 16;

/// Reads step by step only.
fn stepwise<'a>(frame: &Frame<'a>, tunnels: &mut Vec<Tunnel>) -> Result<Decoded<'a>, Skip> {
    let (mut layer, mut captured) = (Layer::Link(frame.link), Captured::of(frame));
    for _ in 0..MAX_HEADERS {
        match step(layer, captured, tunnels)? {
            Step::Next(inner, rest) => (layer, captured) = (inner, rest),
            Step::Done(decoded) => return Ok(decoded),
        }
        if tunnels.len() > MOST {
            return Err(Skip::TooDeep);
        }
    }
    Err(Skip::TooDeep)
}

fn check(frame: &Frame<'_>) {
    let (mut short, mut long) = (Vec::new(), Vec::new());
    let decoded = decode(frame, &mut short, MOST);
    assert_eq!(decoded, stepwise(frame, &mut long), "{frame:02x?}");
    assert_eq!(short, long, "{frame:02x?}");
}

/// Hands over every frame of every capture under a folder.
fn captures(folder: &Path, each: &mut impl FnMut(&Frame<'_>)) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            captures(&path, each);
        } else if path.extension().is_some_and(|extension| extension == "pcap" || extension == "pcapng") {
            let mut reader = Reader::new(File::open(&path).unwrap()).unwrap();
            while let Some(frames) = reader.batch(100) {
                frames.unwrap().for_each(|frame| each(&frame));
            }
        }
    }
}

fn testdata(each: &mut impl FnMut(&Frame<'_>)) {
    captures(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata"), each);
}

#[test]
fn a_payload_that_looks_like_a_timestamp_is_none() {
    let mut header = [0; 20];
    let looks_so = [1, 1, 8, 10, 0, 0, 0, 7, 0, 0, 0, 9];
    let stamp = |header: &[u8; 20]| tcp_fields(header, &looks_so).map(|(tcp, length)| (tcp.stamp(), length));
    header[12] = 5 << 4;
    assert_eq!(stamp(&header), Some((None, 20)));
    header[12] = 8 << 4;
    assert_eq!(stamp(&header), Some((Some(7), 32)));
}

#[test]
fn a_syn_ack_tells_its_timestamps_wherever_they_stand() {
    let stamps = |flags: u8, options: &[u8]| {
        let mut header = [0; 20];
        header[12] = u8::try_from(5 + options.len() / 4).unwrap() << 4;
        header[13] = flags;
        // What comes after the options is payload.
        let captured = [options, &[1, 1, 8, 10, 9, 9, 9, 9, 9, 9, 9, 9]].concat();
        tcp_fields(&header, &captured).and_then(|(tcp, _)| tcp.opening_stamps())
    };
    let linux = [2, 4, 5, 180, 4, 2, 8, 10, 0, 0, 0, 7, 0, 0, 0, 9, 1, 3, 3, 7];
    let windows = [2, 4, 5, 180, 1, 3, 3, 8, 4, 2, 8, 10, 0, 0, 0, 7, 0, 0, 0, 9];
    let told = stamps(0x12, &linux);
    assert!(told.is_some() && told == stamps(0x12, &windows));
    for place in [8, 11, 12, 15] {
        let mut other = linux;
        other[place] ^= 1;
        assert_ne!(stamps(0x12, &other), told, "byte {place}");
    }
    assert_eq!([stamps(0x02, &linux), stamps(0x10, &linux)], [None; 2], "no SYN-ACK");
    for none in [&[][..], &[2, 4, 5, 180], &[0, 0, 8, 10], &[3, 0, 8, 10], &[8, 10, 0, 0], &[1, 1, 1, 3]] {
        assert_eq!(stamps(0x12, none), None, "{none:?}");
    }
}

#[test]
fn the_short_cut_reads_what_the_steps_read_in_every_capture() {
    let mut frames = 0;
    testdata(&mut |frame| {
        check(frame);
        frames += 1;
    });
    assert!(frames > 1_000, "{frames} frames in testdata");
}

/// A few frames of each kind that occurs in the captures: each link type, length of headers, transport.
fn samples() -> Vec<(LinkType, Vec<u8>)> {
    let six = || etherparse::PacketBuilder::ethernet2([0; 6], [1; 6]).ipv6([0xfd; 16], [1; 16], 64);
    let (mut segment, mut datagram) = (Vec::new(), Vec::new());
    six().tcp(40_000, 8080, 7, 1024).write(&mut segment, b"GET / HTTP/1.1").unwrap();
    six().udp(40_000, 53).write(&mut datagram, b"a question").unwrap();
    let mut samples = vec![(LinkType::ETHERNET, segment), (LinkType::ETHERNET, datagram)];
    let mut kinds = std::collections::BTreeMap::new();
    testdata(&mut |frame| {
        let Ok(Decoded::Packet(packet)) = decode(frame, &mut Vec::new(), MOST) else { return };
        let headers = frame.bytes.len() - packet.payload.bytes.len();
        let seen: &mut u32 = kinds.entry((frame.link.0, headers)).or_default();
        *seen += 1;
        if *seen <= 2 {
            samples.push((frame.link, frame.bytes.iter().copied().take(200).collect()));
        }
    });
    samples
}

#[test]
fn the_short_cut_reads_what_the_steps_read_with_every_value_of_every_header_byte() {
    for (link, mut bytes) in samples() {
        let original_len = u32::try_from(bytes.len()).unwrap();
        for place in 0..bytes.len().min(74) {
            let before = bytes[place];
            for value in 0..=u8::MAX {
                bytes[place] = value;
                let at = flow::Timestamp::default();
                check(&Frame { at, link, interface: 0, original_len, bytes: &bytes });
            }
            bytes[place] = before;
        }
    }
}

/// The ways in which a frame is put into another one.
fn wrapped(way: usize, link: LinkType, frame: &[u8]) -> (LinkType, Vec<u8>) {
    let outer = |port: u16, head: &[u8]| {
        let mut bytes = Vec::new();
        etherparse::PacketBuilder::ethernet2([0; 6], [1; 6])
            .ipv4([192, 0, 2, 1], [192, 0, 2, 2], 64)
            .udp(50_000, port)
            .write(&mut bytes, &[head, frame].concat())
            .unwrap();
        (LinkType::ETHERNET, bytes)
    };
    match (way, frame) {
        (1, [addresses @ .., _, _]) if link == LinkType::ETHERNET && addresses.len() > 12 => {
            let (addresses, rest) = frame.split_at(12);
            (link, [addresses, &[0x81, 0, 0, 5], rest].concat())
        }
        (2, _) => outer(4789, &[8, 0, 0, 0, 0, 0, 1, 0]),
        (3, _) => outer(6081, &[0, 0, 0x65, 0x58, 0, 0, 1, 0]),
        (4.., _) if link == LinkType::ETHERNET && frame.len() > 14 => {
            let (kind, inner) = (&frame[12..14], &frame[14..]);
            match way {
                4 => (LinkType::RAW, inner.to_vec()),
                5 => (LinkType::LINUX_SLL, [&[0; 14], kind, inner].concat()),
                6 => (LinkType::LINUX_SLL2, [kind, &[0; 18], inner].concat()),
                _ => (LinkType::NULL, [&[2, 0, 0, 0], inner].concat()),
            }
        }
        _ => (link, frame.to_vec()),
    }
}

proptest! {
    #[test]
    fn the_short_cut_reads_what_the_steps_read_in_changed_frames(
        changes in prop::collection::vec(
            (any::<prop::sample::Index>(), 0_usize..8, prop::collection::vec((0_usize..120, any::<u8>()), 0..4),
             0_usize..220, 0_u32..2_000),
            1..40,
        ),
    ) {
        thread_local!(static SAMPLES: Vec<(LinkType, Vec<u8>)> = samples());
        SAMPLES.with(|samples| for (which, way, edits, end, missing) in &changes {
            let (link, bytes) = which.get(samples);
            let (link, mut bytes) = wrapped(*way, *link, bytes);
            for (place, value) in edits {
                if let Some(byte) = bytes.get_mut(*place) {
                    *byte = *value;
                }
            }
            bytes.truncate(*end);
            let original_len = u32::try_from(bytes.len()).unwrap() + *missing;
            check(&Frame { at: flow::Timestamp::default(), link, interface: 0, original_len, bytes: &bytes });
        });
    }
}
