//! Zstandard streams (RFC 8878) as bytes that read on from frame to frame.
//!
//! The decoder hands over only what is older than its window, so that a stream lags behind by that much; where the
//! input breaks off, everything that was decoded is handed over before the error.

use std::io::{self, Read};

use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

/// The longest window that is believed, as `zstd --ultra --long=27` makes it: what the decoder holds in memory.
const MAX_WINDOW: u64 = 128 * 1024 * 1024;

/// A last block without content, and room for a checksum: what ends a frame that was cut.
const LAST_BLOCK: [u8; 7] = [1, 0, 0, 0, 0, 0, 0];

/// Decompresses what it reads.
pub(super) struct Zstd<R> {
    source: Watched<R>,
    decoder: FrameDecoder,
    /// What ended the reading; reported once everything before it has been handed over.
    failed: Option<io::Error>,
    done: bool,
}

impl<R: Read> Zstd<R> {
    pub(super) fn new(source: R) -> Self {
        let mut decoder = FrameDecoder::new();
        decoder.set_max_window_size(MAX_WINDOW);
        Self { source: Watched { source, ended: false }, decoder, failed: None, done: false }
    }

    /// Begins the next frame, or steps over one that is to be skipped; tells whether there was one.
    fn begin(&mut self) -> io::Result<bool> {
        let mut first = [0];
        if self.source.read(&mut first)? == 0 {
            return Ok(false);
        }
        let error = match self.decoder.reset(first.chain(&mut self.source)) {
            Ok(()) => return Ok(true),
            Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                length, ..
            })) => {
                let length = u64::from(length);
                if io::copy(&mut (&mut self.source).take(length), &mut io::sink())? == length {
                    return Ok(true);
                }
                io::ErrorKind::UnexpectedEof.into()
            }
            Err(error) => self.source.why(error),
        };
        Err(error)
    }
}

impl<R: Read> Read for Zstd<R> {
    fn read(&mut self, block: &mut [u8]) -> io::Result<usize> {
        loop {
            if self.decoder.can_collect() > 0 || block.is_empty() {
                return self.decoder.read(block);
            }
            if let Some(error) = self.failed.take() {
                return Err(error);
            }
            if self.done {
                return Ok(0);
            }
            if self.decoder.is_finished() {
                match self.begin() {
                    Ok(more) => self.done = !more,
                    Err(error) => {
                        self.done = true;
                        return Err(error);
                    }
                }
            } else if let Err(error) =
                self.decoder.decode_blocks(&mut self.source, BlockDecodingStrategy::UptoBlocks(1))
            {
                self.failed = Some(self.source.why(error));
                self.done = true;
                if self.decoder.decode_blocks(LAST_BLOCK.as_slice(), BlockDecodingStrategy::All).is_err() {
                    self.decoder = FrameDecoder::new();
                }
            }
        }
    }
}

/// An input that remembers whether it came to its end.
struct Watched<R> {
    source: R,
    ended: bool,
}

impl<R> Watched<R> {
    /// Tells a stream that was cut from one that is damaged.
    fn why(&self, error: FrameDecoderError) -> io::Error {
        if self.ended { io::ErrorKind::UnexpectedEof.into() } else { io::Error::other(error) }
    }
}

impl<R: Read> Read for Watched<R> {
    fn read(&mut self, block: &mut [u8]) -> io::Result<usize> {
        let count = self.source.read(block)?;
        self.ended |= count == 0 && !block.is_empty();
        Ok(count)
    }
}
