//! The nodes of the cluster themselves: that they run pods as any node does, and that nothing of them stays.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::RwLock;
use std::thread;

use anyhow::{Context, Result, ensure};
use procview_tests::cluster::pods::{TOOLS, pod};
use procview_tests::cluster::{Cluster, Node};
use procview_tests::machine::{Machine, read, wait_for};
use serde_json::json;

/// Held for writing by who disturbs the others.
static CALM: RwLock<()> = RwLock::new(());

/// The cluster that these tests share, if it can run here.
fn cluster() -> Result<Option<&'static Cluster>> {
    match Machine::with(&Node::NEEDS) {
        Some(_) => Cluster::shared_with_nodes().map(Some),
        None => Ok(None),
    }
}

/// Ends the pods of a test: there is less to start again after a reboot.
fn end(cluster: &Cluster, namespace: &str) -> Result<()> {
    let arguments = ["delete", "pods", "--all", "--wait=false", "-n", namespace];
    cluster.kubectl(&arguments).map(drop)
}

/// A container's memory limit and CPU quota, as its cgroup has them.
fn limits(cluster: &Cluster, namespace: &str, pod: &str) -> Result<String> {
    let script = "cd /sys/fs/cgroup; if [ -e cgroup.controllers ]; then cat memory.max cpu.max; \
                  else cat memory/memory.limit_in_bytes cpu/cpu.cfs_quota_us; fi";
    let text = cluster.exec(namespace, pod, "main", &["sh", "-c", script])?;
    // v2 has the period beside the quota.
    let words: Vec<_> = text.split_whitespace().take(2).collect();
    Ok(words.join(" "))
}

#[test]
fn one_has_the_cgroups_of_this_machine_and_one_has_v2() -> Result<()> {
    let Some(cluster) = cluster()? else {
        return Ok(());
    };
    let _calm = CALM.read();
    let layout = |node| cluster.node(node).sh("stat -f -c %T /sys/fs/cgroup");
    let own = Command::new("stat")
        .args(["-f", "-c", "%T", "/sys/fs/cgroup"])
        .output()?;
    assert_eq!(layout(Node::Host)?.as_bytes(), own.stdout);
    assert_eq!(layout(Node::Guest)?.trim(), "cgroup2fs");
    for node in Node::ALL {
        let info = cluster.get(&["node", node.name()])?["status"]["nodeInfo"].clone();
        assert_eq!(info["kubeletVersion"], "v1.37.2");
        assert_eq!(info["containerRuntimeVersion"], "containerd://2.4.2");
        let error = cluster.node(node).sh("echo no >&2; exit 3");
        let error = format!("{:#}", error.expect_err("it has failed"));
        ensure!(error.contains("no"), "{error}");
    }
    Ok(())
}

#[test]
fn containers_have_limits_under_each_runtime_and_can_be_resized() -> Result<()> {
    let Some(cluster) = cluster()? else {
        return Ok(());
    };
    let _calm = CALM.read();
    let namespace = "limits";
    cluster.namespace(namespace, &[])?;
    let resources = json!({"resources": {"limits": {"memory": "64Mi", "cpu": "500m"}}});
    let named = |node: Node, runtime| format!("{}-{runtime}", node.name());
    let mut pods = Vec::new();
    for node in Node::ALL {
        for (runtime, spec) in [
            ("runc", json!({})),
            ("crun", json!({"runtimeClassName": "crun"})),
        ] {
            let name = named(node, runtime);
            pods.push(pod(namespace, &name, node, &spec, &resources));
        }
    }
    cluster.run(namespace, &pods)?;
    for node in Node::ALL {
        for runtime in ["runc", "crun"] {
            let name = named(node, runtime);
            assert_eq!(limits(cluster, namespace, &name)?, "67108864 50000");
            assert_eq!(cluster.kubectl(&["logs", "-n", namespace, &name])?, "up\n");
        }
        let name = named(node, "runc");
        let more = json!({"limits": {"memory": "96Mi", "cpu": "250m"}, "requests": {"memory": "96Mi", "cpu": "250m"}});
        let patch = json!({"spec": {"containers": [{"name": "main", "resources": more}]}});
        let patch = patch.to_string();
        let arguments = ["patch", "pod", &name, "-n", namespace];
        cluster.kubectl(&[&arguments[..], &["--subresource=resize", "-p", &patch]].concat())?;
        wait_for("a container to be resized", || {
            Ok((limits(cluster, namespace, &name)? == "100663296 25000").then_some(()))
        })?;
        let status = cluster.get(&["pod", &name, "-n", namespace])?["status"].clone();
        assert_eq!(status["containerStatuses"][0]["restartCount"], 0);
    }
    end(cluster, namespace)
}

