//! Capture files in every form that is read, and in the ways they break.

#![expect(clippy::unwrap_used, reason = "a test may stop here")]

use std::io::Write as _;

use capture::source::file::{Damage, FileError, Reader};
use proptest::prelude::*;

#[derive(Debug, Clone, Copy)]
enum Order {
    Little,
    Big,
}

use Order::{Big, Little};

impl Order {
    fn u16(self, value: u16) -> [u8; 2] {
        match self {
            Little => value.to_le_bytes(),
            Big => value.to_be_bytes(),
        }
    }

    fn u32(self, value: u32) -> [u8; 4] {
        match self {
            Little => value.to_le_bytes(),
            Big => value.to_be_bytes(),
        }
    }
}

/// A pcap file of link type 1 with one packet, captured 7 seconds and `fraction` units after the epoch.
fn pcap(order: Order, magic: u32, fraction: u32, packet: &[u8]) -> Vec<u8> {
    let length = u32::try_from(packet.len()).unwrap();
    let mut file = order.u32(magic).to_vec();
    file.extend(order.u16(2));
    file.extend(order.u16(4));
    for field in [0, 0, 65_535, 1, 7, fraction, length, length + 5] {
        file.extend(order.u32(field));
    }
    file.extend(packet);
    file
}

fn block(order: Order, kind: u32, body: &[u8]) -> Vec<u8> {
    let mut body = body.to_vec();
    body.resize(body.len().next_multiple_of(4), 0);
    let length = u32::try_from(body.len() + 12).unwrap();
    [&order.u32(kind)[..], &order.u32(length), &body, &order.u32(length)].concat()
}

fn section(order: Order) -> Vec<u8> {
    let body = [&order.u32(0x1a2b_3c4d)[..], &order.u16(1), &order.u16(0), &[0xff; 8]].concat();
    block(order, 0x0a0d_0d0a, &body)
}

fn option(order: Order, code: u16, value: &[u8]) -> Vec<u8> {
    let mut value_padded = value.to_vec();
    value_padded.resize(value.len().next_multiple_of(4), 0);
    [&order.u16(code)[..], &order.u16(u16::try_from(value.len()).unwrap()), &value_padded].concat()
}

fn interface(order: Order, link: u16, options: &[Vec<u8>]) -> Vec<u8> {
    let body = [&order.u16(link)[..], &[0, 0], &order.u32(0), &options.concat()].concat();
    block(order, 1, &body)
}

fn packet(order: Order, interface: u32, ticks: u64, bytes: &[u8]) -> Vec<u8> {
    let high = u32::try_from(ticks >> 32).unwrap();
    let low = u32::try_from(ticks & 0xffff_ffff).unwrap();
    let length = u32::try_from(bytes.len()).unwrap();
    let mut body = Vec::new();
    for field in [interface, high, low, length, length] {
        body.extend(order.u32(field));
    }
    body.extend(bytes);
    block(order, 6, &body)
}

/// What was read: of each frame the time, the link type, the interface with its name, and the bytes.
type Read = Vec<(i64, u16, u32, Option<String>, Vec<u8>)>;

fn read(file: &[u8]) -> (Read, Option<FileError>) {
    let mut reader = match Reader::new(file) {
        Ok(reader) => reader,
        Err(error) => return (Vec::new(), Some(error)),
    };
    let mut frames = Vec::new();
    loop {
        let (at, link, interface, bytes) = match reader.next() {
            None => return (frames, None),
            Some(Err(error)) => {
                assert!(reader.next().is_none(), "nothing follows an error");
                return (frames, Some(error));
            }
            Some(Ok(frame)) => (frame.at.as_nanos(), frame.link.0, frame.interface, frame.bytes.to_vec()),
        };
        let name = reader.interface_name(interface).map(str::to_owned);
        frames.push((at, link, interface, name, bytes));
    }
}

type Expected<'a> = (i64, u16, u32, Option<&'a str>, &'a [u8]);

