//! Steps through bytes from the wire; past the end there is nothing, never a panic.

/// What is left of a run of bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cursor<'a>(pub(crate) &'a [u8]);

impl<'a> Cursor<'a> {
    pub(crate) fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    /// Takes up to `count` bytes: all there are when the bytes end early.
    pub(crate) fn take_up_to(&mut self, count: usize) -> &'a [u8] {
        self.take(count.min(self.0.len())).unwrap_or_default()
    }

    pub(crate) fn u8(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    pub(crate) fn u16(&mut self) -> Option<u16> {
        self.take(2)?.try_into().ok().map(u16::from_be_bytes)
    }

    pub(crate) fn u24(&mut self) -> Option<u32> {
        let (high, low) = (self.u8()?, self.u16()?);
        Some(u32::from(high) << 16 | u32::from(low))
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.take(4)?.try_into().ok().map(u32::from_be_bytes)
    }

    /// Takes a vector with a one-byte length.
    pub(crate) fn vector8(&mut self) -> Option<&'a [u8]> {
        let count = self.u8()?;
        self.take(usize::from(count))
    }

    /// Takes a vector with a two-byte length.
    pub(crate) fn vector16(&mut self) -> Option<&'a [u8]> {
        let count = self.u16()?;
        self.take(usize::from(count))
    }

    /// Takes a vector with a three-byte length.
    pub(crate) fn vector24(&mut self) -> Option<&'a [u8]> {
        let count = self.u24()?;
        self.take(usize::try_from(count).ok()?)
    }
}
