//! Certificates with their keys: CAs, and the leaves that they sign.

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PublicKeyData,
};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use time::{Duration, OffsetDateTime};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;

/// Certificates are valid from this long before they are made: clocks differ.
pub const BACKDATE: Duration = Duration::minutes(5);

/// A certificate with its key, PEM.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyedCertificate {
    pub cert: String,
    pub key: String,
}

impl std::fmt::Debug for KeyedCertificate {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("KeyedCertificate")
    }
}

/// When a certificate was made and when it expires.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Life {
    pub made: OffsetDateTime,
    pub expiry: OffsetDateTime,
}

/// Why a certificate cannot be made or read.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    #[error("cannot make a certificate: {0}")]
    Make(#[from] rcgen::Error),
    #[error("cannot read a certificate: {0}")]
    Read(String),
}

impl Life {
    /// When it is time for another: after two thirds.
    pub fn renewal(&self) -> OffsetDateTime {
        self.made + (self.expiry - self.made) * 2 / 3
    }
}

impl KeyedCertificate {
    /// A new CA.
    ///
    /// # Errors
    /// If there is no randomness, or the times are beyond what a certificate can hold.
    pub fn new_ca(now: OffsetDateTime, lifetime: Duration) -> Result<Self, AuthorityError> {
        let mut params = CertificateParams::default();
        // Names differ from CA to CA, so that nobody takes one for the other.
        let name = format!("procview-webhook-ca {}", now.unix_timestamp_nanos());
        params.distinguished_name = named(&name);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![
            KeyUsagePurpose::KeyCertSign,
            KeyUsagePurpose::DigitalSignature,
        ];
        params.not_before = now - BACKDATE;
        params.not_after = now + lifetime;
        let key = KeyPair::generate()?;
        Ok(Self {
            cert: params.self_signed(&key)?.pem(),
            key: key.serialize_pem(),
        })
    }

    /// A certificate for a server, signed by this CA; it ends no later than the CA.
    ///
    /// # Errors
    /// If this is no CA, or there is no randomness.
    pub fn issue(
        &self,
        names: &[String],
        now: OffsetDateTime,
        lifetime: Duration,
    ) -> Result<Self, AuthorityError> {
        let issuer = Issuer::from_ca_cert_pem(&self.cert, KeyPair::from_pem(&self.key)?)?;
        let mut params = CertificateParams::new(names)?;
        params.distinguished_name = named("procview-webhook");
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.not_before = now - BACKDATE;
        params.not_after = (now + lifetime).min(life(&self.cert)?.expiry);
        let key = KeyPair::generate()?;
        Ok(Self {
            cert: params.signed_by(&key, &issuer)?.pem(),
            key: key.serialize_pem(),
        })
    }

    /// Whether both can be read and belong together.
    pub fn is_usable(&self) -> bool {
        let Ok(key) = KeyPair::from_pem(&self.key) else {
            return false;
        };
        let fits = read(&self.cert, |certificate| {
            *certificate.public_key().subject_public_key.data == *key.der_bytes()
        });
        fits.unwrap_or(false)
    }

    /// Whether this certificate is for exactly these names and signed by the CA.
    pub fn is_for(&self, names: &[String], ca: &Self) -> bool {
        let check = read(&self.cert, |leaf| {
            let held = leaf.subject_alternative_name().ok().flatten();
            let held = held.map(|held| held.value.general_names.clone());
            let mut held: Vec<_> = held
                .unwrap_or_default()
                .iter()
                .filter_map(|name| match name {
                    GeneralName::DNSName(name) => Some((*name).to_owned()),
                    _ => None,
                })
                .collect();
            let mut wanted = names.to_vec();
            held.sort();
            wanted.sort();
            let signed = read(&ca.cert, |ca| {
                leaf.verify_signature(Some(ca.public_key())).is_ok()
            });
            held == wanted && signed.unwrap_or(false)
        });
        check.unwrap_or(false)
    }
}

/// When a certificate was made and when it expires.
///
/// # Errors
/// If it is no PEM certificate.
pub fn life(pem: &str) -> Result<Life, AuthorityError> {
    read(pem, |certificate| {
        let validity = certificate.validity();
        Life {
            made: validity.not_before.to_datetime() + BACKDATE,
            expiry: validity.not_after.to_datetime(),
        }
    })
}

fn named(name: &str) -> DistinguishedName {
    let mut names = DistinguishedName::new();
    names.push(DnType::CommonName, name);
    names
}

fn read<T>(pem: &str, ask: impl FnOnce(&X509Certificate<'_>) -> T) -> Result<T, AuthorityError> {
    let der = CertificateDer::from_pem_slice(pem.as_bytes())
        .map_err(|error| AuthorityError::Read(error.to_string()))?;
    let (_, certificate) = x509_parser::parse_x509_certificate(&der)
        .map_err(|error| AuthorityError::Read(error.to_string()))?;
    Ok(ask(&certificate))
}
