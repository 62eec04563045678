//! Where immutable bytes are kept: components, locks and their like by digest, and compiled code.
//!
//! Guarantees:
//! * What [`BlobStore::put`] and [`CodeStore::put`] acknowledged survives `kill -9` and power loss:
//!   files are synced, renamed into place, and their directories synced.
//! * A blob is checked against its digest whenever it is read.
//! * Compiled code is handed out only with a valid signature by this host's own key, or its pool's,
//!   over the code, the fingerprint of the engine and the digest of the component. Anything else is
//!   not used.
//! * A full disk is an error ([`BlobError::Full`]) and leaves nothing behind.
//! * A blob that a push in flight counts on is never swept ([`Hold`]).
//! * What hosts share lies in a store of theirs ([`Place`]); what is local (uploads, code that is
//!   mapped, copies of small texts) can be made again from it. A store that does not answer is an
//!   error in bounded time ([`BlobError::Unavailable`]).
//!
//! It does not know what is published: whoever sweeps says what is referenced.

mod bound;
mod code;
mod durable;
mod error;
mod holds;
mod http;
mod key;
mod mounted;
mod place;
mod shared;
mod store;
mod sweep;
mod upload;

pub use code::{CodeRefused, CodeStore, StagedCode};
pub use error::{BlobError, OpenError};
pub use holds::Hold;
pub use place::{Bucket, Place};
pub use store::{BlobStore, Kind, SharedConfig, Sweep};
pub use sweep::SharedSweep;
pub use upload::{Staged, Upload};
