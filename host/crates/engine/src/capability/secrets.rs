//! Secrets that the operator offers as files, served to guests by `wasi:config` under their names.
//!
//! Each file is looked at when an instance is made or begins a call, and read again only if it has
//! changed, so a rotated secret is seen by the next call. One that cannot be read is served to
//! nobody. A secret's text is in no `Debug` output, error, record or log of the host; where a guest
//! writes one to its own log, it is replaced by its name there. What a guest answers, sends or
//! writes in another form is beyond the host.

use std::{
    collections::BTreeMap,
    fmt, fs,
    io::{self, Read as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use parking_lot::Mutex;
use roadstead_domain::ModuleId;
use wasmtime_wasi_config::WasiConfigVariables;

use super::{
    grant::Asking,
    offers::{OfferKind, Offers},
};
use crate::LoadError;

/// The most bytes that a secret may have.
const LARGEST: u64 = 64 << 10;

/// Shorter texts are not looked for in logs: they stand there by chance.
const RECOGNIZABLE: usize = 6;

/// Lines of earlier texts that are still kept out of a native module's log.
const EARLIER: usize = 64;

/// The secrets of a module version, and its configuration with them. Made once per version.
pub(crate) struct Secrets {
    /// What the spec itself puts into `wasi:config`.
    config: BTreeMap<String, String>,
    files: Vec<Named>,
    state: Mutex<State>,
}

struct Named {
    name: String,
    file: PathBuf,
}

/// What the files held when they were last read.
struct State {
    stamps: Vec<Option<Stamp>>,
    variables: Arc<WasiConfigVariables>,
    hidden: Arc<Hidden>,
}

/// What tells one content of a file from the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    length: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

/// Texts to keep out of logs, with what stands for each.
#[derive(Default)]
struct Hidden(Vec<(String, String)>);

/// A secret's text.
struct Secret(String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.files.iter().map(|named| &named.name).collect();
        f.debug_struct("Secrets").field("names", &names).finish_non_exhaustive()
    }
}

impl Secrets {
    /// # Errors
    /// [`LoadError::NotOffered`] names the first secret that is not offered or cannot be read.
    pub(crate) fn new(
        names: &[String],
        config: &BTreeMap<String, String>,
        asking: &Asking<'_>,
        field: &str,
    ) -> Result<Self, LoadError> {
        let mut files = Vec::with_capacity(names.len());
        for name in names {
            let offered = asking.offers.secrets.get(name);
            let Some(secret) = offered.filter(|offered| asking.is_among(&offered.to)) else {
                let offers = asking.offered(|kind| kind == OfferKind::Secret);
                return Err(LoadError::NotOffered(format!(
                    "{field} asks for `{name}`; secrets that this host offers to this \
                     module: {offers}. Its operator offers one in [offers.secrets] of the settings \
                     file"
                )));
            };
            if let Err(error) = read(&secret.file) {
                tracing::error!(secret = %name, file = %secret.file.display(), %error, "read a secret");
                return Err(LoadError::NotOffered(format!(
                    "the secret `{name}` cannot be read on this host: see its log"
                )));
            }
            files.push(Named { name: name.clone(), file: secret.file.clone() });
        }
        let variables = Arc::new(config.clone().into_iter().collect());
        let state = State { stamps: Vec::new(), variables, hidden: Arc::default() };
        Ok(Self { config: config.clone(), files, state: Mutex::new(state) })
    }

    /// What `wasi:config` serves from now on. One system call for each secret, more if one changed.
    pub(crate) fn variables(&self) -> Arc<WasiConfigVariables> {
        let mut state = self.state.lock();
        let stamps: Vec<_> = self.files.iter().map(|named| Stamp::of(&named.file).ok()).collect();
        if state.stamps != stamps {
            *state = self.read(stamps);
        }
        Arc::clone(&state.variables)
    }

    /// Name and text of each that can be read now; its lines are kept out of logs from now on.
    fn texts(&self) -> Vec<(String, String)> {
        let (mut texts, mut hidden) = (Vec::new(), Hidden::default());
        for Named { name, file } in &self.files {
            match read(file) {
                Ok(secret) => {
                    hidden.add(name, &secret);
                    texts.push((name.clone(), secret.0));
                }
                Err(error) => {
                    tracing::error!(secret = %name, file = %file.display(), %error, "read a secret");
                }
            }
        }
        // Servers that have an earlier text may still run.
        let mut state = self.state.lock();
        let earlier = state.hidden.0.iter().filter(|old| !hidden.0.contains(old)).cloned();
        let earlier: Vec<_> = earlier.take(EARLIER).collect();
        hidden.0.extend(earlier);
        hidden.sort();
        state.hidden = Arc::new(hidden);
        texts
    }

    fn read(&self, stamps: Vec<Option<Stamp>>) -> State {
        let (mut variables, mut hidden) = (self.config.clone(), Hidden::default());
        for Named { name, file } in &self.files {
            match read(file) {
                Ok(secret) => {
                    hidden.add(name, &secret);
                    variables.insert(name.clone(), secret.0);
                }
                Err(error) => {
                    variables.remove(name);
                    tracing::error!(secret = %name, file = %file.display(), %error, "read a secret");
                }
            }
        }
        let variables = Arc::new(variables.into_iter().collect());
        State { stamps, variables, hidden: Arc::new(hidden) }
    }

    /// A line of the module's log without its secrets.
    pub(crate) fn redact(&self, line: String) -> String {
        if self.files.is_empty() {
            return line;
        }
        let hidden = Arc::clone(&self.state.lock().hidden);
        hidden.0.iter().fold(line, |line, (secret, name)| {
            if line.contains(secret.as_str()) { line.replace(secret.as_str(), name) } else { line }
        })
    }
}

impl Hidden {
    /// Logs have lines, so that the lines of a secret are looked for one by one.
    fn add(&mut self, name: &str, secret: &Secret) {
        let lines = secret.0.lines().map(str::trim).filter(|line| RECOGNIZABLE <= line.len());
        self.0.extend(lines.map(|line| (line.to_owned(), format!("[secret {name}]"))));
        self.sort();
    }

    /// The longest first: one that holds another is replaced as a whole.
    fn sort(&mut self) {
        self.0.sort_by_key(|(line, _)| std::cmp::Reverse(line.len()));
    }
}

/// The secrets of a version of a native module, which its servers get as files.
#[derive(Debug, Clone)]
pub struct NativeSecrets(pub(crate) Arc<Secrets>);

impl NativeSecrets {
    /// Those that a spec asks for by name, of what the operator offers to the module.
    ///
    /// # Errors
    /// [`LoadError::NotOffered`].
    pub fn new(offers: &Offers, id: &ModuleId, names: &[String]) -> Result<Self, LoadError> {
        let asking = Asking { id, offers };
        let secrets = Secrets::new(names, &BTreeMap::new(), &asking, "native.secrets")?;
        Ok(Self(Arc::new(secrets)))
    }

    /// Name and text of each that can be read now.
    pub fn texts(&self) -> Vec<(String, String)> {
        self.0.texts()
    }

    /// A text without them.
    pub fn redact(&self, text: String) -> String {
        self.0.redact(text)
    }
}

impl Stamp {
    fn of(file: &Path) -> io::Result<Self> {
        let meta = fs::metadata(file)?;
        Ok(Self {
            device: meta.dev(),
            inode: meta.ino(),
            length: meta.len(),
            modified: (meta.mtime(), meta.mtime_nsec()),
            changed: (meta.ctime(), meta.ctime_nsec()),
        })
    }
}

/// A secret's text without the line end that editors leave behind it.
fn read(file: &Path) -> io::Result<Secret> {
    let refuse = |why: &str| Err(io::Error::new(io::ErrorKind::InvalidData, why));
    // Looked at before it is opened: opening a pipe would wait for its other end.
    if !fs::metadata(file)?.is_file() {
        return refuse("not a file");
    }
    let mut text = String::new();
    fs::File::open(file)?.take(LARGEST + 1).read_to_string(&mut text)?;
    if LARGEST < u64::try_from(text.len()).unwrap_or(u64::MAX) {
        return refuse("larger than 64Ki");
    }
    if let Some(rest) = text.strip_suffix('\n') {
        text.truncate(rest.strip_suffix('\r').unwrap_or(rest).len());
    }
    if text.is_empty() {
        return refuse("empty");
    }
    Ok(Secret(text))
}

#[cfg(test)]
mod tests {
    use roadstead_domain::Grantee;
    use tempfile::TempDir;

    use super::*;
    use crate::{OfferedSecret, Offers, capability::tests::harness::anyone};

    fn offers(file: &Path, to: &str) -> Offers {
        let to: Vec<Grantee> = vec![to.parse().unwrap()];
        let offered = OfferedSecret { file: file.to_owned(), to };
        Offers { secrets: BTreeMap::from([("key".to_owned(), offered)]), ..Offers::default() }
    }

    fn secrets(offers: &Offers) -> Result<Secrets, String> {
        let asking = Asking { id: &anyone(), offers };
        Secrets::new(&["key".to_owned()], &BTreeMap::new(), &asking, "capabilities.secrets")
            .map_err(|e| e.to_string())
    }

    #[test]
    fn a_secret_is_for_whom_it_is_offered_to_and_well_formed() {
        let folder = TempDir::new().unwrap();
        let file = folder.path().join("key");
        let refused = |content: Option<&[u8]>, to: &str| {
            if let Some(content) = content {
                fs::write(&file, content).unwrap();
            }
            let error = secrets(&offers(&file, to)).unwrap_err();
            assert!(!error.contains(folder.path().to_str().unwrap()), "{error}");
            error
        };
        assert!(refused(None, "*").contains("cannot be read"));
        assert!(refused(Some(b""), "*").contains("cannot be read"));
        assert!(refused(Some(&[b'x'; (64 << 10) + 1]), "*").contains("cannot be read"));
        assert!(refused(Some(b"\xff\xfe"), "*").contains("cannot be read"));
        assert!(refused(Some(b"fine"), "default/other").contains("to this module: none"));
        secrets(&offers(&file, "default/*")).unwrap();
    }

    #[test]
    fn a_line_of_a_log_has_no_secret_and_debug_has_none() {
        let folder = TempDir::new().unwrap();
        let file = folder.path().join("key");
        fs::write(&file, "hunter2-hunter2\nsecond-line\n").unwrap();
        let secrets = secrets(&offers(&file, "*")).unwrap();
        secrets.variables();
        let line = secrets.redact("a hunter2-hunter2, second-line and hunter2".to_owned());
        assert_eq!(line, "a [secret key], [secret key] and hunter2");
        fs::write(&file, "another-one").unwrap();
        secrets.variables();
        assert_eq!(secrets.redact("=another-one=".to_owned()), "=[secret key]=");
        assert!(!format!("{secrets:?}").contains("another"));
    }
}
