//! The shapes most kernel files share: lines, words, decimal numbers, `key value` tables.

/// The lines of `text` without their newline; a last line without one counts too.
pub fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
}

/// The words of `line`, separated by spaces and tabs.
pub fn words(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(|byte| matches!(byte, b' ' | b'\t'))
        .filter(|word| !word.is_empty())
}

/// A decimal number that fills `word` and fits 64 bits.
///
/// A number beyond that saturates: some kernels print byte counters near `u64::MAX` for
/// "unlimited", and an absurd value must not turn into a small one.
pub fn number(word: &[u8]) -> Option<u64> {
    if word.is_empty() {
        return None;
    }
    word.iter().try_fold(0_u64, |value, byte| {
        byte.is_ascii_digit().then(|| {
            value
                .saturating_mul(10)
                .saturating_add(u64::from(byte - b'0'))
        })
    })
}

/// Calls `each(key, value)` for the lines `key value` of a flat keyed file such as `memory.stat`
/// or `cpu.stat`. Lines of another shape are skipped. Negative values, which a racing kernel
/// counter can show for a moment, count as 0.
///
/// Source: Documentation/admin-guide/cgroup-v2.rst, "Flat keyed".
pub fn flat_keyed(text: &[u8], mut each: impl FnMut(&[u8], u64)) {
    for line in lines(text) {
        let mut words = words(line);
        let (Some(key), Some(value), None) = (words.next(), words.next(), words.next()) else {
            continue;
        };
        match value.strip_prefix(b"-") {
            Some(rest) if number(rest).is_some() => each(key, 0),
            Some(_) => {}
            None => {
                if let Some(value) = number(value) {
                    each(key, value);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn keys_are_whole_words() {
        let mut seen = Vec::new();
        flat_keyed(
            b"file 1\nfile_mapped 2\nodd\na b c\nneg -5\nbad 1x\nlast 3",
            |key, value| {
                seen.push((String::from_utf8_lossy(key).into_owned(), value));
            },
        );
        let seen: Vec<_> = seen
            .iter()
            .map(|(key, value)| (key.as_str(), *value))
            .collect();
        assert_eq!(
            seen,
            [("file", 1), ("file_mapped", 2), ("neg", 0), ("last", 3)]
        );
    }

    #[test]
    fn a_number_saturates() {
        assert_eq!(number(b"18446744073709551616"), Some(u64::MAX));
        assert_eq!(number(b""), None);
        assert_eq!(number(b"1 "), None);
    }

    proptest! {
        #[test]
        fn every_number_reads_back(value: u64) {
            prop_assert_eq!(number(value.to_string().as_bytes()), Some(value));
        }

        #[test]
        fn any_bytes_are_survived(text in proptest::collection::vec(any::<u8>(), 0..300)) {
            flat_keyed(&text, |key, _| assert!(!key.is_empty()));
        }
    }
}
