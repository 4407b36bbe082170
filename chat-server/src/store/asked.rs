//! One query for what many ask at the same time.
//!
//! After a restart of a node thousands of clients come back within seconds, each asking where its
//! rooms stand and what it is in them. Whoever asks while a query is in flight is answered by the
//! next one. When queries follow each other closely each waits a little, so that their number stays
//! small whatever comes; one that comes alone is made at once. No task: the first in line asks for
//! all.
//!
//! Invariant: the query that answers began after the question was asked.

use std::mem;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until};

use super::Error;

/// How soon after another a query may begin. 1,500 clients a second, with two rooms each, are 25
/// queries of 120 then; a client waits at most that long for its reply.
const INTERVAL: Duration = Duration::from_millis(40);

/// So many do not wait for more.
const ENOUGH: usize = 256;

/// Those who ask the same kind of question.
#[derive(Debug)]
pub(super) struct Asked<Q, A> {
    /// Whoever waits for the next query; held to add one or to take all.
    waiting: Mutex<Vec<Question<Q, A>>>,
    /// Whoever holds it asks for all; when the last query began.
    turn: tokio::sync::Mutex<Option<Instant>>,
}

#[derive(Debug)]
struct Question<Q, A> {
    about: Q,
    answer: oneshot::Sender<Result<A, Error>>,
}

impl<Q, A> Default for Asked<Q, A> {
    fn default() -> Self {
        Self { waiting: Mutex::default(), turn: tokio::sync::Mutex::default() }
    }
}

impl<Q: Ord + Clone, A: Clone> Asked<Q, A> {
    /// The answer of a query, which is asked about many, each once and in their order, and answers
    /// in the same order.
    pub(super) async fn ask<F>(&self, about: Q, query: impl Fn(Vec<Q>) -> F) -> Result<A, Error>
    where
        F: Future<Output = Result<Vec<A>, Error>>,
    {
        loop {
            let (answer, mut answered) = oneshot::channel();
            self.waiting.lock().push(Question { about: about.clone(), answer });
            let mut turn = tokio::select! {
                biased;
                answer = &mut answered => match answer {
                    Ok(answer) => return answer,
                    // Whoever asked for all has gone: once more.
                    Err(_gone) => continue,
                },
                turn = self.turn.lock() => turn,
            };
            // Answered just before the turn came.
            if let Ok(answer) = answered.try_recv() {
                return answer;
            }
            let waiting = self.waiting.lock().len();
            if let Some(last) = *turn
                && waiting < ENOUGH
            {
                sleep_until(last + INTERVAL).await;
            }
            *turn = Some(Instant::now());
            let questions = mem::take(&mut *self.waiting.lock());
            let mut all: Vec<Q> = questions.iter().map(|asked| asked.about.clone()).collect();
            all.sort_unstable();
            all.dedup();
            let answers = query(all.clone()).await;
            for Question { about, answer } in questions {
                let place = all.binary_search(&about).unwrap_or_default();
                let found = answers.as_ref().map(|answers| answers[place].clone());
                // Nobody waits for it any more.
                drop(answer.send(found.map_err(Error::clone)));
            }
            if let Ok(answer) = answered.try_recv() {
                return answer;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use tokio::task::JoinSet;
    use tokio::time::sleep;

    use super::*;

    /// Answers with the number asked about, after as long as a query takes.
    #[derive(Debug, Default)]
    struct Source {
        asked: Asked<u64, u64>,
        queries: AtomicU64,
    }

    impl Source {
        async fn ask(&self, number: u64) -> Result<u64, Error> {
            self.asked.ask(number, |numbers| self.query(numbers)).await
        }

        async fn query(&self, numbers: Vec<u64>) -> Result<Vec<u64>, Error> {
            self.queries.fetch_add(1, Ordering::Relaxed);
            sleep(Duration::from_millis(1)).await;
            Ok(numbers)
        }

        fn queries(&self) -> u64 {
            self.queries.load(Ordering::Relaxed)
        }
    }

    #[tokio::test(start_paused = true)]
    async fn thousands_who_come_back_are_few_queries() {
        let source = Arc::new(Source::default());
        let mut clients = JoinSet::new();
        for client in 0..15_000 {
            let source = source.clone();
            clients.spawn(async move {
                // Spread over ten seconds.
                sleep(Duration::from_micros(client * 667)).await;
                let asked = Instant::now();
                assert_eq!(source.ask(client % 700).await.unwrap(), client % 700);
                assert!(asked.elapsed() <= INTERVAL * 2, "{:?}", asked.elapsed());
            });
        }
        clients.join_all().await;
        assert!(source.queries() < 15_000 / 50, "{} queries", source.queries());
    }

    #[tokio::test(start_paused = true)]
    async fn one_alone_does_not_wait() {
        let source = Source::default();
        for number in 0..5 {
            let asked = Instant::now();
            source.ask(number).await.unwrap();
            assert!(asked.elapsed() < Duration::from_millis(5));
            sleep(INTERVAL).await;
        }
        assert_eq!(source.queries(), 5);
    }

    #[tokio::test(start_paused = true)]
    async fn who_goes_while_asking_for_all_leaves_nobody_behind() {
        let source = Arc::new(Source::default());
        let first = source.clone();
        let mut tasks = JoinSet::new();
        let leader = tasks.spawn(async move { first.ask(1).await.unwrap() });
        while source.queries() == 0 {
            tokio::task::yield_now().await;
        }
        for number in 2..6 {
            let source = source.clone();
            tasks.spawn(async move { source.ask(number).await.unwrap() });
        }
        tokio::task::yield_now().await;
        leader.abort();
        let mut numbers = Vec::new();
        while let Some(done) = tasks.join_next().await {
            numbers.extend(done.ok());
        }
        numbers.sort_unstable();
        assert_eq!(numbers, [2, 3, 4, 5]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_is_told_to_everyone_who_waited_for_it() {
        let asked = Asked::<u64, u64>::default();
        let fails = |_: Vec<u64>| async {
            sleep(Duration::from_millis(1)).await;
            Err(Error::Broken("as it is".to_owned()))
        };
        let (one, other) = tokio::join!(asked.ask(1, fails), asked.ask(2, fails));
        assert!(matches!((one, other), (Err(Error::Broken(_)), Err(Error::Broken(_)))));
    }
}
