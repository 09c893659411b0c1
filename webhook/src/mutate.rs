//! From the bytes of an AdmissionReview to the bytes of its answer.
//!
//! Whatever happens in between, the answer allows the pod. Only what is no AdmissionReview at all
//! is an error: there is nothing then that an answer could belong to.

use std::panic::{self, AssertUnwindSafe};

use serde_json::value::RawValue;

use crate::choice::Choice;
use crate::decide::{self, Decision, Namespace, Subject, rules::Tells};
use crate::object::Object;
use crate::patch;
use crate::pod::Pod;
use crate::review::{Answer, Request, Review};
use crate::volume::Layout;

/// Answers reviews.
#[derive(Debug)]
pub struct Mutator {
    layout: Layout,
    excluded_namespaces: Vec<String>,
}

/// Which webhook of the configuration asks: its namespaceSelector says what the namespace is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Selected {
    /// Namespaces that have opted in.
    Enabled,
    /// Those of them that enforce Pod Security `baseline` or `restricted`.
    PodSecurity,
}

/// An answer, and what to tell of it.
#[derive(Debug)]
pub struct Reviewed {
    pub answer: Answer,
    pub outcome: Outcome,
    /// The name of the rule, or of what went wrong.
    pub reason: &'static str,
    pub namespace: String,
    pub pod: String,
}

/// What became of a review; a label of the metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The pod gets the view in at least one container.
    Injected,
    /// The pod has all it should have.
    Unchanged,
    /// A rule keeps the view from the pod.
    Skipped,
    /// The request is none that the webhook is for.
    Ignored,
    /// Something went wrong, and the pod passes as it is.
    Failed,
    /// The request was no review.
    Rejected,
}

impl Outcome {
    /// The name in metrics and logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Injected => "injected",
            Self::Unchanged => "unchanged",
            Self::Skipped => "skipped",
            Self::Ignored => "ignored",
            Self::Failed => "failed",
            Self::Rejected => "rejected",
        }
    }
}

/// Why a body is no AdmissionReview.
#[derive(Debug, thiserror::Error)]
pub enum ReviewError {
    #[error("the body is no JSON: {0}")]
    Encoding(#[from] std::str::Utf8Error),
    #[error("the body is no AdmissionReview with a request: {0}")]
    Malformed(#[from] serde_json::Error),
    #[error("the body is a {0:?}, not an AdmissionReview")]
    Kind(String),
    #[error(
        "AdmissionReview of version {0:?}: admission.k8s.io/v1 and v1beta1 are known, put one of them into admissionReviewVersions"
    )]
    Version(String),
}

/// Why a pod passes as it is although no rule says so.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("the request has no object")]
    NoObject,
    #[error("the pod cannot be read: {0}")]
    Unreadable(serde_json::Error),
    #[error(transparent)]
    Patch(#[from] patch::PatchError),
    #[error("the patch does not apply to the pod: {0}")]
    DoesNotApply(#[from] json_patch::PatchError),
    #[error("the answer cannot be written: {0}")]
    Answer(serde_json::Error),
    #[error("panic, please report it")]
    Panic,
}

impl Failure {
    fn name(&self) -> &'static str {
        match self {
            Self::NoObject => "no-object",
            Self::Unreadable(_) => "unreadable-pod",
            Self::Patch(_) | Self::Answer(_) => "unwritable-patch",
            Self::DoesNotApply(_) => "patch-does-not-apply",
            Self::Panic => "panic",
        }
    }
}

/// What a request is about.
enum Target {
    /// A pod that is created.
    Pod,
    /// Ephemeral containers that are added to a running pod.
    EphemeralContainers,
}

/// What is to be said to the API server about a pod.
struct Verdict {
    outcome: Outcome,
    reason: &'static str,
    patch: json_patch::Patch,
    status: String,
    warnings: Vec<String>,
}

impl Mutator {
    /// Answers with mounts of the view in `layout`, but never in `excluded_namespaces`.
    pub fn new(layout: Layout, excluded_namespaces: Vec<String>) -> Self {
        Self {
            layout,
            excluded_namespaces,
        }
    }

    /// Answers the review in `body`.
    ///
    /// # Errors
    /// If `body` is no AdmissionReview. All other problems are warnings in the answer.
    pub fn review(&self, body: &[u8], selected: Selected) -> Result<Reviewed, ReviewError> {
        let review = Review::parse(str::from_utf8(body)?)?;
        if review.kind != "AdmissionReview" {
            return Err(ReviewError::Kind(review.kind));
        }
        if !matches!(
            review.api_version.as_str(),
            "admission.k8s.io/v1" | "admission.k8s.io/v1beta1"
        ) {
            return Err(ReviewError::Version(review.api_version));
        }
        let Object(request) = review.request;
        let mut reviewed = Reviewed {
            answer: Answer::allow(review.api_version, request.uid.clone()),
            outcome: Outcome::Ignored,
            reason: "",
            namespace: request.namespace.clone().unwrap_or_default(),
            pod: String::new(),
        };
        let target = match target(&request) {
            Ok(target) => target,
            Err(reason) => {
                reviewed.reason = reason;
                return Ok(reviewed);
            }
        };
        // A panic would cost the connection, and other reviews on it.
        let answered = panic::catch_unwind(AssertUnwindSafe(|| {
            self.answer(&request, &target, selected, &mut reviewed)
        }));
        if let Err(failure) = answered.unwrap_or(Err(Failure::Panic)) {
            let response = &mut reviewed.answer.response;
            response.patch = None;
            response.patch_type = None;
            response.warnings = vec![warning(&format!("no view for this pod: {failure}"))];
            reviewed.outcome = Outcome::Failed;
            reviewed.reason = failure.name();
        }
        Ok(reviewed)
    }

