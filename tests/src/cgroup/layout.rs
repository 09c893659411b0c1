//! Where a machine has its cgroups.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

const ROOT: &str = "/sys/fs/cgroup";

/// Which controllers are mounted where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Layout {
    /// One hierarchy a controller (or a few), and maybe a v2 one without controllers.
    V1(Vec<PathBuf>),
    /// One hierarchy.
    V2,
}

impl Layout {
    /// The layout of this machine.
    ///
    /// # Errors
    /// If there are no cgroups.
    pub fn detect() -> Result<Self> {
        if Path::new(ROOT).join("cgroup.controllers").exists() {
            return Ok(Self::V2);
        }
        let mut trees = Vec::new();
        for entry in fs::read_dir(ROOT).context("no cgroups")? {
            let path = entry?.path();
            // Links such as `cpu` to `cpu,cpuacct` are the same hierarchy.
            if !path.is_symlink() && path.join("cgroup.procs").exists() {
                trees.push(path);
            }
        }
        if trees.is_empty() {
            bail!("no cgroup hierarchy is mounted at {ROOT}");
        }
        Ok(Self::V1(trees))
    }

    /// In words.
    #[must_use]
    pub fn describe(&self) -> String {
        let Self::V1(trees) = self else {
            return "v2".to_owned();
        };
        let is_v2 = |tree: &&PathBuf| tree.join("cgroup.controllers").exists();
        match trees.len() - trees.iter().filter(is_v2).count() {
            v1 if v1 == trees.len() => format!("v1 ({v1} hierarchies)"),
            v1 => format!("hybrid: v1 ({v1} hierarchies) and a v2 hierarchy"),
        }
    }

    /// Without the v1 layout's hierarchy of that name.
    pub(super) fn without(&self, name: &str) -> Self {
        match self {
            Self::V1(trees) => {
                let others = trees.iter().filter(|tree| !tree.ends_with(name));
                Self::V1(others.cloned().collect())
            }
            Self::V2 => Self::V2,
        }
    }

    /// Every hierarchy.
    pub(super) fn trees(&self) -> Vec<PathBuf> {
        match self {
            Self::V1(trees) => trees.clone(),
            Self::V2 => vec![ROOT.into()],
        }
    }

    /// The hierarchy that has a controller.
    pub(super) fn tree(&self, controller: &str) -> Result<PathBuf> {
        let Self::V1(trees) = self else {
            return Ok(ROOT.into());
        };
        let has = |tree: &&PathBuf| {
            let name = tree.file_name().unwrap_or_default().to_string_lossy();
            name.split(',').any(|name| name == controller)
        };
        let tree = trees.iter().find(has);
        tree.cloned()
            .with_context(|| format!("no cgroup v1 controller {controller}"))
    }
}
