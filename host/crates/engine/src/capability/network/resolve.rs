//! From a listed name to addresses that it may lead to.

use std::{
    net::{IpAddr, SocketAddr, ToSocketAddrs as _},
    sync::{Arc, LazyLock},
};

use tokio::sync::Semaphore;

use super::Policy;
use crate::{capability::limit::Place, scheduler::BLOCKING_THREADS};

/// Lookups of all modules at once. Each blocks a thread for as long as the resolver likes, and most
/// threads must stay free for files and loading.
const AT_ONCE: usize = BLOCKING_THREADS / 4;

/// The turns of all modules to look up a name.
static LOOKUPS: LazyLock<Arc<Semaphore>> = LazyLock::new(|| Arc::new(Semaphore::new(AT_ONCE)));

/// The most addresses of one name that are tried.
const MOST: usize = 16;

/// Why a name leads nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ResolveError {
    Unknown,
    /// It leads only where names may not lead.
    Prohibited,
}

/// Where a host may be connected to at these ports; an address is its own answer. What is judged
/// here is what is connected to: nobody looks the name up again.
///
/// The place is held until the lookup has really ended, which may be after the caller has lost
/// patience.
pub(crate) async fn resolve(
    policy: Arc<Policy>,
    host: String,
    ports: Vec<u16>,
    place: Place,
) -> Result<Vec<SocketAddr>, ResolveError> {
    let found = match host.parse() {
        Ok(address) => vec![address],
        Err(_) => look_up(&policy.lookups, host.clone(), place).await?,
    };
    admit(&policy, &host, &ports, &found)
}

async fn look_up(
    turns: &Arc<Semaphore>,
    name: String,
    place: Place,
) -> Result<Vec<IpAddr>, ResolveError> {
    let turn = Arc::clone(turns).acquire_owned().await.map_err(|_| ResolveError::Unknown)?;
    let thread = Arc::clone(&LOOKUPS).acquire_owned().await.map_err(|_| ResolveError::Unknown)?;
    let lookup = tokio::task::spawn_blocking(move || {
        // The blocked thread counts until it is free, not until the caller has lost patience.
        let _held = (turn, thread, place);
        (name.as_str(), 0)
            .to_socket_addrs()
            .map(|found| found.take(MOST).map(|address| address.ip()).collect())
    });
    match lookup.await {
        Ok(Ok(found)) => Ok(found),
        Ok(Err(_)) | Err(_) => Err(ResolveError::Unknown),
    }
}

