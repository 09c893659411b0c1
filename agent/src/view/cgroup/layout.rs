//! Where the controllers are: v1, v2, or some here and some there; and whose cgroups a thread is in.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use procview::parse::{
    CgroupLine, cgroup_lines, container_path, container_path_of, own_path, words,
};

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

    /// Whether the v1 hierarchy mounted at `path` has it: the directory is called as the controllers are
    /// that are mounted together, in any order.
    fn is_in(self, path: &Path) -> bool {
        let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
        name.split(',').any(|name| Some(name) == self.v1_name())
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
        let hierarchies = if is_unified(root) {
            Vec::new()
        } else {
            v1_hierarchies(root)
        };
        let unified = [root.to_path_buf(), root.join("unified")];
        let unified = unified.into_iter().find(|path| is_unified(path));
        let offered = unified
            .as_ref()
            .and_then(|path| fs::read(path.join("cgroup.controllers")).ok())
            .unwrap_or_default();
        let mount = |controller: Controller| {
            let v1 = hierarchies.iter().find(|path| controller.is_in(path));
            if let Some(path) = v1 {
                return Some((Version::V1, path.clone()));
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

    /// The cgroups of the container that a thread is in whose `/proc/<tid>/cgroup` is `pid_cgroup`; those
    /// of the thread if it is in no container. `None` for a thread in the root cgroup.
    ///
    /// # Errors
    /// ENOENT if the cgroup is gone by now; those of looking at its directories.
    pub fn cgroup(&self, pid_cgroup: &[u8], dirs: &Arc<Dirs>) -> io::Result<Option<Cgroup>> {
        let line = |controller: Controller| {
            let (version, _) = self.mounts[controller as usize].as_ref()?;
            line_of(controller, *version, pid_cgroup).map(|line| line.path)
        };
        let mut paths = Controller::ALL
            .iter()
            .filter_map(|controller| line(*controller));
        let id = paths.find_map(container_path).map(|container| container.id);
        let mut chains = Vec::with_capacity(Controller::ALL.len());
        for controller in Controller::ALL {
            let mount = self.mounts[controller as usize].as_ref();
            chains.push(match mount.zip(line(controller)) {
                Some(((version, root), path)) => chain(controller, *version, root, path, id, dirs)?,
                None => Chain::none(mount.map_or(Version::V2, |(version, _)| *version)),
            });
        }
        let chains: [Chain; Controller::ALL.len()] =
            chains.try_into().expect("one for each controller");
        let is_outside = |chain: &Chain| chain.dirs.is_empty();
        match chains.iter().find_map(Chain::own) {
            Some(first) => {
                let first = Arc::clone(first);
                first.follow();
                let is_container = id.is_some();
                Ok(Some(Cgroup::new(first, is_container, chains)))
            }
            None if id.is_none() && chains.iter().all(is_outside) && is_root(pid_cgroup) => {
                Ok(None)
            }
            None => Err(io::Error::from_raw_os_error(libc::ENOENT)),
        }
    }
}

/// The v1 hierarchies below `root`. A directory is the mount of a hierarchy if something is in it.
fn v1_hierarchies(root: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(root).into_iter().flatten().flatten();
    let mut paths: Vec<_> = entries.map(|entry| entry.path()).collect();
    paths.retain(|path| fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_some()));
    paths.sort();
    paths
}

fn line_of(controller: Controller, version: Version, pid_cgroup: &[u8]) -> Option<CgroupLine<'_>> {
    let name = controller.v1_name();
    cgroup_lines(pid_cgroup).find(|line| match version {
        Version::V1 => name.is_some_and(|name| line.has(name.as_bytes())),
        Version::V2 => line.is_v2(),
    })
}

/// Whether all paths are the root, or lead out of it, or `init.scope` that systemd makes for itself.
fn is_root(pid_cgroup: &[u8]) -> bool {
    cgroup_lines(pid_cgroup).all(|line| parts(own_path(line.path)).is_empty())
}

/// The names on `path`. One that leads out of the root (`/../x`, a cgroup namespace's view of what is
/// outside) has none.
fn parts(path: &[u8]) -> Vec<&[u8]> {
    let parts: Vec<_> = path
        .split(|byte| *byte == b'/')
        .filter(|part| !part.is_empty())
        .collect();
    let leads_out = parts.iter().any(|part| matches!(*part, b".." | b"."));
    if leads_out { Vec::new() } else { parts }
}

