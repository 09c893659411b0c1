//! Real containers, by runc or crun.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use procview::file::File;
use procview_webhook::choice::is_mountable;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::agent::Agent;
use crate::cgroup::{Group, Layout, Limits, PERIOD, Pod, container_id};
use crate::machine::{Machine, Need, read};

/// What makes containers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Runtime {
    /// runc.
    Runc,
    /// crun.
    Crun,
}

/// A running container. Dropping it deletes it.
#[derive(Debug)]
pub struct Container {
    runtime: Runtime,
    id: String,
    group: Group,
    rootfs: Rootfs,
    layout: Layout,
}

/// A root file system with a throw-away layer, and room beside it.
#[derive(Debug)]
pub struct Rootfs {
    scratch: TempDir,
}

impl Rootfs {
    /// A layer over the machine's root file system for containers.
    ///
    /// # Errors
    /// If it cannot be mounted.
    pub fn new(machine: &Machine) -> Result<Self> {
        let lower = machine.rootfs()?;
        let scratch = tempfile::Builder::new()
            .prefix("procview-root-")
            .tempdir_in("/run")?;
        for name in ["upper", "work", "rootfs"] {
            fs::create_dir(scratch.path().join(name))?;
        }
        let rootfs = Self { scratch };
        let of = |name| rootfs.file(name).display().to_string();
        let layers = format!(
            "lowerdir={},upperdir={},workdir={}",
            lower.display(),
            of("upper"),
            of("work")
        );
        mount(
            Some("overlay"),
            &rootfs.path(),
            Some("overlay"),
            MsFlags::empty(),
            Some(layers.as_str()),
        )
        .with_context(|| format!("cannot mount {layers}"))?;
        Ok(rootfs)
    }

    /// Where it is mounted.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.file("rootfs")
    }

    /// A file beside it, for its user.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }
}

impl Drop for Rootfs {
    fn drop(&mut self) {
        // Lazily: what still uses it is about to end.
        let _ = umount2(&self.path(), MntFlags::MNT_DETACH);
    }
}

impl Container {
    /// Starts a container in the pod, with the files of the view if there is one.
    ///
    /// # Errors
    /// If the runtime refuses; with what it says.
    pub fn start(
        runtime: Runtime,
        machine: &Machine,
        pod: &Pod,
        limits: &Limits,
        view: Option<&Path>,
    ) -> Result<Self> {
        let id = container_id();
        let rootfs = Rootfs::new(machine)?;
        let group = pod.container_to_be(&id);
        let config = config(&rootfs.path(), &group, limits, view);
        fs::write(rootfs.file("config.json"), config.to_string())?;
        let container = Self {
            runtime,
            id,
            group,
            rootfs,
            layout: machine.layout().clone(),
        };
        let bundle = container.rootfs.file("");
        let pid = container.rootfs.file("pid");
        // Not to a pipe: the container keeps what it is given, and a pipe would have no end.
        let said = fs::File::create(container.rootfs.file("said"))?;
        let status = container
            .command(&["run", "--detach", "--bundle"])
            .arg(bundle)
            .arg("--pid-file")
            .arg(pid)
            .arg(&container.id)
            .stdin(Stdio::null())
            .stdout(said.try_clone()?)
            .stderr(said)
            .status()?;
        if !status.success() {
            let said = read(container.rootfs.file("said"))?;
            bail!("{:?} run: {status}: {said}", container.runtime);
        }
        Ok(container)
    }

