//! Sentences of SEMANTICS.md that a node of plain files can show. The others are tests beside the
//! code, in `fs.rs`, or on real kernels.

mod cpu;
#[path = "../fake/mod.rs"]
mod fake;
mod load;
mod resources;
mod view;

use fake::{Node, PID, read};

fn text(node: &Node, path: &str) -> String {
    read(&node.serve(), PID, path).expect("a file of the view")
}

fn lines_of(text: &str, start: &str) -> Vec<Vec<u64>> {
    let numbers = |line: &str| {
        line.split_whitespace()
            .skip(1)
            .map(|word| word.parse().expect("a number"))
            .collect()
    };
    text.lines()
        .filter(|line| line.starts_with(start))
        .map(numbers)
        .collect()
}
