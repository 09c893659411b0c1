//! Which containers of a pod get which files: a pure function of the pod and its namespace.

use std::collections::BTreeMap;
use std::iter;

use procview::file::File;

use crate::choice::Choice;
use crate::pod::{Container, List, Pod};
use crate::volume::Layout;

pub mod rules;

/// The labels by which a namespace opts in, each with the value `enabled`.
pub const NAMESPACE_LABELS: [&str; 2] = ["lxcfs-admission-webhook", "mount-lxcfs"];
/// The label that says what Pod Security level a namespace enforces.
pub const POD_SECURITY_LABEL: &str = "pod-security.kubernetes.io/enforce";

/// What is known of the namespace that a pod is created in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Namespace {
    /// It is one that is never touched.
    pub excluded: bool,
    /// It has opted in.
    pub enabled: bool,
    /// It enforces a Pod Security level that forbids hostPath volumes.
    pub pod_security: bool,
}

impl Namespace {
    /// A namespace by its labels.
    pub fn of(labels: &BTreeMap<String, String>, excluded: bool) -> Self {
        let label = |key: &str| labels.get(key).map(String::as_str);
        Self {
            excluded,
            enabled: NAMESPACE_LABELS
                .iter()
                .any(|key| label(key) == Some("enabled")),
            pod_security: matches!(label(POD_SECURITY_LABEL), Some("baseline" | "restricted")),
        }
    }
}

/// A pod about which to decide.
#[derive(Debug)]
pub struct Subject<'a> {
    pub pod: &'a Pod,
    /// For a request on `pods/ephemeralcontainers` the pod before it: nothing of that can be changed.
    pub before: Option<&'a Pod>,
    pub namespace: Namespace,
    pub choice: Choice,
    pub layout: &'a Layout,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// The pod gets no view.
    Skip {
        /// The rule's name.
        reason: &'static str,
        why: String,
        tells: rules::Tells,
    },
    /// At least one container gets a view, or has it.
    Inject {
        /// Every container there is a choice about, in the order of the pod.
        containers: Vec<ContainerDecision>,
    },
}

/// What one container gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerDecision {
    pub list: List,
    /// The position in `list`.
    pub index: usize,
    pub name: String,
    /// The files, or the name of the rule by which there are none.
    pub files: Result<Vec<File>, &'static str>,
    /// Files that were wanted where the container has a mount of its own.
    pub own_mounts: Vec<File>,
}

/// Decides about a pod.
pub fn decide(subject: &Subject<'_>) -> Decision {
    if let Some(rule) = rules::POD.iter().find(|rule| rule.applies(subject)) {
        let what = match rule.name {
            "volume-name-conflict" => subject.volume_conflict(),
            _ => None,
        };
        let why = what.map_or_else(
            || rule.why.to_owned(),
            |volume| format!("volume {volume:?} is not ours: {}", rule.why),
        );
        return Decision::Skip {
            reason: rule.name,
            why,
            tells: rule.tells,
        };
    }
    let containers: Vec<_> = subject
        .containers()
        .map(|(list, index, container)| {
            let rule = rules::CONTAINER
                .iter()
                .find(|rule| rule.applies(subject, container));
            ContainerDecision {
                list,
                index,
                name: container.name.clone(),
                files: match rule {
                    Some(rule) => Err(rule.name),
                    None => Ok(subject.files(container).collect()),
                },
                own_mounts: subject.own_mounts(container),
            }
        })
        .collect();
    if containers.iter().any(|container| container.files.is_ok()) {
        return Decision::Inject { containers };
    }
    let why: Vec<_> = containers
        .iter()
        .map(|container| {
            let reason = container.files.as_ref().err().copied().unwrap_or_default();
            format!("{} ({reason})", container.name)
        })
        .collect();
    Decision::Skip {
        reason: "no-container",
        why: format!("no container is left: {}", why.join(", ")),
        tells: rules::Tells::Status,
    }
}

impl<'a> Subject<'a> {
    /// The containers that a patch can change.
    pub fn containers(&self) -> impl Iterator<Item = (List, usize, &'a Container)> {
        let lists: &[List] = match self.before {
            None => &[List::Init, List::Main],
            Some(_) => &[List::Ephemeral],
        };
        let pod = self.pod;
        let before = self.before;
        lists
            .iter()
            .flat_map(move |list| {
                let containers = list.of(&pod.spec).iter().enumerate();
                containers.map(move |(index, container)| (*list, index, container))
            })
            .filter(move |(list, _, container)| {
                let known = before.map_or(&[][..], |before| list.of(&before.spec));
                !known.iter().any(|old| old.name == container.name)
            })
    }

    /// The files that the container is to have.
    pub fn files(&self, container: &'a Container) -> impl Iterator<Item = File> {
        self.choice.files.iter().copied().filter(move |file| {
            let there = self.before.is_none_or(|_| self.layout.has(self.pod, *file));
            there && !self.layout.covers(container, *file)
        })
    }

    /// The files that are wanted where the container has a mount of its own.
    fn own_mounts(&self, container: &Container) -> Vec<File> {
        let wanted = self.choice.files.iter().copied();
        wanted
            .filter(|file| self.layout.covers(container, *file))
            .collect()
    }

    /// The name of a volume that is named like ours and is another.
    pub fn volume_conflict(&self) -> Option<String> {
        let files = self.choice.files.iter().map(|file| self.layout.file(*file));
        let mut ours = files.chain(iter::once(self.layout.parent()));
        ours.find(|ours| {
            let volumes = self.pod.volumes().iter();
            let mut named = volumes.filter(|volume| volume.name == ours.name);
            named.any(|volume| !ours.is(volume))
        })
        .map(|ours| ours.name)
    }
}
