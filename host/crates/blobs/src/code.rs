//! Compiled code in local files that can be mapped.
//!
//! Deserializing machine code is running it, so nothing is handed out that this host, or another of
//! its pool, did not write: `compiled/<fingerprint>/<component>.code` stands beside a signature of
//! the same name, HMAC-SHA256 by the key of the host, or of its pool, over fingerprint, component
//! digest, length and code. The signature is checked against the very file handle that is handed
//! out. It guards against damage and against files from elsewhere; whoever runs as the host's user
//! can read the key and needs no such trick.

use std::{
    fs::{self, File},
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use hmac::{Hmac, Mac as _};
use roadstead_domain::Digest;
use sha2::Sha256;

use crate::{
    BlobError, bound,
    durable::{self, Temporary},
    key::HostKey,
};

/// Names what is signed, so that a signature of this key never means anything else.
const PURPOSE: &[u8] = b"roadstead compiled code 1\0";

/// Bytes of a signature.
pub(crate) const SIGNATURE: usize = 32;

/// Why stored code was not handed out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CodeRefused {
    /// There is none.
    Missing,
    /// It is damaged, or not this host's: it was deleted.
    Untrusted,
}

/// Code that is being made: a file that is deleted with this value unless it is stored.
#[derive(Debug)]
pub struct StagedCode {
    temporary: Temporary,
    file: File,
}

impl StagedCode {
    /// Where to write the code.
    pub fn file(&self) -> &File {
        &self.file
    }
}

/// The compiled code of one host and one engine.
pub struct CodeStore {
    key: HostKey,
    root: PathBuf,
    staging: PathBuf,
    /// The most bytes that are kept, where more can be had again.
    limit: Option<u64>,
}

impl std::fmt::Debug for CodeStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CodeStore").field("root", &self.root).finish_non_exhaustive()
    }
}

impl CodeStore {
    pub(crate) fn new(key: HostKey, root: PathBuf, staging: PathBuf, limit: Option<u64>) -> Self {
        Self { key, root, staging, limit }
    }

    /// Makes room for what was just stored.
    fn keep_within_limit(&self) {
        let Some(limit) = self.limit else { return };
        let kept = directories(&self.root).and_then(|all| bound::keep_within(limit, &all));
        if let Err(error) = kept {
            tracing::warn!(%error, "delete code that is not used");
        }
    }

    /// A secret of this host's for another purpose than signing code, the same after a restart.
    pub fn secret(&self, purpose: &str) -> [u8; 32] {
        let mut mac = self.key.mac();
        mac.update(b"roadstead secret\0");
        mac.update(purpose.as_bytes());
        mac.finalize().into_bytes().into()
    }

    /// An empty file for code that is yet to be made.
    ///
    /// # Errors
    /// [`BlobError::Full`] or [`BlobError::Io`].
    pub fn stage(&self) -> Result<StagedCode, BlobError> {
        let (temporary, file) = Temporary::create(&self.staging)
            .map_err(|error| BlobError::io("begin to store compiled code", error))?;
        Ok(StagedCode { temporary, file })
    }

    /// Signs and stores code that nobody writes to any more; durable when it returns. Blocks.
    ///
    /// # Errors
    /// [`BlobError::Full`] or [`BlobError::Io`]; nothing is left behind.
    pub fn put(
        &self,
        fingerprint: &str,
        component: Digest,
        code: StagedCode,
    ) -> Result<(), BlobError> {
        let store = || -> io::Result<()> {
            let StagedCode { temporary, mut file } = code;
            let path = self.path(fingerprint, component);
            path.parent().map_or(Ok(()), durable::create_directory)?;
            let mac = self.signed(fingerprint, component, &mut file)?;
            let signature = mac.finalize().into_bytes();
            // The signature goes first: code without one is refused, so no order can hurt, but
            // this one leaves no window in which a crash costs a compilation.
            durable::write(&self.staging, &signature_path(&path), &[&signature])?;
            temporary.persist(&file, &path)?;
            self.keep_within_limit();
            Ok(())
        };
        store().map_err(|error| BlobError::io("store compiled code", error))
    }

    /// Stores code that came from elsewhere with its signature, and opens it. None if the signature
    /// is not of this key for this very code; nothing is left behind then. Blocks.
    ///
    /// # Errors
    /// [`BlobError::Full`] or [`BlobError::Io`].
    pub(crate) fn adopt(
        &self,
        fingerprint: &str,
        component: Digest,
        code: StagedCode,
        signature: &[u8; SIGNATURE],
    ) -> Result<Option<File>, BlobError> {
        let adopt = || -> io::Result<Option<File>> {
            let StagedCode { temporary, mut file } = code;
            let mac = self.signed(fingerprint, component, &mut file)?;
            if mac.verify_slice(signature).is_err() {
                return Ok(None);
            }
            let path = self.path(fingerprint, component);
            path.parent().map_or(Ok(()), durable::create_directory)?;
            durable::write(&self.staging, &signature_path(&path), &[signature])?;
            temporary.persist(&file, &path)?;
            self.keep_within_limit();
            io::Seek::rewind(&mut file)?;
            Ok(Some(file))
        };
        adopt().map_err(|error| BlobError::io("store compiled code", error))
    }

