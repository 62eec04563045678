//! The host's own key, by which it knows code that it compiled itself.
//!
//! HMAC-SHA256 rather than a public-key signature: on one machine the signer and the verifier are
//! the same process, so there is nobody to hand a public key to, and both schemes hash the code
//! once. Who can read the key file can make this host run machine code of their own, so the file is
//! for the host's user alone; a key that others could read is replaced, which costs one compilation
//! of every module and nothing else.

use std::{
    fs, io,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::Path,
};

use hmac::{Hmac, KeyInit as _};
use sha2::Sha256;

use crate::durable;

const LENGTH: usize = 32;

/// The secret of one host; never printed.
pub(crate) struct HostKey([u8; LENGTH]);

impl HostKey {
    /// A key that several hosts have.
    pub(crate) fn shared(secret: [u8; LENGTH]) -> Self {
        Self(secret)
    }

    /// Reads the key file, or makes a new one.
    pub(crate) fn open(path: &Path, staging: &Path) -> io::Result<Self> {
        match read(path)? {
            Some(key) => Ok(key),
            None => {
                let key = Self(rand::random());
                durable::write(staging, path, &[&key.0])?;
                Ok(key)
            }
        }
    }

    pub(crate) fn mac(&self) -> Hmac<Sha256> {
        // HMAC's own padding to a block of the hash.
        let block: [u8; 64] =
            std::array::from_fn(|index| self.0.get(index).copied().unwrap_or_default());
        Hmac::new(&block.into())
    }
}

/// None where there is no key that can be trusted.
fn read(path: &Path) -> io::Result<Option<HostKey>> {
    let metadata = match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    let mode = metadata.permissions().mode() & 0o777;
    let mine = metadata.uid() == rustix::process::geteuid().as_raw();
    if mode & 0o077 != 0 || !mine {
        tracing::warn!(path = %path.display(), mode = format!("{mode:o}"),
            "others may have read the host's key: replacing it, code will be compiled again");
        return Ok(None);
    }
    let bytes = fs::read(path)?;
    if let Ok(key) = <[u8; LENGTH]>::try_from(bytes.as_slice()) {
        return Ok(Some(HostKey(key)));
    }
    tracing::warn!(path = %path.display(), length = bytes.len(),
        "the host's key is damaged: replacing it, code will be compiled again");
    Ok(None)
}
