//! Conversions of large messages, kept off the threads that serve connections.

use std::panic::resume_unwind;

use roadstead_domain::Fault;
use tokio::sync::Semaphore;

use crate::status::host_fault;

/// Bytes from which a conversion leaves the gateway's threads: handing it over costs about as much
/// as converting this much.
const LARGE: usize = 8 << 10;

/// Large conversions that may run at once; the others wait.
static PLACES: Semaphore = Semaphore::const_new(4);

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
    let place = PLACES.acquire().await.map_err(|error| host_fault("wait to convert", &error))?;
    // The place belongs to the work: a caller that goes away does not end it.
    let placed = move || {
        let result = work();
        drop(place);
        result
    };
    match tokio::task::spawn_blocking(placed).await {
        Ok(result) => result,
        // It goes on where the request is, which is where panics are caught and counted.
        Err(error) => match error.try_into_panic() {
            Ok(panic) => resume_unwind(panic),
            Err(error) => Err(host_fault("convert a message", &error)),
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
}
