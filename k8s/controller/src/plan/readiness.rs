//! How the hosts of a namespace are with each version of a module.

use std::collections::BTreeMap;

use roadstead_domain::Version;

use super::conditions::names;
use crate::{
    hosts::{Hosts, State},
    native::standing::Standing,
    world::ModuleKey,
};

/// The hosts that serve a module's namespace.
#[derive(Debug, Default)]
pub(super) struct Readiness {
    /// Hosts that are heard, and take work.
    pub(super) live: usize,
    pub(super) silent: Vec<String>,
    versions: BTreeMap<Version, OnHosts>,
    nothing: OnHosts,
}

/// One version on the hosts that are heard.
#[derive(Debug, Default)]
pub(super) struct OnHosts {
    pub(super) ready: Vec<String>,
    pub(super) compiling: Vec<String>,
    /// Hosts that do not speak of it yet.
    pub(super) unknown: Vec<String>,
    /// With the problem of each.
    pub(super) failing: Vec<(String, String)>,
}

impl OnHosts {
    /// Hosts that fail, and why.
    pub(super) fn problems(&self) -> String {
        let texts: Vec<String> = self
            .failing
            .iter()
            .map(
                |(host, problem)| {
                    if problem.is_empty() { host.clone() } else { format!("{host} ({problem})") }
                },
            )
            .collect();
        names(texts.iter().map(String::as_str))
    }

    /// Hosts that have no code yet.
    pub(super) fn missing(&self) -> String {
        names(self.compiling.iter().chain(&self.unknown).map(String::as_str))
    }
}

impl Readiness {
    pub(super) fn look<'a>(
        hosts: &Hosts,
        key: &ModuleKey,
        versions: impl Iterator<Item = &'a Version>,
    ) -> Self {
        let mut all = Self::default();
        for version in versions {
            all.versions.insert(version.clone(), OnHosts::default());
        }
        for (host, state) in hosts.serving(&key.namespace) {
            let name = host.to_string();
            if !state.live {
                all.silent.push(name);
                continue;
            }
            if state.draining {
                continue;
            }
            all.live += 1;
            for (version, on) in &mut all.versions {
                let seen = state.seen(key, version);
                match seen.map_or(State::Unknown, |seen| seen.state) {
                    State::Ready => on.ready.push(name.clone()),
                    State::Compiling => on.compiling.push(name.clone()),
                    State::Unknown => on.unknown.push(name.clone()),
                    State::Failing => {
                        let problem = seen.map(|seen| seen.problem.clone());
                        on.failing.push((name.clone(), problem.unwrap_or_default()));
                    }
                }
            }
        }
        all
    }

    /// Of native versions: all hosts reach the same servers.
    pub(super) fn of_servers(
        hosts: &Hosts,
        key: &ModuleKey,
        standings: &BTreeMap<Version, Standing>,
    ) -> Self {
        let mut all = Self::look(hosts, key, std::iter::empty());
        let heard = hosts.serving(&key.namespace).filter(|(_, host)| host.live && !host.draining);
        let names: Vec<String> = heard.map(|(name, _)| name.to_string()).collect();
        for (version, standing) in standings {
            let on = all.versions.entry(version.clone()).or_default();
            if standing.can_be_called() {
                on.ready.clone_from(&names);
            } else if let Some(problem) = standing.problem() {
                on.failing = names.iter().map(|name| (name.clone(), problem.to_owned())).collect();
            } else {
                on.compiling.clone_from(&names);
            }
        }
        all
    }

    pub(super) fn of(&self, version: &Version) -> &OnHosts {
        self.versions.get(version).unwrap_or(&self.nothing)
    }
}
