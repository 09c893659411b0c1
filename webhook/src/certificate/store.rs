//! Where the replicas meet: one Secret, and the `caBundle` of our MutatingWebhookConfiguration.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{ObjectMeta, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::json;

use super::authority::KeyedCertificate;
use super::rotation::State;

/// The Secret and the configuration in the API server.
#[derive(Debug, Clone)]
pub struct Store {
    pub secrets: Api<Secret>,
    pub secret: String,
    pub configurations: Api<MutatingWebhookConfiguration>,
    pub configuration: String,
}

/// Why the API server's side cannot be kept in order.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("Secret {name}: {source}")]
    Secret {
        name: String,
        source: Box<kube::Error>,
    },
    #[error("MutatingWebhookConfiguration {name}: {source}")]
    Configuration {
        name: String,
        source: Box<kube::Error>,
    },
    #[error(
        "there is no MutatingWebhookConfiguration {0}: apply the manifests, or name it with --configuration"
    )]
    NoConfiguration(String),
    #[error("cannot write a patch: {0}")]
    Patch(#[from] serde_json::Error),
}

/// The Secret as it was read.
#[derive(Debug)]
pub enum Stored {
    /// There is none.
    Missing,
    /// It is there and does not hold what it should; the version is needed to replace it.
    Unusable { version: Option<String> },
    /// It is as it should be.
    Good {
        version: Option<String>,
        state: Box<State>,
    },
}

impl Store {
    /// The parts of a cluster that belong to this webhook.
    pub fn new(client: Client, namespace: &str, secret: &str, configuration: &str) -> Self {
        Self {
            secrets: Api::namespaced(client.clone(), namespace),
            secret: secret.to_owned(),
            configurations: Api::all(client),
            configuration: configuration.to_owned(),
        }
    }

    /// Reads the Secret.
    ///
    /// # Errors
    /// If the API server does not answer, or not that.
    pub async fn read(&self) -> Result<Stored, StoreError> {
        let secret = self.secrets.get_opt(&self.secret).await;
        let Some(secret) = secret.map_err(|source| self.secret_error(source))? else {
            return Ok(Stored::Missing);
        };
        let version = secret.metadata.resource_version;
        Ok(match from_data(&secret.data.unwrap_or_default()) {
            Some(state) => Stored::Good {
                version,
                state: Box::new(state),
            },
            None => Stored::Unusable { version },
        })
    }

    /// Writes the Secret, unless somebody else did so since it was read: then `false`.
    ///
    /// # Errors
    /// If the API server does not answer, or refuses for another reason.
    pub async fn write(&self, state: &State, before: &Stored) -> Result<bool, StoreError> {
        let version = match before {
            Stored::Missing => None,
            Stored::Unusable { version } | Stored::Good { version, .. } => version.clone(),
        };
        let secret = Secret {
            metadata: ObjectMeta {
                name: Some(self.secret.clone()),
                resource_version: version,
                labels: Some(BTreeMap::from([(
                    "app.kubernetes.io/name".to_owned(),
                    "procview-webhook".to_owned(),
                )])),
                ..ObjectMeta::default()
            },
            data: Some(to_data(state)),
            ..Secret::default()
        };
        let params = PostParams {
            field_manager: Some("procview-webhook".to_owned()),
            ..PostParams::default()
        };
        let written = match before {
            Stored::Missing => self.secrets.create(&params, &secret).await,
            _ => self.secrets.replace(&self.secret, &params, &secret).await,
        };
        match written {
            Ok(_) => Ok(true),
            // Somebody wrote, or made, or deleted it.
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(false),
            Err(source) => Err(self.secret_error(source)),
        }
    }