    /// Runs a shell command in it and gives what it prints.
    ///
    /// # Errors
    /// If it fails; with what it says.
    pub fn exec(&self, script: &str) -> Result<String> {
        let arguments = ["exec", &self.id, "sh", "-c", script];
        let output = self
            .command(&arguments)
            .stdin(Stdio::null())
            .output()
            .context("cannot run the runtime")?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            bail!("{script}: {}: {text}{said}", output.status);
        }
        Ok(text)
    }

    /// Sets new limits, as an in-place resize does.
    ///
    /// # Errors
    /// If the runtime refuses.
    pub fn update(&self, limits: &Limits) -> Result<()> {
        let file = self.rootfs.file("resources.json");
        fs::write(&file, resources(limits).to_string())?;
        let output = self
            .command(&["update", "--resources"])
            .arg(file)
            .arg(&self.id)
            .output()?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            bail!("{:?} update: {}: {said}", self.runtime, output.status);
        }
        Ok(())
    }

    /// Its first process, on the host.
    ///
    /// # Errors
    /// If the runtime did not tell.
    pub fn pid(&self) -> Result<u32> {
        Ok(read(self.rootfs.file("pid"))?.trim().parse()?)
    }

    /// Its cgroup.
    #[must_use]
    pub fn group(&self) -> &Group {
        &self.group
    }

    fn command<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Command {
        let state = self.rootfs.file("state");
        let mut command = match (self.runtime, &self.layout) {
            (Runtime::Runc, _) => Command::new("runc"),
            (Runtime::Crun, Layout::V2) => Command::new("crun"),
            (Runtime::Crun, Layout::V1(trees)) => only_v1("crun", trees),
        };
        command.arg("--root").arg(state).args(arguments);
        command
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        // The pod removes what is left where this fails.
        let _ = self
            .command(&["delete", "--force", &self.id])
            .stderr(Stdio::null())
            .status();
    }
}

/// A container of runc with a view, and all that it takes. The fields end in this order.
#[derive(Debug)]
pub struct Shown {
    container: Container,
    pod: Pod,
    agent: Agent,
}

impl Shown {
    /// With limits; nothing on a machine that cannot run it.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn new(memory: u64, cpus: f64) -> Result<Option<Self>> {
        Self::with(|_| {
            Ok(Limits {
                memory: Some(memory),
                cpus: Some(cpus),
                ..Limits::default()
            })
        })
    }

    /// Without a quota, but on the machine's last CPU alone.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn new_on_last_cpu(memory: u64) -> Result<Option<Self>> {
        Self::with(|machine| {
            Ok(Limits {
                memory: Some(memory),
                cpuset: Some(machine.cpus()?.saturating_sub(1).to_string()),
                ..Limits::default()
            })
        })
    }

    fn with(limits: impl FnOnce(&Machine) -> Result<Limits>) -> Result<Option<Self>> {
        let Some(machine) = Machine::with(&[Need::Root, Need::Program("runc")]) else {
            return Ok(None);
        };
        let limits = limits(&machine)?;
        let agent = Agent::start(&[])?;
        let pod = Pod::new(machine.layout())?;
        let view = agent.view();
        let container = Container::start(Runtime::Runc, &machine, &pod, &limits, Some(&view))?;
        Ok(Some(Self {
            container,
            pod,
            agent,
        }))
    }

    /// Its cgroup.
    #[must_use]
    pub fn group(&self) -> &Group {
        self.container.group()
    }

    /// Runs a shell command in it and gives what it prints.
    ///
    /// # Errors
    /// If it fails; with what it and the agent say.
    pub fn exec(&self, script: &str) -> Result<String> {
        self.container
            .exec(script)
            .with_context(|| format!("in {}:\n{}", self.pod.group().path(), self.agent.log()))
    }
}

/// A program in a mount namespace that has the v1 hierarchies alone: crun takes a v2 hierarchy
/// beside them for an error.
fn only_v1(program: &str, trees: &[PathBuf]) -> Command {
    let mut script = String::from("t=$(mktemp -d) && mount -t tmpfs -o mode=755 cgroups $t");
    for tree in trees {
        let name = tree.file_name().unwrap_or_default().display();
        if !tree.join("cgroup.controllers").exists() {
            script.push_str(&format!(
                " && mkdir $t/{name} && mount --bind {} $t/{name}",
                tree.display()
            ));
        }
    }
    script.push_str(" && mount --move $t /sys/fs/cgroup && rmdir $t && exec \"$@\"");
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "slave", "sh", "-c", &script]);
    command.args(["sh", program]);
    command
}

