//! Where the server's certificate comes from: files, or a CA of our own that the replicas share.
//!
//! ```text
//! files          given files, read again when they change
//! self_signed    the loop: Secret -> caBundle -> served
//!   rotation       what the Secret should hold, a pure function of what it holds and the time
//!   authority      CAs and the certificates they sign
//!   store          the Secret and the MutatingWebhookConfiguration in the API server
//! ```

pub mod authority;
pub mod files;
pub mod rotation;
pub mod self_signed;
pub mod store;
