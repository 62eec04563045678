//! Bytes of messages that the gateway holds, of all connections together.
//!
//! Flow control bounds what one stream may send unasked; this bounds what all of them may have
//! buffered at once, so that neither half-sent requests nor responses that nobody reads can take
//! the host's memory.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use roadstead_domain::{ByteSize, Fault};

/// The bytes that may be held, and that are.
#[derive(Debug, Clone)]
pub(crate) struct Budget(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    most: u64,
    used: AtomicU64,
}

/// Some bytes of the budget, given back when dropped.
#[derive(Debug)]
pub(crate) struct Charge {
    budget: Budget,
    bytes: u64,
}

/// Responses up to this size are not counted.
const SHORT: usize = 16 << 10;

struct Held {
    message: Bytes,
    _charge: Charge,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.message
    }
}

impl Budget {
    pub(crate) fn new(most: ByteSize) -> Self {
        Self(Arc::new(Inner { most: most.0, used: AtomicU64::new(0) }))
    }

    /// Nothing yet, to be grown.
    pub(crate) fn charge(&self) -> Charge {
        Charge { budget: self.clone(), bytes: 0 }
    }

    /// Counts a response until its last byte is sent or given up. Short ones go uncounted: what
    /// they can hold is bounded by the streams of a connection.
    ///
    /// # Errors
    /// [`Fault::Overloaded`] if the host holds too much already.
    pub(crate) fn hold(&self, message: Bytes) -> Result<Bytes, Fault> {
        if message.len() <= SHORT {
            return Ok(message);
        }
        let mut charge = self.charge();
        charge.grow(message.len() as u64)?;
        Ok(Bytes::from_owner(Held { message, _charge: charge }))
    }
}

impl Charge {
    /// Takes `bytes` more.
    ///
    /// # Errors
    /// [`Fault::Overloaded`] if the host holds too much already.
    pub(crate) fn grow(&mut self, bytes: u64) -> Result<(), Fault> {
        let Inner { most, used } = &*self.budget.0;
        let before = used.fetch_add(bytes, Ordering::Relaxed);
        if before.saturating_add(bytes) > *most {
            used.fetch_sub(bytes, Ordering::Relaxed);
            return Err(Fault::Overloaded {
                what: "host's memory for messages",
                retry_after: Duration::from_millis(100),
            });
        }
        self.bytes += bytes;
        Ok(())
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.budget.0.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_dropped_comes_back() {
        let budget = Budget::new(ByteSize(100));
        let mut first = budget.charge();
        first.grow(60).unwrap();
        first.grow(40).unwrap();
        let mut second = budget.charge();
        assert!(matches!(second.grow(1), Err(Fault::Overloaded { .. })));
        drop(first);
        second.grow(100).unwrap();
        assert!(second.grow(u64::MAX).is_err());
    }

    #[test]
    fn a_long_response_counts_until_its_last_piece_is_gone() {
        let budget = Budget::new(ByteSize(SHORT as u64 + 1));
        let short = Bytes::from(vec![1; SHORT]);
        let long = Bytes::from(vec![1; SHORT + 1]);
        let mut held = budget.hold(long.clone()).unwrap();
        assert_eq!(held, long);
        let piece = held.split_to(1);
        drop(held);
        assert!(budget.hold(long.clone()).is_err());
        assert_eq!(budget.hold(short.clone()), Ok(short));
        drop(piece);
        assert!(budget.hold(long).is_ok());
    }
}
