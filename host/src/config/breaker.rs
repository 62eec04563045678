//! `[breaker]`: when a module version that traps again and again is cut off for a while.

use anyhow::bail;
use roadstead_domain::Span;
use roadstead_engine::BreakerConfig;
use serde::Deserialize;

/// The section as it is written.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Section {
    /// Traps within the window that open it, if half of the calls trapped; 0 turns it off.
    /// Default 20.
    traps: Option<u32>,
    /// Default 10s.
    window: Option<Span>,
    /// How long calls are refused at first; doubles up to a minute. Default 1s.
    pause: Option<Span>,
}

impl Section {
    /// None: the breaker is off.
    pub(super) fn read(self) -> anyhow::Result<Option<BreakerConfig>> {
        let default = BreakerConfig::default();
        for (name, span) in [("window", self.window), ("pause", self.pause)] {
            if let Some(span) = span.filter(|span| BreakerConfig::MOST < *span) {
                bail!("breaker.{name} is {span}: it can be {} at most", BreakerConfig::MOST);
            }
        }
        Ok(match self.traps {
            Some(0) => None,
            traps => Some(BreakerConfig {
                traps: traps.unwrap_or(default.traps),
                window: self.window.unwrap_or(default.window),
                pause: self.pause.unwrap_or(default.pause),
            }),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> anyhow::Result<Option<BreakerConfig>> {
        toml::from_str::<Section>(text)?.read()
    }

    #[test]
    fn it_is_on_unless_told_otherwise() {
        assert_eq!(read("").unwrap(), Some(BreakerConfig::default()));
        assert_eq!(read("traps = 0").unwrap(), None);
        let set = read("traps = 3\nwindow = '2s'\npause = '500ms'").unwrap().unwrap();
        assert_eq!((set.traps, set.window.to_string(), set.pause.to_string()), {
            (3, "2s".to_owned(), "500ms".to_owned())
        });
        for (wrong, part) in [("window = '61m'", "breaker.window"), ("trap = 1", "trap")] {
            let error = format!("{:#}", read(wrong).unwrap_err());
            assert!(error.contains(part), "{error}");
        }
    }
}