fn check(file: &[u8], expected: &[Expected<'_>]) {
    let (frames, error) = read(file);
    assert!(error.is_none(), "{error:?}");
    let frames: Vec<Expected<'_>> = frames
        .iter()
        .map(|(at, link, interface, name, bytes)| (*at, *link, *interface, name.as_deref(), bytes.as_slice()))
        .collect();
    assert_eq!(frames, expected);
}

const SECOND: i64 = 1_000_000_000;

#[test]
fn pcap_in_both_byte_orders_and_both_resolutions() {
    for order in [Little, Big] {
        check(&pcap(order, 0xa1b2_c3d4, 9, b"abc"), &[(7 * SECOND + 9_000, 1, 0, None, b"abc")]);
        check(&pcap(order, 0xa1b2_3c4d, 9, b"abc"), &[(7 * SECOND + 9, 1, 0, None, b"abc")]);
    }
}

#[test]
fn a_packet_cut_by_the_snap_length_says_so() {
    let file = pcap(Little, 0xa1b2_c3d4, 0, b"abc");
    let mut reader = Reader::new(file.as_slice()).unwrap();
    assert_eq!(reader.next().unwrap().unwrap().original_len, 8);
}

#[test]
fn pcapng_numbers_interfaces_through_all_its_sections() {
    for (first, second) in [(Little, Little), (Big, Big), (Little, Big)] {
        let file = [
            section(first),
            interface(first, 1, &[option(first, 2, b"eth0")]),
            interface(first, 101, &[option(first, 9, &[9])]),
            packet(first, 1, 5, b"a"),
            // A kind that is not known, to be stepped over.
            block(first, 0x0bad, b"whatever"),
            packet(first, 0, 6, b"bc"),
            section(second),
            interface(second, 113, &[option(second, 2, b"any"), option(second, 9, &[0x80 | 10])]),
            packet(second, 0, 2048, b"d"),
        ]
        .concat();
        check(
            &file,
            &[
                (5, 101, 1, None, b"a"),
                (6_000, 1, 0, Some("eth0"), b"bc"),
                (2 * SECOND, 113, 2, Some("any"), b"d"),
            ],
        );
    }
}

#[test]
fn the_time_offset_of_an_interface_counts() {
    let options = [option(Little, 14, &3_i64.to_le_bytes())];
    let file = [section(Little), interface(Little, 1, &options), packet(Little, 0, 1, b"a")].concat();
    check(&file, &[(3 * SECOND + 1_000, 1, 0, None, b"a")]);
}

#[test]
fn a_simple_packet_belongs_to_the_first_interface() {
    let simple = block(Little, 3, &[&3_u32.to_le_bytes()[..], b"abc"].concat());
    let file = [section(Little), interface(Little, 1, &[]), simple].concat();
    check(&file, &[(0, 1, 0, None, b"abc")]);
}

#[test]
fn the_modified_pcap_of_kuznetzovs_patch() {
    for order in [Little, Big] {
        let mut file = pcap(order, 0xa1b2_cd34, 9, b"abc");
        // Interface index, protocol, packet type and padding stand between the record's header and its bytes.
        file.splice(40..40, [0, 0, 0, 2, 8, 0, 4, 0]);
        check(&file, &[(7 * SECOND + 9_000, 1, 0, None, b"abc")]);
    }
}

#[test]
fn pcap_under_the_numbers_of_other_tools() {
    for order in [Little, Big] {
        for magic in [0xa1b2_34cd, 0xa12b_3c4d] {
            check(&pcap(order, magic, 9, b"abc"), &[(7 * SECOND + 9_000, 1, 0, None, b"abc")]);
        }
        for magic in [0x1c00_01ab, 0x1c00_01ac] {
            let mut file = pcap(order, magic, 9, b"abc");
            // The length of all records stands behind the header.
            file.splice(24..24, order.u32(19));
            check(&file, &[(7 * SECOND + 9, 1, 0, None, b"abc")]);
        }
    }
}

#[test]
fn the_lengths_of_a_record_may_have_changed_places_in_old_files() {
    let mut file = pcap(Big, 0xa1b2_c3d4, 9, b"abc");
    let (captured, original) = (32..36, 36..40);
    file[captured].copy_from_slice(&8_u32.to_be_bytes());
    file[original].copy_from_slice(&3_u32.to_be_bytes());
    let (frames, error) = read(&file);
    assert!(frames.is_empty() && error.is_some(), "not in version 2.4");
    for minor in [2, 3] {
        file[7] = minor;
        check(&file, &[(7 * SECOND + 9_000, 1, 0, None, b"abc")]);
        assert_eq!(Reader::new(file.as_slice()).unwrap().next().unwrap().unwrap().original_len, 8);
    }
}

/// A snoop file with packets captured 7 seconds and 9 microseconds after the epoch.
fn snoop(link: u32, packets: &[&[u8]]) -> Vec<u8> {
    let mut file = b"snoop\0\0\0\0\0\0\x02".to_vec();
    file.extend(link.to_be_bytes());
    for packet in packets {
        let length = u32::try_from(packet.len()).unwrap();
        for field in [length + 5, length, (length + 24).next_multiple_of(4), 0, 7, 9] {
            file.extend(field.to_be_bytes());
        }
        file.extend(*packet);
        file.resize(file.len().next_multiple_of(4), 0);
    }
    file
}

#[test]
fn snoop_of_ethernet() {
    let at = 7 * SECOND + 9_000;
    let file = snoop(4, &[b"abc", b"defgh"]);
    check(&file, &[(at, 1, 0, None, b"abc"), (at, 1, 0, None, b"defgh")]);
    assert_eq!(Reader::new(file.as_slice()).unwrap().next().unwrap().unwrap().original_len, 8);
    let (_, error) = read(&snoop(8, &[b"abc"]));
    assert!(matches!(error.expect("an error").damage, Damage::Form(_)));
    let mut short = snoop(4, &[b"abc"]);
    short[27] = 20;
    let (_, error) = read(&short);
    assert!(matches!(error.expect("an error").damage, Damage::Record(_)));
}

#[test]
fn other_pcapng_packets_and_blocks_that_carry_none() {
    let mut obsolete = packet(Little, 0, 5, b"abc");
    obsolete[0] = 2;
    // The upper half of an obsolete packet's interface is a count of drops.
    obsolete[10] = 9;
    let file = [
        section(Little),
        interface(Little, 1, &[option(Little, 9, &[3])]),
        // Secrets for decryption, name resolution, statistics, two custom ones, and one that is not known.
        block(Little, 10, b"TLSK\x04\0\0\0keys"),
        block(Little, 4, &[0; 4]),
        block(Little, 5, &[0; 12]),
        block(Little, 0x0bad, &[0; 8]),
        block(Little, 0x4000_0bad, &[0; 8]),
        block(Little, 0x7777, &[]),
        obsolete,
    ]
    .concat();
    check(&file, &[(5_000_000, 1, 0, None, b"abc")]);
}

#[test]
fn what_the_recorder_lost_is_told() {
    let dropped = |file: &[u8]| {
        let mut reader = Reader::new(file).unwrap();
        while reader.next().is_some() {}
        reader.dropped()
    };
    let statistics = |order, interface: u32, options: &[Vec<u8>]| {
        block(order, 5, &[&Order::u32(order, interface)[..], &[0; 8], &options.concat()].concat())
    };
    for order in [Little, Big] {
        let number = |value: u64| match order {
            Little => value.to_le_bytes(),
            Big => value.to_be_bytes(),
        };
        let two = [section(order), interface(order, 1, &[]), interface(order, 1, &[])].concat();
        assert_eq!(dropped(&two), None);
        let file = [
            two,
            statistics(order, 0, &[option(order, 5, &number(3))]),
            // The latest counts; what the system dropped is added; one that says nothing changes nothing.
            statistics(
                order,
                0,
                &[option(order, 4, &number(9)), option(order, 5, &number(4)), option(order, 7, &number(1))],
            ),
            statistics(order, 0, &[option(order, 4, &number(9))]),
            statistics(
                order,
                1,
                &[option(order, 7, &number(10)), option(order, 0, b""), option(order, 7, &number(1))],
            ),
            statistics(order, 7, &[option(order, 5, &number(100))]),
        ]
        .concat();
        assert_eq!(dropped(&file), Some(15));
    }
    let mut file = snoop(4, &[b"abcd", b"abcd"]);
    assert_eq!(dropped(&file), Some(0));
    file[16 + 28 + 15] = 6;
    assert_eq!(dropped(&file), Some(6));
    assert_eq!(dropped(&pcap(Little, 0xa1b2_c3d4, 0, b"abc")), None);
}

#[test]
fn every_resolution_of_time() {
    for (unit, ticks, nanos) in [
        (0, 3, 3 * SECOND),
        (6, 3, 3_000),
        (9, 3, 3),
        (12, 3_999, 3),
        (0x80, 3, 3 * SECOND),
        (0x80 | 20, 1 << 19, SECOND / 2),
        (0x80 | 63, 1 << 62, SECOND / 2),
        // Finer than anything that fits: no time passes. Coarser than fits: the end of time.
        (127, u64::MAX, 0),
        (0xff, u64::MAX, 0),
        (0, u64::MAX, i64::MAX),
    ] {
        let options = [option(Little, 9, &[unit])];
        let file = [section(Little), interface(Little, 1, &options), packet(Little, 0, ticks, b"a")].concat();
        check(&file, &[(nanos, 1, 0, None, b"a")]);
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(bytes).unwrap();
    gzip.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    ruzstd::encoding::compress_to_vec(bytes, ruzstd::encoding::CompressionLevel::Fastest)
}

#[test]
fn compressed_files_are_looked_into() {
    let file = pcap(Little, 0xa1b2_c3d4, 0, b"abc");
    let expected: &[Expected<'_>] = &[(7 * SECOND, 1, 0, None, b"abc")];
    let (first, second) = file.split_at(30);
    // One after the other, as `cat` joins rotated files' halves; with an empty one and one to be skipped in between.
    let skipped = [0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, b'a', b'b', b'c'];
    for compressed in [
        gzip(&file),
        [gzip(first), gzip(b""), gzip(second)].concat(),
        zstd(&file),
        [zstd(first), zstd(second)].concat(),
        [&skipped[..], &zstd(first), &skipped, &zstd(b""), &zstd(second), &skipped].concat(),
        zstd(&[section(Big), interface(Big, 1, &[]), packet(Big, 0, 7_000_000, b"abc")].concat()),
    ] {
        check(&compressed, expected);
    }
}

/// A file of every form, each with the same two packets inside and what comes before and after each of them.
fn every_form() -> Vec<(&'static str, Vec<u8>, Vec<usize>)> {
    let two = |mut one: Vec<u8>, head: usize| {
        let record = one.split_off(head);
        let ends = vec![head, head + record.len(), head + 2 * record.len()];
        ([one, record.clone(), record].concat(), ends)
    };
    let mut forms = Vec::new();
    for (name, order, magic) in [
        ("pcap", Little, 0xa1b2_c3d4),
        ("pcap, big-endian", Big, 0xa1b2_c3d4),
        ("pcap in nanoseconds", Little, 0xa1b2_3c4d),
    ] {
        let (file, ends) = two(pcap(order, magic, 0, FRAME), 24);
        forms.push((name, file, ends));
    }
    let mut patched = pcap(Little, 0xa1b2_cd34, 0, FRAME);
    patched.splice(40..40, [0; 8]);
    let (file, ends) = two(patched, 24);
    forms.push(("modified pcap", file, ends));
    let (file, ends) = two(snoop(4, &[FRAME]), 16);
    forms.push(("snoop", file, ends));
    for order in [Little, Big] {
        let blocks = [
            section(order),
            interface(order, 1, &[]),
            packet(order, 0, 1, FRAME),
            packet(order, 0, 1, FRAME),
        ];
        let ends = blocks.iter().scan(0, |end, block| {
            *end += block.len();
            Some(*end)
        });
        forms.push(("pcapng", blocks.concat(), ends.collect()));
    }
    forms
}

/// An Ethernet frame with a TCP segment.
const FRAME: &[u8] = b"\x02\0\0\0\0\x02\x02\0\0\0\0\x01\x08\0\
    \x45\0\0\x2c\0\0\x40\0\x40\x06\0\0\xc0\0\x02\x01\xc0\0\x02\x02\
    \x9c\x40\x1f\x90\0\0\x03\xe8\0\0\0\0\x50\x18\x04\0\0\0\0\0ping";

#[test]
fn every_form_cut_anywhere_yields_what_came_before() {
    for (name, file, ends) in every_form() {
        let (all, error) = read(&file);
        assert!(error.is_none(), "{name}: {error:?}");
        assert!(all.len() == 2 && all.iter().all(|(.., bytes)| bytes == FRAME), "{name}");
        for end in 0..file.len() {
            let (frames, error) = read(&file[..end]);
            assert_eq!(
                frames.len(),
                ends.iter().filter(|&&at| at <= end).count().saturating_sub(ends.len() - 2)
            );
            assert!(all.starts_with(&frames), "{name}, {end}");
            match error.map(|error| error.damage) {
                None => assert!(ends.contains(&end), "{name}: {end} is in the middle of a record"),
                Some(Damage::Empty) => assert_eq!(end, 0),
                Some(Damage::NoCapture(_)) => assert!((1..4).contains(&end), "{name}: {end}"),
                Some(Damage::Truncated) => assert!(!ends.contains(&end), "{name}: {end} is between records"),
                Some(other) => panic!("{name}, {end}: {other}"),
            }
        }
    }
}

#[test]
fn a_compressed_file_cut_anywhere_yields_what_came_before() {
    for (name, file, _) in every_form() {
        for compress in [gzip, zstd] {
            let compressed = compress(&file);
            let (all, error) = read(&compressed);
            assert!(error.is_none() && all.len() == 2, "{name}: {error:?}");
            for end in 0..compressed.len() {
                let (frames, error) = read(&compressed[..end]);
                assert!(all.starts_with(&frames), "{name}, {end}");
                let damage = error.map(|error| error.damage);
                let cut =
                    matches!(damage, None | Some(Damage::Empty | Damage::NoCapture(_) | Damage::Truncated));
                assert!(cut, "{name}, {end}: {damage:?}");
            }
        }
    }
}

#[test]
fn a_zstd_file_cut_late_yields_all_but_the_last_block() {
    let mut file = pcap(Little, 0xa1b2_c3d4, 0, FRAME);
    let record = file.split_off(24);
    for number in 0..20_000_u32 {
        // Bytes that do not compress, so that there are many blocks.
        let mut record = record.clone();
        let noise = number.wrapping_mul(0x9e37_79b9).to_le_bytes();
        record.splice(66..70, noise);
        file.extend(record);
    }
    let compressed = zstd(&file);
    let (all, _) = read(&compressed);
    assert_eq!(all.len(), 20_000);
    let (frames, error) = read(&compressed[..compressed.len() - 100]);
    assert!(matches!(error.expect("an error").damage, Damage::Truncated));
    // A block is at most 128 KiB.
    assert!(frames.len() > 20_000 - 128 * 1024 / 70 - 2, "{}", frames.len());
    assert!(all.starts_with(&frames));
}

proptest! {
    #[test]
    fn changed_bytes_do_no_harm(
        form in any::<prop::sample::Index>(), compression in 0..3,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let forms = every_form();
        let (_, file, _) = form.get(&forms);
        let mut file = match compression {
            0 => file.clone(),
            1 => gzip(file),
            _ => zstd(file),
        };
        for (place, value) in changes {
            *place.get_mut(&mut file) = value;
        }
        let (frames, _) = read(&file);
        let bytes: usize = frames.iter().map(|(.., bytes)| 16 + bytes.len()).sum();
        prop_assert!(compression > 0 || bytes <= file.len(), "more was read than was there");
    }
}

/// An input that hands over its pieces one a read, and fails if it is read when its reader could have gone on without.
struct Pieces<'a> {
    pieces: std::vec::IntoIter<&'a [u8]>,
    frames_due: &'a std::cell::Cell<usize>,
}

impl std::io::Read for Pieces<'_> {
    fn read(&mut self, room: &mut [u8]) -> std::io::Result<usize> {
        assert_eq!(self.frames_due.get(), 0, "a frame that is at hand waits for more input");
        let piece = self.pieces.next().unwrap_or_default();
        room[..piece.len()].copy_from_slice(piece);
        if piece.len() > 1 {
            self.frames_due.set(2);
        }
        Ok(piece.len())
    }
}

#[test]
fn frames_of_a_stream_come_before_more_of_it_is_read() {
    let pcap_file = pcap(Little, 0xa1b2_c3d4, 0, b"abc");
    let (head, record) = pcap_file.split_at(24);
    let pair = [record, record].concat();
    let frames_due = std::cell::Cell::new(0);
    // The header byte by byte, then twice two records and the first byte of the next one.
    let mut pieces: Vec<&[u8]> = head.chunks(1).collect();
    let with_next = [&pair[..], &pair[..1]].concat();
    let rest = &pair[1..];
    pieces.extend([&with_next[..], rest]);
    let mut reader = Reader::new(Pieces { pieces: pieces.into_iter(), frames_due: &frames_due }).unwrap();
    let mut batches = Vec::new();
    while let Some(frames) = reader.batch(100) {
        let count = frames.unwrap().map(|frame| assert_eq!(frame.bytes, b"abc")).count();
        frames_due.set(frames_due.get() - count);
        batches.push(count);
    }
    assert_eq!(batches, [2, 2]);
}

/// An input that hands over one byte a read.
struct Trickle<'a>(&'a [u8]);

