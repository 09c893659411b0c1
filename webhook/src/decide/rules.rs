//! The table of rules: which pods and containers get no view, and why.
//!
//! The first rule that applies decides. `docs/webhook.md` shows the same table; a test compares.

use crate::choice::{self, INJECT};
use crate::pod::Container;

use super::Subject;

/// A rule about a whole pod.
pub type PodRule = Rule<fn(&Subject<'_>) -> bool>;
/// A rule about one container of a pod.
pub type ContainerRule = Rule<fn(&Subject<'_>, &Container) -> bool>;

/// One row of the table.
#[derive(Debug)]
pub struct Rule<Applies> {
    /// The reason's name in `procview.dev/status`, metrics and logs.
    pub name: &'static str,
    /// When it applies, as the end of a sentence that begins with "the pod" or "the container".
    pub when: &'static str,
    /// Why there is no view then, and what to do about it.
    pub why: &'static str,
    /// Whether the pod can ask for the view all the same.
    pub unless_asked: bool,
    /// Who is told.
    pub tells: Tells,
    pub(super) applies: Applies,
}

/// Who is told that a rule applied, beside the metrics and the audit log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tells {
    /// Nobody: the pod is not touched.
    Nobody,
    /// Who looks at the pod: `procview.dev/status` has the reason.
    Status,
    /// Who creates the pod, too: kubectl prints a warning.
    Warning,
}

/// The rules about a pod, in their order.
pub static POD: [PodRule; 11] = [
    Rule {
        name: "namespace-excluded",
        when: "is in a namespace given by --exclude-namespace (kube-system by default)",
        why: "the cluster's own pods are not touched",
        unless_asked: false,
        tells: Tells::Nobody,
        applies: |subject| subject.namespace.excluded,
    },
    Rule {
        name: "mirror-pod",
        when: "is a mirror of a static pod",
        why: "the kubelet runs the file on the node and takes no changes from the API server",
        unless_asked: false,
        tells: Tells::Nobody,
        applies: |subject| {
            subject
                .pod
                .annotation("kubernetes.io/config.mirror")
                .is_some()
        },
    },
    Rule {
        name: "opted-out",
        when: "has the annotation procview.dev/inject: \"false\"",
        why: "the pod asks for no view",
        unless_asked: false,
        tells: Tells::Status,
        applies: |subject| subject.choice.inject == Some(false),
    },
    Rule {
        name: "opted-out-by-other-key",
        when: "has the opt-out key of a webhook for lxcfs (listed below)",
        why: "the pod opts out of such mounts by another tool's annotation",
        unless_asked: true,
        tells: Tells::Status,
        applies: |subject| choice::opted_out_elsewhere(subject.pod),
    },
    Rule {
        name: "namespace-not-enabled",
        when: "is in a namespace without the label lxcfs-admission-webhook=enabled or mount-lxcfs=enabled",
        why: "the namespace has not opted in: kubectl label namespace NAME lxcfs-admission-webhook=enabled",
        unless_asked: false,
        tells: Tells::Nobody,
        applies: |subject| !subject.namespace.enabled,
    },
    Rule {
        name: "pod-security",
        when: "is in a namespace that enforces Pod Security baseline or restricted",
        why: "these levels forbid the hostPath volumes that carry the view, the pod would be refused with them",
        unless_asked: false,
        tells: Tells::Status,
        applies: |subject| subject.namespace.pod_security,
    },
    Rule {
        name: "windows",
        when: "runs on Windows (spec.os.name or the node selector kubernetes.io/os)",
        why: "Windows has no /proc",
        unless_asked: false,
        tells: Tells::Status,
        applies: |subject| {
            let spec = &subject.pod.spec;
            let selected = spec.node_selector.get("kubernetes.io/os");
            let os = spec.os.as_ref().map(|os| &os.name);
            [os, selected]
                .into_iter()
                .flatten()
                .any(|name| name.eq_ignore_ascii_case("windows"))
        },
    },
    Rule {
        name: "sandboxed-runtime",
        when: "has a runtime class with gvisor, runsc, kata or sysbox in its name",
        why: "such a runtime has a /proc of its own, where mounts from the host do not work",
        unless_asked: false,
        tells: Tells::Status,
        applies: |subject| {
            let class = subject.pod.spec.runtime_class_name.to_ascii_lowercase();
            ["gvisor", "runsc", "kata", "sysbox"]
                .iter()
                .any(|name| class.contains(name))
        },
    },
    Rule {
        name: "user-namespace",
        when: "has hostUsers: false",
        why: "FUSE mounts cannot be mapped to a user namespace, the pod would not start with them",
        unless_asked: false,
        tells: Tells::Status,
        applies: |subject| subject.pod.spec.host_users == Some(false),
    },
    Rule {
        name: "host-pid",
        when: "has hostPID: true",
        why: "a pod that sees the processes of the node looks after the node; ask for the view with procview.dev/inject: \"true\"",
        unless_asked: true,
        tells: Tells::Status,
        applies: |subject| subject.pod.spec.host_pid,
    },
    Rule {
        name: "volume-name-conflict",
        when: "has a volume named like one of ours (procview, procview-meminfo, ...) that is another",
        why: "rename the volume",
        unless_asked: false,
        tells: Tells::Warning,
        applies: |subject| subject.volume_conflict().is_some(),
    },
];

/// The rules about a container, in their order.
pub static CONTAINER: [ContainerRule; 3] = [
    Rule {
        name: "not-chosen",
        when: "is not chosen by procview.dev/containers",
        why: "the pod asks for the view in other containers",
        unless_asked: false,
        tells: Tells::Status,
        applies: |subject, container| !subject.choice.containers.include(&container.name),
    },
    Rule {
        name: "privileged",
        when: "is privileged",
        why: "a privileged container looks after the node; ask for the view with procview.dev/inject: \"true\", or name the container in procview.dev/containers",
        unless_asked: true,
        tells: Tells::Status,
        applies: |_, container| container.security_context.privileged,
    },
    Rule {
        name: "no-file",
        when: "has no file to be mounted: procview.dev/files names none, the container has its own mounts there, or, for a debug container, the pod has no view",
        why: "there is nothing to mount",
        unless_asked: false,
        tells: Tells::Status,
        applies: |subject, container| subject.files(container).next().is_none(),
    },
];

impl PodRule {
    /// Whether the rule keeps the view from the pod.
    pub fn applies(&self, subject: &Subject<'_>) -> bool {
        let asked = self.unless_asked && subject.choice.inject == Some(true);
        !asked && (self.applies)(subject)
    }
}

impl ContainerRule {
    /// Whether the rule keeps the view from the container.
    pub fn applies(&self, subject: &Subject<'_>, container: &Container) -> bool {
        let choice = &subject.choice;
        let asked = self.unless_asked
            && (choice.inject == Some(true) || choice.containers.name(&container.name));
        !asked && (self.applies)(subject, container)
    }
}

/// The table as docs show it.
pub fn as_markdown() -> String {
    let mut text = String::from(
        "| reason | there is no view where the pod | because |\n| --- | --- | --- |\n",
    );
    for rule in &POD {
        text += &row(rule.name, rule.when, rule.why, rule.unless_asked);
    }
    text += "\n| reason | there is no view in a container that | because |\n| --- | --- | --- |\n";
    for rule in &CONTAINER {
        text += &row(rule.name, rule.when, rule.why, rule.unless_asked);
    }
    text
}

fn row(name: &str, when: &str, why: &str, unless_asked: bool) -> String {
    let unless = if unless_asked { " (unless asked)" } else { "" };
    // The annotation's own rule needs no key quoted twice.
    let when = when.replace(INJECT, &format!("`{INJECT}`"));
    format!("| `{name}` | {when}{unless} | {why} |\n")
}
