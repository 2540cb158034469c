//! Frames gathered, so that the engine can look many connections up at a time.
//!
//! libpcap lends out one frame at a time, and a look-up that waits for memory costs more than copying a small frame does.
//! Large frames are few for their bytes: they are not copied.

use flow::Timestamp;

use crate::engine::Engine;
use crate::frame::{Frame, LinkType};

/// The longest frame that is copied.
const COPIED: usize = 4096;

/// How many bytes are gathered: few enough to stay in a core's second-level cache.
const GATHERED: usize = 128 * 1024;

/// Frames in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct Batch {
    bytes: Vec<u8>,
    frames: Vec<Gathered>,
}

#[derive(Debug)]
struct Gathered {
    at: Timestamp,
    link: LinkType,
    interface: u32,
    original_len: u32,
    length: usize,
}

impl Batch {
    /// Takes a frame, and gives frames to the engine when enough are gathered.
    pub(super) fn add(&mut self, frame: &Frame<'_>, engine: &mut Engine) {
        if frame.bytes.len() > COPIED {
            self.give(engine);
            engine.frame(frame);
            return;
        }
        let Frame { at, link, interface, original_len, bytes } = *frame;
        self.bytes.extend_from_slice(bytes);
        self.frames.push(Gathered { at, link, interface, original_len, length: bytes.len() });
        if self.bytes.len() >= GATHERED {
            self.give(engine);
        }
    }

    /// Gives the engine what is gathered.
    pub(super) fn give(&mut self, engine: &mut Engine) {
        let mut rest = self.bytes.as_slice();
        engine.frames(self.frames.iter().map(|frame| Frame {
            at: frame.at,
            link: frame.link,
            interface: frame.interface,
            original_len: frame.original_len,
            bytes: rest.split_off(..frame.length).unwrap_or_default(),
        }));
        self.frames.clear();
        self.bytes.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::path::Path;

    use super::*;
    use crate::source::file::Reader;

    #[test]
    fn gathered_frames_say_the_same_as_single_ones() {
        let case = Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata/boutique/capture.pcap");
        let observe = |give: &mut dyn FnMut(&Frame<'_>, &mut Engine), end: &mut dyn FnMut(&mut Engine)| {
            let mut engine = Engine::default();
            let mut reader = Reader::new(File::open(&case).unwrap()).unwrap();
            while let Some(frame) = reader.next() {
                give(&frame.unwrap(), &mut engine);
            }
            end(&mut engine);
            engine.finish();
            let flows: Vec<_> = std::iter::from_fn(|| engine.poll()).collect();
            (flows, engine.coverage())
        };
        let single = observe(&mut |frame, engine| engine.frame(frame), &mut |_| ());
        assert!(single.0.len() > 10, "the case holds flows");
        // Shared by both closures, which run in turn.
        let batch = std::cell::RefCell::new(Batch::default());
        let gathered = observe(&mut |frame, engine| batch.borrow_mut().add(frame, engine), &mut |engine| {
            batch.borrow_mut().give(engine)
        });
        assert_eq!(gathered, single);
    }
}
