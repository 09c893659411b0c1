//! One cluster for all tests; for each of them namespaces and a configuration of its own.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU16, Ordering};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use procview_tests::cluster::{ADDRESS, Cluster};
use procview_tests::machine::{Machine, Need, read, wait_for};
use procview_tests::manifest::{self, kind};
use procview_tests::webhook::certificate::{Authority, Leaf, Secret};
use procview_tests::webhook::program;
use serde_json::{Value, json};
use tempfile::TempDir;

/// What a cluster without nodes has no use for. The Service is one that leads to the tests' servers.
const WORKLOADS: [&str; 4] = ["DaemonSet", "Deployment", "PodDisruptionBudget", "Service"];
const CONFIGURATION: &str = "MutatingWebhookConfiguration";

/// A test's own part of the cluster.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Case {
    pub(crate) cluster: &'static Cluster,
    /// In the names of all that belongs to it.
    pub(crate) name: &'static str,
}

/// A server in the cluster's network. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    log: PathBuf,
    pub(crate) port: u16,
    // Until it ends.
    _secret: Option<Secret>,
    _scratch: TempDir,
}

impl Case {
    /// A part of the cluster, which is started if it is not running; none where none can run.
    pub(crate) fn new(name: &'static str) -> Result<Option<Self>> {
        static APPLIED: OnceLock<Result<()>> = OnceLock::new();
        let needs = [Need::Root, Need::Go, Need::Program("openssl")];
        if Machine::with(&needs).is_none() {
            return Ok(None);
        }
        let cluster = Cluster::shared()?;
        let applied = APPLIED.get_or_init(|| {
            let mut objects = manifest::shipped()?;
            objects.retain(|object| {
                kind(object) != CONFIGURATION && !WORKLOADS.contains(&kind(object))
            });
            cluster.apply(&manifest::list(&objects))
        });
        if let Err(error) = applied {
            bail!("{error:#}");
        }
        Ok(Some(Self { cluster, name }))
    }

    /// A namespace for pods that get the view, and of no concern to other cases.
    pub(crate) fn namespace(&self, suffix: &str, labels: &[&str]) -> Result<String> {
        let name = format!("{}{suffix}", self.name);
        let case = format!("case={}", self.name);
        self.cluster
            .namespace(&name, &[&[&*case], labels].concat())?;
        Ok(name)
    }

    /// The configuration that calls a server by its address.
    pub(crate) fn configure_url(&self, port: u16, authority: &Authority) -> Result<String> {
        let mut configuration = configuration()?;
        let name = format!("procview-{}", self.name);
        configuration["metadata"]["name"] = json!(name);
        for webhook in webhooks(&mut configuration) {
            let path = webhook["clientConfig"]["service"]["path"].take();
            let path = path.as_str().context("no path")?;
            webhook["clientConfig"] = json!({"url": format!("https://{ADDRESS}:{port}{path}")});
        }
        self.apply_configuration(configuration)?;
        self.trust(&name, authority)?;
        Ok(name)
    }

    /// The configuration as it is shipped, which calls the Service, without a `caBundle`.
    pub(crate) fn configure_service(&self) -> Result<()> {
        self.apply_configuration(configuration()?)
    }

    fn apply_configuration(&self, mut configuration: Value) -> Result<()> {
        for webhook in webhooks(&mut configuration) {
            let expressions = &mut webhook["namespaceSelector"]["matchExpressions"];
            let expressions = expressions.as_array_mut().context("no expressions")?;
            expressions.push(json!({"key": "case", "operator": "In", "values": [self.name]}));
        }
        self.cluster.apply(&configuration.to_string())
    }

    /// Puts a CA into a configuration.
    pub(crate) fn trust(&self, configuration: &str, authority: &Authority) -> Result<()> {
        let bundle = serde_json::to_value(k8s_openapi::ByteString(authority.pem().into()))?;
        let operations: Vec<_> = (0..3)
            .map(|index| {
                let path = format!("/webhooks/{index}/clientConfig/caBundle");
                serde_json::json!({"op": "add", "path": path, "value": bundle})
            })
            .collect();
        let patch = Value::from(operations).to_string();
        let kind = "mutatingwebhookconfiguration";
        self.cluster
            .kubectl(&["patch", kind, configuration, "--type=json", "-p", &patch])?;
        Ok(())
    }

    /// The Service, leading to servers on these ports.
    pub(crate) fn lead_service_to(&self, ports: &[u16]) -> Result<()> {
        let mut text = "apiVersion: v1\nkind: Service\n\
             metadata: {name: procview-webhook, namespace: procview}\n\
             spec: {ports: [{port: 443}]}\n"
            .to_owned();
        for port in ports {
            text += &format!(
                "---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\naddressType: IPv4\n\
                 metadata: {{name: procview-webhook-{port}, namespace: procview, \
                 labels: {{kubernetes.io/service-name: procview-webhook}}}}\n\
                 endpoints: [{{addresses: [{ADDRESS}], conditions: {{ready: true}}}}]\n\
                 ports: [{{port: {port}}}]\n"
            );
        }
        self.cluster.apply(&text)
    }

    /// Starts the webhook with a certificate.
    pub(crate) fn serve(&self, leaf: &Leaf) -> Result<Server> {
        let secret = Secret::new(leaf)?;
        let mut command = self.cluster.command(program()?);
        command.arg("serve");
        command.args(["--shutdown-delay", "0", "--cert"]);
        command
            .arg(secret.certificate())
            .arg("--key")
            .arg(secret.key());
        command.arg("--listen");
        Server::start(command, Some(secret))
    }

