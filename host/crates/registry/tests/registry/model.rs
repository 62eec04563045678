//! Random changes of the registry against a small model of what must answer.

use std::collections::BTreeMap;

use proptest::prelude::*;
use roadstead_domain::{Fault, Namespace, Version};
use roadstead_registry::{ChangeError, PushError};

use crate::harness::{Host, OPS, add, calc, module, named, versioned};

#[derive(Debug, Clone)]
enum Step {
    Push { module: usize, version: Option<u8>, more: u32 },
    Delete { module: usize, version: Option<u8> },
    Pin { module: usize, version: Option<u8> },
    Restart,
}

const NAMES: [&str; 2] = ["one", "two"];

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let version = || prop::option::weighted(0.6, 0..3_u8);
    let step = prop_oneof![
        6 => (0..2_usize, version(), 0..3_u32)
            .prop_map(|(module, version, more)| Step::Push { module, version, more }),
        2 => (0..2_usize, version()).prop_map(|(module, version)| Step::Delete { module, version }),
        3 => (0..2_usize, version()).prop_map(|(module, version)| Step::Pin { module, version }),
        1 => Just(Step::Restart),
    ];
    prop::collection::vec(step, 1..16)
}

#[derive(Debug, Clone, Default)]
struct Module {
    versions: BTreeMap<Version, u32>,
    pinned: Option<Version>,
    highest: Option<Version>,
}

impl Module {
    fn answering(&self) -> Option<(&Version, &u32)> {
        match &self.pinned {
            Some(pinned) => self.versions.get_key_value(pinned),
            None => self.versions.last_key_value(),
        }
    }
}

fn patch(number: u8) -> Version {
    format!("0.1.{number}").parse().unwrap()
}

async fn push(host: &Host, known: &mut Module, module: usize, version: Option<u8>, more: u32) {
    let request = match version {
        Some(version) => versioned(NAMES[module], &patch(version).to_string()),
        None => named(NAMES[module]),
    };
    let pushed = host.push_as(request, &calc(more)).await;
    let wanted = version.map(patch);
    let same = match &wanted {
        Some(wanted) => known.versions.get_key_value(wanted),
        None => known.versions.last_key_value().filter(|(_, held)| **held == more),
    };
    match same {
        Some((version, held)) if *held == more => {
            let pushed = pushed.unwrap();
            assert!(!pushed.created && pushed.record.version == *version);
        }
        Some(_) => {
            assert!(matches!(pushed.unwrap_err(), PushError::VersionExists { .. }));
        }
        None => {
            let next = known.highest.as_ref().map_or_else(Version::first, Version::next_patch);
            let version = wanted.unwrap_or(next);
            let pushed = pushed.unwrap();
            assert!(pushed.created && pushed.record.version == version);
            known.highest = known.highest.take().max(Some(version.clone()));
            known.versions.insert(version, more);
        }
    }
}

/// Applies a step to both; they must agree on whether it works.
async fn apply(host: Host, model: &mut BTreeMap<usize, Module>, step: &Step) -> Host {
    let default = Namespace::default();
    match step {
        Step::Push { module, version, more } => {
            push(&host, model.entry(*module).or_default(), *module, *version, *more).await;
        }
        Step::Delete { module: index, version } => {
            let name = module(NAMES[*index]);
            let version = version.map(patch);
            let deleted = host.registry.delete(&default, &name, version.as_ref()).await;
            let Some(known) = model.get_mut(index) else {
                assert!(matches!(deleted.unwrap_err(), ChangeError::NoSuchModule(_)));
                return host;
            };
            match version {
                Some(version) if known.pinned.as_ref() == Some(&version) => {
                    assert!(matches!(deleted.unwrap_err(), ChangeError::Pinned { .. }));
                }
                Some(version) if known.versions.remove(&version).is_none() => {
                    assert!(matches!(deleted.unwrap_err(), ChangeError::NoSuchVersion { .. }));
                }
                Some(version) => {
                    assert_eq!(deleted.unwrap(), [version]);
                    if known.versions.is_empty() {
                        model.remove(index);
                    }
                }
                None => {
                    assert_eq!(deleted.unwrap().len(), known.versions.len());
                    model.remove(index);
                }
            }
        }
        Step::Pin { module: index, version } => {
            let name = module(NAMES[*index]);
            let version = version.map(patch);
            let pinned = host.registry.pin(&default, &name, version.as_ref()).await;
            match model.get_mut(index) {
                None => assert!(matches!(pinned.err(), Some(ChangeError::NoSuchModule(_)))),
                Some(known)
                    if version.as_ref().is_some_and(|v| !known.versions.contains_key(v)) =>
                {
                    assert!(matches!(pinned.err(), Some(ChangeError::NoSuchVersion { .. })));
                }
                Some(known) => {
                    assert_eq!(pinned.unwrap().pinned, version);
                    known.pinned = version;
                }
            }
        }
        Step::Restart => return host.restarted().await,
    }
    host
}

async fn check(host: &Host, model: &BTreeMap<usize, Module>) {
    let mut answering = Vec::new();
    for (index, name) in NAMES.iter().enumerate() {
        let known = model.get(&index).cloned().unwrap_or_default();
        let versions: Vec<_> = known.versions.keys().map(Version::to_string).collect();
        assert_eq!(host.versions(name), versions);
        let found = host.resolve(OPS, Some(name));
        match known.answering() {
            Some((version, more)) => {
                let live = found.unwrap();
                assert_eq!(live.label().as_ref(), format!("{name}@{version}"));
                assert_eq!(add(&live, 1, 1).await, 2 + u64::from(*more));
                answering.push(live);
            }
            None => assert_eq!(found.err(), Some(Fault::NoSuchModule(module(name)))),
        }
    }
    match (answering.as_slice(), host.resolve(OPS, None)) {
        ([], Err(Fault::NoSuchService(_))) | ([_, _], Err(Fault::Ambiguous { .. })) => {}
        ([only], Ok(live)) => assert_eq!(only.label(), live.label()),
        (_, found) => panic!("{:?}", found.map(|live| live.label().to_string())),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10))]

    #[test]
    fn random_changes_agree_with_a_model(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let mut host = Host::new().await;
            let mut model = BTreeMap::new();
            for step in &steps {
                host = apply(host, &mut model, step).await;
                check(&host, &model).await;
            }
            let host = host.restarted().await;
            check(&host, &model).await;
        });
    }
}
