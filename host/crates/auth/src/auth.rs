//! The policy at work, and its reload: what everybody asks who lets callers in.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use arc_swap::ArcSwapOption;
use parking_lot::Mutex;
use ring::digest::{Context, SHA256};
use rustls::{
    pki_types::{CertificateDer, UnixTime},
    server::danger::ClientCertVerifier,
};
use tokio::sync::watch;

use crate::{
    Identity, Peer, PolicyError, Refusal,
    policy::Policy,
    snapshot::Snapshot,
    sources::{FileError, read},
};

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// How long a start waits for issuers; their keys may come later.
const FIRST_KEYS: Duration = Duration::from_secs(5);

/// Lets callers in by the policy of the moment; without one, everybody as nobody in particular.
pub struct Auth {
    current: ArcSwapOption<Snapshot>,
    changes: watch::Sender<u64>,
    files: Option<Files>,
}

/// Where the policy is, and what was last seen there.
struct Files {
    path: PathBuf,
    /// Certificates can be asked for.
    tls: bool,
    seen: Mutex<Option<Print>>,
}

type Print = Vec<u8>;

/// Why a policy cannot be put to work.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error("{path}: is not UTF-8")]
    Encoding { path: PathBuf },
    #[error("{path}: {source}")]
    Policy { path: PathBuf, source: PolicyError },
    #[error("{path}: {problem}")]
    Authorities { path: PathBuf, problem: String },
    #[error("jwt `{name}`: {error}")]
    Keys { name: String, error: Box<dyn std::error::Error + Send + Sync> },
    #[error("{path}: mtls: clients show certificates over TLS alone: set tls_cert and tls_key")]
    NoTls { path: PathBuf },
}

impl Auth {
    /// Lets everybody do everything.
    pub fn none() -> Arc<Self> {
        let (current, changes) = (ArcSwapOption::empty(), watch::Sender::new(0));
        Arc::new(Self { current, changes, files: None })
    }

    /// Puts a policy file to work; `tls` says whether clients can show certificates.
    ///
    /// # Errors
    /// [`OpenError`] says what is wrong with the file, or with one that it names.
    pub async fn open(path: &Path, tls: bool) -> Result<Arc<Self>, OpenError> {
        let files = Files { path: path.to_owned(), tls, seen: Mutex::default() };
        let (policy, print) = files.read()?;
        let snapshot = Snapshot::new(policy, None)?;
        let issuers = snapshot.issuers().to_vec();
        let asked = async {
            for issuer in &issuers {
                issuer.asked().await;
            }
        };
        // Who is late is asked again and again.
        let _late = tokio::time::timeout(FIRST_KEYS, asked).await.is_err();
        *files.seen.lock() = Some(print);
        let current = ArcSwapOption::from_pointee(snapshot);
        Ok(Arc::new(Self { current, changes: watch::Sender::new(0), files: Some(files) }))
    }

    /// Whether callers are asked who they are.
    pub fn is_required(&self) -> bool {
        self.files.is_some()
    }

    /// Who asks: `token` is what they sent, `peer` the certificate that they showed.
    ///
    /// # Errors
    /// [`Refusal`] says what is wrong with the credentials, or that there are none.
    pub fn authenticate(
        &self,
        token: Option<&[u8]>,
        peer: Option<&Peer>,
    ) -> Result<Identity, Refusal> {
        match &*self.current.load() {
            None => Ok(Identity::anyone()),
            Some(snapshot) => snapshot.authenticate(token, peer, now()),
        }
    }

    /// What becomes of an identity that was good before.
    ///
    /// # Errors
    /// [`Refusal`] if its credentials have expired or are no longer among those of the policy.
    pub fn renew(&self, identity: &Identity) -> Result<Identity, Refusal> {
        match &*self.current.load() {
            None => Ok(identity.clone()),
            Some(snapshot) => snapshot.renew(identity, now()),
        }
    }

    /// Tells of every change of the policy.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// What checks the certificates of clients now; none where they are not asked for.
    pub fn client_verifier(&self) -> Option<Arc<dyn ClientCertVerifier>> {
        let current = self.current.load();
        let authorities = current.as_ref()?.authorities()?;
        Some(Arc::clone(&authorities.verifier))
    }

    /// A client by the certificates that it showed, its own first. They are checked once more: TLS
    /// may have found them good under another policy.
    pub fn peer(&self, chain: &[CertificateDer<'_>]) -> Option<Peer> {
        let current = self.current.load();
        let authorities = current.as_ref()?.authorities()?;
        let (own, others) = chain.split_first()?;
        let good = authorities.verifier.verify_client_cert(own, others, UnixTime::now()).is_ok();
        Some(Peer::new(own, authorities.fingerprint, good))
    }

    /// Reads the policy anew. One that is wrong changes nothing and is told in the log.
    pub async fn reload(self: &Arc<Self>) {
        self.look_aside(true).await;
    }

    /// Reads the policy anew whenever it changes. Never ends.
    pub async fn follow(self: Arc<Self>) {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            self.look_aside(false).await;
        }
    }

    /// Files may be slow: they are read where nobody waits.
    async fn look_aside(self: &Arc<Self>, asked: bool) {
        let auth = Arc::clone(self);
        let looked = tokio::task::spawn_blocking(move || auth.look(asked)).await;
        if let Err(error) = looked {
            tracing::error!(%error, "look at the policy");
        }
    }

    fn look(&self, asked: bool) {
        let Some(files) = &self.files else { return };
        let mut seen = files.seen.lock();
        let outcome = match files.read() {
            Ok((_, print)) if seen.as_ref() == Some(&print) && !asked => return,
            Ok((policy, print)) => {
                *seen = Some(print);
                Snapshot::new(policy, self.current.load().as_deref())
            }
            Err(Unread { error, print }) => {
                if *seen == print && !asked {
                    return;
                }
                *seen = print;
                Err(error)
            }
        };
        match outcome {
            Ok(snapshot) => {
                self.current.store(Some(Arc::new(snapshot)));
                self.changes.send_modify(|number| *number += 1);
                tracing::info!(policy = %files.path.display(), "took a new policy");
            }
            Err(error) => tracing::error!(%error, "the policy stays as it was"),
        }
    }
}

/// A policy that was not taken, and what tells this failure from the next.
struct Unread {
    error: OpenError,
    print: Option<Print>,
}

impl From<Unread> for OpenError {
    fn from(unread: Unread) -> Self {
        unread.error
    }
}

impl Files {
    fn read(&self) -> Result<(Policy, Print), Unread> {
        let path = || self.path.clone();
        let missing = |error: FileError| Unread { error: error.into(), print: None };
        let bytes = read(&self.path).map_err(missing)?;
        let mut print = Context::new(&SHA256);
        print.update(&bytes);
        let whole = |print: Context| print.finish().as_ref().to_vec();
        let wrong = |error, print: &Context| Unread { error, print: Some(whole(print.clone())) };
        let text = String::from_utf8(bytes)
            .map_err(|_| wrong(OpenError::Encoding { path: path() }, &print))?;
        let directory = self.path.parent().unwrap_or(Path::new("."));
        let policy = Policy::parse(&text, directory)
            .map_err(|source| wrong(OpenError::Policy { path: path(), source }, &print))?;
        if policy.client_ca.is_some() && !self.tls {
            return Err(wrong(OpenError::NoTls { path: path() }, &print));
        }
        for file in policy.files() {
            print.update(&read(file).map_err(missing)?);
        }
        Ok((policy, whole(print)))
    }
}

impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Auth").field("required", &self.is_required()).finish_non_exhaustive()
    }
}

/// Seconds of Unix time.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
