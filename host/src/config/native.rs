//! `[native]`: modules that run outside of the sandbox, as processes of this machine.

use std::path::PathBuf;

use anyhow::bail;
use serde::Deserialize;

/// Where programs are looked for.
const PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// How native modules run here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NativeSettings {
    /// Where their records, sockets and state are; none: below the host's own data.
    pub directory: Option<PathBuf>,
    /// Where their commands run.
    pub working: PathBuf,
    pub path: String,
    /// Directories that they do not see, besides the host's own data.
    pub hidden: Vec<PathBuf>,
}

/// The section as it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Section {
    enabled: Option<bool>,
    directory: Option<PathBuf>,
    working: Option<PathBuf>,
    path: Option<String>,
    hidden: Option<Vec<PathBuf>>,
}

/// What runs on one machine has its state there: in a cluster that is for the controller.
pub(super) fn in_cluster(runs: bool, without_controller: bool) -> anyhow::Result<()> {
    if runs && without_controller {
        bail!(
            "native modules of a cluster are run by its controller: set [controller], or keep the \
             catalog on this machine"
        );
    }
    Ok(())
}

impl Section {
    /// None where they do not run. `open` is whether others than this machine's users may connect
    /// and nobody is asked who they are.
    pub(super) fn read(self, flag: bool, open: bool) -> anyhow::Result<Option<NativeSettings>> {
        let Self { enabled, directory, working, path, hidden } = self;
        if !flag && enabled != Some(true) {
            return Ok(None);
        }
        if open {
            bail!(
                "native modules run outside of the sandbox, and whoever can connect could push \
                 one: name a policy file with --auth"
            );
        }
        let path = path.unwrap_or_else(|| PATH.to_owned());
        if path.is_empty() || !path.split(':').all(|part| part.starts_with('/')) {
            bail!("native.path is `{path}`: it must be absolute directories with `:` between them");
        }
        let hidden = hidden.unwrap_or_else(|| ["/run", "/var/run"].map(PathBuf::from).into());
        if let Some(relative) = hidden.iter().find(|hidden| !hidden.is_absolute()) {
            bail!("native.hidden has `{}`: it must be absolute", relative.display());
        }
        let working = working.unwrap_or_else(|| PathBuf::from("."));
        Ok(Some(NativeSettings { directory, working, path, hidden }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, flag: bool, open: bool) -> anyhow::Result<Option<NativeSettings>> {
        toml::from_str::<Section>(text)?.read(flag, open)
    }

    #[test]
    fn they_do_not_run_unless_told() {
        assert_eq!(read("", false, false).unwrap(), None);
        assert_eq!(read("enabled = false\nworking = '/srv'", false, true).unwrap(), None);
        let default = read("", true, false).unwrap().unwrap();
        assert_eq!(read("enabled = true", false, false).unwrap(), Some(default.clone()));
        assert_eq!((default.working.to_str(), default.hidden.len()), (Some("."), 2));
        let said = "enabled = true\ndirectory = '/n'\nworking = '/w'\npath = '/a:/b'\nhidden = []";
        let said = read(said, false, false).unwrap().unwrap();
        assert_eq!((said.directory, said.working), (Some("/n".into()), "/w".into()));
        assert_eq!((said.path.as_str(), said.hidden.len()), ("/a:/b", 0));
    }

    #[test]
    fn wrong_settings_are_named() {
        for (text, open, part) in [
            ("", true, "--auth"),
            ("path = 'bin'", false, "native.path"),
            ("path = ''", false, "native.path"),
            ("hidden = ['run']", false, "native.hidden"),
            ("enable = true", false, "enable"),
        ] {
            let error = format!("{:#}", read(text, true, open).unwrap_err());
            assert!(error.contains(part), "{error}");
        }
    }
}
