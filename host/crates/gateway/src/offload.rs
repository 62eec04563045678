//! Conversions of large messages and answers of the host's own services, kept off the threads that
//! serve connections.

use std::panic::resume_unwind;

use roadstead_domain::Fault;
use tokio::sync::Semaphore;
use tonic::Status;

use crate::status::{from_fault, host_fault};

/// Bytes from which a conversion leaves the gateway's threads: handing it over costs about as much
/// as converting this much.
const LARGE: usize = 8 << 10;

/// Large conversions that may run at once; the others wait.
static CONVERSIONS: Semaphore = Semaphore::const_new(4);

/// Answers of the host's own that may be made at once; the others wait.
static ANSWERS: Semaphore = Semaphore::const_new(2);

/// Runs a conversion of `size` bytes.
///
/// # Errors
/// The conversion's own, and [`Fault::Host`] if the host ends.
///
/// # Panics
/// If the conversion does.
pub(crate) async fn convert<T: Send + 'static>(
    size: usize,
    work: impl FnOnce() -> Result<T, Fault> + Send + 'static,
) -> Result<T, Fault> {
    if size < LARGE {
        return work();
    }
    placed(&CONVERSIONS, "convert a message", work).await?
}

/// Makes an answer of one of the host's own services.
///
/// # Errors
/// The work's own, and that of [`Fault::Host`] if the host ends.
///
/// # Panics
/// If the work does.
pub(crate) async fn answer<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Status> + Send + 'static,
) -> Result<T, Status> {
    let answered = placed(&ANSWERS, "make an answer", work).await;
    answered.map_err(|fault| from_fault(&fault, true))?
}

/// Waits for a place, and works there on a thread of its own. Whoever goes away while it waits
/// gives up its turn; work that has begun is done to its end, and then gives back its place.
async fn placed<T: Send + 'static>(
    places: &'static Semaphore,
    doing: &'static str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Fault> {
    let place = places.acquire().await.map_err(|error| host_fault(doing, &error))?;
    // The place belongs to the work: a caller that goes away does not end it.
    let placed = move || {
        let done = work();
        drop(place);
        done
    };
    match tokio::task::spawn_blocking(placed).await {
        Ok(done) => Ok(done),
        // It goes on where the request is, which is where panics are caught and counted.
        Err(error) => match error.try_into_panic() {
            Ok(panic) => resume_unwind(panic),
            Err(error) => Err(host_fault(doing, &error)),
        },
    }
}

#[cfg(test)]
mod tests {
    use std::panic::AssertUnwindSafe;

    use futures::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn large_work_leaves_the_thread_and_panics_stay_there() {
        let here = std::thread::current().id();
        let thread = |size| convert(size, || Ok(std::thread::current().id()));
        assert_eq!(thread(LARGE - 1).await, Ok(here));
        assert_ne!(thread(LARGE).await, Ok(here));
        for size in [0, LARGE] {
            let panics = convert::<()>(size, || panic!("on purpose"));
            assert!(AssertUnwindSafe(panics).catch_unwind().await.is_err());
        }
    }

    #[tokio::test]
    async fn answers_are_made_elsewhere_and_refusals_are_the_works_own() {
        let here = std::thread::current().id();
        let elsewhere = answer(|| Ok(std::thread::current().id())).await;
        assert_ne!(elsewhere.unwrap(), here);
        let refused = answer::<()>(|| Err(Status::not_found("on purpose"))).await.unwrap_err();
        assert_eq!(refused.code(), tonic::Code::NotFound);
    }

    #[tokio::test]
    async fn places_come_back_from_whoever_goes_away_and_from_panics() {
        static ONE: Semaphore = Semaphore::const_new(1);
        let (open, opened) = std::sync::mpsc::channel::<()>();
        let mut working = Box::pin(placed(&ONE, "test", move || opened.recv().is_err()));
        assert!(futures::poll!(&mut working).is_pending());
        let mut waiting = Box::pin(placed(&ONE, "test", || ()));
        assert!(futures::poll!(&mut waiting).is_pending());
        assert_eq!(ONE.available_permits(), 0);
        drop((waiting, working));
        drop(open);
        let panics = placed::<()>(&ONE, "test", || panic!("on purpose"));
        assert!(AssertUnwindSafe(panics).catch_unwind().await.is_err());
        assert_eq!(placed(&ONE, "test", || 3).await, Ok(3));
        assert_eq!(ONE.available_permits(), 1);
    }
}
