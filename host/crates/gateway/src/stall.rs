//! HTTP/2 responses that nobody reads.
//!
//! hyper waits for a client's flow-control window without a limit. It spawns a task for each
//! stream, though, and that task ends here: a response that waits to be sent, and moves no piece
//! within the time, loses its task, which resets the stream and frees all that it held. The body
//! says from within the task how far it is, as there is no other way past hyper.

use std::{
    cell::Cell,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use pin_project_lite::pin_project;
use tokio::time::{Sleep, sleep};

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
        progress: Progress,
        // Runs while a piece waits. Most responses are gone at once: no timer for them.
        timer: Option<Pin<Box<Sleep>>>,
    }
}

impl<F> Unstalled<F> {
    pub(crate) fn new(task: F, patience: Duration) -> Self {
        Self { task, patience, progress: Progress::Waiting, timer: None }
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
            *this.timer = None;
            return Poll::Pending;
        }
        if *this.progress != before {
            *this.timer = None;
        }
        let patience = *this.patience;
        let timer = this.timer.get_or_insert_with(|| Box::pin(sleep(patience)));
        timer.as_mut().poll(cx).map(|()| None)
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, poll_fn};

    use tokio::time::{Instant, timeout};

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
        assert_eq!(Unstalled::new(reading, PATIENCE).await, Some(()));
        // Between messages of a watch nothing is to be read.
        let watching = Unstalled::new(
            async {
                piece(Duration::ZERO).await;
                waiting();
                pending::<()>().await;
            },
            PATIENCE,
        );
        assert!(timeout(PATIENCE * 100, watching).await.is_err());
        // Another task on this thread says nothing about this one.
        let silent = Unstalled::new(poll_fn(|_| Poll::<()>::Pending), PATIENCE);
        sending();
        assert!(timeout(PATIENCE * 100, silent).await.is_err());
    }
}
