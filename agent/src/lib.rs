//! Serves each container its own `/proc` and `/sys/devices/system/cpu`.
//!
//! ```text
//!   read("/proc/meminfo") in a container
//!     serve      fuse: FUSE request -> call                             session: threads
//!                fs: inode, handle, snapshot of an open                 node, handle, cpu_dir, trigger
//!     view       registry: whose thread is it: caller -> /proc/<tid>/cgroup -> container
//!                what the file shows: hostproc (templates), cgroup/{v1,v2} (numbers)
//!     procview   numbers -> text
//!   every 5 s
//!     view       discover: containers that nobody asked for yet
//!                load: runnable threads -> load averages
//!   on a node
//!     node       preflight: what it lacks                               mount, mountinfo, namespace
//!                placeholder: snapshots of the host's files, beneath the mount
//!     attach     release: puts containers back on the kernel's files at the end
//!     report     health: reads the view as a container does             http, metrics, event
//! ```
//!
//! Each of these is a room: its front file names what others may use of it. `app` sees all of them, and
//! each sees those that stand below it here: attach, node, serve, view, report.

pub mod app;
pub mod args;
pub mod attach;
pub mod clock;
mod deadline;
mod lock;
pub mod node;
pub mod report;
pub mod serve;
mod sys;
pub mod view;
