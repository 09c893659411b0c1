//! Whether the webhook can do its work, and if not, what is missing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use time::OffsetDateTime;

use crate::tls::Served;

/// What `/readyz` tells.
#[derive(Debug)]
pub struct Ready {
    served: Arc<Served>,
    trusted: AtomicBool,
    stopping: AtomicBool,
}

impl Ready {
    /// Ready as soon as `served` has a valid certificate and, unless it is `trusted` without
    /// further ado, [`Ready::set_trusted`] was called.
    pub fn new(served: Arc<Served>, trusted: bool) -> Self {
        Self {
            served,
            trusted: trusted.into(),
            stopping: false.into(),
        }
    }

    /// Says whether the API server's configuration has the CA of the certificate.
    pub fn set_trusted(&self, trusted: bool) {
        self.trusted.store(trusted, Ordering::Relaxed);
    }

    /// No more reviews are wanted.
    pub fn set_stopping(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    /// When the certificate that is served expires, if there is one.
    pub fn expiry(&self) -> Option<OffsetDateTime> {
        self.served.expiry()
    }

    /// What is missing, if anything is.
    pub fn missing(&self) -> Option<String> {
        if self.stopping.load(Ordering::Relaxed) {
            return Some("the server is stopping".to_owned());
        }
        let Some(expiry) = self.served.expiry() else {
            return Some("there is no certificate yet".to_owned());
        };
        if expiry <= OffsetDateTime::now_utc() {
            return Some(format!("the certificate expired at {expiry}"));
        }
        if !self.trusted.load(Ordering::Relaxed) {
            return Some(
                "the MutatingWebhookConfiguration has not our CA in its caBundle yet".to_owned(),
            );
        }
        None
    }
}
