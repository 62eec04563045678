//! HTTP/2 responses that nobody reads.
//!
//! hyper waits for a client's flow-control window without a limit. It spawns a task for each
//! stream, though, and that task ends here: a response that waits to be sent while its connection
//! takes nothing, loses its task, which resets the stream and frees all that it held. The body
//! says from within the task how far it is, as there is no other way past hyper.
//!
//! Streams share what their connection takes: with many of them, a piece of each may wait long
//! although the client reads as fast as it can. But not for ever: who reads only some of its
//! streams must not hold the others.

use std::{
    cell::Cell,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep, sleep};

use crate::hurry::Taken;

/// Patiences that a piece may wait while its connection takes something.
const PATIENCES: u32 = 10;

/// How far a stream's task is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    /// No piece is in hyper's hands: the request is answered, or the next message made.
    Waiting,
    /// So many pieces were handed to hyper, the last of which waits to be sent.
    Sending(u64),
}

thread_local! {
    /// Of the task that this thread polls.
    static PROGRESS: Cell<Progress> = const { Cell::new(Progress::Waiting) };
}

/// Says that hyper is given a piece.
pub(crate) fn sending() {
    PROGRESS.set(match PROGRESS.get() {
        Progress::Sending(pieces) => Progress::Sending(pieces.wrapping_add(1)),
        Progress::Waiting => Progress::Sending(0),
    });
}

/// Says that hyper has sent all pieces and waits for the next.
pub(crate) fn waiting() {
    PROGRESS.set(Progress::Waiting);
}

pin_project! {
    /// A stream's task, which ends if its response stalls.
    pub(crate) struct Unstalled<F> {
        #[pin]
        task: F,
        patience: Duration,
        taken: Taken,
        progress: Progress,
        // While a piece waits. Most responses are gone at once: no timer for them.
        wait: Option<Wait>,
    }
}

impl<F> Unstalled<F> {
    /// `taken` is of the stream's connection.
    pub(crate) fn new(task: F, patience: Duration, taken: Taken) -> Self {
        Self { task, patience, taken, progress: Progress::Waiting, wait: None }
    }
}

/// A piece that waits.
struct Wait {
    timer: Pin<Box<Sleep>>,
    /// What the connection had taken when the timer was set.
    taken: u64,
    /// How often the timer has run out.
    times: u32,
}

impl Wait {
    fn new(patience: Duration, taken: &Taken) -> Self {
        Self { timer: Box::pin(sleep(patience)), taken: taken.bytes(), times: 0 }
    }

    /// Ready when there is no more patience.
    fn poll(&mut self, cx: &mut Context<'_>, patience: Duration, taken: &Taken) -> Poll<()> {
        loop {
            ready!(self.timer.as_mut().poll(cx));
            let before = std::mem::replace(&mut self.taken, taken.bytes());
            self.times += 1;
            if self.taken == before || self.times >= PATIENCES {
                return Poll::Ready(());
            }
            self.timer.as_mut().reset(Instant::now() + patience);
        }
    }
}

impl<F: Future> Future for Unstalled<F> {
    type Output = Option<F::Output>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<F::Output>> {
        let this = self.project();
        let before = *this.progress;
        PROGRESS.set(before);
        if let Poll::Ready(output) = this.task.poll(cx) {
            return Poll::Ready(Some(output));
        }
        *this.progress = PROGRESS.get();
        if *this.progress == Progress::Waiting {
            *this.wait = None;
            return Poll::Pending;
        }
        if *this.progress != before {
            *this.wait = None;
        }
        let patience = *this.patience;
        let wait = this.wait.get_or_insert_with(|| Wait::new(patience, this.taken));
        wait.poll(cx, patience, this.taken).map(|()| None)
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, poll_fn};

    use tokio::time::timeout;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);

    /// Says that a piece was handed over, and that it was sent `after` that.
    async fn piece(after: Duration) {
        sending();
        sleep(after).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_response_that_stalls_loses_its_task() {
        let held = std::sync::Arc::new(());
        let holder = std::sync::Arc::clone(&held);
        let began = Instant::now();
        let task = Unstalled::new(
            async move {
                let _holder = holder;
                piece(PATIENCE / 2).await;
                piece(PATIENCE * 100).await;
            },
            PATIENCE,
            Taken::default(),
        );
        let mut task = Box::pin(task);
        assert_eq!(task.as_mut().await, None);
        assert_eq!(began.elapsed(), PATIENCE * 3 / 2);
        drop(task);
        assert_eq!(std::sync::Arc::strong_count(&held), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn slow_readers_and_slow_work_are_waited_for() {
        let reading = async {
            for _ in 0..10 {
                piece(PATIENCE * 2 / 3).await;
            }
        };
        assert_eq!(Unstalled::new(reading, PATIENCE, Taken::default()).await, Some(()));
        // Between messages of a watch nothing is to be read.
        let watching = Unstalled::new(
            async {
                piece(Duration::ZERO).await;
                waiting();
                pending::<()>().await;
            },
            PATIENCE,
            Taken::default(),
        );
        assert!(timeout(PATIENCE * 100, watching).await.is_err());
        // Another task on this thread says nothing about this one.
        let silent = poll_fn(|_| Poll::<()>::Pending);
        let silent = Unstalled::new(silent, PATIENCE, Taken::default());
        sending();
        assert!(timeout(PATIENCE * 100, silent).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_piece_waits_while_its_connection_takes_something_but_not_for_ever() {
        let taken = Taken::default();
        let reads = taken.clone();
        tokio::spawn(async move {
            loop {
                reads.add(1);
                sleep(PATIENCE / 3).await;
            }
        });
        let shared = Unstalled::new(piece(PATIENCE * 9), PATIENCE, taken.clone());
        assert_eq!(shared.await, Some(()));
        let began = Instant::now();
        assert_eq!(Unstalled::new(piece(PATIENCE * 100), PATIENCE, taken).await, None);
        assert_eq!(began.elapsed(), PATIENCE * PATIENCES);
    }
}
