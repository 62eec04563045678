//! Turns to work on whole components, which takes memory of many times their size, and time.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{PushError, registry::blocking};

/// As many as may work at the same time.
#[derive(Debug, Clone)]
pub(crate) struct Turns(Arc<Semaphore>);

/// One turn. Work that has begun holds it to its end, whoever still waits for the outcome: a push
/// that is given up makes room only when nothing of it runs any more.
#[derive(Debug, Clone)]
pub(crate) struct Turn(#[expect(dead_code, reason = "held, never read")] Arc<OwnedSemaphorePermit>);

impl Turns {
    pub(crate) fn new(count: usize) -> Self {
        Self(Arc::new(Semaphore::new(count.max(1))))
    }

    pub(crate) async fn take(&self) -> Result<Turn, PushError> {
        let permit = Arc::clone(&self.0).acquire_owned().await.map_err(PushError::host)?;
        Ok(Turn(Arc::new(permit)))
    }

    /// For threads that may block.
    pub(crate) fn take_blocking(&self) -> Result<Turn, PushError> {
        futures::executor::block_on(self.take())
    }
}

impl Turn {
    /// Runs work that takes the processor or the disk for a while.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, PushError> {
        let turn = self.clone();
        blocking(move || {
            let done = work();
            drop(turn);
            done
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn work_that_nobody_waits_for_holds_its_turn_to_the_end() {
        let turns = Turns::new(1);
        let turn = turns.take().await.unwrap();
        let (go, told) = mpsc::channel::<()>();
        let mut work = Box::pin(turn.run(move || told.recv()));
        assert!(futures::poll!(&mut work).is_pending());
        drop(work);
        drop(turn);
        let mut next = Box::pin(turns.take());
        assert!(futures::poll!(&mut next).is_pending(), "the work still runs");
        go.send(()).unwrap();
        next.await.unwrap();
    }
}