impl std::io::Read for Trickle<'_> {
    fn read(&mut self, room: &mut [u8]) -> std::io::Result<usize> {
        let room = room.get_mut(..1).unwrap_or_default();
        self.0.read(room)
    }
}

#[test]
fn every_form_may_come_byte_by_byte() {
    for (name, file, _) in every_form() {
        for bytes in [&file, &gzip(&file), &zstd(&file)] {
            let mut reader = Reader::new(Trickle(bytes)).unwrap();
            let mut count = 0;
            while let Some(frame) = reader.next() {
                assert_eq!(frame.unwrap().bytes, FRAME, "{name}");
                count += 1;
            }
            assert_eq!(count, 2, "{name}");
        }
    }
}

#[test]
fn batches_and_single_frames_are_the_same_frames() {
    let record = pcap(Little, 0xa1b2_c3d4, 0, b"").split_off(24);
    let mut pcap_file = pcap(Little, 0xa1b2_c3d4, 0, b"");
    let mut pcapng_file = [section(Little), interface(Little, 1, &[])].concat();
    for number in 0..500_u32 {
        let bytes = number.to_le_bytes().repeat(300);
        let mut record = record.clone();
        record[8..12].copy_from_slice(&1200_u32.to_le_bytes());
        pcap_file.extend(record);
        pcap_file.extend(&bytes);
        pcapng_file.extend(packet(Little, 0, number.into(), &bytes));
    }
    for file in [pcap_file, pcapng_file] {
        let (single, error) = read(&file);
        assert!(error.is_none() && single.len() >= 500);
        for most in [1, 7, 100_000] {
            let mut reader = Reader::new(file.as_slice()).unwrap();
            let mut together: Vec<Vec<u8>> = Vec::new();
            // Both ways of reading may take turns.
            while let Some(frames) = reader.batch(most) {
                let frames = frames.unwrap();
                assert!((1..=most).contains(&frames.len()));
                together.extend(frames.map(|frame| frame.bytes.to_vec()));
                together.extend(reader.next().map(|frame| frame.unwrap().bytes.to_vec()));
            }
            let single: Vec<_> = single.iter().map(|(.., bytes)| bytes.clone()).collect();
            assert_eq!(together, single);
        }
    }
}

