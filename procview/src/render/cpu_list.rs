//! CPU lists and masks as the kernel prints them.
//!
//! Source: cpuset(7), "List format" and "Mask format".

use super::column;
use crate::parse::CpuList;

/// `0-2,5` as a line.
pub(crate) fn line(list: &CpuList) -> Vec<u8> {
    let mut out = Vec::new();
    let mut cpus = list.as_slice().iter().copied().peekable();
    while let Some(first) = cpus.next() {
        let mut last = first;
        while cpus.next_if_eq(&(last + 1)).is_some() {
            last += 1;
        }
        if !out.is_empty() {
            out.push(b',');
        }
        column::number(&mut out, u64::from(first));
        if last > first {
            out.push(b'-');
            column::number(&mut out, u64::from(last));
        }
    }
    out.push(b'\n');
    out
}

/// `0 1 2 5` as a line.
pub(crate) fn words(list: &CpuList) -> Vec<u8> {
    let mut out = Vec::new();
    for cpu in list.as_slice() {
        if !out.is_empty() {
            out.push(b' ');
        }
        column::number(&mut out, u64::from(*cpu));
    }
    out.push(b'\n');
    out
}

/// A hexadecimal mask with as many digits, in the same groups, as the host's mask `like` has, as the
/// kernel prints one bit for each CPU it could have; more only if the list has a higher CPU.
pub(crate) fn mask(list: &CpuList, like: &[u8]) -> Vec<u8> {
    let needed = list
        .as_slice()
        .last()
        .map_or(1, |last| *last as usize / 4 + 1);
    let given = like.iter().filter(|byte| byte.is_ascii_hexdigit()).count();
    let mut digits = vec![0_u8; needed.max(given)];
    for cpu in list.as_slice() {
        digits[*cpu as usize / 4] |= 1 << (cpu % 4);
    }
    let mut out = Vec::new();
    for (place, digit) in digits.iter().enumerate().rev() {
        out.extend(char::from_digit(u32::from(*digit), 16).map(|digit| digit as u8));
        if place > 0 && place % 8 == 0 {
            out.push(b',');
        }
    }
    out.push(b'\n');
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn as_the_kernel_prints_them() {
        let list = CpuList::parse;
        assert_eq!(line(&list(b"0,1,2,5")), b"0-2,5\n");
        assert_eq!(line(&CpuList::default()), b"\n");
        assert_eq!(words(&list(b"0-2,5")), b"0 1 2 5\n");
        assert_eq!(mask(&list(b"0,1"), b"3\n"), b"3\n");
        assert_eq!(mask(&list(b"32"), b"ff,ffffffff\n"), b"01,00000000\n");
        assert_eq!(
            mask(&list(b"5"), b"00000000,00000003\n"),
            b"00000000,00000020\n"
        );
        assert_eq!(mask(&list(b"5"), b""), b"20\n");
    }

    proptest! {
        #[test]
        fn what_is_printed_reads_back(cpus in proptest::collection::vec(0_u32..300, 0..40)) {
            let list = CpuList::from_iter(cpus);
            prop_assert_eq!(CpuList::parse(&line(&list)), list.clone());
            prop_assert_eq!(CpuList::parse(&words(&list)), list.clone());
            prop_assert_eq!(CpuList::parse_mask(&mask(&list, b"ffffffff,ffffffff\n")), list);
        }
    }
}
