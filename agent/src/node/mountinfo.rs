//! Mount tables: `/proc/<pid>/mountinfo`.
//!
//! Source: proc_pid_mountinfo(5) and the kernel's filesystems/sharedsubtree document.

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use procview::parse;

/// The mounts of a mount namespace, in the order in which they were made.
#[derive(Debug, Clone)]
pub struct MountTable(Vec<Mount>);

/// One mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// The file system's device, `major:minor`.
    pub device: String,
    /// Where it is mounted.
    pub at: PathBuf,
    /// Whether what is mounted below it appears in other namespaces that have it.
    pub shared: bool,
    /// The file system's type, such as `ext4` or `fuse.procview`.
    pub fstype: String,
}

impl MountTable {
    /// That of the process whose directory in procfs is `process`, such as `/proc/self`.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn of(process: &Path) -> io::Result<Self> {
        Ok(Self::parse(&std::fs::read(process.join("mountinfo"))?))
    }

    /// From the text of mountinfo. Lines that are none are left out.
    pub fn parse(text: &[u8]) -> Self {
        Self(parse::lines(text).filter_map(Mount::parse).collect())
    }

    /// The topmost of the mounts at `dir` itself.
    pub fn at(&self, dir: &Path) -> Option<&Mount> {
        self.0.iter().rfind(|mount| mount.at == dir)
    }

    /// The mounts of the file system with `device`, `major:minor`.
    pub fn of_device(&self, device: &str) -> impl Iterator<Item = &Mount> {
        self.0.iter().filter(move |mount| mount.device == device)
    }

    /// The mount that `path`, absolute and without links, is on.
    pub fn of_path(&self, path: &Path) -> Option<&Mount> {
        path.ancestors().find_map(|dir| self.at(dir))
    }
}

impl Mount {
    fn parse(line: &[u8]) -> Option<Self> {
        let mut words = parse::words(line).skip(2);
        let device = words.next()?;
        let at = unescaped(words.nth(1)?);
        // Optional fields up to a hyphen, after the mount's options.
        let optional = words.by_ref().skip(1).take_while(|word| *word != b"-");
        let shared = optional.filter(|word| word.starts_with(b"shared:")).count() > 0;
        let text = |word| String::from_utf8_lossy(word).into_owned();
        Some(Self {
            device: text(device),
            at,
            shared,
            fstype: text(words.next()?),
        })
    }
}

/// A path of the mount table, in which blanks and backslashes are octal escapes.
fn unescaped(word: &[u8]) -> PathBuf {
    let mut path = Vec::with_capacity(word.len());
    let mut rest = word;
    while let Some((first, tail)) = rest.split_first() {
        let escape = (*first == b'\\').then(|| tail.get(..3)).flatten();
        let byte = escape
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match byte {
            Some(byte) => {
                path.push(byte);
                rest = &tail[3..];
            }
            None => {
                path.push(*first);
                rest = tail;
            }
        }
    }
    PathBuf::from(OsString::from_vec(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &[u8] = b"22 1 0:5 / /run rw shared:2 - tmpfs tmpfs rw\n\
        40 22 0:40 / /run/a\\040b rw,nosuid - ext4 /dev/x rw\n\
        41 22 0:41 / /run/a\\040b rw,nosuid shared:7 master:1 - fuse.procview procview rw\n\
        42 22 8:1 /x /run/slave rw master:3 propagate_from:2 - ext4 /dev/y rw\n\
        garbage\n";

    #[test]
    fn the_topmost_mount_counts() {
        let table = MountTable::parse(TABLE);
        let fstype = |dir| table.at(Path::new(dir)).map(|mount| mount.fstype.as_str());
        assert_eq!(fstype("/run/a b"), Some("fuse.procview"));
        assert_eq!(fstype("/run"), Some("tmpfs"));
        assert_eq!(fstype("/run/a"), None);
    }

    #[test]
    fn a_path_is_on_the_nearest_mount() {
        let table = MountTable::parse(TABLE);
        let found = |path| table.of_path(Path::new(path)).cloned().expect("a mount");
        let view = found("/run/a b/proc/meminfo");
        assert_eq!((view.device.as_str(), view.shared), ("0:41", true));
        assert_eq!(found("/run/a").device, "0:5");
        assert!(!found("/run/slave/dir").shared);
        assert_eq!(table.of_path(Path::new("/home")), None);
    }
}
