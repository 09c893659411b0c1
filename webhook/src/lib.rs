//! The webhook: adds the view to pods as they are created.
//!
//! ```text
//! POST /mutate
//!   server        TLS, connections, limits
//!   router        the paths
//!   bodies        what requests bring, and limits on it
//!   mutate        bytes of an AdmissionReview -> its answer; never a denial
//!     review        what the API server asks and is answered
//!     pod           what we read of a pod
//!     choice        what its annotations ask for
//!     decide        which containers get which files (decide::rules: the table of who does not)
//!     volume        our volumes and mounts
//!     patch         the JSON patch, and the text of procview.dev/status
//! beside it
//!   tls           the certificate that is served
//!   certificate   where it comes from: files, or a CA that the replicas share
//!   ready         whether reviews can be answered
//!   metrics       what Prometheus is told
//!   explain       mutate for people, on a manifest
//! ```
#![forbid(unsafe_code)]

#[cfg(feature = "server")]
pub mod app;
#[cfg(feature = "server")]
pub mod args;
#[cfg(feature = "server")]
pub mod bodies;
#[cfg(feature = "server")]
pub mod certificate;
pub mod choice;
pub mod decide;
#[cfg(feature = "server")]
pub mod explain;
#[cfg(feature = "server")]
pub mod metrics;
pub mod mutate;
pub mod object;
pub mod patch;
pub mod pod;
#[cfg(feature = "server")]
pub mod ready;
pub mod review;
#[cfg(feature = "server")]
pub mod router;
#[cfg(feature = "server")]
pub mod server;
#[cfg(feature = "server")]
pub mod tls;
pub mod volume;
