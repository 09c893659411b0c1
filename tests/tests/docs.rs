//! What the documents promise is there.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

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

/// SEMANTICS.md: each sentence is a test of the same name.
#[test]
fn every_sentence_is_a_test() {
    let mut tests = String::new();
    for dir in ["procview/src", "agent/src", "agent/tests", "tests/tests"] {
        sources(&root().join(dir), &mut tests);
    }
    let semantics = fs::read_to_string(root().join("SEMANTICS.md")).expect("SEMANTICS.md");
    let names: Vec<_> = semantics
        .lines()
        .filter_map(|line| line.strip_prefix("- `")?.split_once("`: "))
        .map(|(name, _)| name)
        .collect();
    assert!(names.len() > 40, "{names:?}");
    let is_test = |name: &&str| {
        tests.contains(&format!("    fn {name}(")) || tests.contains(&format!("\nfn {name}("))
    };
    let missing: Vec<_> = names.iter().filter(|name| !is_test(name)).collect();
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

/// The names that `metrics.rs` of a program registers, as Prometheus is told them.
fn registered(program: &str) -> BTreeSet<String> {
    let path = root().join(program).join("src/metrics.rs");
    let source = fs::read_to_string(path).expect("a source file");
    let is_counter = |name: &str| {
        source.lines().any(|line| {
            let line = line.trim_start().trim_start_matches("pub ");
            line.starts_with(&format!("{name}: ")) && line.contains("Counter")
        })
    };
    let calls = source.split(".register").skip(1);
    calls
        .map(|call| {
            let name = call.split('"').nth(1).expect("a name");
            let unit = call.starts_with("_with_unit(");
            assert!(
                !unit || call.contains("Unit::Seconds"),
                "the unit of {name}"
            );
            let unit = if unit { "_seconds" } else { "" };
            let total = if is_counter(name) { "_total" } else { "" };
            format!("procview_{program}_{name}{unit}{total}")
        })
        .collect()
}

/// docs/operations.md has all metrics, and no other.
#[test]
fn metrics_are_documented() {
    let text = operations();
    let documented: BTreeSet<_> = first_cells(&text)
        .map(|cell| cell.trim_end_matches('`').to_owned())
        .filter(|cell| cell.starts_with("procview_"))
        .collect();
    let mut there = registered("agent");
    there.append(&mut registered("webhook"));
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
