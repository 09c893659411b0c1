//! `/proc/cpuinfo`.

use super::column;
use crate::cpu::Cpus;
use crate::host::HostCpuinfo;

/// Appends `/proc/cpuinfo`: the host's blocks of the container's CPUs, renumbered 0..n, each its
/// own core of one package.
pub fn cpuinfo(out: &mut Vec<u8>, cpus: &Cpus, host: &HostCpuinfo) {
    let count = cpus.count() as u64;
    let mut written = false;
    for paragraph in &host.paragraphs {
        match paragraph {
            crate::host::Paragraph::Cpu { .. } => {
                if !written {
                    written = true;
                    blocks(out, cpus, host);
                }
            }
            crate::host::Paragraph::Other(text) => other(out, text, count),
        }
    }
}

fn blocks(out: &mut Vec<u8>, cpus: &Cpus, host: &HostCpuinfo) {
    let block_of = |cpu: u32| {
        host.paragraphs
            .iter()
            .find_map(|paragraph| match paragraph {
                crate::host::Paragraph::Cpu { number, text } if *number == cpu => Some(text),
                _ => None,
            })
    };
    for (index, cpu) in cpus.host().iter().enumerate() {
        if let Some(text) = block_of(*cpu) {
            block(out, text, index as u64, cpus.count() as u64);
        }
    }
}

fn block(out: &mut Vec<u8>, text: &[u8], index: u64, count: u64) {
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        let replaced = crate::host::key_value(line).and_then(|(key, _)| match key {
            b"processor" | b"cpu number" | b"core id" | b"apicid" | b"initial apicid" => {
                Some(index)
            }
            b"physical id" => Some(0),
            b"siblings" | b"cpu cores" => Some(count),
            _ => None,
        });
        match replaced {
            Some(value) => {
                let colon = line.iter().position(|byte| *byte == b':').unwrap_or(0);
                out.extend_from_slice(&line[..=colon]);
                column::next(out, value);
                out.push(b'\n');
            }
            None => out.extend_from_slice(line),
        }
    }
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
