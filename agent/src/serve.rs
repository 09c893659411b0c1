//! The view as a file system: what it consists of, and how the kernel asks for it.

pub mod fs;
mod fuse;

pub use fuse::{ByCaller, Session};
