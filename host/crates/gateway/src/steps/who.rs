//! Who asks, within which namespace.

use std::sync::Arc;

use http::{HeaderMap, header::AUTHORIZATION};
use roadstead_auth::{Auth, Identity, Peer, Refusal, Role};
use roadstead_domain::{Credentials, Fault, Namespace, NotGranted};

use super::{NAMESPACE, parsed};

/// Somebody who may at least see what the namespace holds.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    identity: Identity,
    namespace: Namespace,
    role: Role,
    /// Another host of the pool forwarded the call, which is never done again.
    forwarded: bool,
}

/// Says who asks: by the token in `authorization`, else by the certificate of the connection.
///
/// # Errors
/// [`Fault::Unauthenticated`], or [`Fault::NotReady`] while nobody's token could be checked.
pub(crate) fn authenticate(
    auth: &Auth,
    headers: &HeaderMap,
    peer: Option<&Peer>,
) -> Result<Identity, Fault> {
    if !auth.is_required() {
        return Ok(Identity::anyone());
    }
    let token = bearer(headers).map_err(refused)?;
    auth.authenticate(token, peer).map_err(refused)
}

pub(super) fn refused(refusal: Refusal) -> Fault {
    let credentials = match refusal {
        Refusal::NoCredentials => Credentials::Missing,
        Refusal::Bad(_) => Credentials::Bad,
        Refusal::Expired(_) => Credentials::Expired,
        Refusal::NotReady => return Fault::NotReady(refusal.to_string()),
    };
    Fault::Unauthenticated { credentials, why: refusal.to_string() }
}

/// The token of a request.
fn bearer(headers: &HeaderMap) -> Result<Option<&[u8]>, Refusal> {
    let mut all = headers.get_all(AUTHORIZATION).iter();
    let value = match (all.next(), all.next()) {
        (None, _) => return Ok(None),
        (Some(value), None) => value.as_bytes(),
        (Some(_), Some(_)) => {
            return Err(Refusal::Bad("there are several `authorization` headers"));
        }
    };
    let (scheme, token) = value.split_at_checked("Bearer ".len()).unwrap_or_default();
    if !scheme.eq_ignore_ascii_case(b"Bearer ") || token.trim_ascii().is_empty() {
        return Err(Refusal::Bad("`authorization` must be `Bearer TOKEN`"));
    }
    Ok(Some(token.trim_ascii()))
}

impl Caller {
    /// Enters the namespace that the metadata names, else the identity's own, else `default`. One
    /// that it may not see answers alike whether it exists or not.
    ///
    /// # Errors
    /// [`Fault::BadInput`] if the metadata is not a namespace, [`Fault::NotGranted`] if the
    /// identity has no role there.
    pub(crate) fn enter(
        identity: Identity,
        headers: &HeaderMap,
        forwarded: bool,
    ) -> Result<Self, Fault> {
        let namespace = match parsed(headers, NAMESPACE)? {
            Some(named) => named,
            None => identity.home().cloned().unwrap_or_default(),
        };
        match identity.role(&namespace) {
            Some(role) => Ok(Self { identity, namespace, role, forwarded }),
            None => Err(not_granted(&identity, Some(&namespace), Role::Reader)),
        }
    }

    pub(crate) fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    pub(crate) fn role(&self) -> Role {
        self.role
    }

    pub(crate) fn is_forwarded(&self) -> bool {
        self.forwarded
    }

    /// Decides whether the caller may do what needs a role in its namespace. Nothing but this is
    /// asked before a permit is made.
    ///
    /// # Errors
    /// [`Fault::NotGranted`].
    pub(super) fn authorize(&self, needs: Role) -> Result<(), Fault> {
        if needs <= self.role {
            return Ok(());
        }
        Err(not_granted(&self.identity, Some(&self.namespace), needs))
    }

    /// The same for what concerns the host as a whole.
    pub(super) fn authorize_everywhere(&self, needs: Role) -> Result<(), Fault> {
        if Some(needs) <= self.identity.role_everywhere() {
            return Ok(());
        }
        Err(not_granted(&self.identity, None, needs))
    }

    pub(crate) fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The same caller under the policy of now.
    pub(super) fn renewed(&self, auth: &Auth) -> Result<Self, Fault> {
        let identity = auth.renew(&self.identity).map_err(refused)?;
        match identity.role(&self.namespace) {
            Some(role) => {
                let (namespace, forwarded) = (self.namespace.clone(), self.forwarded);
                Ok(Self { identity, role, namespace, forwarded })
            }
            None => Err(not_granted(&identity, Some(&self.namespace), Role::Reader)),
        }
    }

    /// Whose instances and sessions its calls may use; none where nobody can be told from others.
    pub(crate) fn owner(&self) -> Option<Arc<str>> {
        self.identity.owner()
    }

    /// Whether it may see wasm backtraces: those of modules that it may publish.
    pub(super) fn may_debug(&self) -> bool {
        Role::Publisher <= self.role
    }
}

fn not_granted(identity: &Identity, namespace: Option<&Namespace>, needs: Role) -> Fault {
    /// Namespaces that a message names.
    const NAMED: usize = 5;
    let has = match namespace {
        Some(namespace) => identity.role(namespace),
        None => identity.role_everywhere(),
    };
    Fault::NotGranted(Box::new(NotGranted {
        who: identity.name().to_owned(),
        needs: needs.as_str(),
        has: has.map(Role::as_str),
        namespace: namespace.cloned(),
        elsewhere: identity.namespaces().take(NAMED).cloned().collect(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_namespace_is_named() {
        let mut headers = HeaderMap::new();
        let auth = Auth::none();
        let enter = |headers: &HeaderMap| {
            authenticate(&auth, headers, None).and_then(|who| Caller::enter(who, headers, false))
        };
        assert_eq!(*enter(&headers).unwrap().namespace(), Namespace::default());
        headers.insert(NAMESPACE, "team".parse().unwrap());
        assert_eq!(enter(&headers).unwrap().namespace().as_str(), "team");
        for bad in ["No Name", "a/b", ""] {
            headers.insert(NAMESPACE, bad.parse().unwrap());
            let fault = enter(&headers).unwrap_err();
            assert!(matches!(&fault, Fault::BadInput(v) if v[0].field == NAMESPACE), "{fault}");
        }
    }

    #[test]
    fn a_token_stands_alone_after_bearer() {
        let of = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(AUTHORIZATION, value.parse().unwrap());
            }
            bearer(&headers).map(|token| token.map(<[u8]>::to_vec))
        };
        assert_eq!(of(&[]), Ok(None));
        for good in ["Bearer abc", "bearer abc", "BEARER  abc "] {
            assert_eq!(of(&[good]), Ok(Some(b"abc".to_vec())), "{good}");
        }
        for bad in ["", "Bearer", "Bearer ", "Basic abc", "abc", "Bearerabc"] {
            assert!(of(&[bad]).is_err(), "{bad}");
        }
        assert!(of(&["Bearer a", "Bearer a"]).is_err());
    }
}
