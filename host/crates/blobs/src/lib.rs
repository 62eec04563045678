//! Where immutable bytes are kept: components, locks and their like by digest, and compiled code.
//!
//! Guarantees:
//! * What [`BlobStore::put`] and [`CodeStore::put`] acknowledged survives `kill -9` and power loss:
//!   files are synced, renamed into place, and their directories synced.
//! * A blob is checked against its digest whenever it is read.
//! * Compiled code is handed out only with a valid signature by this host's own key, over the code,
//!   the fingerprint of the engine and the digest of the component. Anything else is deleted.
//! * A full disk is an error ([`BlobError::Full`]) and leaves nothing behind.
//! * A blob that a push in flight counts on is never swept ([`Hold`]).
//!
//! It does not know what is published: whoever sweeps says what is referenced.

mod code;
mod durable;
mod error;
mod holds;
mod key;
mod store;
mod upload;

pub use code::{CodeRefused, CodeStore, StagedCode};
pub use error::{BlobError, OpenError};
pub use holds::Hold;
pub use store::{BlobStore, Kind, Sweep};
pub use upload::{Staged, Upload};
