//! From a listed name to addresses that it may lead to.

use std::{
    net::{IpAddr, ToSocketAddrs as _},
    sync::{Arc, LazyLock},
};

use tokio::sync::Semaphore;

use super::{Policy, address::may_lead_to};
use crate::capability::limit::Place;

/// Lookups of all modules at once. Each blocks a thread of the runtime's, for as long as the
/// resolver likes.
static LOOKUPS: LazyLock<Arc<Semaphore>> = LazyLock::new(|| Arc::new(Semaphore::new(64)));

/// The most addresses of one name that are tried.
const MOST: usize = 16;

/// Why a name leads nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ResolveError {
    Unknown,
    /// It leads only where names may not lead.
    Prohibited,
}

/// Looks a name up; an address is its own answer. The place is held until the lookup has really
/// ended, which may be after the caller has lost patience.
pub(crate) async fn resolve(
    policy: Arc<Policy>,
    host: String,
    place: Place,
) -> Result<Vec<IpAddr>, ResolveError> {
    if let Ok(address) = host.parse() {
        return Ok(vec![address]);
    }
    let turn = policy.lookups.acquire().await.map_err(|_| ResolveError::Unknown)?;
    let thread = Arc::clone(&LOOKUPS).acquire_owned().await.map_err(|_| ResolveError::Unknown)?;
    // The blocked thread counts until it is free, not until the caller has lost patience.
    turn.forget();
    let (name, module) = (host.clone(), Arc::clone(&policy));
    let lookup = tokio::task::spawn_blocking(move || {
        let _held = (thread, place, Turn(module));
        (name.as_str(), 0).to_socket_addrs().map(|found| found.take(MOST).collect::<Vec<_>>())
    });
    let found = match lookup.await {
        Ok(Ok(found)) => found,
        Ok(Err(_)) | Err(_) => return Err(ResolveError::Unknown),
    };
    admit(&host, found.into_iter().map(|address| address.ip().to_canonical()))
}

/// A module's turn to look up, given back on drop.
struct Turn(Arc<Policy>);

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.lookups.add_permits(1);
    }
}

fn admit(host: &str, found: impl Iterator<Item = IpAddr>) -> Result<Vec<IpAddr>, ResolveError> {
    let (mut admitted, mut refused) = (Vec::new(), false);
    for address in found {
        if !may_lead_to(host, address) {
            refused = true;
        } else if !admitted.contains(&address) {
            admitted.push(address);
        }
    }
    match (admitted.is_empty(), refused) {
        (false, _) => Ok(admitted),
        (true, true) => Err(ResolveError::Prohibited),
        (true, false) => Err(ResolveError::Unknown),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capability::limit::Places;

    async fn look_up(name: &str) -> Result<Vec<IpAddr>, ResolveError> {
        let policy = Arc::new(Policy::new(&roadstead_domain::Network::default()));
        let place = Place::take(&[&Places::new(1)]).unwrap();
        let found = resolve(Arc::clone(&policy), name.to_owned(), place).await;
        assert_eq!(policy.lookups.available_permits(), 4);
        found
    }

    #[test]
    fn a_name_that_was_bound_to_an_inner_address_leads_nowhere() {
        let addresses = |texts: &[&str]| {
            texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<IpAddr>>().into_iter()
        };
        let inner = addresses(&["169.254.169.254", "::1"]);
        assert_eq!(admit("api.example.com", inner), Err(ResolveError::Prohibited));
        let mixed = addresses(&["10.0.0.1", "1.1.1.1", "1.1.1.1"]);
        assert_eq!(admit("api.example.com", mixed).unwrap(), addresses(&["1.1.1.1"]).as_slice());
        assert_eq!(admit("api.example.com", addresses(&[])), Err(ResolveError::Unknown));
    }

    #[tokio::test]
    async fn addresses_are_their_own_answer_and_localhost_leads_home() {
        let literal = look_up("10.1.2.3").await.unwrap();
        assert_eq!(literal, ["10.1.2.3".parse::<IpAddr>().unwrap()]);
        let home = look_up("localhost").await.unwrap();
        assert!(home.iter().all(IpAddr::is_loopback) && !home.is_empty());
        // `0` and `127.1` are addresses to the resolver, though not to us.
        for disguised in ["0", "127.1", "2130706433", "0x7f000001"] {
            assert!(look_up(disguised).await.is_err(), "{disguised}");
        }
    }
}