    /// Sees to it that each webhook of our configuration trusts `bundle`.
    ///
    /// # Errors
    /// If there is no such configuration, or the API server does not let us.
    pub async fn trust(&self, bundle: &str) -> Result<(), StoreError> {
        let wanted = ByteString(bundle.as_bytes().to_vec());
        let configuration = self.configurations.get_opt(&self.configuration).await;
        let configuration = configuration
            .map_err(|source| self.configuration_error(source))?
            .ok_or_else(|| StoreError::NoConfiguration(self.configuration.clone()))?;
        let webhooks = configuration.webhooks.unwrap_or_default();
        let operations: Vec<_> = webhooks
            .iter()
            .enumerate()
            .filter(|(_, webhook)| webhook.client_config.ca_bundle.as_ref() != Some(&wanted))
            .flat_map(|(index, webhook)| {
                let webhook_path = format!("/webhooks/{index}");
                // The list may have changed since; then nothing is patched, and the next try is right.
                let name = json!({
                    "op": "test", "path": format!("{webhook_path}/name"), "value": webhook.name,
                });
                let bundle = json!({
                    "op": "add", "path": format!("{webhook_path}/clientConfig/caBundle"), "value": wanted,
                });
                [name, bundle]
            })
            .collect();
        if operations.is_empty() {
            return Ok(());
        }
        let patch: json_patch::Patch = serde_json::from_value(operations.into())?;
        self.configurations
            .patch(
                &self.configuration,
                &PatchParams::default(),
                &Patch::<()>::Json(patch),
            )
            .await
            .map_err(|source| self.configuration_error(source))?;
        tracing::info!(
            configuration = self.configuration,
            "put our CA into caBundle"
        );
        Ok(())
    }

    fn secret_error(&self, source: kube::Error) -> StoreError {
        StoreError::Secret {
            name: self.secret.clone(),
            source: Box::new(source),
        }
    }

    fn configuration_error(&self, source: kube::Error) -> StoreError {
        StoreError::Configuration {
            name: self.configuration.clone(),
            source: Box::new(source),
        }
    }
}

fn to_data(state: &State) -> BTreeMap<String, ByteString> {
    let next = state.next.as_ref();
    let entries = [
        ("tls.crt", Some(&state.leaf.cert)),
        ("tls.key", Some(&state.leaf.key)),
        ("ca.crt", Some(&state.ca.cert)),
        ("ca.key", Some(&state.ca.key)),
        ("ca-next.crt", next.map(|next| &next.cert)),
        ("ca-next.key", next.map(|next| &next.key)),
        ("ca-previous.crt", state.previous.as_ref()),
    ];
    entries
        .into_iter()
        .filter_map(|(key, text)| Some((key.to_owned(), ByteString(text?.clone().into_bytes()))))
        .collect()
}

fn from_data(data: &BTreeMap<String, ByteString>) -> Option<State> {
    let text = |key: &str| String::from_utf8(data.get(key)?.0.clone()).ok();
    let keyed = |name: &str| {
        Some(KeyedCertificate {
            cert: text(&format!("{name}.crt"))?,
            key: text(&format!("{name}.key"))?,
        })
    };
    let state = State {
        ca: keyed("ca")?,
        next: keyed("ca-next"),
        previous: text("ca-previous.crt"),
        leaf: keyed("tls")?,
    };
    state.is_usable().then_some(state)
}

#[cfg(test)]
mod tests {
    use super::super::rotation::Rotation;
    use super::*;
    use time::{Duration, OffsetDateTime};

    #[test]
    fn a_state_comes_back_from_the_secret() {
        let rotation = Rotation {
            names: vec!["a.b.svc".to_owned()],
            certificate_lifetime: Duration::hours(1),
            ca_lifetime: Duration::hours(3),
            settle: Duration::minutes(1),
        };
        let now = OffsetDateTime::now_utc();
        let mut state = rotation.advance(None, now).expect("made");
        assert_eq!(from_data(&to_data(&state)), Some(state.clone()));
        state.next = Some(state.ca.clone());
        state.previous = Some(state.ca.cert.clone());
        assert_eq!(from_data(&to_data(&state)), Some(state.clone()));
        let good = to_data(&state);
        for key in good.keys() {
            let mut spoilt = good.clone();
            spoilt.insert(key.clone(), ByteString(b"nonsense".to_vec()));
            assert_eq!(from_data(&spoilt), None, "{key}");
        }
        for key in ["ca.crt", "ca.key", "tls.crt", "tls.key"] {
            let mut spoilt = good.clone();
            spoilt.remove(key);
            assert_eq!(from_data(&spoilt), None, "{key}");
        }
        let mut swapped = good.clone();
        swapped.insert("tls.key".to_owned(), good["ca.key"].clone());
        assert_eq!(from_data(&swapped), None);
    }
}
