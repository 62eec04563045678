//! Why somebody is not let in.

/// Texts reach callers; none holds a credential or a part of one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("this host asks who calls: send a token as `authorization: Bearer TOKEN`")]
    NoCredentials,
    #[error("{0}")]
    Bad(&'static str),
    #[error("{0}")]
    Expired(&'static str),
    /// Not the caller's fault: the keys of its issuer were never there.
    #[error("the keys of the token's issuer are not here yet")]
    NotReady,
}
