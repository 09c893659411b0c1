//! TLS with a certificate that can be exchanged under way: new connections get the new one, those
//! that are open keep theirs.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use time::OffsetDateTime;

/// The certificate that is served now.
#[derive(Default)]
pub struct Served(ArcSwapOption<Identity>);

/// A certificate chain with its key.
#[derive(Debug)]
pub struct Identity {
    key: Arc<CertifiedKey>,
    expiry: OffsetDateTime,
}

/// Why a certificate and key cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("no certificate: {0}; it must be PEM, the leaf first")]
    Certificate(pem::Error),
    #[error("no private key: {0}; it must be PEM, PKCS#8, SEC1 or PKCS#1")]
    Key(pem::Error),
    #[error("the leaf certificate cannot be read: {0}")]
    Leaf(String),
    #[error("certificate and key cannot be used together: {0}")]
    Unusable(#[from] rustls::Error),
}

impl Identity {
    /// Reads a chain and its key from PEM.
    ///
    /// # Errors
    /// If one cannot be read, or they do not belong together.
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, TlsError> {
        let chain: Vec<_> = CertificateDer::pem_slice_iter(chain)
            .collect::<Result<_, _>>()
            .map_err(TlsError::Certificate)?;
        let leaf = chain
            .first()
            .ok_or(TlsError::Certificate(pem::Error::NoItemsFound))?;
        let expiry = expiry(leaf)?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(TlsError::Key)?;
        let key = CertifiedKey::from_der(chain, key, &ring::default_provider())?;
        Ok(Self {
            key: Arc::new(key),
            expiry,
        })
    }

    /// When the leaf expires.
    pub fn expiry(&self) -> OffsetDateTime {
        self.expiry
    }
}

/// When a certificate expires.
fn expiry(certificate: &CertificateDer<'_>) -> Result<OffsetDateTime, TlsError> {
    let (_, certificate) = x509_parser::parse_x509_certificate(certificate)
        .map_err(|error| TlsError::Leaf(error.to_string()))?;
    Ok(certificate.validity().not_after.to_datetime())
}

impl Served {
    /// Serves another certificate from the next connection on.
    pub fn set(&self, identity: Identity) {
        self.0.store(Some(Arc::new(identity)));
    }

    /// When the certificate expires, if there is one.
    pub fn expiry(&self) -> Option<OffsetDateTime> {
        self.0.load().as_ref().map(|identity| identity.expiry)
    }
}

impl ResolvesServerCert for Served {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0
            .load()
            .as_ref()
            .map(|identity| Arc::clone(&identity.key))
    }
}

impl fmt::Debug for Served {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_tuple("Served")
            .field(&self.expiry())
            .finish()
    }
}

/// TLS 1.2 and 1.3, HTTP/2 and 1.1.
///
/// # Errors
/// If the cryptography at hand has none of these.
pub fn server_config(served: Arc<Served>) -> Result<ServerConfig, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
        .with_no_client_auth()
        .with_cert_resolver(served);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}
