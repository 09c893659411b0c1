//! Serves each container its own `/proc` and `/sys/devices/system/cpu`.
//!
//! ```text
//!   read("/proc/meminfo") in a container
//!     fuse       FUSE request -> call                                   session: device, mount
//!     fs         inode, handle, snapshot of an open                     node, handle, cpu_dir
//!     registry   whose thread is it: caller -> /proc/<tid>/cgroup -> container
//!     view       what the file shows: hostproc (templates), cgroup/{v1,v2} (numbers)
//!     procview   numbers -> text
//!   every 5 s
//!     discover   containers that nobody asked for yet
//!     load       runnable threads -> load averages
//! ```

pub mod app;
pub mod args;
pub mod caller;
pub mod cgroup;
pub mod clock;
pub mod container;
pub mod discover;
pub mod fs;
pub mod fuse;
pub mod hostproc;
pub mod load;
mod lock;
pub mod mount;
pub mod namespace;
pub mod registry;
mod sys;
pub mod trigger;
pub mod view;
