//! What a container sees of its own size.
//!
//! This library knows what the files of a view look like. It does no IO: who serves the files
//! reads the kernel's, hands their texts in and gets texts back.
//!
//! ```text
//!   kernel texts ---- parse ---> numbers ---> cpu      how many CPUs, which, how much capacity
//!   (cgroup files,                            account  used and idle time that never goes back
//!    /proc/<pid>)                             load     load averages
//!                                             memory   limits, what is free, what is available
//!                                             numa     on which memory nodes
//!   host's files ---- host ----> templates           \
//!                                                     render ---> /proc/meminfo, /proc/stat, ...
//! ```

pub mod account;
pub mod cpu;
pub mod file;
pub mod host;
pub mod load;
pub mod memory;
pub mod numa;
pub mod parse;
pub mod render;
