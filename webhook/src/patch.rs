//! The JSON patch (RFC 6902) that makes a pod what was decided: it only adds, and only what is
//! not there yet.

use json_patch::jsonptr::PointerBuf;
use json_patch::{AddOperation, Patch, PatchOperation};
use serde::Serialize;
use serde_json::{Value, json};

use crate::decide::{ContainerDecision, Decision, Subject, rules::Tells};
use crate::pod::{Container, List};
use crate::volume::Place;

/// The annotation that tells what was done, or why nothing was.
pub const STATUS: &str = "procview.dev/status";

/// Why a patch cannot be made.
#[derive(Debug, thiserror::Error)]
#[error("cannot write the patch as JSON: {0}")]
pub struct PatchError(#[from] serde_json::Error);

/// Makes the patch; an empty one where the pod is as it should be.
///
/// # Errors
/// If one of our own values cannot be written as JSON.
pub fn patch(subject: &Subject<'_>, decision: &Decision) -> Result<Patch, PatchError> {
    let mut operations = Vec::new();
    if let Decision::Inject { containers } = decision {
        let mut volumes = Vec::new();
        for decided in containers {
            let container = &decided.list.of(&subject.pod.spec)[decided.index];
            let places = places(subject, decided, container);
            add_mounts(&mut operations, decided, container, &places)?;
            volumes.extend(places);
        }
        if subject.before.is_none() {
            add_volumes(&mut operations, subject, volumes)?;
        }
    }
    if subject.before.is_none()
        && !matches!(
            decision,
            Decision::Skip {
                tells: Tells::Nobody,
                ..
            }
        )
    {
        add_status(&mut operations, subject, status(decision));
    }
    Ok(Patch(operations))
}

/// What was decided, for people.
pub fn status(decision: &Decision) -> String {
    let containers = match decision {
        Decision::Skip { reason, why, .. } => return format!("skipped: {reason}: {why}"),
        Decision::Inject { containers } => containers,
    };
    let injected = containers
        .iter()
        .filter(|container| container.files.is_ok());
    let mut text = format!(
        "injected: {}",
        join(injected.map(|container| container.name.clone()))
    );
    let left_out = containers.iter().filter_map(|container| {
        let reason = container.files.as_ref().err()?;
        Some(format!("{} ({reason})", container.name))
    });
    let left_out = join(left_out);
    if !left_out.is_empty() {
        text += &format!("; not: {left_out}");
    }
    let own_mounts = containers.iter().flat_map(|container| {
        let files = container.own_mounts.iter();
        files.map(|file| format!("/{} in {}", file.path(), container.name))
    });
    let own_mounts = join(own_mounts);
    if !own_mounts.is_empty() {
        text += &format!("; the pod's own mounts are kept: {own_mounts}");
    }
    text
}

fn join(items: impl Iterator<Item = String>) -> String {
    items.collect::<Vec<_>>().join(", ")
}

/// The volumes that a container is to have mounted: its files, and the parent where that can be.
fn places(subject: &Subject<'_>, decided: &ContainerDecision, container: &Container) -> Vec<Place> {
    let Ok(files) = &decided.files else {
        return Vec::new();
    };
    let mut places: Vec<_> = files
        .iter()
        .map(|file| subject.layout.file(*file))
        .collect();
    let parent = subject.layout.parent();
    let there = |place: &Place| subject.pod.volumes().iter().any(|volume| place.is(volume));
    // No volume can be added for an ephemeral container.
    let available = decided.list != List::Ephemeral || there(&parent);
    if available && !parent.is_covered(container) {
        places.push(parent);
    }
    places
}

fn add_mounts(
    operations: &mut Vec<PatchOperation>,
    decided: &ContainerDecision,
    container: &Container,
    places: &[Place],
) -> Result<(), PatchError> {
    let mounts: Vec<_> = places
        .iter()
        .filter(|place| !place.is_mounted(container))
        .map(Place::mount)
        .collect();
    let list = decided.list.field();
    let index = decided.index.to_string();
    let path = ["spec", list, &index, "volumeMounts"];
    append(operations, &path, container.volume_mounts.is_none(), mounts)
}

fn add_volumes(
    operations: &mut Vec<PatchOperation>,
    subject: &Subject<'_>,
    mut places: Vec<Place>,
) -> Result<(), PatchError> {
    places.sort_by(|a, b| a.name.cmp(&b.name));
    places.dedup();
    let there = subject.pod.volumes();
    let missing: Vec<_> = places
        .iter()
        .filter(|place| !there.iter().any(|volume| place.is(volume)))
        .map(Place::volume)
        .collect();
    let path = ["spec", "volumes"];
    append(
        operations,
        &path,
        subject.pod.spec.volumes.is_none(),
        missing,
    )
}

fn add_status(operations: &mut Vec<PatchOperation>, subject: &Subject<'_>, status: String) {
    match &subject.pod.metadata {
        None => add(
            operations,
            &["metadata"],
            json!({ "annotations": { STATUS: status } }),
        ),
        Some(metadata) if metadata.annotations.is_none() => add(
            operations,
            &["metadata", "annotations"],
            json!({ STATUS: status }),
        ),
        Some(_) if subject.pod.annotation(STATUS) == Some(&status) => {}
        Some(_) => add(
            operations,
            &["metadata", "annotations", STATUS],
            status.into(),
        ),
    }
}

/// Appends items to a list, and makes the list where there is none.
fn append<T: Serialize>(
    operations: &mut Vec<PatchOperation>,
    path: &[&str],
    absent: bool,
    items: Vec<T>,
) -> Result<(), PatchError> {
    if absent && !items.is_empty() {
        add(operations, path, serde_json::to_value(items)?);
        return Ok(());
    }
    let end = [path, &["-"]].concat();
    for item in items {
        add(operations, &end, serde_json::to_value(item)?);
    }
    Ok(())
}

fn add(operations: &mut Vec<PatchOperation>, path: &[&str], value: Value) {
    let path = PointerBuf::from_tokens(path.iter().copied());
    operations.push(PatchOperation::Add(AddOperation { path, value }));
}
