//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context;
use clap::{Args, Parser, Subcommand, ValueEnum};
use time::Duration;

use crate::certificate::rotation::Rotation;
use crate::certificate::self_signed::Names;

/// Adds Procview's view to pods as they are created.
#[derive(Debug, Parser)]
#[command(version, propagate_version = true)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Answer the API server's reviews over HTTPS.
    ///
    /// POST /mutate for pods of namespaces that have opted in, POST /mutate/pod-security for those
    /// of them that enforce Pod Security; GET /healthz, /readyz and /metrics. No pod is ever
    /// denied. SIGTERM and SIGINT finish the requests under way.
    Serve(Box<Serve>),
    /// Tell what would be done with the pods of a manifest, and why. Needs no cluster.
    ///
    /// Prints the reason and the pod as it would be stored.
    Explain(Explain),
}

/// Arguments of `serve`.
#[derive(Debug, Args)]
pub struct Serve {
    /// The address to listen on.
    #[arg(
        long,
        value_name = "ADDRESS",
        default_value = "[::]:8443",
        env = "PROCVIEW_LISTEN"
    )]
    pub listen: SocketAddr,
    /// The certificate, PEM, leaf first; read again when it changes.
    #[arg(
        long,
        value_name = "FILE",
        requires = "key",
        required_unless_present = "self_signed",
        env = "PROCVIEW_CERT"
    )]
    pub cert: Option<PathBuf>,
    /// Its private key, PEM.
    #[arg(long, value_name = "FILE", requires = "cert", env = "PROCVIEW_KEY")]
    pub key: Option<PathBuf>,
    #[command(flatten)]
    pub self_signed: SelfSigned,
    /// How long to go on answering after SIGTERM, in seconds: until all API servers know.
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 5,
        env = "PROCVIEW_SHUTDOWN_DELAY"
    )]
    pub shutdown_delay: u64,
    /// How to write the log.
    #[arg(long, value_enum, default_value_t = LogFormat::Text, env = "PROCVIEW_LOG_FORMAT")]
    pub log_format: LogFormat,
    /// What to log: error, warn, info, debug or trace.
    #[arg(
        long,
        value_name = "LEVEL",
        default_value = "info",
        env = "PROCVIEW_LOG"
    )]
    pub log: tracing::Level,
    #[command(flatten)]
    pub policy: Policy,
}

/// How to keep an own certificate.
#[derive(Debug, Args)]
pub struct SelfSigned {
    /// Keep a CA and a certificate in a Secret and the CA in our MutatingWebhookConfiguration,
    /// renew them in time, repair them when they are gone. Any number of replicas may do so.
    #[arg(
        id = "self_signed",
        long = "self-signed",
        conflicts_with_all = ["cert", "key"],
        env = "PROCVIEW_SELF_SIGNED"
    )]
    pub enabled: bool,
    /// The namespace of the Secret and the Service; by default that of the pod.
    #[arg(long, value_name = "NAME", env = "POD_NAMESPACE")]
    pub namespace: Option<String>,
    /// The Service by which the API server reaches us.
    #[arg(
        long,
        value_name = "NAME",
        default_value = "procview-webhook",
        env = "PROCVIEW_SERVICE"
    )]
    pub service: String,
    /// The Secret; made if it is not there.
    #[arg(
        long,
        value_name = "NAME",
        default_value = "procview-webhook-tls",
        env = "PROCVIEW_SECRET"
    )]
    pub secret: String,
    /// The MutatingWebhookConfiguration whose webhooks get our CA.
    #[arg(
        long,
        value_name = "NAME",
        default_value = "procview-webhook",
        env = "PROCVIEW_CONFIGURATION"
    )]
    pub configuration: String,
    /// How long a certificate is valid, in seconds; renewed after two thirds of it.
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 90 * 24 * 3600,
        value_parser = clap::value_parser!(i64).range(10..),
        env = "PROCVIEW_CERTIFICATE_LIFETIME"
    )]
    pub certificate_lifetime: i64,
    /// How long a CA is valid, in seconds; at least three times as long as a certificate.
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 3 * 365 * 24 * 3600,
        value_parser = clap::value_parser!(i64).range(30..),
        env = "PROCVIEW_CA_LIFETIME"
    )]
    pub ca_lifetime: i64,
    /// How long a new CA is trusted before it signs, and an old one after it did, in seconds:
    /// until all API servers and replicas know.
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 600,
        value_parser = clap::value_parser!(i64).range(1..),
        env = "PROCVIEW_CA_SETTLE"
    )]
    pub ca_settle: i64,
}

/// Arguments of `explain`.
#[derive(Debug, Args)]
pub struct Explain {
    /// The manifest, YAML or JSON: pods, or what makes pods; - for standard input.
    #[arg(short, long = "filename", value_name = "FILE")]
    pub filename: PathBuf,
    /// A label of the pod's namespace; may be given several times. None: as if it had opted in.
    #[arg(long, value_name = "KEY=VALUE", value_parser = label)]
    pub namespace_label: Vec<(String, String)>,
    #[command(flatten)]
    pub policy: Policy,
}

/// What is mounted from where, and where nothing is.
#[derive(Debug, Args)]
pub struct Policy {
    /// The directory on the nodes that the agent mounts the view in.
    #[arg(
        long,
        value_name = "DIR",
        default_value = "/var/lib/procview",
        value_parser = absolute,
        env = "PROCVIEW_PARENT"
    )]
    pub parent: String,
    /// Namespaces whose pods are never touched.
    #[arg(
        long,
        value_name = "NAMESPACE,...",
        default_value = "kube-system",
        value_delimiter = ',',
        env = "PROCVIEW_EXCLUDE_NAMESPACE"
    )]
    pub exclude_namespace: Vec<String>,
}

/// How to write the log.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum LogFormat {
    /// Lines for people.
    Text,
    /// JSON, one object a line.
    Json,
}

fn label(text: &str) -> Result<(String, String), String> {
    let (key, value) = text
        .split_once('=')
        .ok_or_else(|| format!("{text:?} is no label: write KEY=VALUE"))?;
    Ok((key.to_owned(), value.to_owned()))
}

fn absolute(text: &str) -> Result<String, String> {
    let path = std::path::Path::new(text);
    let plain = path.is_absolute() && !text.contains(':') && path.parent().is_some();
    let inside = |dir| path.starts_with(dir);
    if !plain || inside("/proc") || inside("/sys") {
        return Err(format!(
            "{text:?} cannot be mounted into containers: name an absolute directory without colons, outside /proc and /sys"
        ));
    }
    Ok(text.to_owned())
}

impl SelfSigned {
    /// Where things are in the cluster.
    ///
    /// # Errors
    /// If the namespace is not known.
    pub fn names(&self) -> anyhow::Result<Names> {
        let namespace = self.namespace.clone().filter(|name| !name.is_empty());
        Ok(Names {
            namespace: namespace
                .context("--self-signed needs the namespace of the Service: give --namespace or POD_NAMESPACE")?,
            secret: self.secret.clone(),
            configuration: self.configuration.clone(),
        })
    }

    /// For which names and how long certificates are made.
    pub fn rotation(&self, namespace: &str) -> Rotation {
        let service = &self.service;
        let names = ["", ".svc", ".svc.cluster.local"];
        Rotation {
            names: names
                .iter()
                .map(|suffix| format!("{service}.{namespace}{suffix}"))
                .collect(),
            certificate_lifetime: Duration::seconds(self.certificate_lifetime),
            ca_lifetime: Duration::seconds(self.ca_lifetime.max(3 * self.certificate_lifetime)),
            settle: Duration::seconds(self.ca_settle),
        }
    }
}
