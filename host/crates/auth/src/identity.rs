//! Who asks, and what they may do where.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, LazyLock},
};

use roadstead_domain::Namespace;

use crate::{Role, TokenHash, policy::IssuerSettings};

/// Somebody whose credentials were good, with all that the policy grants. Cheap to clone.
#[derive(Clone)]
pub struct Identity(Arc<Inner>);

struct Inner {
    name: Arc<str>,
    source: Source,
    /// Second of Unix time from which the credentials are good no more.
    until: Option<u64>,
    standing: Standing,
}

/// What an identity rests on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    /// A host without a policy.
    NoPolicy,
    Anonymous,
    Token(TokenHash),
    /// The issuer as the policy had it.
    Jwt(Arc<IssuerSettings>),
    /// The authorities that the policy trusted.
    Certificate([u8; 32]),
    /// The word of another host of the pool, which can tell them from others or not.
    Pool {
        known: bool,
    },
}

/// Roles by namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Standing {
    pub home: Option<Namespace>,
    pub everywhere: Option<Role>,
    pub namespaces: BTreeMap<Namespace, Role>,
}

/// Everybody, on a host without a policy.
static ANYONE: LazyLock<Identity> = LazyLock::new(|| {
    let standing = Standing { everywhere: Some(Role::Admin), ..Standing::default() };
    Identity::new("anonymous".into(), Source::NoPolicy, None, standing)
});

impl Identity {
    pub(crate) fn new(
        name: Arc<str>,
        source: Source,
        until: Option<u64>,
        standing: Standing,
    ) -> Self {
        Self(Arc::new(Inner { name, source, until, standing }))
    }

    /// Whoever calls a host without a policy: may do everything, and cannot be told from others.
    pub fn anyone() -> Self {
        ANYONE.clone()
    }

    /// Whoever another host of the pool let in, for one call: with a role in its namespace, and one
    /// in all of them where it has that.
    pub fn vouched_for(
        name: Arc<str>,
        known: bool,
        (namespace, role): (Namespace, Role),
        everywhere: Option<Role>,
    ) -> Self {
        let namespaces = BTreeMap::from([(namespace, role)]);
        let standing = Standing { namespaces, everywhere, ..Standing::default() };
        Self::new(name, Source::Pool { known }, None, standing)
    }

    /// As a policy's grants name it.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Whose sessions and instances its calls may use; none where nobody can be told from others.
    pub fn owner(&self) -> Option<Arc<str>> {
        match self.0.source {
            Source::NoPolicy | Source::Anonymous | Source::Pool { known: false } => None,
            _ => Some(Arc::clone(&self.0.name)),
        }
    }

    /// What it may do in the namespace, whether that exists or not.
    pub fn role(&self, namespace: &Namespace) -> Option<Role> {
        let Standing { everywhere, namespaces, .. } = &self.0.standing;
        namespaces.get(namespace).copied().max(*everywhere)
    }

    /// What it may do in all namespaces, those to come included.
    pub fn role_everywhere(&self) -> Option<Role> {
        self.0.standing.everywhere
    }

    /// Where its calls go that name no namespace; none for `default`.
    pub fn home(&self) -> Option<&Namespace> {
        self.0.standing.home.as_ref()
    }

    /// The namespaces that its own grants name.
    pub fn namespaces(&self) -> impl Iterator<Item = &Namespace> {
        self.0.standing.namespaces.keys()
    }

    /// The second of Unix time from which its credentials are good no more.
    pub fn until(&self) -> Option<u64> {
        self.0.until
    }

    pub(crate) fn is_expired(&self, now: u64) -> bool {
        self.0.until.is_some_and(|until| until <= now)
    }

    pub(crate) fn source(&self) -> &Source {
        &self.0.source
    }

    /// The same, with what a newer policy grants.
    pub(crate) fn with(&self, standing: Standing) -> Self {
        Self::new(Arc::clone(&self.0.name), self.0.source.clone(), self.0.until, standing)
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Identity").field(&self.0.name).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_higher_of_two_roles_counts() {
        let team: Namespace = "team".parse().unwrap();
        let standing = |everywhere, here: Option<Role>| Standing {
            everywhere,
            namespaces: here.map(|role| (team.clone(), role)).into_iter().collect(),
            home: None,
        };
        let role = |everywhere, here| {
            let standing = standing(everywhere, here);
            Identity::new("x".into(), Source::Anonymous, None, standing).role(&team)
        };
        assert_eq!(role(None, None), None);
        assert_eq!(role(None, Some(Role::Caller)), Some(Role::Caller));
        assert_eq!(role(Some(Role::Reader), Some(Role::Caller)), Some(Role::Caller));
        assert_eq!(role(Some(Role::Admin), Some(Role::Caller)), Some(Role::Admin));
        assert_eq!(Identity::anyone().role(&team), Some(Role::Admin));
        assert_eq!(Identity::anyone().owner(), None);
    }
}
