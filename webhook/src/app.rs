//! Puts the parts together.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use crate::args::{Cli, Command, Explain, LogFormat, Policy, Serve};
use crate::bodies::Bodies;
use crate::certificate::files::Files;
use crate::certificate::self_signed::SelfSigned;
use crate::explain;
use crate::metrics::Metrics;
use crate::mutate::Mutator;
use crate::ready::Ready;
use crate::router::{MOST_BODIES, MOST_BODY, Shared, router};
use crate::server::{self, Limits};
use crate::tls::{Served, server_config};
use crate::volume::Layout;

/// More threads than this answer no faster: a review takes a tenth of a millisecond.
const MOST_THREADS: usize = 4;

impl Cli {
    /// Does what the command line says.
    ///
    /// # Errors
    /// With a text that names what is wrong and what helps.
    pub fn run(self) -> Result<()> {
        match self.command {
            Command::Serve(arguments) => {
                let threads = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
                tokio::runtime::Builder::new_multi_thread()
                    .worker_threads(threads.min(MOST_THREADS))
                    .enable_all()
                    .build()
                    .context("cannot start threads")?
                    .block_on(serve(*arguments))
            }
            Command::Explain(arguments) => explain_manifest(arguments),
        }
    }
}

impl Policy {
    fn mutator(self) -> Mutator {
        Mutator::new(Layout::new(&self.parent), self.exclude_namespace)
    }
}

async fn serve(arguments: Serve) -> Result<()> {
    let Serve {
        listen,
        cert,
        key,
        self_signed,
        shutdown_delay,
        log_format,
        log,
        policy,
    } = arguments;
    start_log(log_format, log);
    let mut terminate = signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot wait for SIGINT")?;

    let served = Arc::new(Served::default());
    let config = server_config(Arc::clone(&served)).context("cannot set up TLS")?;
    let shared = Arc::new(Shared {
        mutator: policy.mutator(),
        metrics: Metrics::default(),
        ready: Ready::new(Arc::clone(&served), !self_signed.enabled),
        bodies: Bodies::new(MOST_BODY, MOST_BODIES),
    });
    match (cert, key) {
        (Some(cert), Some(key)) => {
            let files = Files { cert, key };
            let pem = files.load(&served).await?;
            tokio::spawn(files.follow(pem, served));
        }
        _ => {
            let names = self_signed.names()?;
            let rotation = self_signed.rotation(&names.namespace);
            let client = kube::Client::try_default().await.context(
                "no way to the API server: run in a pod with a service account, or set KUBECONFIG",
            )?;
            let keeper = SelfSigned::new(client, &names, rotation, served);
            let shared = Arc::clone(&shared);
            tokio::spawn(async move { keeper.run(&shared.ready).await });
        }
    }

    let listener = TcpListener::bind(listen)
        .await
        .with_context(|| format!("cannot listen on {listen}"))?;
    let stop = {
        let shared = Arc::clone(&shared);
        async move {
            tokio::select! {
                _ = terminate.recv() => tracing::info!(signal = "SIGTERM", "stopping"),
                _ = interrupt.recv() => tracing::info!(signal = "SIGINT", "stopping"),
            }
            shared.ready.set_stopping();
        }
    };
    let limits = Limits {
        leave: Duration::from_secs(shutdown_delay),
        ..Limits::default()
    };
    let open = shared.metrics.connections.clone();
    let router = router(shared);
    server::serve(listener, Arc::new(config), router, limits, open, stop)
        .await
        .context("the server failed")
}

fn explain_manifest(arguments: Explain) -> Result<()> {
    let Explain {
        filename,
        namespace_label,
        policy,
    } = arguments;
    let manifest = if filename == Path::new("-") {
        let mut text = String::new();
        std::io::stdin()
            .read_to_string(&mut text)
            .context("cannot read standard input")?;
        text
    } else {
        std::fs::read_to_string(&filename)
            .with_context(|| format!("cannot read {}", filename.display()))?
    };
    let labels: BTreeMap<_, _> = namespace_label.into_iter().collect();
    let labels = (!labels.is_empty()).then_some(&labels);
    let text = explain::explain(&policy.mutator(), &manifest, labels)
        .with_context(|| filename.display().to_string())?;
    std::io::stdout()
        .write_all(text.as_bytes())
        .context("cannot write to standard output")
}

fn start_log(format: LogFormat, level: tracing::Level) {
    let log = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(std::io::stderr)
        .with_target(false);
    match format {
        LogFormat::Text => log.with_ansi(false).init(),
        LogFormat::Json => log.json().init(),
    }
}
