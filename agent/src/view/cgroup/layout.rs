//! Where the controllers are: v1, v2, or some here and some there.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use procview::parse::{CgroupLine, cgroup_lines, words};

use super::{Cgroup, Chain, Controller, Dirs, Version};

/// Where each controller's hierarchy is mounted.
#[derive(Debug)]
pub struct Layout {
    mounts: [Option<(Version, PathBuf)>; Controller::ALL.len()],
}

/// Why the cgroup file system cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LayoutError {
    /// Nothing at all is mounted there.
    #[error(
        "no cgroup hierarchy at {0}: mount cgroup2 there, or name the place where the host's cgroup file system is with --cgroup"
    )]
    NotThere(PathBuf),
}

impl Controller {
    /// The directory below a v1 root.
    fn v1_name(self) -> Option<&'static str> {
        Some(match self {
            Self::Memory => "memory",
            Self::Cpu => "cpu",
            Self::Cpuacct => "cpuacct",
            Self::Cpuset => "cpuset",
            Self::Blkio => "blkio",
            Self::Pids => "pids",
            Self::Hugetlb => "hugetlb",
            Self::Unified => return None,
        })
    }

    /// The word in `cgroup.controllers`; `None` for what every v2 cgroup has.
    fn v2_name(self) -> Option<&'static str> {
        Some(match self {
            Self::Memory => "memory",
            Self::Cpu => "cpu",
            Self::Cpuset => "cpuset",
            Self::Blkio => "io",
            Self::Pids => "pids",
            Self::Hugetlb => "hugetlb",
            Self::Cpuacct | Self::Unified => return None,
        })
    }

    /// Whether what an ancestor says holds below it. Of the others only the container's own cgroup
    /// counts.
    fn has_limits(self) -> bool {
        match self {
            Self::Memory | Self::Cpu | Self::Cpuset | Self::Hugetlb => true,
            Self::Cpuacct | Self::Blkio | Self::Pids | Self::Unified => false,
        }
    }
}

impl Layout {
    /// Finds the controllers below `root`, usually `/sys/fs/cgroup`.
    ///
    /// # Errors
    /// [`LayoutError::NotThere`] if there is no hierarchy of either version.
    pub fn detect(root: &Path) -> Result<Self, LayoutError> {
        let is_unified = |path: &Path| path.join("cgroup.controllers").exists();
        // Below a v2 root a directory called `memory` is a cgroup, not a hierarchy.
        let only_v2 = is_unified(root);
        let unified = [root.to_path_buf(), root.join("unified")];
        let unified = unified.into_iter().find(|path| is_unified(path));
        let offered = unified
            .as_ref()
            .and_then(|path| std::fs::read(path.join("cgroup.controllers")).ok())
            .unwrap_or_default();
        let mount = |controller: Controller| {
            let v1 = controller.v1_name().map(|name| root.join(name));
            if let Some(path) = v1.filter(|path| !only_v2 && is_filled(path)) {
                return Some((Version::V1, path));
            }
            let offers =
                |name: &str| words(offered.trim_ascii()).any(|word| word == name.as_bytes());
            let unified = unified.clone()?;
            controller
                .v2_name()
                .is_none_or(offers)
                .then_some((Version::V2, unified))
        };
        let mounts = Controller::ALL.map(mount);
        if mounts.iter().all(Option::is_none) {
            return Err(LayoutError::NotThere(root.to_path_buf()));
        }
        Ok(Self { mounts })
    }