#[test]
fn pods_can_have_what_kubernetes_has() -> Result<()> {
    let Some(cluster) = cluster()? else {
        return Ok(());
    };
    let _calm = CALM.read();
    let namespace = "features";
    cluster.namespace(namespace, &[])?;
    let pods = Node::ALL.map(|node| {
        let spec = json!({
            "hostUsers": false,
            "resources": {"limits": {"memory": "128Mi", "cpu": "1"}},
            "initContainers": [{"name": "side", "image": TOOLS, "restartPolicy": "Always", "command": ["sleep", "inf"]}],
        });
        let serve = json!({"command": ["busybox", "nc", "-ll", "-p", "80", "-e", "cat", "/proc/self/uid_map"]});
        pod(namespace, node.name(), node, &spec, &serve)
    });
    cluster.run(namespace, &pods)?;
    for node in Node::ALL {
        let status = cluster.get(&["pod", node.name(), "-n", namespace])?["status"].clone();
        ensure!(status["initContainerStatuses"][0]["state"]["running"].is_object());
        // As the API server reaches a webhook.
        let address = status["podIP"].as_str().context("no address")?;
        let mut nc = cluster.command("busybox");
        let said = nc.args(["nc", address, "80"]).output()?;
        let said = String::from_utf8(said.stdout)?;
        let map: Vec<_> = said.split_whitespace().collect();
        ensure!(map.len() == 3 && map[0] == "0" && map[1] != "0", "{said}");
        let debug = ["debug", node.name(), "-n", namespace, "--image", TOOLS];
        let command = ["-c", "debugger", "--", "echo", "debugged"];
        cluster.kubectl(&[&debug[..], &command].concat())?;
        let logs = ["logs", node.name(), "-n", namespace, "-c", "debugger"];
        wait_for("an ephemeral container to speak", || {
            // Before it has started there is no log.
            let said = cluster.kubectl(&logs).unwrap_or_default();
            Ok((said == "debugged\n").then_some(()))
        })?;
    }
    end(cluster, namespace)
}

#[test]
fn images_can_be_loaded() -> Result<()> {
    let Some(cluster) = cluster()? else {
        return Ok(());
    };
    let _calm = CALM.read();
    let name = "127.0.0.1:1/procview-tests/loaded:1";
    let work = tempfile::tempdir()?;
    let (rootfs, image) = (work.path().join("rootfs"), work.path().join("image.tar"));
    fs::create_dir_all(rootfs.join("bin"))?;
    fs::copy("/bin/busybox", rootfs.join("bin/busybox"))?;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("rig/oci-image.sh");
    let made = Command::new(script)
        .arg(&image)
        .arg(name)
        .arg(&rootfs)
        .args(["/bin/busybox", "sleep", "1000000"])
        .status()?;
    ensure!(made.success());
    cluster.load(&image)?;
    let namespace = "loaded";
    cluster.namespace(namespace, &[])?;
    let container = json!({"image": name, "imagePullPolicy": "Never", "command": null});
    let pods = Node::ALL.map(|node| pod(namespace, node.name(), node, &json!({}), &container));
    cluster.run(namespace, &pods)?;
    end(cluster, namespace)
}

/// Alone, for what others run ends by it.
#[test]
fn pods_run_again_after_a_reboot() -> Result<()> {
    let Some(cluster) = cluster()? else {
        return Ok(());
    };
    let _calm = CALM.write();
    let namespace = "reboot";
    cluster.namespace(namespace, &[])?;
    let pods = Node::ALL.map(|node| pod(namespace, node.name(), node, &json!({}), &json!({})));
    cluster.run(namespace, &pods)?;
    let host = cluster.node(Node::Host);
    host.sh("mkdir -p /var/lib/procview /run/gone && mount -t tmpfs x /var/lib/procview")?;
    // What runs does not need them.
    host.stop_kubelet()?;
    host.stop_containerd()?;
    host.sh("pgrep -x sleep")?;
    host.start_containerd()?;
    host.start_kubelet()?;
    let guest = cluster.node(Node::Guest);
    let boot = guest.sh("mkdir -p /var/lib/procview; cat /proc/sys/kernel/random/boot_id")?;
    thread::scope(|scope| {
        let other = scope.spawn(|| host.reboot());
        guest.reboot()?;
        other.join().expect("it does not panic")
    })?;
    host.sh("[ -d /var/lib/procview ] && [ ! -e /run/gone ] && ! mountpoint /var/lib/procview")?;
    let again = guest.sh("[ -d /var/lib/procview ] && cat /proc/sys/kernel/random/boot_id")?;
    ensure!(again != boot, "it has not booted");
    cluster.ready(namespace)?;
    for node in Node::ALL {
        let status = cluster.get(&["pod", node.name(), "-n", namespace])?["status"].clone();
        assert_eq!(status["containerStatuses"][0]["restartCount"], 1);
    }
    Ok(())
}

#[test]
fn nothing_outlives_them() -> Result<()> {
    if Machine::with(&Node::NEEDS).is_none() {
        return Ok(());
    }
    // A second one, beside that of the other tests.
    let cluster = Cluster::start_with(&[Node::Host])?;
    let state = cluster.kubeconfig();
    let state = state.parent().context("no folder")?.to_owned();
    let name = state.file_name().context("no name")?.to_string_lossy();
    let pods = [pod("default", "pod", Node::Host, &json!({}), &json!({}))];
    cluster.run("default", &pods)?;
    let process = read(state.join("pid"))?;
    let network = fs::read_link(format!("/proc/{}/ns/net", process.trim()))?;
    let groups = || -> Result<String> {
        let found = Command::new("find")
            .args(["/sys/fs/cgroup", "-maxdepth", "2", "-name"])
            .arg(format!("*{name}"))
            .output()?;
        Ok(String::from_utf8(found.stdout)?)
    };
    ensure!(!groups()?.is_empty());
    drop(cluster);
    // Without its groups there is no process of a container.
    assert_eq!(groups()?, "");
    ensure!(!state.exists());
    ensure!(!read("/proc/self/mountinfo")?.contains(&*name));
    for process in fs::read_dir("/proc")?.flatten() {
        let of = fs::read_link(process.path().join("ns/net"));
        ensure!(of.ok().as_ref() != Some(&network), "{process:?} is left");
    }
    Ok(())
}
