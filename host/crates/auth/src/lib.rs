//! Who asks, and what they may do: tokens, JSON Web Tokens and client certificates become an
//! [`Identity`], and a policy file says which role it has in which namespace.
//!
//! Guarantees: what is decided is looked up in an immutable table, swapped whole when the policy
//! changes; nothing is fetched while a call waits; a policy that is wrong as a whole never takes
//! the place of a good one; credentials stand in no log, error or `Debug` output.

mod auth;
mod certificate;
mod identity;
mod issuer;
mod jwt;
mod policy;
mod refusal;
mod role;
mod snapshot;
mod sources;
mod token;
mod verified;

pub use auth::{Auth, OpenError};
pub use certificate::Peer;
pub use identity::Identity;
pub use policy::PolicyError;
pub use refusal::Refusal;
pub use role::Role;
pub use token::{Token, TokenHash};
