//! Where flows go.

use std::io::{self, Write};

use flow::{Coverage, Flow};

/// Takes flows as they become known.
pub trait Sink {
    /// Takes a flow; it may be kept back until [`Sink::flush`].
    ///
    /// # Errors
    ///
    /// Returns an error if flows can no longer be delivered.
    fn flow(&mut self, flow: &Flow) -> io::Result<()>;

    /// Delivers what was kept back: nothing else is known at the moment. `coverage` is the account so far.
    ///
    /// # Errors
    ///
    /// Returns an error if flows can no longer be delivered.
    fn flush(&mut self, coverage: &Coverage) -> io::Result<()>;
}

/// One JSON object a line: standard output, or a file.
#[derive(Debug)]
pub struct Lines<W>(pub W);

impl<W: Write> Sink for Lines<W> {
    fn flow(&mut self, flow: &Flow) -> io::Result<()> {
        serde_json::to_writer(&mut self.0, flow)?;
        self.0.write_all(b"\n")
    }

    fn flush(&mut self, _: &Coverage) -> io::Result<()> {
        self.0.flush()
    }
}
