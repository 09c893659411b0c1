//! Keeps a certificate of our own, together with any number of other replicas.
//!
//! Each replica does the same: read the Secret, see to it that the `caBundle` trusts what is in it,
//! serve it, and write what comes next. A write that another replica was faster with is no error,
//! the next round reads what that one wrote.

use std::sync::Arc;
use std::time::Duration;

use futures::stream::{self, Stream, StreamExt};
use kube::Client;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::watch_object;
use time::OffsetDateTime;
use tokio::time::{sleep, timeout};

use super::authority::AuthorityError;
use super::rotation::{Rotation, State};
use super::store::{Store, StoreError, Stored};
use crate::ready::Ready;
use crate::tls::{Identity, Served, TlsError};

/// Looks at everything again after this, whatever the watches say.
const RESYNC: Duration = Duration::from_secs(60);
/// An API server that does not answer is asked again after this.
const RETRY: Duration = Duration::from_secs(2);
/// Changes come in groups.
const SETTLE: Duration = Duration::from_millis(50);
/// For the few requests of one round.
const ROUND: Duration = Duration::from_secs(20);

/// Keeps the certificate.
#[derive(Debug)]
pub struct SelfSigned {
    store: Store,
    rotation: Rotation,
    served: Arc<Served>,
    /// What was good last, to put it back if the Secret is lost.
    last: Option<State>,
    /// The leaf that is served.
    serving: Option<String>,
}

/// Where things are in the cluster.
#[derive(Debug, Clone)]
pub struct Names {
    pub namespace: String,
    pub secret: String,
    pub configuration: String,
}

/// Why a round came to nothing.
#[derive(Debug, thiserror::Error)]
enum RoundError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    #[error("the new certificate: {0}")]
    Tls(#[from] TlsError),
    #[error("the API server did not answer within {} s", ROUND.as_secs())]
    Timeout,
    #[error("other replicas changed the Secret all the time")]
    Contended,
}

impl SelfSigned {
    /// Serves certificates through `served`.
    pub fn new(client: Client, names: &Names, rotation: Rotation, served: Arc<Served>) -> Self {
        let Names {
            namespace,
            secret,
            configuration,
        } = names;
        Self {
            store: Store::new(client, namespace, secret, configuration),
            rotation,
            served,
            last: None,
            serving: None,
        }
    }

    /// Keeps the certificate for ever.
    pub async fn run(mut self, ready: &Ready) {
        let mut changes = self.changes();
        loop {
            let round = timeout(ROUND, self.round()).await;
            let wait = match round.unwrap_or(Err(RoundError::Timeout)) {
                Ok(next_step) => {
                    ready.set_trusted(true);
                    let until = next_step - OffsetDateTime::now_utc();
                    until.try_into().unwrap_or(Duration::ZERO).min(RESYNC)
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot keep the certificate, trying again");
                    // What was trusted still is, unless somebody took it away.
                    if matches!(error, RoundError::Store(StoreError::NoConfiguration(_))) {
                        ready.set_trusted(false);
                    }
                    RETRY
                }
            };
            tokio::select! {
                () = sleep(wait) => {}
                _ = changes.next() => {
                    sleep(SETTLE).await;
                    while let Some(Some(())) = futures::FutureExt::now_or_never(changes.next()) {}
                }
            }
        }
    }

    /// An item whenever the Secret or the configuration changes.
    fn changes(&self) -> impl Stream<Item = ()> + Unpin + use<> {
        let store = &self.store;
        let secret = watch_object(store.secrets.clone(), &store.secret)
            .default_backoff()
            .map(|_| ());
        let configuration = watch_object(store.configurations.clone(), &store.configuration)
            .default_backoff()
            .map(|_| ());
        stream::select(secret.boxed(), configuration.boxed())
    }

    /// Brings Secret, configuration and server in line; tells when there is something to do next.
    async fn round(&mut self) -> Result<OffsetDateTime, RoundError> {
        for _ in 0..5 {
            let stored = self.store.read().await?;
            let state = match &stored {
                Stored::Good { state, .. } => Some(&**state),
                Stored::Missing => {
                    tracing::info!(
                        secret = self.store.secret,
                        "the Secret is missing, making it"
                    );
                    self.last.as_ref()
                }
                Stored::Unusable { .. } => {
                    tracing::warn!(
                        secret = self.store.secret,
                        "the Secret is unusable, replacing it"
                    );
                    self.last.as_ref()
                }
            };
            let now = OffsetDateTime::now_utc();
            let advanced = self.rotation.advance(state, now)?;
            let identity =
                Identity::from_pem(advanced.leaf.cert.as_bytes(), advanced.leaf.key.as_bytes())?;
            // What is about to sign must be trusted first.
            if let Some(state) = state.filter(|state| **state != advanced) {
                self.store.trust(&state.trust()).await?;
            }
            let is_stored = matches!(&stored, Stored::Good { state, .. } if **state == advanced);
            if !is_stored && !self.store.write(&advanced, &stored).await? {
                continue;
            }
            self.store.trust(&advanced.trust()).await?;
            if self.serving.as_ref() != Some(&advanced.leaf.cert) {
                tracing::info!(expiry = %identity.expiry(), "serving a new certificate");
                self.served.set(identity);
                self.serving = Some(advanced.leaf.cert.clone());
            }
            let next_step = self.rotation.next_step(&advanced)?;
            self.last = Some(advanced);
            return Ok(next_step);
        }
        Err(RoundError::Contended)
    }
}
