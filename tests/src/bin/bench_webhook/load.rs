//! Posts reviews over kept connections, and checks and times the answers.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use hyper::Method;
use procview_tests::webhook::client::{Answer, Connection, MUTATE};
use procview_tests::webhook::review::{Review, Size};
use tokio::sync::Notify;
use tokio::task::LocalSet;

use crate::pacer::pace;
use crate::server::{Server, own_cpu};

/// Connections that are kept, as an API server under load has them.
pub(crate) const CONNECTIONS: usize = 32;
/// Reviews that differ, in equal parts of each size.
const REVIEWS: u64 = 96;

/// What a stretch of load gave.
#[derive(Debug, Default)]
pub(crate) struct Sample {
    /// From when each review was due until its answer was there, in ascending order.
    pub(crate) latencies: Vec<Duration>,
    pub(crate) time: Duration,
    /// CPU time of the server, and of this program.
    pub(crate) server: Duration,
    pub(crate) client: Duration,
}

/// How reviews are sent.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Pace {
    /// So many a second, whether or not answers come.
    Rate(u32),
    /// Each connection the next one as soon as it has an answer.
    FlatOut,
}

/// Reviews to be sent, and answers to them that were found good.
#[derive(Debug)]
pub(crate) struct Reviews {
    reviews: Vec<Review>,
    /// Answers are the same each time, and comparing is cheaper than checking.
    checked: RefCell<HashMap<usize, Vec<u8>>>,
}

#[derive(Debug, Default)]
struct Queue {
    due: RefCell<VecDeque<(usize, Instant)>>,
    more: Notify,
}

impl Reviews {
    pub(crate) fn new() -> Rc<Self> {
        let sizes = Size::ALL.iter().copied().cycle();
        let reviews = (0..REVIEWS).zip(sizes);
        Rc::new(Self {
            reviews: reviews
                .map(|(number, size)| Review::new(size, number))
                .collect(),
            checked: RefCell::default(),
        })
    }

    fn check(&self, number: usize, review: &Review, answer: &Answer) -> Result<()> {
        let mut checked = self.checked.borrow_mut();
        if answer.head.status() == 200
            && checked.get(&number).map(Vec::as_slice) == Some(&answer.body)
        {
            return Ok(());
        }
        review.check(answer)?;
        checked.insert(number, answer.body.to_vec());
        Ok(())
    }

    async fn post(&self, connection: &mut Connection, number: usize) -> Result<()> {
        let number = number % self.reviews.len();
        let review = self.reviews.get(number).context("no such review")?;
        let answer = connection.send(Method::POST, MUTATE, review.body()).await?;
        self.check(number, review, &answer)
    }
}

/// Puts a load on a server for some time.
pub(crate) async fn run(
    server: &Server,
    reviews: &Rc<Reviews>,
    pace: Pace,
    time: Duration,
) -> Result<Sample> {
    let mut connections = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut connection = server.trust().connect(server.address()).await?;
        // The first answer on a connection is not part of the measurement.
        reviews.post(&mut connection, connections.len()).await?;
        connections.push(connection);
    }
    let (cpu, own) = (server.cpu()?, own_cpu()?);
    let begin = Instant::now();
    let latencies = match pace {
        Pace::Rate(rate) => paced(connections, reviews, rate, time).await?,
        Pace::FlatOut => flat_out(connections, reviews, begin + time).await?,
    };
    let mut sample = Sample {
        latencies,
        time: begin.elapsed(),
        server: server.cpu()? - cpu,
        client: own_cpu()? - own,
    };
    sample.latencies.sort_unstable();
    Ok(sample)
}

async fn paced(
    connections: Vec<Connection>,
    reviews: &Rc<Reviews>,
    rate: u32,
    time: Duration,
) -> Result<Vec<Duration>> {
    let local = LocalSet::new();
    let queue = Rc::new(Queue::default());
    let workers: Vec<_> = connections
        .into_iter()
        .map(|mut connection| {
            let (queue, reviews) = (Rc::clone(&queue), Rc::clone(reviews));
            local.spawn_local(async move {
                let mut latencies = Vec::new();
                loop {
                    let job = queue.due.borrow_mut().pop_front();
                    match job {
                        // The end.
                        Some((usize::MAX, _)) => return anyhow::Ok(latencies),
                        Some((number, due)) => {
                            reviews.post(&mut connection, number).await?;
                            latencies.push(due.elapsed());
                        }
                        None => queue.more.notified().await,
                    }
                }
            })
        })
        .collect();
    let total = usize::try_from(rate)? * usize::try_from(time.as_millis())? / 1000;
    local
        .run_until(async {
            let mut pacer = pace(rate, total)?;
            let mut number = 0;
            while let Some(due) = pacer.recv().await {
                queue.due.borrow_mut().push_back((number, due));
                queue.more.notify_one();
                number += 1;
            }
            for _ in 0..CONNECTIONS {
                let end = (usize::MAX, Instant::now());
                queue.due.borrow_mut().push_back(end);
            }
            queue.more.notify_waiters();
            let latencies = join(workers).await?;
            if latencies.len() != total {
                bail!("{total} reviews were due, {} answered", latencies.len());
            }
            Ok(latencies)
        })
        .await
}

async fn flat_out(
    connections: Vec<Connection>,
    reviews: &Rc<Reviews>,
    end: Instant,
) -> Result<Vec<Duration>> {
    let local = LocalSet::new();
    let workers: Vec<_> = (0..)
        .zip(connections)
        .map(|(worker, mut connection)| {
            let reviews = Rc::clone(reviews);
            local.spawn_local(async move {
                let mut latencies = Vec::new();
                while Instant::now() < end {
                    let begin = Instant::now();
                    reviews
                        .post(&mut connection, worker + latencies.len())
                        .await?;
                    latencies.push(begin.elapsed());
                }
                anyhow::Ok(latencies)
            })
        })
        .collect();
    local.run_until(join(workers)).await
}

async fn join(
    workers: Vec<tokio::task::JoinHandle<Result<Vec<Duration>>>>,
) -> Result<Vec<Duration>> {
    let mut latencies = Vec::new();
    for worker in workers {
        latencies.extend(worker.await??);
    }
    Ok(latencies)
}
