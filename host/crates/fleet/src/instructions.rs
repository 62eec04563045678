//! What the controller says, read: bounded, and only what makes sense. Pure.

use std::{str::FromStr, time::Duration};

use roadstead_domain::{MOST_SHARES, ModuleName, Namespace, Traffic, Version};
use roadstead_proto::v1::{NativeServers, SyncResponse, TrafficSplit};

/// Bytes of one response.
pub(crate) const RESPONSE: usize = 16 << 20;

/// Splits that one response may have.
const SPLITS: usize = 50_000;

/// Native modules, and servers of all of them, that one response may have.
const NATIVES: usize = 10_000;
const SERVERS: usize = 50_000;

/// How often counters are reported at the most, and at the least.
const INTERVAL: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(300)];

/// What the host is to do.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Instructions {
    pub(crate) splits: Vec<(Namespace, ModuleName, Traffic)>,
    /// Servers of native modules, of those that changed.
    pub(crate) natives: Vec<NativeServers>,
    /// None where it says none.
    pub(crate) interval: Option<Duration>,
    /// What was left out because it makes no sense, the first few of it.
    pub(crate) nonsense: Vec<String>,
}

/// More than a controller may say at once.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the controller told {told} {what}, and {most} is the most")]
pub(crate) struct TooMany {
    what: &'static str,
    told: usize,
    most: usize,
}

impl Instructions {
    pub(crate) fn read(response: SyncResponse) -> Result<Self, TooMany> {
        let SyncResponse { splits, report_interval_ms, natives } = response;
        if SPLITS < splits.len() {
            return Err(TooMany { what: "splits", told: splits.len(), most: SPLITS });
        }
        if NATIVES < natives.len() {
            return Err(TooMany { what: "native modules", told: natives.len(), most: NATIVES });
        }
        let servers = natives.iter().map(|one| one.servers.len()).sum();
        if SERVERS < servers {
            return Err(TooMany { what: "native servers", told: servers, most: SERVERS });
        }
        let mut read = Self { natives, ..Self::default() };
        for told in splits {
            match split(&told) {
                Ok(split) => read.splits.push(split),
                Err(why) => {
                    let TrafficSplit { namespace, module, .. } = told;
                    read.leave_out(format!("the split of {namespace:?} {module:?}: {why}"));
                }
            }
        }
        let [least, most] = INTERVAL;
        let interval = Duration::from_millis(report_interval_ms.into());
        read.interval = (report_interval_ms != 0).then(|| interval.clamp(least, most));
        Ok(read)
    }

    fn leave_out(&mut self, what: String) {
        if self.nonsense.len() < 4 {
            self.nonsense.push(what.chars().take(300).collect());
        }
    }
}

fn split(split: &TrafficSplit) -> Result<(Namespace, ModuleName, Traffic), String> {
    fn parsed<T: FromStr<Err: std::fmt::Display>>(text: &str) -> Result<T, String> {
        text.parse().map_err(|error: T::Err| error.to_string())
    }
    let TrafficSplit { namespace, module, revision, shares } = split;
    if MOST_SHARES < shares.len() {
        return Err(format!("it has {} versions, and {MOST_SHARES} is the most", shares.len()));
    }
    let mut read: Vec<(Version, u8)> = Vec::new();
    for share in shares {
        let percent = share.percent.try_into().map_err(|_| format!("{} %", share.percent))?;
        read.push((parsed(&share.version)?, percent));
    }
    let traffic = Traffic::new(*revision, read).map_err(|error| error.to_string())?;
    Ok((parsed(namespace)?, parsed(module)?, traffic))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use roadstead_proto::v1::{NativeServer, VersionShare};

    use super::*;

    fn told(module: &str, shares: &[(&str, u32)]) -> TrafficSplit {
        let share = |(version, percent): &(&str, u32)| VersionShare {
            version: (*version).to_owned(),
            percent: *percent,
        };
        TrafficSplit {
            namespace: "team".to_owned(),
            module: module.to_owned(),
            revision: 7,
            shares: shares.iter().map(share).collect(),
        }
    }

    #[test]
    fn what_makes_no_sense_hides_nothing_else() {
        let good = told("good", &[("0.1.0", 95), ("0.2.0", 5)]);
        let none = told("none", &[]);
        let wrong = [
            told("Not A Name", &[("0.1.0", 100)]),
            told("m", &[("1", 100)]),
            told("m", &[("0.1.0", 99)]),
            told("m", &[("0.1.0", 356)]),
            told("m", &[("0.1.0", 50), ("0.1.0", 50)]),
            told("m", &[("0.1.0", 1); 100]),
            TrafficSplit { namespace: String::new(), ..told("m", &[("0.1.0", 100)]) },
        ];
        let splits = [good].into_iter().chain(wrong).chain([none]).collect();
        let response = SyncResponse { splits, ..SyncResponse::default() };
        let read = Instructions::read(response).unwrap();
        let names: Vec<_> = read.splits.iter().map(|(_, name, _)| name.as_str()).collect();
        assert_eq!(names, ["good", "none"]);
        assert_eq!(read.splits[1].2, Traffic::none(7));
        assert_eq!((read.nonsense.len(), read.interval), (4, None));
    }

    #[test]
    fn a_response_is_bounded() {
        let many =
            |count| SyncResponse { splits: vec![told("m", &[]); count], ..SyncResponse::default() };
        assert!(Instructions::read(many(SPLITS)).is_ok());
        let error = Instructions::read(many(SPLITS + 1)).unwrap_err();
        assert_eq!(error, TooMany { what: "splits", told: SPLITS + 1, most: SPLITS });
        let natives = |modules: usize, servers: usize| {
            let servers = vec![NativeServer::default(); servers];
            let one = NativeServers { servers, ..NativeServers::default() };
            let response = SyncResponse { natives: vec![one; modules], ..SyncResponse::default() };
            Instructions::read(response).map(|read| read.natives.len())
        };
        assert_eq!(natives(NATIVES, 0), Ok(NATIVES));
        assert!(natives(NATIVES + 1, 0).is_err());
        assert_eq!(natives(1, SERVERS), Ok(1));
        assert!(natives(1, SERVERS + 1).is_err());
        for (told, read) in [(1, 100), (99, 100), (7000, 7000), (u32::MAX, 300_000)] {
            let response = SyncResponse { report_interval_ms: told, ..SyncResponse::default() };
            let read_as = Instructions::read(response).unwrap().interval;
            assert_eq!(read_as, Some(Duration::from_millis(read)), "{told}");
        }
    }

    proptest! {
        #[test]
        fn no_words_panic(words in proptest::collection::vec(".{0,20}", 3), percent in any::<u32>()) {
            let share = VersionShare { version: words[2].clone(), percent };
            let (namespace, module) = (words[0].clone(), words[1].clone());
            let split = TrafficSplit { namespace, module, revision: 1, shares: vec![share] };
            let response = SyncResponse { splits: vec![split], ..SyncResponse::default() };
            let read = Instructions::read(response).unwrap();
            prop_assert!(read.splits.len() + read.nonsense.len() == 1);
        }
    }
}
