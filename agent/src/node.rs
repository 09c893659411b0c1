//! This node's mounts: what they have to be, where the view goes, and what lies beneath it.

mod mount;
mod mountinfo;
mod namespace;
pub mod placeholder;
pub mod preflight;

pub use mount::{Mount, MountError, check_native, detach, prepare};
pub use mountinfo::MountTable;
pub use namespace::{NamespaceError, enter_host_cgroup};
