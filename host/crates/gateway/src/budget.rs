//! Bytes of messages that the gateway holds, of all connections together and of each.
//!
//! Flow control bounds what one stream may send unasked; this bounds what all of them may have
//! buffered at once, so that neither half-sent requests nor responses that nobody reads can take
//! the host's memory. A connection gets a share only: one alone cannot lock the others out.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use roadstead_domain::{ByteSize, Fault};

/// The parts of the host's budget that one address and one connection may use, as divisors.
const PEERS: u64 = 2;
const SHARE: u64 = 4;

/// Bytes of each message that are not counted: a stream's own state takes more than that, and
/// streams are bounded in number.
pub(crate) const FREE: usize = 1 << 10;

/// The bytes that may be held, and that are.
#[derive(Debug, Clone)]
pub(crate) struct Budget(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    what: &'static str,
    most: u64,
    used: AtomicU64,
    /// What this is a share of.
    whole: Option<Budget>,
}

/// Some bytes of the budget, given back when dropped.
#[derive(Debug)]
pub(crate) struct Charge {
    budget: Budget,
    bytes: u64,
}

impl Budget {
    pub(crate) fn new(most: ByteSize) -> Self {
        Self::of("host's memory for messages", most.0, None)
    }

    /// The part that the connections of one address share.
    pub(crate) fn peers(&self) -> Self {
        let most = self.0.most / PEERS;
        Self::of("address's share of the host's memory for messages", most, Some(self.clone()))
    }

    /// The share of one connection, of what its peer has.
    pub(crate) fn share(&self) -> Self {
        let most = self.0.most / (SHARE / PEERS);
        Self::of("connection's share of the host's memory for messages", most, Some(self.clone()))
    }

    fn of(what: &'static str, most: u64, whole: Option<Self>) -> Self {
        Self(Arc::new(Inner { what, most, used: AtomicU64::new(0), whole }))
    }

    /// Nothing yet, to be grown.
    pub(crate) fn charge(&self) -> Charge {
        Charge { budget: self.clone(), bytes: 0 }
    }

    /// Counts a response; none if it is short enough to go uncounted.
    ///
    /// # Errors
    /// Those of [`Charge::grow`].
    pub(crate) fn hold(&self, bytes: usize) -> Result<Option<Charge>, Fault> {
        if bytes <= FREE {
            return Ok(None);
        }
        let mut charge = self.charge();
        charge.grow(bytes as u64)?;
        Ok(Some(charge))
    }

    pub(crate) fn most(&self) -> u64 {
        self.0.most
    }

    /// Bytes that are held.
    pub(crate) fn used(&self) -> u64 {
        self.0.used.load(Ordering::Relaxed)
    }

    /// Whether the budget could hold a message of so many bytes if it held nothing else.
    ///
    /// # Errors
    /// [`Fault::NeverFits`]: there is no use in trying again.
    fn fits(&self, bytes: u64) -> Result<(), Fault> {
        let Inner { what, most, .. } = &*self.0;
        if counted(bytes) <= *most {
            return Ok(());
        }
        let most = ByteSize(*most);
        Err(Fault::NeverFits(format!("a message of {bytes} bytes is beyond the {what}, {most}")))
    }

    fn take(&self, bytes: u64) -> Result<(), Fault> {
        let Inner { what, most, used, whole } = &*self.0;
        let before = used.fetch_add(bytes, Ordering::Relaxed);
        let taken = if before.saturating_add(bytes) > *most {
            Err(Fault::Overloaded { what, retry_after: Duration::from_millis(100) })
        } else {
            whole.as_ref().map_or(Ok(()), |whole| whole.take(bytes))
        };
        if taken.is_err() {
            used.fetch_sub(bytes, Ordering::Relaxed);
        }
        taken
    }

    fn give(&self, bytes: u64) {
        self.0.used.fetch_sub(bytes, Ordering::Relaxed);
        if let Some(whole) = &self.0.whole {
            whole.give(bytes);
        }
    }
}