/// The resources of a container in the words of the OCI specification.
#[must_use]
pub fn resources(limits: &Limits) -> Value {
    let Limits {
        memory,
        swap,
        cpus: _,
        cpuset,
    } = limits;
    let mut resources = json!({"memory": {}, "cpu": {}});
    if let Some(memory) = memory {
        resources["memory"]["limit"] = json!(memory);
    }
    if let (Some(memory), Some(swap)) = (memory, swap) {
        resources["memory"]["swap"] = json!(memory + swap);
    }
    if let Some(quota) = limits.quota() {
        resources["cpu"] = json!({"quota": quota, "period": PERIOD});
    }
    if let Some(cpuset) = cpuset {
        resources["cpu"]["cpus"] = json!(cpuset);
    }
    resources
}

/// What the webhook has mounted of a view, and every other file that a pod can ask it for.
fn view_mounts(view: &Path) -> Vec<Value> {
    let parent = view.parent().unwrap_or(view);
    let layout = procview_webhook::volume::Layout::new("/var/lib/procview");
    let files = File::ALL.into_iter().filter(|file| is_mountable(*file));
    let mut mounts: Vec<_> = files
        .map(|file| {
            let destination = layout.file(file).mount_path;
            json!({"destination": destination, "type": "bind", "source": view.join(file.path()),
                   "options": ["rbind", "ro", "rprivate"]})
        })
        .collect();
    // HostToContainer
    mounts.push(
        json!({"destination": layout.parent().mount_path, "type": "bind", "source": parent,
               "options": ["rbind", "ro", "rslave"]}),
    );
    mounts
}

/// The configuration of a container in the words of the OCI specification.
pub(crate) fn config(rootfs: &Path, group: &Group, limits: &Limits, view: Option<&Path>) -> Value {
    let mut mounts = vec![
        json!({"destination": "/proc", "type": "proc", "source": "proc"}),
        json!({"destination": "/dev", "type": "tmpfs", "source": "tmpfs",
               "options": ["nosuid", "strictatime", "mode=755", "size=65536k"]}),
        json!({"destination": "/dev/pts", "type": "devpts", "source": "devpts",
               "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]}),
        json!({"destination": "/dev/shm", "type": "tmpfs", "source": "shm",
               "options": ["nosuid", "noexec", "nodev", "mode=1777"]}),
        json!({"destination": "/sys", "type": "sysfs", "source": "sysfs",
               "options": ["nosuid", "noexec", "nodev", "ro"]}),
        json!({"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
               "options": ["nosuid", "noexec", "nodev", "relatime", "ro"]}),
    ];
    mounts.extend(view.into_iter().flat_map(view_mounts));
    let capabilities = json!([
        "CAP_CHOWN",
        "CAP_DAC_OVERRIDE",
        "CAP_FOWNER",
        "CAP_KILL",
        "CAP_SETGID",
        "CAP_SETUID",
        "CAP_SYS_CHROOT"
    ]);
    json!({
        "ociVersion": "1.0.2",
        "hostname": "container",
        "root": {"path": rootfs},
        "process": {
            "user": {"uid": 0, "gid": 0}, "cwd": "/", "args": ["sleep", "infinity"],
            "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                    "TERM=xterm", "LC_ALL=C.UTF-8"],
            "capabilities": {"bounding": capabilities, "effective": capabilities,
                             "permitted": capabilities}
        },
        "mounts": mounts,
        "linux": {
            "cgroupsPath": group.path(),
            "resources": resources(limits),
            "namespaces": [{"type": "pid"}, {"type": "mount"}, {"type": "network"},
                           {"type": "ipc"}, {"type": "uts"}, {"type": "cgroup"}]
        }
    })
}
