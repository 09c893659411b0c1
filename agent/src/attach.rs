//! The mounts of running containers.

pub mod release;