#[test]
fn what_is_no_capture_says_so() {
    let refused = |file: &[u8]| read(file).1.expect("an error").damage;
    assert!(matches!(refused(b""), Damage::Empty));
    assert!(matches!(refused(b"apiVersion: v1\nkind: Pod\n"), Damage::NoCapture([b'a', b'p', b'i', b'V'])));
    // What other analysers write, and what is to be decompressed first, has a name.
    let named = |file: &[u8], name: &str| {
        let text = read(file).1.expect("an error").to_string();
        assert!(text.contains(name), "{text}");
    };
    named(b"GMBU\0\x02\x01\0", "Network Monitor");
    named(b"ObserverPktBufferVersion=15.00", "Observer");
    named(b"\x04\x22\x4d\x18\x64\x40\xa7", "lz4");
    named(b"\xfd7zXZ\0\0\x04", "xz");
    named(&gzip(&gzip(b"a")), "inside another");
    // Compressed, yet no capture inside.
    assert!(matches!(refused(&gzip(b"apiVersion: v1")), Damage::NoCapture([b'a', b'p', b'i', b'V'])));
    assert!(matches!(refused(&zstd(b"apiVersion: v1")), Damage::NoCapture([b'a', b'p', b'i', b'V'])));
    assert!(matches!(refused(&gzip(b"")), Damage::Empty));
}