fn admit(
    policy: &Policy,
    host: &str,
    ports: &[u16],
    found: &[IpAddr],
) -> Result<Vec<SocketAddr>, ResolveError> {
    let (mut admitted, mut refused) = (Vec::new(), false);
    for (address, port) in found.iter().flat_map(|address| ports.iter().map(move |p| (address, *p)))
    {
        let to = SocketAddr::new(address.to_canonical(), port);
        if !policy.may_lead_to(host, to.ip(), port) {
            refused = true;
        } else if !admitted.contains(&to) {
            admitted.push(to);
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
    use roadstead_domain::Grantee;

    use super::*;
    use crate::{
        OfferedNetwork, Offers,
        capability::{
            grant::Asking,
            limit::Places,
            shares::{self, Shares},
            tests::harness::anyone,
        },
    };

    fn policy(offered: &[&str]) -> Arc<Policy> {
        let to = vec![Grantee::Everyone];
        let offer = |text: &&str| OfferedNetwork { target: text.parse().unwrap(), to: to.clone() };
        let offers = Offers { network: offered.iter().map(offer).collect(), ..Offers::default() };
        let spec = roadstead_domain::Network::default();
        let share = Shares::default().of(&anyone());
        let asking = Asking { id: &anyone(), offers: &offers };
        Arc::new(Policy::new(&spec, &asking, &share.lookups).unwrap())
    }

    async fn look_up(policy: &Arc<Policy>, name: &str) -> Result<Vec<SocketAddr>, ResolveError> {
        let place = Place::take(&[&Places::new(1)]).unwrap();
        let found = resolve(Arc::clone(policy), name.to_owned(), vec![80], place).await;
        assert_eq!(policy.lookups.available_permits(), shares::LOOKUPS);
        found
    }

    fn addresses(texts: &[&str]) -> Vec<IpAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn a_name_that_was_bound_to_an_inner_address_leads_nowhere() {
        let policy = policy(&["*:80", "*.example.com:80", "api.example.com:80", "localhost:80"]);
        for inner in [
            "0.0.0.0",
            "10.0.0.1",
            "100.64.0.1",
            "127.0.0.1",
            "169.254.169.254",
            "192.168.0.1",
            "224.0.0.1",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "fd00:ec2::254",
            "fe80::1",
            "ff02::1",
            "64:ff9b::a9fe:a9fe",
            "2002:7f00:1::",
        ] {
            let admitted = admit(&policy, "api.example.com", &[80], &addresses(&[inner]));
            assert_eq!(admitted, Err(ResolveError::Prohibited), "{inner}");
        }
        let mixed = addresses(&["10.0.0.1", "1.1.1.1", "::ffff:1.1.1.1"]);
        let admitted = admit(&policy, "api.example.com", &[80, 81], &mixed).unwrap();
        assert_eq!(admitted, ["1.1.1.1:80", "1.1.1.1:81"].map(|to| to.parse().unwrap()));
        assert_eq!(admit(&policy, "api.example.com", &[80], &[]), Err(ResolveError::Unknown));
        let home = addresses(&["127.0.0.1", "::1", "10.0.0.1", "1.1.1.1"]);
        let admitted = admit(&policy, "localhost", &[80], &home).unwrap();
        assert_eq!(admitted, ["127.0.0.1:80", "[::1]:80"].map(|to| to.parse().unwrap()));
    }

    #[test]
    fn the_operator_opens_inner_addresses_by_writing_them_out() {
        let policy = policy(&["10.0.0.0/8:5432", "169.254.169.254:80", "[fd00::/8]:*"]);
        for (inner, port, opened) in [
            ("10.1.2.3", 5432, true),
            ("::ffff:10.1.2.3", 5432, true),
            ("10.1.2.3", 80, false),
            ("11.1.2.3", 5432, true),
            ("127.0.0.1", 5432, false),
            ("169.254.169.254", 80, true),
            ("169.254.169.253", 80, false),
            ("fd00:ec2::254", 80, true),
            ("fc00::1", 80, false),
            ("64:ff9b::a00:1", 5432, false),
        ] {
            let admitted = admit(&policy, "db.example.com", &[port], &addresses(&[inner]));
            assert_eq!(admitted.is_ok(), opened, "{inner}:{port}");
        }
    }

    #[tokio::test]
    async fn addresses_are_their_own_answer_and_localhost_leads_home() {
        let policy = policy(&["10.1.2.3:80", "localhost:80"]);
        let literal = look_up(&policy, "10.1.2.3").await.unwrap();
        assert_eq!(literal, ["10.1.2.3:80".parse().unwrap()]);
        assert_eq!(look_up(&policy, "10.1.2.4").await, Err(ResolveError::Prohibited));
        let home = look_up(&policy, "localhost").await.unwrap();
        assert!(home.iter().all(|to| to.ip().is_loopback()) && !home.is_empty());
        // `0` and `127.1` are addresses to the resolver, though not to us.
        for disguised in ["0", "127.1", "2130706433", "0x7f000001"] {
            assert!(look_up(&policy, disguised).await.is_err(), "{disguised}");
        }
    }

    #[tokio::test]
    async fn a_module_whose_lookups_hang_keeps_itself_waiting_and_no_other() {
        let (slow, other) = (policy(&["localhost:80"]), policy(&["localhost:80"]));
        let all = u32::try_from(shares::LOOKUPS).unwrap();
        let hanging = slow.lookups.acquire_many(all).await.unwrap();
        let mut waiting = Box::pin(look_up(&slow, "localhost"));
        assert!(futures::poll!(&mut waiting).is_pending());
        assert!(look_up(&other, "localhost").await.is_ok());
        drop(hanging);
        assert!(waiting.await.is_ok());
    }
}
