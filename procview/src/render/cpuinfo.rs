//! `/proc/cpuinfo`.

use super::column;
use crate::cpu::Cpus;
use crate::host::{CpuBlock, CpuValue, HostCpuinfo, Paragraph};

/// Appends `/proc/cpuinfo`: the host's blocks of the container's CPUs, renumbered 0..n, each its
/// own core of one package.
pub fn cpuinfo(out: &mut Vec<u8>, cpus: &Cpus, host: &HostCpuinfo) {
    let count = cpus.count() as u64;
    let mut written = false;
    for paragraph in &host.paragraphs {
        match paragraph {
            Paragraph::Cpu(_) => {
                if !written {
                    written = true;
                    blocks(out, cpus, host);
                }
            }
            Paragraph::Other(text) => other(out, text, count),
        }
    }
}

fn blocks(out: &mut Vec<u8>, cpus: &Cpus, host: &HostCpuinfo) {
    let block_of = |cpu: u32| {
        host.paragraphs
            .iter()
            .find_map(|paragraph| match paragraph {
                Paragraph::Cpu(block) if block.number == cpu => Some(block),
                _ => None,
            })
    };
    for (index, cpu) in cpus.host().iter().enumerate() {
        if let Some(found) = block_of(*cpu) {
            block(out, found, index as u64, cpus.count() as u64);
        }
    }
}

fn block(out: &mut Vec<u8>, block: &CpuBlock, index: u64, count: u64) {
    let mut written = 0;
    for (place, value) in &block.values {
        out.extend_from_slice(&block.text[written..place.start]);
        column::next(
            out,
            match value {
                CpuValue::Index => index,
                CpuValue::Package => 0,
                CpuValue::Count => count,
            },
        );
        written = place.end;
    }
    out.extend_from_slice(&block.text[written..]);
}

/// Text outside the blocks stays, but for what s390x says there of the CPUs: their number, and a
/// line `processor N: ...` for each.
fn other(out: &mut Vec<u8>, text: &[u8], count: u64) {
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        let Some((key, _)) = crate::host::key_value(line) else {
            out.extend_from_slice(line);
            continue;
        };
        if key == b"# processors" {
            let colon = line.iter().position(|byte| *byte == b':').unwrap_or(0);
            out.extend_from_slice(&line[..=colon]);
            column::next(out, count);
            out.push(b'\n');
            continue;
        }
        let beyond = key
            .strip_prefix(b"processor ")
            .and_then(crate::parse::number)
            .is_some_and(|number| number >= count);
        if !beyond {
            out.extend_from_slice(line);
        }
    }
}
