//! The compiled codec: a core module that turns requests into calls and results into responses,
//! made for one component and appended to it.
//!
//! Pure: from a component and the plans of its methods to the same component with more sections at
//! its end. The module shares the guest's memory and core functions (or has a memory of its own,
//! where numbers are all that a guest takes and gives) and runs in its sandbox, on its fuel. For each method that it serves the component exports one more function,
//! `func(request: list<u8>, limit: u32) -> result<list<u8>, u32>`: ok with the response; an error of
//! 0 where it declines the request before the guest has seen anything of it; any other error is the
//! length of a response that is longer than the limit. What a guest returns is checked as the
//! canonical ABI's lifting does, and the function traps where that would.
//!
//! It declines whatever it is not sure to read as [`roadstead_transcode::decode_request`] does:
//! every request that breaks the contract, and such as are merely unusual, which are
//! - a field of any kind (but elements of one list) or a oneof that stands there twice,
//! - elements of one list with other fields between them, and numbers that are not packed,
//! - known fields of another wire type, groups, and tags longer than they need be.
//!
//! Whoever calls it then asks the dynamic codec, which gives the values or the exact error.

mod append;
mod asm;
mod generate;
mod graft;
mod outline;
mod scratch;
mod typed;
mod types;

use roadstead_domain::Digest;
use roadstead_transcode::ExportPath;

pub use graft::{Graft, GraftError, graft, unserved};

/// Raised whenever the same component and plans make another module.
pub const VERSION: u32 = 2;

/// The instance that holds the codec's functions; where a component has an export of this name, a
/// number follows it.
const EXPORT: &str = "roadstead-codec";

/// Names that are tried for the instance.
const NAMES: u32 = 100;

/// Why the codec does not serve a method.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unserved {
    #[error("its function is not lifted at the component's root, as in composed components")]
    NotAtRoot,
    #[error("its function is async, or gives a future")]
    Async,
    #[error("it streams")]
    Stream,
    #[error("it takes or gives resources")]
    Handle,
    #[error("its strings are not UTF-8")]
    Encoding,
    #[error("it has a map")]
    Map,
    #[error("its types are too large")]
    TooLarge,
    #[error("its function has another memory than the others")]
    Memory,
    #[error("it needs a memory, and the component shows none with a `realloc`")]
    NoMemory,
    #[error("the component has exports of all names that the codec could take")]
    Names,
}

/// The names that the codec's instance may have, the last of those that a component has counts.
pub fn export_names() -> impl DoubleEndedIterator<Item = String> {
    (1..=NAMES).map(|number| match number {
        1 => EXPORT.to_owned(),
        _ => format!("{EXPORT}{number}"),
    })
}

/// What the function for a method is called within the instance.
pub fn function_name(path: &ExportPath) -> String {
    let digest = Digest::of(path.to_string().as_bytes());
    format!("m{}", digest.hex())
}
