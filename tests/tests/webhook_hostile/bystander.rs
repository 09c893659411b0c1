//! Clients that behave well, as API servers do. All of their reviews must be answered.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use procview_tests::webhook::Webhook;
use procview_tests::webhook::review::{Review, Size};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

/// An API server waits no longer for this webhook.
const TIMEOUT: Duration = Duration::from_secs(2);
/// How long an attack may keep the rest of a test waiting.
const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(20);

/// One client with a kept connection, one with a connection for each review.
#[derive(Debug)]
pub(crate) struct Bystanders {
    tasks: JoinSet<Result<()>>,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    /// Answered over the kept connection, and over new ones.
    answered: [AtomicUsize; 2],
}

impl Bystanders {
    pub(crate) fn start(webhook: &Webhook) -> Result<Self> {
        let (address, trust) = (webhook.address(), webhook.trust()?);
        let shared = Arc::new(Shared::default());
        let mut tasks = JoinSet::new();
        for kept in [true, false] {
            let (shared, trust) = (Arc::clone(&shared), trust.clone());
            tasks.spawn(async move {
                let mut connection = None;
                for number in 0.. {
                    if shared.stop.load(Ordering::Relaxed) {
                        break;
                    }
                    let review = Review::new(Size::Medium, number);
                    let post = async {
                        let mut used = match connection.take().filter(|_| kept) {
                            Some(connection) => connection,
                            None => trust.connect(address).await?,
                        };
                        used.review(&review).await?;
                        anyhow::Ok(used)
                    };
                    let used = timeout(TIMEOUT, post).await;
                    let why = || format!("review {number}, kept connection: {kept}");
                    connection = Some(used.with_context(why)?.with_context(why)?);
                    let [over_kept, over_new] = &shared.answered;
                    let answered = if kept { over_kept } else { over_new };
                    answered.fetch_add(1, Ordering::Relaxed);
                    sleep(PAUSE).await;
                }
                Ok(())
            });
        }
        Ok(Self { tasks, shared })
    }

    /// Waits until each of them got so many more answers.
    pub(crate) async fn wait_for(&mut self, more: usize) -> Result<()> {
        let wanted = self.answered().map(|count| count + more);
        let deadline = Instant::now() + PATIENCE;
        loop {
            let now = self.answered();
            if now.iter().zip(&wanted).all(|(now, wanted)| now >= wanted) {
                return Ok(());
            }
            if let Some(ended) = self.tasks.try_join_next() {
                ended??;
                bail!("a client ended");
            }
            if Instant::now() > deadline {
                bail!("{now:?} answers, not {wanted:?}");
            }
            sleep(PAUSE).await;
        }
    }

    fn answered(&self) -> [usize; 2] {
        let answered = self.shared.answered.each_ref();
        answered.map(|count| count.load(Ordering::Relaxed))
    }

    /// Ends them; all that they sent must have been answered.
    pub(crate) async fn stop(mut self) -> Result<()> {
        self.shared.stop.store(true, Ordering::Relaxed);
        while let Some(ended) = self.tasks.join_next().await {
            ended??;
        }
        Ok(())
    }
}
