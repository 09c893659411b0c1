//! The AdmissionReview: what the API server asks, and what it is answered.
//!
//! <https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/>

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::object::Object;

/// An AdmissionReview with a request, of any version.
///
/// The objects stay as they came: one that cannot be read must not keep us from answering.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Review<'a> {
    pub api_version: String,
    pub kind: String,
    #[serde(borrow)]
    pub request: Object<Request<'a>>,
}

impl<'a> Review<'a> {
    /// Reads a review.
    ///
    /// # Errors
    /// If the text is no JSON object with what a review must have.
    pub fn parse(text: &'a str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text).map(|Object(review)| review)
    }
}

/// The `request` of an AdmissionReview.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Request<'a> {
    /// What the answer must repeat.
    pub uid: String,
    #[serde(default)]
    pub resource: Resource,
    #[serde(default)]
    pub sub_resource: Option<String>,
    /// The namespace of the request; the pod's own may be empty here.
    #[serde(default)]
    pub namespace: Option<String>,
    #[serde(default)]
    pub operation: String,
    #[serde(default, borrow)]
    pub object: Option<&'a RawValue>,
    #[serde(default, borrow)]
    pub old_object: Option<&'a RawValue>,
}

/// What kind of thing is asked about.
#[derive(Debug, Default, Deserialize)]
pub struct Resource {
    #[serde(default)]
    pub group: String,
    #[serde(default)]
    pub resource: String,
}

/// An AdmissionReview with a response.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    /// The version that was asked in.
    pub api_version: String,
    pub kind: &'static str,
    pub response: Response,
}

/// The `response` of an AdmissionReview.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Response {
    pub uid: String,
    /// Always true: we add, and never deny.
    pub allowed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub patch_type: Option<&'static str>,
    /// The JSON patch, base64 on the wire.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub patch: Option<ByteString>,
    /// Shown to the user by kubectl; Kubernetes asks for at most 256 characters each.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// Written to the audit log of the API server, prefixed with the webhook's name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub audit_annotations: BTreeMap<&'static str, String>,
}

impl Answer {
    /// Lets the object pass as it is.
    pub fn allow(api_version: String, uid: String) -> Self {
        Self {
            api_version,
            kind: "AdmissionReview",
            response: Response {
                uid,
                allowed: true,
                patch_type: None,
                patch: None,
                warnings: Vec::new(),
                audit_annotations: BTreeMap::new(),
            },
        }
    }

    /// Adds a JSON patch.
    ///
    /// # Errors
    /// If the patch cannot be written as JSON.
    pub fn set_patch(&mut self, patch: &json_patch::Patch) -> Result<(), serde_json::Error> {
        self.response.patch = Some(ByteString(serde_json::to_vec(patch)?));
        self.response.patch_type = Some("JSONPatch");
        Ok(())
    }
}
