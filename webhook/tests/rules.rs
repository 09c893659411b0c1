//! Each rule of the table, by a pod that it applies to.

use std::collections::{BTreeMap, BTreeSet};

use procview_webhook::decide::rules::{self, Tells};
use procview_webhook::decide::{self, Decision, Namespace};
use procview_webhook::mutate::Mutator;
use procview_webhook::patch;
use procview_webhook::pod::Pod;
use procview_webhook::volume::Layout;

const OPEN: Namespace = Namespace {
    excluded: false,
    enabled: true,
    pod_security: false,
};

fn mutator() -> Mutator {
    Mutator::new(
        Layout::new("/var/lib/procview"),
        vec!["kube-system".to_owned()],
    )
}

fn pod(annotations: &str, spec: &str) -> Pod {
    let text = format!(
        "metadata: {{name: p, annotations: {{{annotations}}}}}\nspec: {{containers: [{{name: app}}], {spec}}}"
    );
    serde_saphyr::from_str(&text).expect("a pod")
}

fn decide(pod: &Pod, namespace: Namespace) -> Decision {
    let mutator = mutator();
    decide::decide(&mutator.subject(pod, None, namespace))
}

fn reason(annotations: &str, spec: &str) -> String {
    match decide(&pod(annotations, spec), OPEN) {
        Decision::Skip { reason, .. } => reason.to_owned(),
        inject @ Decision::Inject { .. } => patch::status(&inject),
    }
}

/// A pod, or a namespace, for every rule about pods: name, annotations, spec.
const PODS: [(&str, &str, &str); 10] = [
    ("mirror-pod", "kubernetes.io/config.mirror: abc", ""),
    ("opted-out", "procview.dev/inject: 'false'", ""),
    (
        "opted-out-by-other-key",
        "lxcfs-admission-webhook.aliyun.com/mutate: 'No'",
        "",
    ),
    ("windows", "", "os: {name: windows}"),
    ("windows", "", "nodeSelector: {kubernetes.io/os: windows}"),
    ("sandboxed-runtime", "", "runtimeClassName: kata-qemu"),
    ("sandboxed-runtime", "", "runtimeClassName: gVisor"),
    ("user-namespace", "", "hostUsers: false"),
    ("host-pid", "", "hostPID: true"),
    (
        "volume-name-conflict",
        "",
        "volumes: [{name: procview-meminfo, emptyDir: {}}]",
    ),
];

#[test]
fn every_rule_about_pods_applies_to_its_pod() {
    let mut seen = BTreeSet::new();
    for (rule, annotations, spec) in PODS {
        assert_eq!(reason(annotations, spec), rule, "{annotations} {spec}");
        seen.insert(rule);
    }
    let namespaces = [
        (
            "namespace-excluded",
            Namespace {
                excluded: true,
                ..OPEN
            },
        ),
        (
            "namespace-not-enabled",
            Namespace {
                enabled: false,
                ..OPEN
            },
        ),
        (
            "pod-security",
            Namespace {
                pod_security: true,
                ..OPEN
            },
        ),
    ];
    for (rule, namespace) in namespaces {
        let decision = decide(&pod("", ""), namespace);
        assert!(
            matches!(decision, Decision::Skip { reason, .. } if reason == rule),
            "{rule}: {decision:?}"
        );
        seen.insert(rule);
    }
    let all: BTreeSet<_> = rules::POD.iter().map(|rule| rule.name).collect();
    assert_eq!(seen, all);
}

#[test]
fn what_is_asked_for_overrules_only_the_rules_that_say_so() {
    for rule in &rules::POD {
        let Some((_, annotations, spec)) = PODS.iter().find(|(name, ..)| *name == rule.name) else {
            continue;
        };
        if rule.name == "opted-out" {
            continue;
        }
        let asked = format!("procview.dev/inject: 'true', {annotations}");
        let expected = if rule.unless_asked {
            "injected: app"
        } else {
            rule.name
        };
        assert_eq!(reason(&asked, spec), expected);
    }
}

