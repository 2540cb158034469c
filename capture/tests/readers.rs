//! Capture files in every form that is read, and in the ways they break.

#![expect(clippy::unwrap_used, reason = "a test may stop here")]

use std::io::Write as _;

use capture::source::file::{Damage, FileError, Reader};

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
fn gzip_is_looked_into() {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&pcap(Little, 0xa1b2_c3d4, 0, b"abc")).unwrap();
    check(&gzip.finish().unwrap(), &[(7 * SECOND, 1, 0, None, b"abc")]);
}

#[test]
fn a_file_cut_anywhere_yields_what_came_before() {
    let pcap_file =
        [pcap(Little, 0xa1b2_c3d4, 0, b"abc"), pcap(Little, 0xa1b2_c3d4, 0, b"def").split_off(24)].concat();
    let pcapng_file = [
        section(Little),
        interface(Little, 1, &[]),
        packet(Little, 0, 1, b"abc"),
        packet(Little, 0, 2, b"def"),
    ]
    .concat();
    for (file, whole) in [(&pcap_file, &[24, 43, 62][..]), (&pcapng_file, &[28, 48, 84, 120][..])] {
        let (all, error) = read(file);
        assert!(error.is_none() && all.len() == 2);
        for end in 0..file.len() {
            let (frames, error) = read(&file[..end]);
            assert!(all.starts_with(&frames), "{end}");
            let damage = error.map(|error| error.damage);
            match damage {
                None => assert!(whole.contains(&end), "{end} is in the middle of a record"),
                Some(Damage::Empty) => assert_eq!(end, 0),
                Some(Damage::NoCapture(_)) => assert!((1..4).contains(&end), "{end}"),
                Some(Damage::Truncated) => assert!(!whole.contains(&end), "{end} is between records"),
                Some(other) => panic!("{end}: {other}"),
            }
        }
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
    assert!(matches!(refused(b"snoop\0\0\0\0\0\0\x02"), Damage::Form("snoop")));
    assert!(matches!(refused(&[0x28, 0xb5, 0x2f, 0xfd, 0]), Damage::Form("zstd")));
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
