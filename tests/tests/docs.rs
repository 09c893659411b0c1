//! What the documents promise is there.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use procview_webhook::mutate::Outcome;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn sources(dir: &Path, text: &mut String) {
    for entry in fs::read_dir(dir).expect("a source directory").flatten() {
        let path = entry.path();
        if path.is_dir() {
            sources(&path, text);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            text.push_str(&fs::read_to_string(&path).expect("a source file"));
        }
    }
}

/// The names of the tests in a text of Rust: functions with the attribute.
fn tests_in(source: &str) -> BTreeSet<&str> {
    let mut names = BTreeSet::new();
    let mut is_test = false;
    for line in source.lines().map(str::trim_start) {
        if let Some(signature) = line.strip_prefix("fn ") {
            names.extend(
                signature
                    .split_once('(')
                    .filter(|_| is_test)
                    .map(|(name, _)| name),
            );
        }
        is_test = line == "#[test]" || is_test && line.starts_with(['#', '/']);
    }
    names
}

/// A function that nobody calls, or that a test calls, is no test.
#[test]
fn a_test_has_the_attribute() {
    let source = "fn helper() {}\n#[test]\n/// Why.\n#[cfg(unix)]\nfn found() {\n}\nfn next() {}\n// fn no() {}\n";
    assert_eq!(tests_in(source), BTreeSet::from(["found"]));
}

/// SEMANTICS.md: each sentence is a test of the same name.
#[test]
fn every_sentence_is_a_test() {
    let mut text = String::new();
    for dir in ["procview/src", "agent/src", "agent/tests", "tests/tests"] {
        sources(&root().join(dir), &mut text);
    }
    let tests = tests_in(&text);
    let semantics = fs::read_to_string(root().join("SEMANTICS.md")).expect("SEMANTICS.md");
    let names: Vec<_> = semantics
        .lines()
        .filter_map(|line| line.strip_prefix("- `")?.split_once("`: "))
        .map(|(name, _)| name)
        .collect();
    assert!(names.len() > 40, "{names:?}");
    let missing: Vec<_> = names.iter().filter(|name| !tests.contains(*name)).collect();
    assert!(
        missing.is_empty(),
        "SEMANTICS.md names tests that are not there: {missing:?}"
    );
}

/// What a heading is called in a link; nothing for other lines.
fn anchor(line: &str) -> String {
    let Some(heading) = line.strip_prefix('#') else {
        return String::new();
    };
    let heading = heading.trim_start_matches('#').trim().to_lowercase();
    let plain = |letter: &char| letter.is_alphanumeric() || matches!(letter, ' ' | '-');
    heading
        .chars()
        .filter(plain)
        .collect::<String>()
        .replace(' ', "-")
}

/// README.md names only flags and files that exist.
#[test]
fn links_lead_somewhere() {
    for document in [
        "README.md",
        "SEMANTICS.md",
        "ARCHITECTURE.md",
        "CONTRIBUTING.md",
        "CHANGELOG.md",
        "charts/procview/README.md",
        "docs/install.md",
        "docs/operations.md",
        "docs/security.md",
        "docs/webhook.md",
    ] {
        let text = fs::read_to_string(root().join(document)).expect("a document");
        let targets = text
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split_once(')'));
        for (target, _) in targets {
            let dir = root().join(document);
            let dir = dir.parent().expect("a folder");
            let (file, section) = target.split_once('#').unwrap_or((target, ""));
            let linked = dir.join(file);
            assert!(linked.exists(), "{document} links to {target}");
            let text = || fs::read_to_string(&linked).expect("a document");
            let there = section.is_empty() || text().lines().any(|line| anchor(line) == section);
            assert!(there, "{document} links to {target}");
        }
        let paths = text
            .split('`')
            .filter(|word| word.contains(".rs") && !word.contains(['*', '<', ' ']));
        for path in paths {
            let known = ["", "agent/src", "procview/src", "webhook/src"]
                .iter()
                .any(|dir| root().join(dir).join(path).exists());
            assert!(known, "{document} speaks of {path}");
        }
    }
}

fn operations() -> String {
    fs::read_to_string(root().join("docs/operations.md")).expect("docs/operations.md")
}

/// The first cells of the tables in `text` that are code.
fn first_cells(text: &str) -> impl Iterator<Item = &str> {
    let rows = text.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.filter_map(|row| row.split(" | ").next())
}

/// The names in a text of metrics, as Prometheus is told them.
fn told(metrics: &str) -> impl Iterator<Item = String> {
    let types = metrics
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE "));
    types.map(|line| {
        let (name, kind) = line.split_once(' ').expect("a name and a type");
        let total = if kind == "counter" { "_total" } else { "" };
        format!("{name}{total}")
    })
}

/// docs/operations.md has all metrics, and no other.
#[test]
fn metrics_are_documented() {
    let text = operations();
    let documented: BTreeSet<_> = first_cells(&text)
        .map(|cell| cell.trim_end_matches('`').to_owned())
        .filter(|cell| cell.starts_with("procview_"))
        .collect();
    let agent = procview_agent::report::metrics::Metrics::default().text();
    let webhook = procview_webhook::metrics::Metrics::default();
    // A family without members is not told.
    webhook.reviewed(Outcome::Injected, "", Duration::ZERO);
    let there: BTreeSet<_> = [agent, webhook.text()]
        .iter()
        .flat_map(|text| told(text.as_ref().expect("a text")))
        .collect();
    assert!(there.len() > 10, "{there:?}");
    assert_eq!(documented, there);
}

/// What docs/operations.md quotes of the log is in the sources.
#[test]
fn the_log_says_what_is_documented() {
    let mut programs = String::new();
    for dir in ["agent/src", "webhook/src"] {
        sources(&root().join(dir), &mut programs);
    }
    let text = operations();
    let (_, log) = text.split_once("\n## Log\n").expect("a section");
    let (log, _) = log.split_once("\n## ").expect("another section");
    let messages: Vec<_> = first_cells(log)
        .flat_map(|cell| cell.split("`, `"))
        .map(|message| message.trim_end_matches('`').trim_end_matches("..."))
        .collect();
    assert!(messages.len() > 20, "{messages:?}");
    for message in messages {
        let quoted = programs.contains(&format!("\"{message}"));
        assert!(quoted, "no program logs {message}");
    }
}
