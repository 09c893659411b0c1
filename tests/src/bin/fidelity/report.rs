//! Tables, in Markdown.

use std::fmt::Write;

/// A table with a judgement in its last column.
#[derive(Debug)]
pub(crate) struct Table {
    title: String,
    about: String,
    head: Vec<&'static str>,
    rows: Vec<Vec<String>>,
    failed: usize,
}

/// What is to be said of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Within bounds.
    Ok,
    /// Out of bounds.
    Failed,
    /// This machine is not fit to judge it now.
    NotJudged,
}

impl Verdict {
    /// `Ok` if `good`.
    pub(crate) fn of(good: bool) -> Self {
        if good { Self::Ok } else { Self::Failed }
    }
}

impl Table {
    /// A table without rows; `head` without the column of verdicts.
    pub(crate) fn new(title: &str, about: &str, head: &[&'static str]) -> Self {
        Self {
            title: title.to_owned(),
            about: about.to_owned(),
            head: head.to_vec(),
            rows: Vec::new(),
            failed: 0,
        }
    }

    /// Appends a row.
    pub(crate) fn row(&mut self, cells: Vec<String>, verdict: Verdict) {
        let mut cells = cells;
        cells.push(
            match verdict {
                Verdict::Ok => "ok",
                Verdict::Failed => "FAILED",
                Verdict::NotJudged => "not judged",
            }
            .to_owned(),
        );
        self.failed += usize::from(verdict == Verdict::Failed);
        eprintln!("fidelity: {}", cells.join("  "));
        self.rows.push(cells);
    }

    /// Appends a sentence to the text above the table.
    pub(crate) fn say(&mut self, text: &str) {
        let _ = write!(self.about, " {text}");
    }

    /// How many rows are out of bounds.
    pub(crate) fn failed(&self) -> usize {
        self.failed
    }

    /// The section, columns padded so that it is readable as it is.
    pub(crate) fn markdown(&self) -> String {
        let mut head: Vec<String> = self.head.iter().map(|cell| (*cell).to_owned()).collect();
        head.push(String::new());
        let width = |column: usize| {
            let cells = self.rows.iter().chain([&head]);
            let widths = cells.filter_map(|row| row.get(column)).map(String::len);
            widths.max().unwrap_or(0).max(3)
        };
        let mut text = format!("## {}\n\n{}\n\n", self.title, self.about);
        let dashes: Vec<_> = (0..head.len())
            .map(|column| "-".repeat(width(column)))
            .collect();
        for row in [&head, &dashes].into_iter().chain(&self.rows) {
            for (column, cell) in row.iter().enumerate() {
                let _ = write!(text, "| {cell:<width$} ", width = width(column));
            }
            text.push_str("|\n");
        }
        text
    }
}