impl Charge {
    /// Says early that `bytes` more are to come.
    ///
    /// # Errors
    /// [`Fault::NeverFits`] if the connection may never hold so much.
    pub(crate) fn expect(&self, bytes: u64) -> Result<(), Fault> {
        self.budget.fits(self.bytes.saturating_add(bytes))
    }

    /// Whether nothing is taken.
    pub(crate) fn is_free(&self) -> bool {
        counted(self.bytes) == 0
    }

    /// Takes `bytes` more.
    ///
    /// # Errors
    /// [`Fault::Overloaded`] if the host or the connection holds too much already;
    /// [`Fault::NeverFits`] if it may never hold so much.
    pub(crate) fn grow(&mut self, bytes: u64) -> Result<(), Fault> {
        let grown = self.bytes.saturating_add(bytes);
        let more = counted(grown) - counted(self.bytes);
        if more > 0 {
            self.budget.fits(grown)?;
            self.budget.take(more)?;
        }
        self.bytes = grown;
        Ok(())
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        let bytes = counted(self.bytes);
        if bytes > 0 {
            self.budget.give(bytes);
        }
    }
}

fn counted(bytes: u64) -> u64 {
    bytes.saturating_sub(FREE as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_dropped_comes_back() {
        let budget = Budget::new(ByteSize(100));
        let mut first = budget.charge();
        first.grow(FREE as u64 + 60).unwrap();
        first.grow(40).unwrap();
        let mut second = budget.charge();
        second.grow(FREE as u64).unwrap();
        assert!(matches!(second.grow(1), Err(Fault::Overloaded { .. })));
        drop(first);
        second.grow(100).unwrap();
        assert!(second.grow(u64::MAX).is_err());
        drop(second);
        assert!(budget.hold(FREE).unwrap().is_none());
        assert!(budget.hold(FREE + 101).is_err());
        assert!(budget.hold(FREE + 100).unwrap().is_some());
    }

    #[test]
    fn a_connection_gets_its_share_and_no_more() {
        let host = Budget::new(ByteSize(400));
        let greedy = host.peers().share();
        let mut most = greedy.charge();
        most.grow(FREE as u64 + 100).unwrap();
        let refused = greedy.hold(FREE + 1).unwrap_err();
        assert!(refused.to_string().contains("share"), "{refused}");
        let others: Vec<_> = (0..3).map(|_| host.peers().share().hold(FREE + 100)).collect();
        assert!(others.iter().all(Result::is_ok));
        let late = host.peers().share();
        let refused = late.hold(FREE + 1).unwrap_err();
        assert!(!refused.to_string().contains("share"), "{refused}");
        drop(most);
        assert!(late.hold(FREE + 100).is_ok());
    }

    #[test]
    fn an_address_gets_half_however_many_connections_it_has() {
        let host = Budget::new(ByteSize(400));
        let peer = host.peers();
        let held = [(); 2].map(|()| peer.share().hold(FREE + 100).unwrap());
        let refused = peer.share().hold(FREE + 1).unwrap_err();
        assert!(refused.to_string().contains("address"), "{refused}");
        assert!(host.peers().share().hold(FREE + 100).is_ok());
        drop(held);
        assert_eq!(host.used(), 0);
    }

    #[test]
    fn what_can_never_be_held_is_not_to_be_tried_again() {
        let connection = Budget::new(ByteSize(400)).peers().share();
        for bytes in [101, 500] {
            let refused = connection.hold(FREE + bytes).unwrap_err();
            assert!(matches!(refused, Fault::NeverFits(_)), "{refused}");
            assert_eq!(connection.charge().expect((FREE + bytes) as u64), Err(refused));
        }
        assert_eq!(connection.charge().expect((FREE + 100) as u64), Ok(()));
        let _most = connection.hold(FREE + 100).unwrap();
        assert!(matches!(connection.hold(FREE + 1), Err(Fault::Overloaded { .. })));
    }
}
