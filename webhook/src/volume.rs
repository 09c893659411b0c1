//! Our volumes and mounts: what they are called, where they come from and where they go.

use std::path::{Component, Path};

use k8s_openapi::api::core::v1::{HostPathVolumeSource, Volume, VolumeMount};
use procview::file::File;

use crate::pod::{self, Container, Pod};

/// The name of the volume of the parent directory; those of files are `procview-<file>`.
const PARENT: &str = "procview";

/// Where the view is on the node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// The directory that is shared with the containers; the view is mounted at `view` below it.
    parent: String,
}

/// A volume of ours and its one place in a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The volume's name.
    pub name: String,
    /// The path on the node.
    pub host_path: String,
    /// What the kubelet checks of the path before it starts the pod: `File` or `Directory`.
    /// Without a type a container runtime would make a directory of a file that is missing.
    pub host_path_type: &'static str,
    /// The path in the container.
    pub mount_path: String,
    /// `HostToContainer` for the parent, so that a view that is mounted later arrives in containers.
    pub propagation: Option<&'static str>,
}

impl Layout {
    /// The layout below a directory of the node.
    pub fn new(parent: &str) -> Self {
        Self {
            parent: parent.trim_end_matches('/').to_owned(),
        }
    }

    /// The directory that the view is mounted in.
    pub fn parent(&self) -> Place {
        Place {
            name: PARENT.to_owned(),
            host_path: self.parent.clone(),
            host_path_type: "Directory",
            mount_path: self.parent.clone(),
            propagation: Some("HostToContainer"),
        }
    }

    /// A file of the view.
    pub fn file(&self, file: File) -> Place {
        Place {
            name: format!("{PARENT}-{}", file.name()),
            host_path: format!("{}/view/{}", self.parent, file.path()),
            host_path_type: if file.is_dir() { "Directory" } else { "File" },
            mount_path: format!("/{}", file.path()),
            propagation: None,
        }
    }

    /// Whether the pod has our volume for a file.
    pub fn has(&self, pod: &Pod, file: File) -> bool {
        let ours = self.file(file);
        pod.volumes().iter().any(|volume| ours.is(volume))
    }

    /// Whether a container has a mount of its own at a file, around it or below it.
    pub fn covers(&self, container: &Container, file: File) -> bool {
        self.file(file).is_covered(container)
    }
}

impl Place {
    /// Whether a volume of a pod is this one.
    pub fn is(&self, volume: &pod::Volume) -> bool {
        let path = volume.host_path.as_ref().map(|source| &source.path);
        volume.name == self.name && path == Some(&self.host_path)
    }

    /// Whether a container has the mount.
    pub fn is_mounted(&self, container: &Container) -> bool {
        container
            .mounts()
            .iter()
            .any(|mount| mount.name == self.name && mount.mount_path == self.mount_path)
    }

    /// Whether another mount of the container is at the path, around it or below it. A mount
    /// around it could be read-only, and the runtime then cannot make the directory.
    pub fn is_covered(&self, container: &Container) -> bool {
        let foreign = container
            .mounts()
            .iter()
            .filter(|mount| mount.name != self.name || mount.mount_path != self.mount_path)
            .map(|mount| mount.mount_path.as_str());
        let devices = container.volume_devices.iter();
        let ours = normal(&self.mount_path);
        foreign
            .chain(devices.map(|device| device.device_path.as_str()))
            .map(normal)
            .any(|theirs| ours.starts_with(&theirs) || theirs.starts_with(&ours))
    }

    /// The volume as a pod has it.
    pub fn volume(&self) -> Volume {
        Volume {
            name: self.name.clone(),
            host_path: Some(HostPathVolumeSource {
                path: self.host_path.clone(),
                type_: Some(self.host_path_type.to_owned()),
            }),
            ..Volume::default()
        }
    }

    /// The mount as a container has it.
    pub fn mount(&self) -> VolumeMount {
        VolumeMount {
            name: self.name.clone(),
            mount_path: self.mount_path.clone(),
            read_only: Some(true),
            mount_propagation: self.propagation.map(str::to_owned),
            ..VolumeMount::default()
        }
    }
}

/// The parts of an absolute path, without `.`, `..` and empty ones.
fn normal(path: &str) -> Vec<&std::ffi::OsStr> {
    let mut parts = Vec::new();
    for component in Path::new(path).components() {
        match component {
            Component::Normal(part) => parts.push(part),
            Component::ParentDir => {
                parts.pop();
            }
            _ => {}
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn container(path: &str) -> Container {
        Container {
            volume_mounts: Some(vec![pod::VolumeMount {
                name: "data".to_owned(),
                mount_path: path.to_owned(),
            }]),
            ..Container::default()
        }
    }

    #[test]
    fn a_mount_at_around_or_below_a_path_covers_it() {
        let layout = Layout::new("/var/lib/procview/");
        for path in [
            "/proc/meminfo",
            "//proc/./meminfo/",
            "/tmp/../proc/meminfo",
            "/proc",
            "/",
        ] {
            assert!(layout.covers(&container(path), File::Meminfo), "{path}");
        }
        for path in ["/proc/meminfo2", "/proc/stat", "/data/proc", "/sys"] {
            assert!(!layout.covers(&container(path), File::Meminfo), "{path}");
        }
        assert!(layout.covers(&container("/sys/devices/system/cpu/cpu0"), File::Cpu));
        assert!(layout.parent().is_covered(&container("/var/lib")));
        assert!(
            !layout
                .parent()
                .is_covered(&container("/var/lib/postgresql"))
        );
    }
}