    fn answer(
        &self,
        request: &Request<'_>,
        target: &Target,
        selected: Selected,
        reviewed: &mut Reviewed,
    ) -> Result<(), Failure> {
        let object = request.object.ok_or(Failure::NoObject)?;
        let pod = read(object)?;
        pod.display_name().clone_into(&mut reviewed.pod);
        let before = match target {
            Target::Pod => None,
            Target::EphemeralContainers => {
                Some(request.old_object.map_or(Ok(Pod::default()), read)?)
            }
        };
        let namespace = Namespace {
            excluded: self.excludes(&reviewed.namespace),
            enabled: true,
            pod_security: selected == Selected::PodSecurity,
        };
        let verdict = self.judge(&pod, before.as_ref(), namespace)?;
        reviewed.outcome = verdict.outcome;
        reviewed.reason = verdict.reason;
        let answer = &mut reviewed.answer;
        if !verdict.patch.0.is_empty() {
            // What was read of the pod has all that a patch can touch, and is a fraction of it.
            let mut pod = serde_json::to_value(&pod).map_err(Failure::Answer)?;
            json_patch::patch(&mut pod, &verdict.patch)?;
            answer.set_patch(&verdict.patch).map_err(Failure::Answer)?;
        }
        let warnings = verdict.warnings.iter();
        answer.response.warnings = warnings.map(|text| warning(text)).collect();
        answer
            .response
            .audit_annotations
            .insert("decision", verdict.status);
        Ok(())
    }

    /// Decides about a pod and makes the patch for it.
    fn judge(
        &self,
        pod: &Pod,
        before: Option<&Pod>,
        namespace: Namespace,
    ) -> Result<Verdict, Failure> {
        let subject = self.subject(pod, before, namespace);
        let decision = decide::decide(&subject);
        let patch = patch::patch(&subject, &decision)?;
        let status = patch::status(&decision);
        let mut warnings = Vec::new();
        let (outcome, reason) = match &decision {
            Decision::Skip { reason, tells, .. } => {
                if *tells == Tells::Warning {
                    warnings.push(format!("no view for this pod: {status}"));
                }
                if *tells != Tells::Nobody && subject.choice.inject != Some(false) {
                    warnings.extend(subject.choice.warnings);
                }
                (Outcome::Skipped, *reason)
            }
            Decision::Inject { .. } => {
                warnings.extend(subject.choice.warnings);
                match patch.0.is_empty() {
                    true => (Outcome::Unchanged, "already-injected"),
                    false => (Outcome::Injected, "injected"),
                }
            }
        };
        Ok(Verdict {
            outcome,
            reason,
            patch,
            status,
            warnings,
        })
    }

    /// The pod as the rules see it.
    pub fn subject<'a>(
        &'a self,
        pod: &'a Pod,
        before: Option<&'a Pod>,
        namespace: Namespace,
    ) -> Subject<'a> {
        Subject {
            pod,
            before,
            namespace,
            choice: Choice::of(pod),
            layout: &self.layout,
        }
    }

    /// Whether pods of the namespace are never touched.
    pub fn excludes(&self, namespace: &str) -> bool {
        self.excluded_namespaces
            .iter()
            .any(|name| name == namespace)
    }
}

/// What the request is about, or the name of the reason why it does not concern us.
fn target(request: &Request<'_>) -> Result<Target, &'static str> {
    let resource = &request.resource;
    let sub_resource = request.sub_resource.as_deref().unwrap_or_default();
    match (
        resource.group.as_str(),
        resource.resource.as_str(),
        sub_resource,
        request.operation.as_str(),
    ) {
        ("", "pods", "", "CREATE") => Ok(Target::Pod),
        ("", "pods", "ephemeralcontainers", "UPDATE") => Ok(Target::EphemeralContainers),
        ("", "pods", "" | "ephemeralcontainers", _) => Err("other-operation"),
        _ => Err("other-resource"),
    }
}

fn read(object: &RawValue) -> Result<Pod, Failure> {
    let Object(pod) = serde_json::from_str(object.get()).map_err(Failure::Unreadable)?;
    Ok(pod)
}

/// A text as a warning may be: printable ASCII, at most 256 characters.
fn warning(text: &str) -> String {
    const MOST: usize = 256;
    let text = format!("procview: {text}");
    let mut printable: String = text.chars().flat_map(char::escape_default).collect();
    // escape_default also escapes quotes, which need none.
    printable = printable.replace("\\\"", "\"").replace("\\'", "'");
    if printable.len() > MOST {
        printable.truncate(MOST - 3);
        printable += "...";
    }
    printable
}
