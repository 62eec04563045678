//! `[traces]`: where spans of calls go, and of how many calls.

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use http::Uri;
use serde::Deserialize;

/// The part of calls without a parent that are traced, unless it is set.
const SAMPLE: f64 = 0.01;
/// Calls that are traced in a second at most, unless it is set.
const MAX_PER_SECOND: u64 = 100;

/// The section as it is written.
#[derive(Debug, Default, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Section {
    /// The collector, which speaks OTLP over gRPC [default: none]
    endpoint: Option<String>,
    /// PEM certificates of who vouches for it [default: the system's]
    ca: Option<PathBuf>,
    /// The part of calls that are traced, where the caller says nothing, of 0 to 1
    sample: Option<f64>,
    /// Calls that are traced in a second at most
    max_per_second: Option<u64>,
}

/// What the section says; the file is not read yet.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct TracesSettings {
    pub endpoint: String,
    pub ca: Option<PathBuf>,
    pub sample: f64,
    pub max_per_second: u64,
}

impl Section {
    /// Where spans go, if anywhere.
    ///
    /// # Errors
    /// Says which setting is wrong and what it should be.
    pub(super) fn read(self) -> anyhow::Result<Option<TracesSettings>> {
        let Some(endpoint) = self.endpoint else {
            if self != Self::default() {
                bail!("traces.endpoint is missing: say where the collector is");
            }
            return Ok(None);
        };
        let form =
            || format!("traces.endpoint is `{endpoint}`: it must be like http://collector:4317");
        let uri: Uri = endpoint.parse().with_context(form)?;
        let root = uri.path_and_query().is_none_or(|path| path.as_str() == "/");
        let bare = uri.authority().is_some_and(|at| !at.as_str().contains('@'));
        if !root || !bare || !matches!(uri.scheme_str(), Some("http" | "https")) {
            bail!("{}", form());
        }
        if self.ca.is_some() && uri.scheme_str() != Some("https") {
            bail!("traces.ca vouches for https alone, and traces.endpoint is {endpoint}");
        }
        let sample = self.sample.unwrap_or(SAMPLE);
        if !(0.0..=1.0).contains(&sample) {
            bail!("traces.sample is {sample}: it must be of 0 to 1");
        }
        let max_per_second = self.max_per_second.unwrap_or(MAX_PER_SECOND);
        Ok(Some(TracesSettings { endpoint, ca: self.ca, sample, max_per_second }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> anyhow::Result<Option<TracesSettings>> {
        toml::from_str::<Section>(text)?.read()
    }

    #[test]
    fn there_are_none_unless_a_collector_is_named() {
        assert_eq!(read("").unwrap(), None);
        let traces = read("endpoint = 'http://collector:4317'").unwrap().unwrap();
        assert_eq!((traces.sample, traces.max_per_second, traces.ca), (0.01, 100, None));
        let text = "endpoint = 'https://c:1'\nca = '/ca'\nsample = 1\nmax_per_second = 5";
        let text = text.replace("sample = 1", "sample = 1.0");
        let traces = read(&text).unwrap().unwrap();
        assert_eq!((traces.sample, traces.max_per_second), (1.0, 5));
        assert_eq!(traces.ca, Some("/ca".into()));
    }

    #[test]
    fn what_does_not_fit_is_named() {
        for (text, what) in [
            ("sample = 0.5", "traces.endpoint"),
            ("endpoint = 'collector:4317'", "traces.endpoint"),
            ("endpoint = 'http://c:1/path'", "traces.endpoint"),
            ("endpoint = 'http://u:p@c:1'", "traces.endpoint"),
            ("endpoint = 'http://c:1'\nca = '/ca'", "traces.ca"),
            ("endpoint = 'http://c:1'\nsample = 1.5", "traces.sample"),
            ("endpoint = 'http://c:1'\nsample = nan", "traces.sample"),
            ("endpont = 'http://c:1'", "endpont"),
        ] {
            let error = format!("{:#}", read(text).unwrap_err());
            assert!(error.contains(what), "{text}: {error}");
        }
    }
}