    /// In words, for the log: `v2`, `v1`, or `hybrid`.
    pub fn describe(&self) -> &'static str {
        let has = |wanted| {
            let mut versions = self.mounts.iter().flatten();
            versions.any(|(version, _)| *version == wanted)
        };
        match (has(Version::V1), has(Version::V2)) {
            (true, true) => "hybrid",
            (true, false) => "v1",
            _ => "v2",
        }
    }

    /// Whether the host has `controller`.
    pub fn has(&self, controller: Controller) -> bool {
        self.mounts[controller as usize].is_some()
    }

    /// The hierarchy in which to look for containers: one that every container is in.
    pub fn search_root(&self) -> Option<&Path> {
        use Controller::{Cpu, Cpuacct, Memory, Unified};
        [Memory, Cpuacct, Cpu, Unified]
            .into_iter()
            .find_map(|controller| self.mounts[controller as usize].as_ref())
            .map(|(_, path)| path.as_path())
    }

    /// The cgroups named by `pid_cgroup`, the text of `/proc/<pid>/cgroup`, each path cut by
    /// `trim` to the container's.
    pub fn cgroup(
        &self,
        pid_cgroup: &[u8],
        trim: impl Fn(&[u8]) -> &[u8],
        dirs: &Arc<Dirs>,
    ) -> Cgroup {
        let mut v2_chain: Option<Chain> = None;
        let chains = Controller::ALL.map(|controller| {
            let Some((version, root)) = &self.mounts[controller as usize] else {
                return Chain {
                    version: Version::V2,
                    dirs: Arc::new([]),
                };
            };
            if let (Version::V2, Some(chain)) = (version, &v2_chain) {
                return chain.clone();
            }
            let path =
                line_of(controller, *version, pid_cgroup).map_or(&b"/"[..], |line| line.path);
            // All of v2 is one chain.
            let with_ancestors = controller.has_limits() || *version == Version::V2;
            let chain = chain(*version, root, trim(path), with_ancestors, dirs);
            if *version == Version::V2 {
                v2_chain = Some(chain.clone());
            }
            chain
        });
        Cgroup {
            dirs: Arc::clone(dirs),
            chains,
        }
    }
}

/// Whether `path` is a directory with something in it: a mounted hierarchy, not a mount point.
fn is_filled(path: &Path) -> bool {
    std::fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_some())
}

fn line_of(controller: Controller, version: Version, pid_cgroup: &[u8]) -> Option<CgroupLine<'_>> {
    let name = controller.v1_name();
    cgroup_lines(pid_cgroup).find(|line| match version {
        Version::V1 => name.is_some_and(|name| line.has(name.as_bytes())),
        Version::V2 => line.is_v2(),
    })
}

/// The directories from `path` up to, not including, `root`; without ancestors only the first. A path that leads out of the root
/// (`/../x`, a cgroup namespace's view of what is outside) gives none.
fn chain(version: Version, root: &Path, path: &[u8], with_ancestors: bool, dirs: &Dirs) -> Chain {
    let parts: Vec<_> = path
        .split(|byte| *byte == b'/')
        .filter(|part| !part.is_empty())
        .map(|part| String::from_utf8_lossy(part))
        .collect();
    let leads_out = parts.iter().any(|part| part == ".." || part == ".");
    let lengths = if leads_out { 0 } else { parts.len() };
    let dirs = (1..=lengths)
        .rev()
        .take(if with_ancestors { lengths } else { 1 })
        .map(|length| {
            let mut dir = root.to_path_buf();
            dir.extend(parts[..length].iter().map(|part| part.as_ref()));
            dirs.get(dir)
        })
        .collect();
    Chain { version, dirs }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(files: &[&str]) -> tempfile::TempDir {
        let root = tempfile::tempdir().expect("a directory");
        for file in files {
            let path = root.path().join(file);
            std::fs::create_dir_all(path.parent().expect("a parent")).expect("its directory");
            std::fs::write(path, "cpuset cpu io memory pids\n").expect("the file");
        }
        root
    }

    #[test]
    fn the_layout_is_found() {
        let layout =
            |files: &[&str]| Layout::detect(tree(files).path()).map(|layout| layout.describe());
        assert_eq!(layout(&["cgroup.controllers"]).ok(), Some("v2"));
        // A cgroup of that name is no v1 hierarchy.
        assert_eq!(
            layout(&["cgroup.controllers", "memory/cgroup.procs"]).ok(),
            Some("v2")
        );
        assert_eq!(layout(&["memory/tasks", "cpu/tasks"]).ok(), Some("v1"));
        let hybrid = ["memory/tasks", "unified/cgroup.controllers"];
        assert_eq!(layout(&hybrid).ok(), Some("hybrid"));
        assert!(layout(&[]).is_err());
    }

    #[test]
    fn a_path_out_of_the_root_has_no_cgroups() {
        let root = tree(&["cgroup.controllers"]);
        let layout = Layout::detect(root.path()).expect("a hierarchy");
        let dirs = Arc::new(Dirs::new(10));
        let cgroup = layout.cgroup(b"0::/../../x\n", |path| path, &dirs);
        assert!(cgroup.is_root());
        let cgroup = layout.cgroup(b"0::/a/b\n", |path| path, &dirs);
        let own: Vec<_> = cgroup.own().map(|dir| dir.path().to_path_buf()).collect();
        assert!(own.iter().all(|path| *path == root.path().join("a/b")) && !own.is_empty());
    }
}
