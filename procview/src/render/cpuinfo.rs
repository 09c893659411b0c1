//! `/proc/cpuinfo`.

use super::column;
use crate::cpu::Cpus;
use crate::host::{CpuBlock, CpuValue, HostCpuinfo, Paragraph, key_value};
use crate::parse::number;

/// Appends `/proc/cpuinfo`: the host's blocks of the container's CPUs under their own numbers, each
/// CPU a core of its own in one package.
pub fn cpuinfo(out: &mut Vec<u8>, cpus: &Cpus, host: &HostCpuinfo) {
    let mut written = false;
    for paragraph in &host.paragraphs {
        match paragraph {
            Paragraph::Cpu(first) => {
                if !written {
                    written = true;
                    blocks(out, cpus, host, first);
                }
            }
            Paragraph::Other(text) => other(out, text, cpus),
        }
    }
    // s390x has blank lines between blocks, x86 behind each.
    if !host.ends_blank() && out.ends_with(b"\n\n") {
        out.pop();
    }
}

/// A CPU that the host's text does not have yet, or no longer, looks like its `first`.
fn blocks(out: &mut Vec<u8>, cpus: &Cpus, host: &HostCpuinfo, first: &CpuBlock) {
    let block_of = |cpu: u32| {
        let mut blocks = host
            .paragraphs
            .iter()
            .filter_map(|paragraph| match paragraph {
                Paragraph::Cpu(block) => Some(block),
                Paragraph::Other(_) => None,
            });
        blocks.find(|block| block.number == cpu).unwrap_or(first)
    };
    for (index, cpu) in cpus.numbers().iter().enumerate() {
        let value = |value| match value {
            CpuValue::Number => u64::from(*cpu),
            CpuValue::Core => index as u64,
            CpuValue::Package => 0,
            CpuValue::Count => cpus.count() as u64,
        };
        block(out, block_of(*cpu), value);
    }
}

fn block(out: &mut Vec<u8>, block: &CpuBlock, value: impl Fn(CpuValue) -> u64) {
    let mut written = 0;
    for (place, kind) in &block.values {
        out.extend_from_slice(&block.text[written..place.start]);
        column::next(out, value(*kind));
        written = place.end;
    }
    out.extend_from_slice(&block.text[written..]);
}

/// Text outside the blocks stays, but for what s390x says there of the CPUs: their number, and a
/// line `processor N: ...` for each that is online.
fn other(out: &mut Vec<u8>, text: &[u8], cpus: &Cpus) {
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        let key = key_value(line).map_or(&b""[..], |(key, _)| key);
        if key == b"# processors" {
            let colon = line.iter().position(|byte| *byte == b':').unwrap_or(0);
            out.extend_from_slice(&line[..=colon]);
            column::next(out, cpus.count() as u64);
            out.push(b'\n');
            continue;
        }
        let cpu = key.strip_prefix(b"processor ").and_then(number);
        let is_shown = |cpu| u32::try_from(cpu).is_ok_and(|cpu| cpus.shown().contains(cpu));
        if cpu.is_none_or(is_shown) {
            out.extend_from_slice(line);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::Rounding;
    use crate::parse::CpuList;

    fn shown(host: &str, set: &str) -> String {
        let set = CpuList::parse(set.as_bytes());
        let cpus = Cpus::new(None, Some(&set), &CpuList::first(16), Rounding::Ceil);
        let mut out = Vec::new();
        cpuinfo(&mut out, &cpus, &HostCpuinfo::parse(host.as_bytes()));
        String::from_utf8(out).expect("what came from text")
    }

    #[test]
    fn s390x_lists_the_same_cpus_in_its_head() {
        let numbers = [1, 2, 3, 8, 9, 10];
        let head = |number| format!("processor {number}: version = 00,  machine = 2964\n");
        let block = |number| format!("\ncpu number      : {number}\ncpu MHz dynamic : 5000\n");
        let host = format!(
            "vendor_id       : IBM/S390\n# processors    : 6\n{}{}",
            numbers.map(head).concat(),
            numbers.map(block).concat()
        );
        let expected = format!(
            "vendor_id       : IBM/S390\n# processors    : 2\n{}{}",
            [3, 8].map(head).concat(),
            [3, 8].map(block).concat()
        );
        assert_eq!(shown(&host, "3,8"), expected);
    }

    #[test]
    fn loongarch_has_packages_and_cores_of_its_own_names() {
        let host = "system type\t: x\n\nprocessor\t: 6\npackage\t\t: 1\ncore\t\t: 1\nglobal_id\t: 6\n\nprocessor\t: 7\npackage\t\t: 1\ncore\t\t: 1\nglobal_id\t: 7\n\n";
        let expected = "system type\t: x\n\nprocessor\t: 6\npackage\t\t: 0\ncore\t\t: 0\nglobal_id\t: 6\n\nprocessor\t: 7\npackage\t\t: 0\ncore\t\t: 1\nglobal_id\t: 7\n\n";
        assert_eq!(shown(host, "6-7"), expected);
    }

    #[test]
    fn a_cpu_that_the_host_does_not_list_yet_is_there() {
        let host = "processor\t: 0\nmodel name\t: x\n\n";
        assert_eq!(shown(host, "1"), "processor\t: 1\nmodel name\t: x\n\n");
    }
}
