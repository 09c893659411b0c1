//! Which files there are: the contract between those who serve them and those who mount them.

use std::fmt;
use std::str::FromStr;

/// A file the view can serve, or for [`File::Pressure`], [`File::Cpu`] and [`File::Node`] a directory of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum File {
    /// `/proc/cpuinfo`
    Cpuinfo,
    /// `/proc/diskstats`
    Diskstats,
    /// `/proc/loadavg`
    Loadavg,
    /// `/proc/meminfo`
    Meminfo,
    /// `/proc/slabinfo`
    Slabinfo,
    /// `/proc/stat`
    Stat,
    /// `/proc/swaps`
    Swaps,
    /// `/proc/uptime`
    Uptime,
    /// `/proc/vmstat`
    Vmstat,
    /// `/proc/pressure/{cpu,io,memory,irq}` (since Linux 4.20)
    Pressure,
    /// `/sys/devices/system/cpu`
    Cpu,
    /// `/sys/devices/system/node`
    Node,
}

impl File {
    /// Every file, in the order of its path.
    pub const ALL: [Self; 12] = [
        Self::Cpuinfo,
        Self::Diskstats,
        Self::Loadavg,
        Self::Meminfo,
        Self::Slabinfo,
        Self::Stat,
        Self::Swaps,
        Self::Uptime,
        Self::Vmstat,
        Self::Pressure,
        Self::Cpu,
        Self::Node,
    ];

    /// Whether it is a directory.
    pub fn is_dir(self) -> bool {
        matches!(self, Self::Pressure | Self::Cpu | Self::Node)
    }

    /// Whether it is one of sysfs, and not of procfs.
    pub fn is_sysfs(self) -> bool {
        self.path().starts_with("sys/")
    }

    /// The name users know the file by, the last part of its path.
    pub fn name(self) -> &'static str {
        let path = self.path();
        path.rsplit_once('/').map_or(path, |(_, name)| name)
    }

    /// The path in a container, without the leading `/`; also its path within the view.
    pub fn path(self) -> &'static str {
        match self {
            Self::Cpuinfo => "proc/cpuinfo",
            Self::Diskstats => "proc/diskstats",
            Self::Loadavg => "proc/loadavg",
            Self::Meminfo => "proc/meminfo",
            Self::Slabinfo => "proc/slabinfo",
            Self::Stat => "proc/stat",
            Self::Swaps => "proc/swaps",
            Self::Uptime => "proc/uptime",
            Self::Vmstat => "proc/vmstat",
            Self::Pressure => "proc/pressure",
            Self::Cpu => "sys/devices/system/cpu",
            Self::Node => "sys/devices/system/node",
        }
    }
}

impl fmt::Display for File {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// A name that is none of [`File::ALL`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownFile(String);

impl fmt::Display for UnknownFile {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "no file is called `{}`; there are", self.0)?;
        File::ALL
            .iter()
            .try_for_each(|file| write!(formatter, " {file}"))
    }
}

impl std::error::Error for UnknownFile {}

impl FromStr for File {
    type Err = UnknownFile;

    /// Accepts the name or the path, with or without its leading `/`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        Self::ALL
            .into_iter()
            .find(|file| text == file.name() || text.trim_start_matches('/') == file.path())
            .ok_or_else(|| UnknownFile(text.to_owned()))
    }
}

/// The resources that `/proc/pressure` has a file for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Resource {
    /// `/proc/pressure/cpu`
    Cpu,
    /// `/proc/pressure/io`
    Io,
    /// `/proc/pressure/irq` (since Linux 6.1, with `CONFIG_IRQ_TIME_ACCOUNTING`)
    Irq,
    /// `/proc/pressure/memory`
    Memory,
}

impl Resource {
    /// All resources in the order of their names.
    pub const ALL: [Self; 4] = [Self::Cpu, Self::Io, Self::Irq, Self::Memory];

    /// The file's name in `/proc/pressure`; in a v2 cgroup it is `<name>.pressure`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Io => "io",
            Self::Irq => "irq",
            Self::Memory => "memory",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_paths_are_accepted() {
        for file in File::ALL {
            assert_eq!(file.name().parse(), Ok(file));
            assert_eq!(format!("/{}", file.path()).parse(), Ok(file));
        }
        let error = "memory".parse::<File>().expect_err("there is no such file");
        assert!(error.to_string().contains("`memory`"));
        assert!(error.to_string().contains("meminfo"));
    }
}
