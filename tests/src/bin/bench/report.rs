//! Tables, in Markdown.

use std::fmt::Write;

/// Whether a row meets its target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Pass,
    Fail,
}

impl Verdict {
    pub(crate) fn of(met: bool) -> Self {
        if met { Self::Pass } else { Self::Fail }
    }

    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "**FAIL**",
        }
    }
}

/// A table with a heading and a remark.
#[derive(Debug)]
pub(crate) struct Table {
    title: &'static str,
    remark: &'static str,
    head: Vec<String>,
    rows: Vec<Vec<String>>,
    failures: Vec<String>,
    skipped: Option<&'static str>,
    counts: bool,
}

impl Table {
    pub(crate) fn new(title: &'static str, remark: &'static str, head: &[&str]) -> Self {
        Self {
            title,
            remark,
            head: head.iter().map(|cell| (*cell).to_owned()).collect(),
            rows: Vec::new(),
            failures: Vec::new(),
            skipped: None,
            counts: true,
        }
    }

    /// Adds a row with as many cells as the head.
    pub(crate) fn row<const CELLS: usize>(
        &mut self,
        cells: [&str; CELLS],
        verdict: Option<Verdict>,
    ) {
        if verdict == Some(Verdict::Fail) {
            self.failures
                .push(format!("{}: {}", self.title, cells[..2].join(", ")));
        }
        self.rows.push(cells.map(str::to_owned).to_vec());
    }

    /// Says that something could not be measured, and why.
    pub(crate) fn skip(&mut self, why: &'static str) {
        eprintln!("bench: SKIPPED: {}: {why}", self.title);
        self.skipped = Some(why);
    }

    /// A target missed here is shown, but does not fail a check.
    pub(crate) fn never_fails(&mut self) {
        self.counts = false;
    }

    /// What a check has to complain about.
    pub(crate) fn complaints(&self) -> Vec<String> {
        if !self.counts {
            return Vec::new();
        }
        let mut all = self.failures.clone();
        if let Some(why) = self.skipped {
            all.push(format!("{}: not measured, {why}", self.title));
        }
        all
    }

    /// The table as Markdown, its columns aligned: it is read as plain text, too.
    pub(crate) fn markdown(&self) -> String {
        let mut widths: Vec<_> = self.head.iter().map(String::len).collect();
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.len());
            }
        }
        let mut text = format!("## {}\n{}\n\n", self.title, self.remark);
        if let Some(why) = self.skipped {
            let _ = write!(text, "**Not measured: {why}.**\n\n");
        }
        let rule: Vec<_> = widths.iter().map(|width| "-".repeat(*width)).collect();
        for row in [&self.head, &rule].into_iter().chain(&self.rows) {
            for (width, cell) in widths.iter().zip(row) {
                let _ = write!(text, "| {cell:width$} ");
            }
            text.push_str("|\n");
        }
        text
    }
}
