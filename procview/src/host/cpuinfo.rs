//! The host's `/proc/cpuinfo`, split into one block a CPU.

use std::ops::Range;

use crate::parse::number;

/// A paragraph of the file: the block of one CPU, or text that belongs to none (the header of
/// s390x, the trailer of ppc64le, `Hardware` of 32-bit ARM).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Paragraph {
    Cpu(CpuBlock),
    Other(Box<[u8]>),
}

/// What the host's file says of one CPU, with the places of the numbers that a container's differ
/// in: they are found once, not for each rendering.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CpuBlock {
    pub(crate) number: u32,
    pub(crate) text: Box<[u8]>,
    /// In the order of the text.
    pub(crate) values: Box<[(Range<usize>, CpuValue)]>,
}

/// A number in a block: from behind the colon to the end of the line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CpuValue {
    /// The kernel's number of the CPU.
    Number,
    /// That of its core: its place among the CPUs shown.
    Core,
    /// That of its package.
    Package,
    /// How many CPUs there are.
    Count,
}

impl CpuBlock {
    fn new(number: u32, text: &[u8]) -> Self {
        let mut values = Vec::new();
        let mut start = 0;
        for line in text.split_inclusive(|byte| *byte == b'\n') {
            let end = start + line.len() - usize::from(line.ends_with(b"\n"));
            let value = key_value(line).and_then(|(key, _)| match key {
                b"processor" | b"cpu number" => Some(CpuValue::Number),
                // The last is LoongArch's.
                b"core id" | b"apicid" | b"initial apicid" | b"core" => Some(CpuValue::Core),
                b"physical id" | b"package" => Some(CpuValue::Package),
                b"siblings" | b"cpu cores" => Some(CpuValue::Count),
                _ => None,
            });
            let colon = line.iter().position(|byte| *byte == b':');
            if let (Some(value), Some(colon)) = (value, colon) {
                values.push((start + colon + 1..end, value));
            }
            start += line.len();
        }
        Self {
            number,
            text: text.into(),
            values: values.into(),
        }
    }
}

/// The host's `/proc/cpuinfo`.
///
/// Source: proc_cpuinfo(5); the layout differs by architecture.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostCpuinfo {
    pub(crate) paragraphs: Vec<Paragraph>,
}

impl HostCpuinfo {
    /// Splits the file at its empty lines.
    pub fn parse(text: &[u8]) -> Self {
        let mut paragraphs = Vec::new();
        let mut start = 0;
        while start < text.len() {
            let rest = &text[start..];
            let end = rest
                .windows(2)
                .position(|pair| pair == b"\n\n")
                .map_or(rest.len(), |index| index + 2);
            let paragraph = &rest[..end];
            paragraphs.push(match block_number(paragraph) {
                Some(number) => Paragraph::Cpu(CpuBlock::new(number, paragraph)),
                None => Paragraph::Other(paragraph.into()),
            });
            start += end;
        }
        Self { paragraphs }
    }

    /// Whether the file ends with an empty line.
    pub(crate) fn ends_blank(&self) -> bool {
        self.paragraphs.last().is_some_and(|last| match last {
            Paragraph::Cpu(block) => block.text.ends_with(b"\n\n"),
            Paragraph::Other(text) => text.ends_with(b"\n\n"),
        })
    }
}

/// `key` and `value` of a line `key<blanks>: value`.
pub(crate) fn key_value(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    Some((line[..colon].trim_ascii(), line[colon + 1..].trim_ascii()))
}

/// The number of the CPU whose block `paragraph` is: its first line is `processor : N`, or
/// `cpu number : N` on s390x.
fn block_number(paragraph: &[u8]) -> Option<u32> {
    let first = paragraph.split(|byte| *byte == b'\n').next()?;
    let (key, value) = key_value(first)?;
    matches!(key, b"processor" | b"cpu number")
        .then(|| number(value).and_then(|number| u32::try_from(number).ok()))
        .flatten()
}
