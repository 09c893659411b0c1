//! A certificate from files, read again when they change, as cert-manager and mounted Secrets do it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use crate::tls::{Identity, Served, TlsError};

/// How often the files are looked at. Kubelets change mounted Secrets about once a minute, by
/// exchanging a symbolic link two directories up, which is easier to see by reading.
const EVERY: Duration = Duration::from_secs(2);

/// A certificate and its key as files.
#[derive(Debug, Clone)]
pub struct Files {
    pub cert: PathBuf,
    pub key: PathBuf,
}

/// Why the files cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    #[error("cannot read {path}: {source}")]
    Read {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("{cert} with {key}: {source}")]
    Tls {
        cert: PathBuf,
        key: PathBuf,
        source: TlsError,
    },
}

/// The contents of both files.
type Pem = (Vec<u8>, Vec<u8>);

impl Files {
    /// Serves what is in the files now.
    ///
    /// # Errors
    /// If one cannot be read, or they cannot be served.
    pub async fn load(&self, served: &Served) -> Result<Pem, FilesError> {
        let pem = (read(&self.cert).await?, read(&self.key).await?);
        served.set(self.identity(&pem)?);
        Ok(pem)
    }

    fn identity(&self, (cert, key): &Pem) -> Result<Identity, FilesError> {
        Identity::from_pem(cert, key).map_err(|source| FilesError::Tls {
            cert: self.cert.clone(),
            key: self.key.clone(),
            source,
        })
    }

    /// Serves what comes to be in the files, for ever. What cannot be served changes nothing.
    pub async fn follow(self, mut now: Pem, served: Arc<Served>) {
        let mut failed: Option<Pem> = None;
        loop {
            sleep(EVERY).await;
            let (cert, key) = (read(&self.cert).await, read(&self.key).await);
            let pem = match (cert, key) {
                (Ok(cert), Ok(key)) => (cert, key),
                (Err(error), _) | (_, Err(error)) => {
                    tracing::warn!(%error, "kept the certificate");
                    continue;
                }
            };
            if pem == now || failed.as_ref() == Some(&pem) {
                continue;
            }
            match self.identity(&pem) {
                Ok(identity) => {
                    tracing::info!(expiry = %identity.expiry(), "took a new certificate");
                    served.set(identity);
                    now = pem;
                    failed = None;
                }
                Err(error) => {
                    tracing::warn!(%error, "kept the certificate");
                    failed = Some(pem);
                }
            }
        }
    }
}

async fn read(path: &Path) -> Result<Vec<u8>, FilesError> {
    tokio::fs::read(path)
        .await
        .map_err(|source| FilesError::Read {
            path: path.to_owned(),
            source,
        })
}
