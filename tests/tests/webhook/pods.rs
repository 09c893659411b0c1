//! What is stored of pods of all kinds.

use anyhow::{Context, Result};
use procview_tests::machine::{built, wait_for};
use procview_tests::webhook::certificate::{Authority, Secret};
use serde_json::{Value, json};

use crate::case::{Case, ENABLED, Server, mounts, pod, status};

const ALL: [&str; 10] = [
    "/proc/cpuinfo",
    "/proc/diskstats",
    "/proc/loadavg",
    "/proc/meminfo",
    "/proc/stat",
    "/proc/swaps",
    "/proc/uptime",
    "/sys/devices/system/cpu",
    "/sys/devices/system/node",
    "/var/lib/procview",
];

/// A case with a webhook that is called for its namespaces.
fn served(name: &'static str) -> Result<Option<(Case, Server)>> {
    let Some(case) = Case::new(name)? else {
        return Ok(None);
    };
    let authority = Authority::new(name)?;
    let server = case.serve(&authority.leaf()?)?;
    case.configure_url(server.port, &authority)?;
    Ok(Some((case, server)))
}

fn wait_until_called(case: &Case, namespace: &str) -> Result<()> {
    case.wait_for_status(namespace, &pod("probe", "", ""), |status| status != "none")
}

#[test]
fn pods_of_all_kinds_are_stored_as_they_should() -> Result<()> {
    let Some((case, _server)) = served("pods")? else {
        return Ok(());
    };
    let namespace = case.namespace("", &[ENABLED])?;
    for class in ["gvisor", "kata-qemu"] {
        case.cluster.apply(&format!(
            "apiVersion: node.k8s.io/v1\nkind: RuntimeClass\nmetadata: {{name: {class}}}\nhandler: x\n"
        ))?;
    }
    wait_until_called(&case, &namespace)?;
    let cases = [
        ("plain", "", "", "injected: app"),
        ("annotated", "a: b", "", "injected: app"),
        (
            "init-and-sidecar",
            "",
            "initContainers: [{name: setup, image: i}, {name: proxy, image: i, restartPolicy: Always}]",
            "injected: setup, proxy, app",
        ),
        (
            "volumes",
            "",
            "volumes: [{name: data, emptyDir: {}}], containers: [{name: app, image: i, volumeMounts: [{name: data, mountPath: /data}]}]",
            "injected: app",
        ),
        (
            "token",
            "",
            "volumes: [{name: t, projected: {sources: [{serviceAccountToken: {path: t}}]}}]",
            "injected: app",
        ),
        ("host-network", "", "hostNetwork: true", "injected: app"),
        (
            "own-mount",
            "",
            "volumes: [{name: data, emptyDir: {}}], containers: [{name: app, image: i, volumeMounts: [{name: data, mountPath: /proc/meminfo}]}]",
            "injected: app; the pod's own mounts are kept: /proc/meminfo in app",
        ),
        (
            "chosen",
            "procview.dev/containers: '-mesh'",
            "containers: [{name: app, image: i}, {name: mesh, image: i}]",
            "injected: app; not: mesh (not-chosen)",
        ),
        (
            "privileged",
            "",
            "containers: [{name: app, image: i}, {name: root, image: i, securityContext: {privileged: true}}]",
            "injected: app; not: root (privileged)",
        ),
        (
            "asked",
            "procview.dev/inject: 'true'",
            "hostPID: true",
            "injected: app",
        ),
        (
            "opted-out",
            "procview.dev/inject: 'false'",
            "",
            "skipped: opted-out: ",
        ),
        (
            "other-key",
            "mutating.lxcfs-admission-webhook.io/enable: 'no'",
            "",
            "skipped: opted-out-by-other-key: ",
        ),
        ("windows", "", "os: {name: windows}", "skipped: windows: "),
        (
            "gvisor",
            "",
            "runtimeClassName: gvisor",
            "skipped: sandboxed-runtime: ",
        ),
        (
            "kata",
            "",
            "runtimeClassName: kata-qemu",
            "skipped: sandboxed-runtime: ",
        ),
        (
            "user-namespace",
            "",
            "hostUsers: false",
            "skipped: user-namespace: ",
        ),
        ("host-pid", "", "hostPID: true", "skipped: host-pid: "),
        (
            "conflict",
            "",
            "volumes: [{name: procview, emptyDir: {}}]",
            "skipped: volume-name-conflict: ",
        ),
    ];
    let manifests: String = cases
        .iter()
        .map(|(name, annotations, spec, _)| pod(name, annotations, spec))
        .collect();
    let (pods, warnings) = case.create(&namespace, &manifests)?;
    assert_eq!(pods.len(), cases.len());
    for (pod, (name, _, _, expected)) in pods.iter().zip(cases) {
        assert_eq!(pod["metadata"]["name"], name);
        let status = status(pod);
        let skipped = expected.ends_with(": ");
        assert!(
            status == expected || skipped && status.starts_with(expected),
            "{name}: {status}"
        );
        let mounted = mounts(pod, "containers", "app");
        match name {
            "own-mount" => assert_eq!(mounted.len(), ALL.len() - 1),
            _ if skipped => assert!(mounted.is_empty(), "{name}: {mounted:?}"),
            _ => assert_eq!(mounted, ALL, "{name}"),
        }
    }
    assert!(warnings.contains("\"procview\" is not ours"), "{warnings}");

    let by_name = |name: &str| pods.iter().find(|pod| pod["metadata"]["name"] == name);
    let sidecar = by_name("init-and-sidecar").context("it was created")?;
    for name in ["setup", "proxy"] {
        assert_eq!(mounts(sidecar, "initContainers", name), ALL);
    }
    assert_eq!(
        sidecar["spec"]["initContainers"][1]["restartPolicy"],
        "Always"
    );
    let volumes = by_name("volumes").context("it was created")?;
    assert_eq!(
        volumes["spec"]["volumes"][0],
        json!({"name": "data", "emptyDir": {}})
    );
    let view = &volumes["spec"]["volumes"];
    let view = view.as_array().into_iter().flatten();
    let meminfo = view
        .clone()
        .find(|volume| volume["name"] == "procview-meminfo");
    let path = "/var/lib/procview/view/proc/meminfo";
    assert_eq!(
        meminfo.context("there is our volume")?["hostPath"],
        json!({"path": path, "type": "File"})
    );
    Ok(())
}