    /// Code with its signature, for another host of the pool. Blocks.
    pub(crate) fn signed_code(
        &self,
        fingerprint: &str,
        component: Digest,
    ) -> Result<(File, [u8; SIGNATURE]), CodeRefused> {
        let file = self.open(fingerprint, component)?;
        let signature = fs::read(signature_path(&self.path(fingerprint, component)));
        let signature = signature.ok().and_then(|bytes| bytes.try_into().ok());
        signature.map(|signature| (file, signature)).ok_or(CodeRefused::Missing)
    }

    /// Opens code that this host or its pool signed, at its start. Blocks for as long as reading it once takes.
    ///
    /// # Errors
    /// [`CodeRefused`]: it must be compiled again. What is refused is deleted and logged.
    pub fn open(&self, fingerprint: &str, component: Digest) -> Result<File, CodeRefused> {
        let path = self.path(fingerprint, component);
        match self.verified(&path, fingerprint, component) {
            Ok(Some(file)) => {
                if self.limit.is_some() {
                    bound::touch(&file);
                }
                Ok(file)
            }
            Ok(None) => {
                tracing::warn!(path = %path.display(), %component,
                    "compiled code without a signature of this host or its pool: deleted");
                self.discard(&path);
                Err(CodeRefused::Untrusted)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(CodeRefused::Missing),
            Err(error) => {
                tracing::warn!(path = %path.display(), %component, %error,
                    "compiled code does not read: deleted");
                self.discard(&path);
                Err(CodeRefused::Untrusted)
            }
        }
    }

    /// Whether there is code, true or false.
    pub fn contains(&self, fingerprint: &str, component: Digest) -> bool {
        self.path(fingerprint, component).is_file()
    }

    /// Deletes the code of one component, of every engine.
    pub(crate) fn remove(&self, component: Digest) -> io::Result<()> {
        for directory in directories(&self.root)? {
            let path = directory.join(file_name(component));
            durable::remove(&path)?;
            durable::remove(&signature_path(&path))?;
        }
        Ok(())
    }

    /// Components with code of any engine.
    pub(crate) fn list(&self) -> io::Result<Vec<Digest>> {
        let mut found = Vec::new();
        for directory in directories(&self.root)? {
            for entry in fs::read_dir(directory)? {
                let name = entry?.file_name();
                let hex = name.to_str().and_then(|name| name.split('.').next());
                found.extend(hex.and_then(|hex| format!("sha256:{hex}").parse::<Digest>().ok()));
            }
        }
        found.sort_unstable();
        found.dedup();
        Ok(found)
    }

    /// Deletes the code of all other engines: after an upgrade nobody will ask for it.
    ///
    /// # Errors
    /// [`BlobError::Io`] if a directory could not be deleted.
    pub fn retain_fingerprint(&self, fingerprint: &str) -> Result<(), BlobError> {
        let keep = self.root.join(directory_name(fingerprint));
        let prune = || -> io::Result<()> {
            for directory in directories(&self.root)? {
                if directory != keep {
                    fs::remove_dir_all(&directory)?;
                    tracing::info!(path = %directory.display(), "deleted another engine's code");
                }
            }
            Ok(())
        };
        prune().map_err(|error| BlobError::io("delete another engine's code", error))
    }

    fn verified(
        &self,
        path: &Path,
        fingerprint: &str,
        component: Digest,
    ) -> io::Result<Option<File>> {
        let mut file = File::open(path)?;
        let Ok(signature) = fs::read(signature_path(path)) else {
            return Ok(None);
        };
        let mac = self.signed(fingerprint, component, &mut file)?;
        if mac.verify_slice(&signature).is_err() {
            return Ok(None);
        }
        io::Seek::rewind(&mut file)?;
        Ok(Some(file))
    }

    /// What a signature is made of; reads the whole file.
    fn signed(
        &self,
        fingerprint: &str,
        component: Digest,
        code: &mut File,
    ) -> io::Result<Hmac<Sha256>> {
        let mut mac = self.key.mac();
        mac.update(PURPOSE);
        mac.update(&u64::try_from(fingerprint.len()).unwrap_or(u64::MAX).to_le_bytes());
        mac.update(fingerprint.as_bytes());
        mac.update(component.as_bytes());
        mac.update(&code.metadata()?.len().to_le_bytes());
        io::Seek::rewind(code)?;
        let mut buffer = vec![0; 1 << 18];
        loop {
            let read = code.read(&mut buffer)?;
            if read == 0 {
                return Ok(mac);
            }
            mac.update(buffer.get(..read).unwrap_or_default());
        }
    }

    fn discard(&self, path: &Path) {
        for path in [path, &signature_path(path)] {
            if let Err(error) = durable::remove(path) {
                tracing::warn!(path = %path.display(), %error, "delete refused code");
            }
        }
    }

    fn path(&self, fingerprint: &str, component: Digest) -> PathBuf {
        self.root.join(directory_name(fingerprint)).join(file_name(component))
    }
}

fn file_name(component: Digest) -> String {
    format!("{}.code", component.hex())
}

fn signature_path(code: &Path) -> PathBuf {
    code.with_extension("sig")
}

/// The fingerprint itself where it is fit for a file name, else its digest.
pub(crate) fn directory_name(fingerprint: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
    if (1..=120).contains(&fingerprint.len()) && fingerprint.bytes().all(plain) {
        return fingerprint.to_owned();
    }
    Digest::of(fingerprint.as_bytes()).hex()
}

fn directories(root: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(root)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            found.push(entry.path());
        }
    }
    Ok(found)
}
