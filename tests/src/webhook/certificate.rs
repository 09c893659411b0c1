//! Certificates, and files of them as a mounted Secret has them.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::Result;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::pki_types::CertificateDer;
use tempfile::TempDir;

use crate::cluster::ADDRESS;

/// The name that certificates are for; what is connected to is an address on loopback.
pub const NAME: &str = "procview-webhook.procview.svc";

/// A certificate authority.
#[derive(Debug)]
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
    pem: String,
}

/// A server's certificate and its key.
#[derive(Debug, Clone)]
pub struct Leaf {
    certificate: CertificateDer<'static>,
    pem: String,
    key: String,
}

impl Authority {
    /// Makes one, called by `name`.
    ///
    /// # Errors
    /// If there is no randomness.
    pub fn new(name: &str) -> Result<Self> {
        let mut parameters = CertificateParams::default();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        parameters.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate()?;
        let certificate = parameters.self_signed(&key)?;
        Ok(Self {
            certificate: certificate.der().clone(),
            pem: certificate.pem(),
            issuer: Issuer::new(parameters, key),
        })
    }

    /// As a `caBundle` has it, before base64.
    #[must_use]
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// What a client has to trust.
    #[must_use]
    pub fn certificate(&self) -> CertificateDer<'static> {
        self.certificate.clone()
    }

    /// A new certificate for [`NAME`] and [`ADDRESS`], unlike any other.
    ///
    /// # Errors
    /// If there is no randomness.
    pub fn leaf(&self) -> Result<Leaf> {
        self.sign(&Self::parameters()?)
    }

    /// A certificate that expired years ago.
    ///
    /// # Errors
    /// If there is no randomness.
    pub fn expired_leaf(&self) -> Result<Leaf> {
        let mut parameters = Self::parameters()?;
        parameters.not_after = date_time_ymd(2020, 1, 1);
        self.sign(&parameters)
    }

    fn parameters() -> Result<CertificateParams> {
        Ok(CertificateParams::new(vec![
            NAME.to_owned(),
            ADDRESS.to_owned(),
        ])?)
    }

    fn sign(&self, parameters: &CertificateParams) -> Result<Leaf> {
        let key = KeyPair::generate()?;
        let certificate = parameters.signed_by(&key, &self.issuer)?;
        Ok(Leaf {
            certificate: certificate.der().clone(),
            pem: certificate.pem(),
            key: key.serialize_pem(),
        })
    }
}

impl Leaf {
    /// As a client sees it in the handshake.
    #[must_use]
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// The certificate as PEM.
    #[must_use]
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// The key as PEM.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }
}

/// A directory as the kubelet mounts a Secret: `tls.crt` leads over `..data` to a directory, and an
/// update makes another directory and renames a link over `..data`.
#[derive(Debug)]
pub struct Secret {
    dir: TempDir,
    version: AtomicU32,
}

impl Secret {
    /// Mounts one with a certificate.
    ///
    /// # Errors
    /// If files cannot be written.
    pub fn new(leaf: &Leaf) -> Result<Self> {
        let dir = tempfile::Builder::new()
            .prefix("procview-test-")
            .tempdir()?;
        let secret = Self {
            dir,
            version: AtomicU32::new(0),
        };
        secret.put(leaf)?;
        symlink("..data/tls.crt", secret.certificate())?;
        symlink("..data/tls.key", secret.key())?;
        Ok(secret)
    }

    /// Replaces the certificate and the key at once.
    ///
    /// # Errors
    /// If files cannot be written.
    pub fn put(&self, leaf: &Leaf) -> Result<()> {
        self.put_files(&leaf.pem, &leaf.key)
    }

    /// Replaces both files by these texts, which may be no certificate.
    ///
    /// # Errors
    /// If files cannot be written.
    pub fn put_files(&self, certificate: &str, key: &str) -> Result<()> {
        let version = self.version.fetch_add(1, Ordering::Relaxed);
        let (now, data) = (format!("..{version}"), self.dir.path().join("..data"));
        let dir = self.dir.path().join(&now);
        fs::create_dir(&dir)?;
        fs::write(dir.join("tls.crt"), certificate)?;
        fs::write(dir.join("tls.key"), key)?;
        let old = fs::read_link(&data).ok();
        symlink(&now, self.dir.path().join("..data_tmp"))?;
        fs::rename(self.dir.path().join("..data_tmp"), &data)?;
        if let Some(old) = old {
            fs::remove_dir_all(self.dir.path().join(old))?;
        }
        Ok(())
    }

    /// The path of the certificate.
    #[must_use]
    pub fn certificate(&self) -> PathBuf {
        self.dir.path().join("tls.crt")
    }

    /// The path of the key.
    #[must_use]
    pub fn key(&self) -> PathBuf {
        self.dir.path().join("tls.key")
    }
}