#[test]
fn what_makes_pods_makes_patched_ones() -> Result<()> {
    let Some((case, _server)) = served("workloads")? else {
        return Ok(());
    };
    let namespace = case.namespace("", &["mount-lxcfs=enabled"])?;
    wait_until_called(&case, &namespace)?;
    let template = "{metadata: {labels: {a: b}}, spec: {containers: [{name: app, image: i}]}}";
    let once = "{spec: {restartPolicy: Never, containers: [{name: app, image: i}]}}";
    let makers = [
        (
            "apps/v1",
            "Deployment",
            format!("{{selector: {{matchLabels: {{a: b}}}}, template: {template}}}"),
        ),
        (
            "apps/v1",
            "StatefulSet",
            format!(
                "{{serviceName: s, selector: {{matchLabels: {{a: b}}}}, template: {template}}}"
            ),
        ),
        ("batch/v1", "Job", format!("{{template: {once}}}")),
        (
            "batch/v1",
            "CronJob",
            format!("{{schedule: '* * * * *', jobTemplate: {{spec: {{template: {once}}}}}}}"),
        ),
    ];
    let manifests: String = makers
        .iter()
        .map(|(api, kind, spec)| {
            let name = kind.to_lowercase();
            format!("apiVersion: {api}\nkind: {kind}\nmetadata: {{name: {name}, namespace: {namespace}}}\nspec: {spec}\n---\n")
        })
        .collect();
    case.cluster.apply(&manifests)?;
    // The next full minute may be a minute away.
    case.cluster.kubectl(&[
        "create",
        "job",
        "by-cronjob",
        "--from=cronjob/cronjob",
        "-n",
        &namespace,
    ])?;
    for maker in ["deployment-", "statefulset-0", "job-", "by-cronjob-"] {
        let pod = wait_for(maker, || {
            let pods = case.cluster.get(&["pods", "-n", &namespace])?;
            let mut pods = pods["items"]
                .as_array()
                .cloned()
                .unwrap_or_default()
                .into_iter();
            Ok(pods.find(|pod| {
                let name = pod["metadata"]["name"].as_str().unwrap_or_default();
                name.starts_with(maker)
            }))
        })?;
        assert_eq!(status(&pod), "injected: app", "{maker}");
        assert_eq!(mounts(&pod, "containers", "app"), ALL, "{maker}");
    }
    // By a name that the API server makes.
    let generated = pod("x", "", "").replace("name: x", "generateName: made-");
    let (pods, _) = case.create(&namespace, &generated)?;
    assert_eq!(mounts(&pods[0], "containers", "app"), ALL);
    Ok(())
}

#[test]
fn debug_containers_get_what_their_pod_has() -> Result<()> {
    let Some((case, _server)) = served("debug")? else {
        return Ok(());
    };
    let namespace = case.namespace("", &[ENABLED])?;
    wait_until_called(&case, &namespace)?;
    let manifests = pod("with", "", "") + &pod("without", "procview.dev/inject: 'false'", "");
    case.create(&namespace, &manifests)?;
    for (name, expected) in [("with", &ALL[..]), ("without", &[])] {
        let mut stored = Value::Null;
        for container in ["one", "two"] {
            let before = case.cluster.get(&["pod", name, "-n", &namespace])?;
            let mut pod = before.clone();
            let ephemeral = &mut pod["spec"]["ephemeralContainers"];
            if ephemeral.is_null() {
                *ephemeral = json!([]);
            }
            let added = json!({"name": container, "image": "i", "targetContainerName": "app"});
            ephemeral.as_array_mut().context("a list")?.push(added);
            let path = format!("/api/v1/namespaces/{namespace}/pods/{name}/ephemeralcontainers");
            case.cluster.put_raw(&path, &pod)?;
            stored = case.cluster.get(&["pod", name, "-n", &namespace])?;
            assert_eq!(stored["spec"]["containers"], before["spec"]["containers"]);
            assert_eq!(stored["spec"]["volumes"], before["spec"]["volumes"]);
        }
        for container in ["one", "two"] {
            assert_eq!(mounts(&stored, "ephemeralContainers", container), expected);
        }
    }
    Ok(())
}