    /// Starts the webhook with certificates of its own, and the rights that it is given.
    pub(crate) fn serve_self_signed(&self, arguments: &[&str]) -> Result<Server> {
        let kubeconfig = self.cluster.kubeconfig_of("procview", "procview-webhook")?;
        let mut command = self.cluster.command(program()?);
        command
            .env("KUBECONFIG", kubeconfig)
            .args(["serve", "--self-signed", "--namespace", "procview"])
            .args(["--shutdown-delay", "0"])
            .args(arguments)
            .arg("--listen");
        Server::start(command, None)
    }

    /// Creates pods by `kubectl create`; gives them as they were stored, and the warnings.
    pub(crate) fn create(&self, namespace: &str, manifests: &str) -> Result<(Vec<Value>, String)> {
        self.create_with(namespace, manifests, &[])
    }

    /// As [`Self::create`], but nothing is stored.
    pub(crate) fn dry_run(&self, namespace: &str, manifests: &str) -> Result<(Vec<Value>, String)> {
        self.create_with(namespace, manifests, &["--dry-run=server"])
    }

    /// Waits until a change of a configuration or a label has reached the API server's caches: until
    /// the status of `probe`, if it were created, is as wanted.
    pub(crate) fn wait_for_status(
        &self,
        namespace: &str,
        probe: &str,
        wanted: impl Fn(&str) -> bool,
    ) -> Result<()> {
        wait_for("the webhook to be called or not", || {
            let (pods, _) = self.dry_run(namespace, probe)?;
            Ok(wanted(status(&pods[0])).then_some(()))
        })
    }

    fn create_with(
        &self,
        namespace: &str,
        manifests: &str,
        more: &[&str],
    ) -> Result<(Vec<Value>, String)> {
        let arguments = ["create", "-n", namespace, "-o", "json", "-f", "-"];
        let (text, warnings) = self
            .cluster
            .kubectl_with(&[&arguments, more].concat(), manifests)?;
        let mut objects = Vec::new();
        for object in serde_json::Deserializer::from_str(&text).into_iter::<Value>() {
            let mut object = object?;
            match object.get_mut("items").and_then(Value::as_array_mut) {
                Some(items) => objects.append(items),
                None => objects.push(object),
            }
        }
        Ok((objects, warnings))
    }
}

impl Server {
    /// Starts a program, of which the last argument, added here, is the address to listen on.
    pub(crate) fn start(mut command: Command, secret: Option<Secret>) -> Result<Self> {
        static PORT: AtomicU16 = AtomicU16::new(7000);
        let port = PORT.fetch_add(1, Ordering::Relaxed);
        let scratch = TempDir::with_prefix("procview-test-")?;
        let log = scratch.path().join("log");
        command.arg(format!("{ADDRESS}:{port}"));
        let child = command
            .stdin(Stdio::null())
            .stderr(File::create(&log)?)
            .spawn()
            .with_context(|| format!("cannot start {command:?}"))?;
        let mut server = Self {
            child,
            log,
            port,
            _secret: secret,
            _scratch: scratch,
        };
        let log = server.log.clone();
        wait_for("a server to listen", || {
            if let Some(status) = server.child.try_wait()? {
                bail!("it ended with {status}: {}", read(&log)?);
            }
            Ok(read(&log)?.contains("serving address").then_some(()))
        })?;
        Ok(server)
    }

    /// What it has logged.
    pub(crate) fn log(&self) -> Result<String> {
        read(&self.log)
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) -> Result<()> {
        let pid = Pid::from_raw(i32::try_from(self.child.id())?);
        Ok(kill(pid, signal)?)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A pod of one container, with more annotations and more of `spec`.
pub(crate) fn pod(name: &str, annotations: &str, spec: &str) -> String {
    let containers = match spec.contains(" containers:") || spec.starts_with("containers:") {
        true => "",
        false => "containers: [{name: app, image: 'app:1'}], ",
    };
    let annotations = match annotations {
        "" => String::new(),
        some => format!(", annotations: {{{some}}}"),
    };
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}{annotations}}}\nspec: {{{containers}{spec}}}\n---\n"
    )
}

/// The label by which namespaces opt in.
pub(crate) const ENABLED: &str = "lxcfs-admission-webhook=enabled";

/// What the webhook wrote to a pod about what it did.
pub(crate) fn status(pod: &Value) -> &str {
    let status = &pod["metadata"]["annotations"]["procview.dev/status"];
    status.as_str().unwrap_or("none")
}

/// The paths of our mounts in a container of a pod.
pub(crate) fn mounts(pod: &Value, list: &str, container: &str) -> Vec<String> {
    let containers = pod["spec"][list].as_array();
    let container = containers
        .into_iter()
        .flatten()
        .find(|one| one["name"] == container);
    let mounts = container.and_then(|container| container["volumeMounts"].as_array());
    let ours = mounts.into_iter().flatten().filter(|mount| {
        let name = mount["name"].as_str().unwrap_or_default();
        name == "procview" || name.starts_with("procview-")
    });
    ours.filter_map(|mount| mount["mountPath"].as_str().map(str::to_owned))
        .collect()
}

/// The configuration as it is shipped.
fn configuration() -> Result<Value> {
    let mut objects = manifest::shipped()?.into_iter();
    objects
        .find(|object| kind(object) == CONFIGURATION)
        .context("no configuration is shipped")
}

fn webhooks(configuration: &mut Value) -> impl Iterator<Item = &mut Value> {
    configuration["webhooks"]
        .as_array_mut()
        .into_iter()
        .flatten()
}
