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
//!   on a node
//!     preflight  what the node lacks                                    event: says so on the node
//!     placeholder  snapshots of the host's files, beneath the mount     mount, mountinfo
//!     release    puts containers back on the kernel's files at the end
//!     health     reads the view as a container does                     http, metrics
//! ```

pub mod app;
pub mod args;
pub mod caller;
pub mod cgroup;
pub mod clock;
pub mod container;
mod deadline;
pub mod discover;
pub mod event;
pub mod fs;
pub mod fuse;
pub mod health;
pub mod hostproc;
pub mod http;
pub mod load;
mod lock;
pub mod metrics;
pub mod mount;
pub mod mountinfo;
pub mod namespace;
pub mod placeholder;
pub mod preflight;
pub mod registry;
pub mod release;
mod sys;
pub mod trigger;
pub mod view;
