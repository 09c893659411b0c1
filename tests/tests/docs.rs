//! What the documents promise is there.

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
            assert!(dir.join(target).exists(), "{document} links to {target}");
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
