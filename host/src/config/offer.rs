//! What the operator offers to modules: `--dir` and `--offer-network`, `[dir]` and `[offers]` in
//! the settings file.
//!
//! ```toml
//! [dir]                       # read-only, or with `:rw`; to everyone
//! datasets = "/srv/datasets"
//!
//! [offers.directories.scratch]
//! path = "/srv/scratch"
//! mode = "rw"
//! size = "10Gi"                            # full then; default: only what a spec says
//! files = 100000
//! to = ["team-a/*", "default/kv-filter"]   # NAMESPACE/MODULE, NAMESPACE/* or *; default *
//!
//! [[offers.network]]
//! target = "*.example.com:443"             # name, *.name, *, address or block; port or *
//! to = ["*"]
//!
//! [offers.secrets.api-key]
//! file = "/run/secrets/api-key"
//! to = ["team-a/billing"]                  # has no default
//! ```

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use roadstead_domain::{ByteSize, DirectoryMode, Grantee, NetworkOffer};
use roadstead_engine::{OfferedDirectory, OfferedNetwork, OfferedSecret, Offers};
use serde::Deserialize;

/// `[offers]` of the settings file.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct OffersFile {
    directories: BTreeMap<String, Directory>,
    network: Vec<Network>,
    secrets: BTreeMap<String, Secret>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Directory {
    path: PathBuf,
    #[serde(default)]
    mode: DirectoryMode,
    size: Option<ByteSize>,
    files: Option<u64>,
    #[serde(default = "everyone")]
    to: Vec<Grantee>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Network {
    target: NetworkOffer,
    #[serde(default = "everyone")]
    to: Vec<Grantee>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Secret {
    file: PathBuf,
    to: Vec<Grantee>,
}

fn everyone() -> Vec<Grantee> {
    vec![Grantee::Everyone]
}

/// Flags before the file; `dir` are the file's short form of directories.
///
/// # Errors
/// Says which offer is wrong and what it should be.
pub(super) fn offers(
    file: OffersFile,
    dir: BTreeMap<String, String>,
    directory_flags: &[String],
    network_flags: &[NetworkOffer],
) -> anyhow::Result<Offers> {
    let mut directories = BTreeMap::new();
    for (name, Directory { path, mode, size, files, to }) in file.directories {
        directories.insert(name, OfferedDirectory { path, mode, size, files, to });
    }
    for (name, written) in dir {
        let short = short(&written);
        if directories.insert(name.clone(), short).is_some() {
            bail!("the directory `{name}` is offered twice: in [dir] and in [offers.directories]");
        }
    }
    for flag in directory_flags {
        let (name, written) = flag
            .split_once('=')
            .with_context(|| format!("`--dir {flag}` is not NAME=PATH or NAME=PATH:rw"))?;
        directories.insert(name.to_owned(), short(written));
    }
    for (name, OfferedDirectory { path, .. }) in &directories {
        if name.is_empty() || !path.is_dir() {
            bail!("the offered directory `{name}`: {} is not a directory", path.display());
        }
    }
    apart(&directories)?;
    let listed =
        file.network.into_iter().map(|Network { target, to }| OfferedNetwork { target, to });
    let flagged = network_flags
        .iter()
        .map(|target| OfferedNetwork { target: target.clone(), to: everyone() });
    let network = listed.chain(flagged).collect();
    let mut secrets = BTreeMap::new();
    for (name, Secret { file, to }) in file.secrets {
        if !file.is_file() {
            bail!("the offered secret `{name}`: {} is not a file", file.display());
        }
        secrets.insert(name, OfferedSecret { file, to });
    }
    Ok(Offers { directories, network, secrets })
}

/// What is written into a directory counts there and nowhere else.
fn apart(directories: &BTreeMap<String, OfferedDirectory>) -> anyhow::Result<()> {
    let mut paths: Vec<(&String, PathBuf, bool)> = Vec::with_capacity(directories.len());
    for (name, OfferedDirectory { path, mode, .. }) in directories {
        let path = path.canonicalize().with_context(|| format!("look at {}", path.display()))?;
        for (other, its, writable) in &paths {
            let nested = path.starts_with(its) || Path::starts_with(its, &path);
            if nested && path != *its && (*writable || *mode == DirectoryMode::Rw) {
                bail!("the offered directories `{other}` and `{name}` lie one within the other");
            }
        }
        paths.push((name, path, *mode == DirectoryMode::Rw));
    }
    Ok(())
}

/// A path, or one with `:rw`.
fn short(written: &str) -> OfferedDirectory {
    let (path, mode) = match written.strip_suffix(":rw") {
        Some(path) => (path, DirectoryMode::Rw),
        None => (written, DirectoryMode::Ro),
    };
    OfferedDirectory { path: path.into(), mode, size: None, files: None, to: everyone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(file: &str, dir: &[&str], network: &[&str]) -> anyhow::Result<Offers> {
        let dir: Vec<_> = dir.iter().map(ToString::to_string).collect();
        let network: Vec<_> = network.iter().map(|target| target.parse().unwrap()).collect();
        offers(toml::from_str(file)?, BTreeMap::new(), &dir, &network)
    }

    #[test]
    fn directories_are_read_only_unless_said() {
        let offers = read("", &["a=/tmp", "b=/tmp:rw"], &[]).unwrap();
        assert_eq!(offers.directories["a"].mode, DirectoryMode::Ro);
        assert_eq!(offers.directories["b"].mode, DirectoryMode::Rw);
        assert_eq!(offers.directories["b"].path, Path::new("/tmp"));
        assert_eq!(offers.directories["a"].to, everyone());
    }

    #[test]
    fn the_file_says_to_whom() {
        let offers = read(
            "[directories.scratch]\npath = '/tmp'\nmode = 'rw'\nto = ['team/*']\n\
             [[network]]\ntarget = '*.example.com:443'\nto = ['team/one']\n\
             [[network]]\ntarget = '*:80'",
            &[],
            &["10.0.0.0/8:*"],
        )
        .unwrap();
        assert_eq!(offers.directories["scratch"].to, ["team/*".parse().unwrap()]);
        let network: Vec<_> =
            offers.network.iter().map(|n| (n.target.to_string(), n.to[0].to_string())).collect();
        let expected = [("*.example.com:443", "team/one"), ("*:80", "*"), ("10.0.0.0/8:*", "*")];
        assert_eq!(network, expected.map(|(target, to)| (target.to_owned(), to.to_owned())));
    }

    #[test]
    fn wrong_offers_are_named() {
        for (file, part) in [
            ("[[network]]\ntarget = 'example.com'", "example.com"),
            ("[[network]]\ntarget = '0.0.0.0/0:80'", "public internet"),
            ("[[network]]\ntarget = '*:80'\nto = ['team']", "NAMESPACE/MODULE"),
            ("[secrets.a]\nfile = '/no/such/file'\nto = ['*']", "not a file"),
            ("[secrets.a]\nfile = '/etc/hostname'", "to"),
            ("[directories.a]\npath = '/no/such/dir'", "not a directory"),
            ("[directories.a]\npath = '/tmp'\nmod = 'rw'", "mod"),
        ] {
            let error = format!("{:#}", read(file, &[], &[]).unwrap_err());
            assert!(error.contains(part), "{error}");
        }
        for (flag, part) in [("data", "NAME=PATH"), ("data=/no/such/dir", "not a directory")] {
            let error = read("", &[flag], &[]).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn one_name_is_one_directory() {
        let dir = BTreeMap::from([("a".to_owned(), "/tmp".to_owned())]);
        let file = toml::from_str("[directories.a]\npath = '/tmp'").unwrap();
        assert!(offers(file, dir, &[], &[]).unwrap_err().to_string().contains("twice"));
    }
}
