//! Compiled code: where it comes from, and how it is mapped.

use std::fs::File;

use bytes::Bytes;

use crate::CodeError;

/// Compiled code that its source vouches for: made by [`crate::Engine::compile`] of an engine with
/// the same fingerprint, and unchanged since. Whoever makes one from anything else gives the
/// author of those bytes the whole host.
#[derive(Debug)]
pub enum VerifiedCode {
    /// The whole file is the code. It is mapped, not read, and must never change or shrink while
    /// it exists: write once, rename into place, delete by unlinking.
    File(File),
    Bytes(Bytes),
}

/// Where a module's compiled code comes from, again and again: code is mapped on the first call,
/// dropped under memory pressure and asked for anew.
pub trait CodeSource: Send + Sync {
    /// Opens the code. May block and may take as long as compiling does.
    ///
    /// # Errors
    /// [`CodeError`] if there is none and none can be made.
    fn open(&self) -> Result<VerifiedCode, CodeError>;
}
