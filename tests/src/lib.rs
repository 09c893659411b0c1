//! What the tests need beside the agent: cgroups, containers and machines with other kernels.
//!
//! ```text
//! Machine  what this machine has, or why a test cannot run
//!   Agent      a running procview-agent and its view
//!   Pod        a cgroup as Kubernetes makes them; Group: one level of it, for a container
//!     run_in       a plain process in a group: the cheap form of a container
//!     Container    a real one, by runc or crun
//!     Containerd   a real one, by a containerd of its own
//!     Docker       a real one, by a Docker Engine of its own
//!   Webhook    a running procview-webhook, its certificates and clients, reviews to post
//!   Cluster    a real Kubernetes API server with controllers, in a network of its own
//!   guest      a test binary in an emulated machine with another kernel
//! manifest what is shipped for clusters, and the programs that check it
//! facts    what a measurement was made on
//! ```
//!
//! Everything is a value that removes what it made when it is dropped.

pub mod agent;
pub mod cgroup;
pub mod cluster;
pub mod container;
pub mod containerd;
pub mod docker;
pub mod facts;
pub mod guest;
pub mod machine;
pub mod manifest;
pub mod process;
pub mod webhook;
