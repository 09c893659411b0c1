//! What the webhook would do with a manifest, and why: for people, without a cluster.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde_json::Value;

use crate::choice::FILES;
use crate::decide::{self, Decision, NAMESPACE_LABELS, Namespace, rules};
use crate::mutate::Mutator;
use crate::patch;
use crate::pod::{List, Pod};

/// Why a manifest cannot be explained.
#[derive(Debug, thiserror::Error)]
pub enum ExplainError {
    #[error("the manifest is no YAML: {0}")]
    Yaml(String),
    #[error("the manifest has no pod and nothing that makes pods; it has {0}")]
    NoPod(String),
    #[error("{0} cannot be read as a pod: {1}")]
    Pod(String, serde_json::Error),
    #[error(transparent)]
    Patch(#[from] patch::PatchError),
    #[error("{0}: the patch does not apply, please report it: {1}")]
    DoesNotApply(String, json_patch::PatchError),
    #[error("cannot write the result: {0}")]
    Write(String),
}

/// Explains each pod of a manifest, whatever the kind of what makes it.
///
/// # Errors
/// If there is none, or one cannot be read.
pub fn explain(
    mutator: &Mutator,
    manifest: &str,
    labels: Option<&BTreeMap<String, String>>,
) -> Result<String, ExplainError> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(manifest)
        .map_err(|error| ExplainError::Yaml(error.to_string()))?;
    let mut kinds = Vec::new();
    let mut templates = Vec::new();
    for document in documents {
        find_templates(document, &mut kinds, &mut templates);
    }
    if templates.is_empty() {
        kinds.dedup();
        let kinds = match kinds.as_slice() {
            [] => "nothing".to_owned(),
            kinds => kinds.join(", "),
        };
        return Err(ExplainError::NoPod(kinds));
    }
    let mut out = String::new();
    if labels.is_none() {
        let [label, _] = NAMESPACE_LABELS;
        out += &format!(
            "# As in a namespace with the label {label}=enabled; give others with --namespace-label.\n"
        );
    }
    for template in templates {
        explain_one(&mut out, mutator, template, labels)?;
    }
    Ok(out)
}

/// A pod or pod template, and what it belongs to.
struct Template {
    title: String,
    namespace: String,
    pod: Value,
}

fn find_templates(mut object: Value, kinds: &mut Vec<String>, templates: &mut Vec<Template>) {
    let text = |pointer: &str| {
        let text = object.pointer(pointer).and_then(Value::as_str);
        text.unwrap_or_default().to_owned()
    };
    let kind = text("/kind");
    let namespace = text("/metadata/namespace");
    let name = match text("/metadata/name") {
        name if name.is_empty() => text("/metadata/generateName"),
        name => name,
    };
    let pointer = match kind.as_str() {
        "Pod" => "",
        "CronJob" => "/spec/jobTemplate/spec/template",
        _ => "/spec/template",
    };
    if kind.ends_with("List") {
        let mut items = object.pointer_mut("/items").map(Value::take);
        for item in items.iter_mut().filter_map(Value::as_array_mut).flatten() {
            find_templates(item.take(), kinds, templates);
        }
    } else if let Some(pod) = object.pointer_mut(pointer).filter(|_| !kind.is_empty()) {
        templates.push(Template {
            title: format!("{kind} {name}"),
            namespace,
            pod: pod.take(),
        });
    } else if !object.is_null() {
        kinds.push(if kind.is_empty() {
            "an object without kind".to_owned()
        } else {
            kind
        });
    }
}

fn explain_one(
    out: &mut String,
    mutator: &Mutator,
    template: Template,
    labels: Option<&BTreeMap<String, String>>,
) -> Result<(), ExplainError> {
    let Template {
        title,
        namespace,
        pod: mut object,
    } = template;
    let pod: Pod = serde_json::from_value(object.clone())
        .map_err(|error| ExplainError::Pod(title.clone(), error))?;
    let excluded = mutator.excludes(&namespace);
    let namespace = labels.map_or(
        Namespace {
            excluded,
            enabled: true,
            pod_security: false,
        },
        |labels| Namespace::of(labels, excluded),
    );
    let subject = mutator.subject(&pod, None, namespace);
    let decision = decide::decide(&subject);
    let patch = patch::patch(&subject, &decision)?;
    json_patch::patch(&mut object, &patch)
        .map_err(|error| ExplainError::DoesNotApply(title.clone(), error))?;

    let written = (|| {
        writeln!(out, "# {title}: {}", patch::status(&decision))?;
        if let Decision::Inject { containers } = &decision {
            for container in containers {
                let kind = match container.list {
                    List::Init => "init container",
                    List::Main => "container",
                    List::Ephemeral => "ephemeral container",
                };
                write!(out, "#   {kind} {}: ", container.name)?;
                match &container.files {
                    Ok(files) => {
                        let files: Vec<_> = files.iter().map(|file| file.name()).collect();
                        writeln!(out, "{}", files.join(", "))?;
                    }
                    Err(reason) => {
                        let rule = rules::CONTAINER.iter().find(|rule| rule.name == *reason);
                        let why = rule.map_or("", |rule| rule.why);
                        writeln!(out, "no view: {reason}: {why}")?;
                    }
                }
                if !container.own_mounts.is_empty() {
                    let files: Vec<_> = container
                        .own_mounts
                        .iter()
                        .map(|file| file.name())
                        .collect();
                    let files = files.join(",");
                    writeln!(
                        out,
                        "#     has its own mounts for {files}; {FILES} can leave them out"
                    )?;
                }
            }
        }
        for warning in &subject.choice.warnings {
            writeln!(out, "#   warning: {warning}")?;
        }
        std::fmt::Result::Ok(())
    })();
    written.map_err(|error| ExplainError::Write(error.to_string()))?;
    let yaml =
        serde_saphyr::to_string(&object).map_err(|error| ExplainError::Write(error.to_string()))?;
    *out += yaml.trim_end();
    *out += "\n---\n";
    Ok(())
}