#[test]
fn every_rule_about_containers_applies_to_its_container() {
    let cases = [
        (
            "not-chosen",
            "procview.dev/containers: '-app'",
            "{name: app}",
        ),
        (
            "not-chosen",
            "procview.dev/containers: other",
            "{name: app}",
        ),
        (
            "privileged",
            "",
            "{name: app, securityContext: {privileged: true}}",
        ),
        ("no-file", "procview.dev/files: vmstat", "{name: app}"),
        (
            "no-file",
            "",
            "{name: app, volumeMounts: [{name: v, mountPath: /proc}, {name: v, mountPath: /sys}]}",
        ),
    ];
    let mut seen = BTreeSet::new();
    for (rule, annotations, container) in cases {
        let containers = format!("containers: [{container}, {{name: other}}]");
        let text = format!("metadata: {{annotations: {{{annotations}}}}}\nspec: {{{containers}}}");
        let pod: Pod = serde_saphyr::from_str(&text).expect("a pod");
        let reasons = match decide(&pod, OPEN) {
            Decision::Inject { containers } => containers[0].files.clone().expect_err("no view"),
            Decision::Skip { why, .. } => {
                assert!(why.contains(&format!("app ({rule})")), "{why}");
                rule
            }
        };
        assert_eq!(reasons, rule);
        seen.insert(rule);
    }
    let all: BTreeSet<_> = rules::CONTAINER.iter().map(|rule| rule.name).collect();
    assert_eq!(seen, all);
}

#[test]
fn a_privileged_container_gets_the_view_when_asked_for() {
    let spec = "initContainers: [{name: tune, securityContext: {privileged: true}}]";
    assert_eq!(reason("", spec), "injected: app; not: tune (privileged)");
    assert_eq!(
        reason("procview.dev/inject: 'true'", spec),
        "injected: tune, app"
    );
    assert_eq!(
        reason("procview.dev/containers: tune", spec),
        "injected: tune; not: app (not-chosen)"
    );
}

#[test]
fn own_mounts_of_a_pod_are_kept() {
    let spec = "initContainers: [{name: i, volumeMounts: [{name: v, mountPath: /proc/stat}]}]";
    assert_eq!(
        reason("", spec),
        "injected: i, app; the pod's own mounts are kept: /proc/stat in i"
    );
}

#[test]
fn namespaces_opt_in_by_either_label() {
    let labels = |list: &[(&str, &str)]| -> BTreeMap<String, String> {
        list.iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect()
    };
    for key in ["lxcfs-admission-webhook", "mount-lxcfs"] {
        assert_eq!(Namespace::of(&labels(&[(key, "enabled")]), false), OPEN);
        assert!(!Namespace::of(&labels(&[(key, "disabled")]), false).enabled);
    }
    for level in ["baseline", "restricted"] {
        let enforced = labels(&[
            ("mount-lxcfs", "enabled"),
            ("pod-security.kubernetes.io/enforce", level),
        ]);
        assert!(Namespace::of(&enforced, false).pod_security);
    }
    let privileged = labels(&[("pod-security.kubernetes.io/enforce", "privileged")]);
    assert!(!Namespace::of(&privileged, false).pod_security);
}

#[test]
fn pods_of_the_cluster_itself_are_not_even_marked() {
    let subject_pod = pod("kubernetes.io/config.mirror: abc", "");
    let mutator = mutator();
    let subject = mutator.subject(&subject_pod, None, OPEN);
    let decision = decide::decide(&subject);
    assert!(
        patch::patch(&subject, &decision)
            .expect("made")
            .0
            .is_empty()
    );
    let silent: Vec<_> = rules::POD
        .iter()
        .filter(|rule| rule.tells == Tells::Nobody)
        .map(|rule| rule.name)
        .collect();
    assert_eq!(
        silent,
        ["namespace-excluded", "mirror-pod", "namespace-not-enabled"]
    );
}

/// The page shows the table of the code; `UPDATE_DOCS=1` writes it there.
#[test]
fn the_docs_have_the_table() {
    const BEGIN: &str =
        "<!-- rules: written by `UPDATE_DOCS=1 cargo test -p procview-webhook --test rules` -->\n";
    const END: &str = "<!-- end of rules -->";
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/webhook.md");
    let page = std::fs::read_to_string(path).expect("docs/webhook.md");
    let (before, rest) = page.split_once(BEGIN).expect("the table begins");
    let (table, after) = rest.split_once(END).expect("the table ends");
    let wanted = format!("\n{}\n", rules::as_markdown());
    if std::env::var_os("UPDATE_DOCS").is_some() {
        let page = format!("{before}{BEGIN}{wanted}{END}{after}");
        std::fs::write(path, page).expect("written");
    } else {
        assert_eq!(table, wanted, "run this test with UPDATE_DOCS=1");
    }
}