#[test]
fn a_record_that_contradicts_itself_ends_the_file_after_what_was_read() {
    let head = [section(Little), interface(Little, 1, &[]), packet(Little, 0, 1, b"abc")].concat();
    let mut uneven = packet(Little, 0, 1, b"abc");
    *uneven.last_mut().unwrap() = 1;
    let mut overlong = packet(Little, 0, 1, b"abc");
    overlong[20] = 200;
    let broken = [
        uneven,
        overlong,
        // An interface that was not introduced, a block shorter than its own header, and one that is too short.
        packet(Little, 4, 1, b"abc"),
        [6_u32.to_le_bytes(), 4_u32.to_le_bytes(), [0; 4]].concat(),
        block(Little, 6, &[0; 8]),
        block(Little, 1, &[0; 4]),
    ];
    for block in broken {
        let (frames, error) = read(&[head.clone(), block.clone()].concat());
        assert_eq!(frames.len(), 1);
        let error = error.expect("an error");
        assert!(matches!(error.damage, Damage::Record(_)), "{error} for {block:02x?}");
        assert_eq!(error.packets, 1);
    }
    let mut huge = pcap(Little, 0xa1b2_c3d4, 0, b"abc");
    huge[35] = 0x7f;
    assert!(matches!(read(&huge).1.expect("an error").damage, Damage::Record(_)));
}