#[test]
fn a_dry_run_shows_the_patch_and_a_namespace_without_the_label_none() -> Result<()> {
    let Some((case, _server)) = served("labels")? else {
        return Ok(());
    };
    let namespace = case.namespace("", &[ENABLED])?;
    wait_until_called(&case, &namespace)?;
    let (pods, _) = case.dry_run(&namespace, &pod("p", "", ""))?;
    assert_eq!(mounts(&pods[0], "containers", "app"), ALL);
    assert!(case.cluster.get(&["pod", "p", "-n", &namespace]).is_err());
    case.cluster
        .kubectl(&["label", "namespace", &namespace, "lxcfs-admission-webhook-"])?;
    case.wait_for_status(&namespace, &pod("p", "", ""), |status| status == "none")?;
    let (pods, _) = case.create(&namespace, &pod("p", "", ""))?;
    assert!(mounts(&pods[0], "containers", "app").is_empty());
    Ok(())
}

#[test]
fn where_pod_security_forbids_the_view_pods_are_created_and_say_why() -> Result<()> {
    let Some((case, _server)) = served("security")? else {
        return Ok(());
    };
    let restricted = "containers: [{name: app, image: i, securityContext: {allowPrivilegeEscalation: false, \
        runAsNonRoot: true, capabilities: {drop: [ALL]}, seccompProfile: {type: RuntimeDefault}}}]";
    for level in ["baseline", "restricted"] {
        let enforce = format!("pod-security.kubernetes.io/enforce={level}");
        let namespace = case.namespace(&format!("-{level}"), &[ENABLED, &enforce])?;
        let probe = pod("probe", "", restricted);
        case.wait_for_status(&namespace, &probe, |status| status != "none")?;
        let (pods, _) = case.create(&namespace, &pod("p", "", restricted))?;
        assert!(
            status(&pods[0]).starts_with("skipped: pod-security: "),
            "{}",
            status(&pods[0])
        );
        assert!(mounts(&pods[0], "containers", "app").is_empty());
        // With the view it would not have been.
        let hostile = pod(
            "q",
            "",
            "volumes: [{name: v, hostPath: {path: /proc/meminfo}}]",
        );
        assert!(case.create(&namespace, &hostile).is_err());
    }
    Ok(())
}

#[test]
fn a_sidecar_that_another_webhook_adds_gets_the_view() -> Result<()> {
    let Some((case, _server)) = served("mesh")? else {
        return Ok(());
    };
    let authority = Authority::new("sidecar")?;
    let secret = Secret::new(&authority.leaf()?)?;
    let (cert, key) = (secret.certificate(), secret.key());
    // Its address comes first: a shell puts it there.
    let mut command = case.cluster.command("sh");
    command
        .args([
            "-c",
            r#"echo "serving address" >&2; exec "$0" "$3" "$1" "$2""#,
        ])
        .arg(built("sidecar_webhook", "PROCVIEW_SIDECAR_WEBHOOK")?)
        .args([cert, key]);
    let sidecar = Server::start(command, Some(secret))?;
    let bundle = serde_json::to_string(&k8s_openapi::ByteString(authority.pem().into()))?;
    // Called after ours, by its name.
    case.cluster.apply(&format!(
        "apiVersion: admissionregistration.k8s.io/v1\nkind: MutatingWebhookConfiguration\n\
         metadata: {{name: z-sidecar}}\nwebhooks:\n- name: sidecar.example.com\n  \
         admissionReviewVersions: [v1]\n  sideEffects: None\n  failurePolicy: Fail\n  \
         clientConfig: {{url: 'https://10.254.0.1:{}/', caBundle: {bundle}}}\n  \
         namespaceSelector: {{matchLabels: {{case: mesh}}}}\n  \
         rules: [{{apiGroups: [''], apiVersions: [v1], operations: [CREATE], resources: [pods]}}]\n",
        sidecar.port
    ))?;
    let namespace = case.namespace("", &[ENABLED])?;
    wait_until_called(&case, &namespace)?;
    let with_sidecar = wait_for("both webhooks", || {
        let (pods, _) = case.dry_run(&namespace, &pod("p", "", ""))?;
        let pod = pods[0].clone();
        let containers = pod["spec"]["containers"].as_array().map_or(0, Vec::len);
        Ok((containers == 2).then_some(pod))
    })?;
    assert_eq!(status(&with_sidecar), "injected: app, sidecar");
    for container in ["app", "sidecar"] {
        assert_eq!(mounts(&with_sidecar, "containers", container), ALL);
    }
    Ok(())
}
