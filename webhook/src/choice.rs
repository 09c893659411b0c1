//! What the owner of a pod asks for, by annotations.

use std::collections::BTreeSet;

use procview::file::File;

use crate::pod::Pod;

/// `true` asks for the view, also in pods that are left alone by default; `false` refuses it.
pub const INJECT: &str = "procview.dev/inject";
/// Names of containers, `-name` for all but that one, separated by commas.
pub const CONTAINERS: &str = "procview.dev/containers";
/// Names of files, `-name` for all but that one, separated by commas.
pub const FILES: &str = "procview.dev/files";

/// Keys by which pods refuse the webhooks for lxcfs; as annotation or label, with the value
/// `n`, `no`, `false` or `off` in any case.
pub const OPT_OUT_KEYS: [&str; 5] = [
    "lxcfs-admission-webhook.aliyun.com/mutate",
    "lxcfs-admission-webhook.kubernetes.io/mutate",
    "lxcfs-admission-webhook.tkex.com/mutate",
    "lxcfs-admission-webhook.raids-lab.github.io/mutate",
    "mutating.lxcfs-admission-webhook.io/enable",
];

/// The files that every container gets unless asked otherwise.
pub const DEFAULT_FILES: [File; 9] = [
    File::Cpuinfo,
    File::Diskstats,
    File::Loadavg,
    File::Meminfo,
    File::Stat,
    File::Swaps,
    File::Uptime,
    File::Cpu,
    File::Node,
];

/// Whether a container runtime accepts a mount on the file. runc and crun refuse the container for
/// a mount below `/proc` on anything else.
pub fn is_mountable(file: File) -> bool {
    DEFAULT_FILES.contains(&file) || file == File::Slabinfo
}

/// What the annotations of a pod ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// `procview.dev/inject`, where it is given and understood.
    pub inject: Option<bool>,
    /// The containers that are meant.
    pub containers: Containers,
    /// The files to mount, in the order of their paths.
    pub files: Vec<File>,
    /// What could not be understood.
    pub warnings: Vec<String>,
}

/// Which containers are meant.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Containers {
    /// If not empty, only these.
    named: BTreeSet<String>,
    /// Never these.
    excluded: BTreeSet<String>,
}

impl Containers {
    /// Whether the container is to get the view, as far as names go.
    pub fn include(&self, name: &str) -> bool {
        !self.excluded.contains(name) && (self.named.is_empty() || self.named.contains(name))
    }

    /// Whether the container was asked for by its name.
    pub fn name(&self, name: &str) -> bool {
        self.named.contains(name) && !self.excluded.contains(name)
    }
}

impl Choice {
    /// Reads the annotations of a pod.
    pub fn of(pod: &Pod) -> Self {
        let mut warnings = Vec::new();
        let inject = pod
            .annotation(INJECT)
            .and_then(|text| match switch(text.trim()) {
                None => {
                    warnings.push(format!(
                        "annotation {INJECT}: {text:?} is neither true nor false, and is ignored"
                    ));
                    None
                }
                some => some,
            });
        let containers = containers(pod, &mut warnings);
        let files = files(pod.annotation(FILES).unwrap_or_default(), &mut warnings);
        Self {
            inject,
            containers,
            files,
            warnings,
        }
    }
}

/// Whether the pod refuses by another tool's key.
pub fn opted_out_elsewhere(pod: &Pod) -> bool {
    OPT_OUT_KEYS.iter().any(|key| {
        let value = pod.annotation(key).or_else(|| pod.label(key));
        value.is_some_and(|value| switch(value.trim()) == Some(false))
    })
}

fn switch(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "y" | "on" | "1" | "enabled" => Some(true),
        "false" | "no" | "n" | "off" | "0" | "disabled" => Some(false),
        _ => None,
    }
}

fn items(text: &str) -> impl Iterator<Item = &str> {
    text.split(',')
        .map(str::trim)
        .filter(|item| !item.is_empty())
}

