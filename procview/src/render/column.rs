//! Numbers in columns, without the cost of the formatting machinery.

/// Appends `value`.
pub(crate) fn number(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// Appends a blank and `value`.
pub(crate) fn next(out: &mut Vec<u8>, value: u64) {
    out.push(b' ');
    number(out, value);
}

/// Appends `value` right-aligned so that it ends `width` bytes after `start`; a longer one takes
/// the room it needs.
pub(crate) fn right(out: &mut Vec<u8>, start: usize, width: usize, value: u64) {
    let mut buffer = itoa::Buffer::new();
    let digits = buffer.format(value).as_bytes();
    let end = (start + width).max(out.len() + digits.len());
    out.resize(end - digits.len(), b' ');
    out.extend_from_slice(digits);
}

/// Appends `value` with two digits after the point, of which `hundredths` are the last.
pub(crate) fn fixed2(out: &mut Vec<u8>, whole: u64, hundredths: u64) {
    number(out, whole);
    out.push(b'.');
    out.push(b'0' + u8::try_from(hundredths / 10 % 10).unwrap_or(0));
    out.push(b'0' + u8::try_from(hundredths % 10).unwrap_or(0));
}