/// The cgroups of `controller` that count for a thread in the one at `path`, below `root`. If it is in a
/// container they are those of the container with that `id`: on a hybrid host the thread may have been left
/// in a cgroup of the v2 hierarchy that is somebody else's, and of which only the limits hold for it.
fn chain(
    controller: Controller,
    version: Version,
    root: &Path,
    path: &[u8],
    id: Option<&[u8]>,
    dirs: &Arc<Dirs>,
) -> io::Result<Chain> {
    let container = id.and_then(|id| container_path_of(path, id));
    let (path, is_own) = match (id, container) {
        (None, _) => (own_path(path), true),
        (Some(_), Some(container)) => (container.path, true),
        (Some(_), None) => (path, false),
    };
    let names = parts(path);
    let mut chain = Chain::none(version);
    // Of controllers without limits only the container's own cgroup counts.
    let depth = match (controller.has_limits(), is_own) {
        (true, _) => names.len(),
        (false, true) => 1.min(names.len()),
        (false, false) => 0,
    };
    let mut found = Vec::with_capacity(depth);
    for (step, length) in (1..=names.len()).rev().take(depth).enumerate() {
        let mut dir = root.to_path_buf();
        dir.extend(names[..length].iter().map(|name| OsStr::from_bytes(name)));
        // Not there if the hierarchy is mounted in part, or the cgroup is going away.
        if let Some(dir) = dirs.get(dir)? {
            chain.is_own |= is_own && step == 0;
            found.push(dir);
        }
    }
    chain.dirs = found.into();
    Ok(chain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(files: &[&str]) -> tempfile::TempDir {
        let root = tempfile::tempdir().expect("a directory");
        for file in files {
            let path = root.path().join(file);
            fs::create_dir_all(path.parent().expect("a parent")).expect("its directory");
            fs::write(path, "cpuset cpu io memory pids\n").expect("the file");
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

    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    /// The own cgroups of who has that text, below the root; `None` for the host.
    fn own(root: &Path, text: &str) -> Option<Vec<String>> {
        let layout = Layout::detect(root).expect("a hierarchy");
        let cgroup = layout.cgroup(text.as_bytes(), &Arc::new(Dirs::new(10)));
        let below = |dir: &Arc<super::super::Dir>| {
            let path = dir
                .path()
                .strip_prefix(root)
                .expect("a path below the root");
            path.to_string_lossy().into_owned()
        };
        let mut own: Vec<_> = cgroup.expect("a living cgroup")?.own().map(below).collect();
        own.dedup();
        Some(own)
    }

    #[test]
    fn a_path_out_of_the_root_has_no_cgroups() {
        let root = tree(&["cgroup.controllers", "a/b/cgroup.procs"]);
        assert_eq!(own(root.path(), "0::/../../x\n"), None);
        assert_eq!(own(root.path(), "0::/\n"), None);
        assert_eq!(own(root.path(), "0::/init.scope\n"), None);
        assert_eq!(own(root.path(), "0::/a/b\n"), Some(vec!["a/b".to_owned()]));
    }

    #[test]
    fn a_cgroup_that_is_not_there_is_no_host() {
        let root = tree(&["cgroup.controllers"]);
        let layout = Layout::detect(root.path()).expect("a hierarchy");
        let cgroup = layout.cgroup(b"0::/a/b\n", &Arc::new(Dirs::new(10)));
        let errno = cgroup.expect_err("nobody can be in it").raw_os_error();
        assert_eq!(errno, Some(libc::ENOENT));
    }

    #[test]
    fn controllers_can_be_mounted_together() {
        for name in ["cpu,cpuacct", "cpuacct,cpu"] {
            let own_file = format!("{name}/docker/{ID}/tasks");
            let root = tree(&["memory/tasks", &own_file]);
            let text = format!("3:memory:/docker/{ID}\n2:cpuacct,cpu:/docker/{ID}\n");
            assert_eq!(
                own(root.path(), &text),
                Some(vec![format!("{name}/docker/{ID}")])
            );
        }
    }

    #[test]
    fn a_controllers_cgroup_counts_only_if_it_is_the_containers() {
        let memory = format!("memory/docker/{ID}");
        let root = tree(&[
            &format!("{memory}/tasks"),
            "unified/cgroup.controllers",
            "unified/system.slice/containerd.service/cgroup.procs",
            "unified/user.slice/cgroup.procs",
        ]);
        for unified in ["/system.slice/containerd.service", "/user.slice", "/"] {
            let text = format!("4:memory:/docker/{ID}\n0::{unified}\n");
            assert_eq!(
                own(root.path(), &text),
                Some(vec![memory.clone()]),
                "{unified}"
            );
        }
        let text = "4:memory:/\n0::/user.slice\n";
        assert_eq!(
            own(root.path(), text),
            Some(vec!["unified/user.slice".to_owned()])
        );
    }
}