fn containers(pod: &Pod, warnings: &mut Vec<String>) -> Containers {
    let mut containers = Containers::default();
    for item in items(pod.annotation(CONTAINERS).unwrap_or_default()) {
        if let Some(name) = item.strip_prefix('-') {
            containers.excluded.insert(name.trim().to_owned());
            continue;
        }
        let spec = &pod.spec;
        let mut all = spec
            .init_containers
            .iter()
            .chain(&spec.containers)
            .chain(&spec.ephemeral_containers);
        if !all.any(|container| container.name == item) {
            warnings.push(format!(
                "annotation {CONTAINERS}: the pod has no container {item:?}"
            ));
        }
        containers.named.insert(item.to_owned());
    }
    containers
}

fn files(text: &str, warnings: &mut Vec<String>) -> Vec<File> {
    let mut only = None;
    let mut excluded = Vec::new();
    for item in items(text) {
        let (name, exclude) = match item.strip_prefix('-') {
            Some(name) => (name, true),
            None => (item, false),
        };
        if !exclude {
            only.get_or_insert_with(Vec::new);
        }
        match name.parse::<File>() {
            Err(error) => warnings.push(format!("annotation {FILES}: {error}")),
            Ok(file) if exclude => excluded.push(file),
            Ok(file) if is_mountable(file) => only.get_or_insert_with(Vec::new).push(file),
            Ok(file) => warnings.push(format!(
                "annotation {FILES}: container runtimes refuse mounts on /{}, it is left out",
                file.path()
            )),
        }
    }
    let wanted = only.as_deref().unwrap_or(&DEFAULT_FILES);
    File::ALL
        .into_iter()
        .filter(|file| wanted.contains(file) && !excluded.contains(file))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choice(key: &str, value: &str) -> Choice {
        let mut pod = Pod::default();
        let annotations = [(key.to_owned(), value.to_owned())];
        pod.metadata = Some(crate::pod::Metadata {
            annotations: Some(annotations.into_iter().collect()),
            ..Default::default()
        });
        pod.spec.containers = vec![crate::pod::Container {
            name: "app".to_owned(),
            ..Default::default()
        }];
        Choice::of(&pod)
    }

    #[test]
    fn a_list_of_files_is_a_choice_or_an_exclusion() {
        assert_eq!(
            choice(FILES, "meminfo, /proc/cpuinfo").files,
            [File::Cpuinfo, File::Meminfo]
        );
        let without = choice(FILES, "-uptime,-cpu").files;
        assert_eq!(without.len(), DEFAULT_FILES.len() - 2);
        assert!(!without.contains(&File::Uptime));
        assert_eq!(choice(FILES, "slabinfo").files, [File::Slabinfo]);
        assert_eq!(choice(FILES, " , ").files, DEFAULT_FILES);
    }

    #[test]
    fn files_that_are_unknown_or_refused_are_named() {
        let unknown = choice(FILES, "memory");
        assert!(unknown.files.is_empty());
        assert!(unknown.warnings[0].contains("`memory`"));
        let refused = choice(FILES, "vmstat,meminfo");
        assert_eq!(refused.files, [File::Meminfo]);
        assert!(refused.warnings[0].contains("/proc/vmstat"));
    }

    #[test]
    fn a_list_of_containers_is_a_choice_or_an_exclusion() {
        let named = choice(CONTAINERS, "app").containers;
        assert!(named.include("app") && named.name("app"));
        assert!(!named.include("istio-proxy"));
        let excluded = choice(CONTAINERS, "-istio-proxy").containers;
        assert!(excluded.include("app") && !excluded.name("app"));
        assert!(!excluded.include("istio-proxy"));
        assert_eq!(choice(CONTAINERS, "ap").warnings.len(), 1);
        assert!(choice(CONTAINERS, "-ap").warnings.is_empty());
    }

    #[test]
    fn inject_is_a_switch() {
        assert_eq!(choice(INJECT, "True").inject, Some(true));
        assert_eq!(choice(INJECT, " off").inject, Some(false));
        let neither = choice(INJECT, "maybe");
        assert_eq!(neither.inject, None);
        assert!(neither.warnings[0].contains("\"maybe\""));
    }
}
