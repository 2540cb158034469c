//! Asks for memory before it is read, so that the ways of many packets through it overlap. No answer depends on it.

use std::slice;

use prefetch_index::prefetch_index;

/// Asks for the line of memory in which a value begins, without waiting for it.
#[inline(always)]
pub(crate) fn prefetch<T>(value: &T) {
    prefetch_index(slice::from_ref(value), 0);
}

/// Tells of places in a value, in their order, whether asking for them leaves out no line of memory between: lines may begin
/// anywhere in it.
pub(crate) const fn leave_out_no_line(mut places: &[usize]) -> bool {
    while let [one, rest @ ..] = places {
        if let [next, ..] = rest
            && next.saturating_sub(*one) > LINE
        {
            return false;
        }
        places = rest;
    }
    true
}

/// Bytes in a line of memory.
const LINE: usize = 64;

/// Asks for the line in which an element begins, be there one or not.
#[inline(always)]
pub(crate) fn prefetch_at<T>(values: &[T], index: usize) {
    prefetch_index(values, index);
}
