//! What the rules read of a pod: these fields and no others.
//!
//! Everything else is never parsed into a type of ours, so that a field of a future Kubernetes, or
//! one that is wrong in a place that does not concern us, changes nothing.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};

use crate::object::Object;

/// A core/v1 Pod, or the template of one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Pod {
    /// `None` where there is none, or null, as in templates.
    #[serde(default, deserialize_with = "object")]
    pub metadata: Option<Metadata>,
    #[serde(default, deserialize_with = "object_or_default")]
    pub spec: Spec,
}

/// `metadata`
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Metadata {
    #[serde(default, deserialize_with = "null_as_default")]
    pub name: String,
    #[serde(default, deserialize_with = "null_as_default")]
    pub generate_name: String,
    /// `None` where the pod has none, or null: a patch must then make the object first.
    #[serde(default)]
    pub annotations: Option<BTreeMap<String, String>>,
    #[serde(default, deserialize_with = "null_as_default")]
    pub labels: BTreeMap<String, String>,
}

/// `spec`
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Spec {
    #[serde(default, deserialize_with = "objects")]
    pub init_containers: Vec<Container>,
    #[serde(default, deserialize_with = "objects")]
    pub containers: Vec<Container>,
    #[serde(default, deserialize_with = "objects")]
    pub ephemeral_containers: Vec<Container>,
    /// `None` where the pod has none, or null.
    #[serde(default, deserialize_with = "list")]
    pub volumes: Option<Vec<Volume>>,
    #[serde(default, rename = "hostPID", deserialize_with = "null_as_default")]
    pub host_pid: bool,
    /// Since Kubernetes 1.25; `false` asks for a user namespace.
    #[serde(default)]
    pub host_users: Option<bool>,
    #[serde(default, deserialize_with = "null_as_default")]
    pub runtime_class_name: String,
    #[serde(default, deserialize_with = "null_as_default")]
    pub node_selector: BTreeMap<String, String>,
    #[serde(default, deserialize_with = "object")]
    pub os: Option<Os>,
}

/// `spec.os`, since Kubernetes 1.23
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct Os {
    #[serde(default, deserialize_with = "null_as_default")]
    pub name: String,
}

/// A container, init container, native sidecar (an init container that restarts) or ephemeral one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Container {
    #[serde(default, deserialize_with = "null_as_default")]
    pub name: String,
    /// `None` where the container has none, or null.
    #[serde(default, deserialize_with = "list")]
    pub volume_mounts: Option<Vec<VolumeMount>>,
    #[serde(default, deserialize_with = "objects")]
    pub volume_devices: Vec<VolumeDevice>,
    #[serde(default, deserialize_with = "object_or_default")]
    pub security_context: SecurityContext,
}

/// `volumeMounts[]`
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct VolumeMount {
    #[serde(default, deserialize_with = "null_as_default")]
    pub name: String,
    #[serde(default, deserialize_with = "null_as_default")]
    pub mount_path: String,
}

/// `volumeDevices[]`
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct VolumeDevice {
    #[serde(default, deserialize_with = "null_as_default")]
    pub device_path: String,
}

/// `securityContext` of a container
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct SecurityContext {
    #[serde(default, deserialize_with = "null_as_default")]
    pub privileged: bool,
}

/// `volumes[]`
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Volume {
    #[serde(default, deserialize_with = "null_as_default")]
    pub name: String,
    #[serde(default, deserialize_with = "object")]
    pub host_path: Option<HostPath>,
}

/// `hostPath` of a volume
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct HostPath {
    #[serde(default, deserialize_with = "null_as_default")]
    pub path: String,
}

impl Pod {
    /// The value of an annotation.
    pub fn annotation(&self, key: &str) -> Option<&str> {
        let annotations = self.metadata.as_ref()?.annotations.as_ref()?;
        annotations.get(key).map(String::as_str)
    }

    /// The value of a label.
    pub fn label(&self, key: &str) -> Option<&str> {
        self.metadata.as_ref()?.labels.get(key).map(String::as_str)
    }

    /// The volumes, whether there are any or not.
    pub fn volumes(&self) -> &[Volume] {
        self.spec.volumes.as_deref().unwrap_or_default()
    }

    /// The name, or what the API server will make one of.
    pub fn display_name(&self) -> &str {
        match &self.metadata {
            None => "",
            Some(metadata) if metadata.name.is_empty() => &metadata.generate_name,
            Some(metadata) => &metadata.name,
        }
    }
}

impl Container {
    /// The mounts, whether there are any or not.
    pub fn mounts(&self) -> &[VolumeMount] {
        self.volume_mounts.as_deref().unwrap_or_default()
    }
}

/// A list of a pod that holds containers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum List {
    /// `initContainers`, native sidecars among them
    Init,
    /// `containers`
    Main,
    /// `ephemeralContainers`
    Ephemeral,
}

impl List {
    /// The field's name in `spec`.
    pub fn field(self) -> &'static str {
        match self {
            Self::Init => "initContainers",
            Self::Main => "containers",
            Self::Ephemeral => "ephemeralContainers",
        }
    }

    /// The containers of this list.
    pub fn of(self, spec: &Spec) -> &[Container] {
        match self {
            Self::Init => &spec.init_containers,
            Self::Main => &spec.containers,
            Self::Ephemeral => &spec.ephemeral_containers,
        }
    }
}

fn null_as_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

fn object<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    let object: Option<Object<T>> = Option::deserialize(deserializer)?;
    Ok(object.map(|Object(object)| object))
}

fn object_or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    object(deserializer).map(Option::unwrap_or_default)
}

fn list<'de, D, T>(deserializer: D) -> Result<Option<Vec<T>>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    let list: Option<Vec<Object<T>>> = Option::deserialize(deserializer)?;
    Ok(list.map(|list| list.into_iter().map(|Object(item)| item).collect()))
}

fn objects<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    list(deserializer).map(Option::unwrap_or_default)
}
