//! One policy at work: what credentials it takes, and what it makes of them.

use std::{collections::HashMap, path::Path, sync::Arc};

use rustls::{
    RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, pem::PemObject as _},
    server::{WebPkiClientVerifier, danger::ClientCertVerifier},
};

use crate::{
    Identity, OpenError, Peer, Refusal, TokenHash,
    certificate::fingerprint,
    identity::Source,
    issuer::Issuer,
    jwt::{self, Unverified, Verified},
    policy::Policy,
    sources::read,
    verified::{Entry, VerifiedTokens},
};

/// Bytes that a token may have.
const TOKEN: usize = 8 << 10;

const EXPIRED: Refusal = Refusal::Expired("the token has expired: get a new one");

/// An immutable policy with the state that belongs to it.
pub(crate) struct Snapshot {
    policy: Policy,
    issuers: Vec<Arc<Issuer>>,
    authorities: Option<Authorities>,
    tokens: HashMap<TokenHash, Identity>,
    verified: VerifiedTokens,
    anonymous: Option<Identity>,
}

/// Who vouches for clients.
#[derive(Clone)]
pub(crate) struct Authorities {
    pub fingerprint: [u8; 32],
    pub verifier: Arc<dyn ClientCertVerifier>,
}

impl Snapshot {
    /// Puts a policy to work. Issuers whose settings stay keep their keys.
    pub(crate) fn new(policy: Policy, before: Option<&Self>) -> Result<Self, OpenError> {
        let authorities = policy.client_ca.as_deref().map(authorities).transpose()?;
        let known = before.map(|before| before.issuers.as_slice()).unwrap_or_default();
        let issuers = policy.issuers.iter().map(|settings| {
            let mut known = known.iter().filter(|known| known.is_followed());
            if let Some(same) = known.find(|known| known.settings() == settings) {
                return Ok(Arc::clone(same));
            }
            let keys = Issuer::start(settings.clone()).map(Arc::new);
            keys.map_err(|error| OpenError::Keys {
                name: settings.name.clone(),
                error: error.into(),
            })
        });
        let issuers = issuers.collect::<Result<_, _>>()?;
        let anonymous = policy.grants.anonymous().then(|| {
            let standing = policy.grants.standing("anonymous");
            Identity::new("anonymous".into(), Source::Anonymous, None, standing)
        });
        let token = |(hash, name): (&TokenHash, &String)| {
            let (name, source) = (format!("token:{name}"), Source::Token(*hash));
            (*hash, identity(&policy, name, source, None))
        };
        let tokens = policy.tokens.iter().map(token).collect();
        let verified = VerifiedTokens::default();
        Ok(Self { policy, issuers, authorities, tokens, verified, anonymous })
    }

    pub(crate) fn authorities(&self) -> Option<&Authorities> {
        self.authorities.as_ref()
    }

    pub(crate) fn issuers(&self) -> &[Arc<Issuer>] {
        &self.issuers
    }

    /// Who asks: by the token if there is one, else by the certificate.
    pub(crate) fn authenticate(
        &self,
        token: Option<&[u8]>,
        peer: Option<&Peer>,
        now: u64,
    ) -> Result<Identity, Refusal> {
        match (token, peer) {
            (Some(token), _) => self.by_token(token, now),
            (None, Some(peer)) => self.by_certificate(peer, now),
            (None, None) => self.anonymous.clone().ok_or(Refusal::NoCredentials),
        }
    }

    /// The identity as this policy has it, if it has it at all.
    pub(crate) fn renew(&self, identity: &Identity, now: u64) -> Result<Identity, Refusal> {
        if identity.is_expired(now) {
            return Err(Refusal::Expired("the credentials have expired: get new ones"));
        }
        let (name, source) = (identity.name(), identity.source());
        // The host that vouched for it knows when that ends, and ends what it asked here.
        if matches!(source, Source::Pool { .. }) {
            return Ok(identity.clone());
        }
        let same_authorities = |print: &[u8; 32]| {
            self.authorities.as_ref().is_some_and(|now| now.fingerprint == *print)
        };
        let known = self.policy.knows(name, source)
            && !matches!(source, Source::Certificate(print) if !same_authorities(print));
        if !known {
            return Err(Refusal::Bad("the credentials are good here no more"));
        }
        Ok(identity.with(self.policy.grants.standing(name)))
    }

    fn by_token(&self, token: &[u8], now: u64) -> Result<Identity, Refusal> {
        if TOKEN < token.len() {
            return Err(Refusal::Bad("the token is longer than 8 KiB"));
        }
        let hash = TokenHash::of(token);
        if let Some(identity) = self.tokens.get(&hash) {
            return Ok(identity.clone());
        }
        if let Some(Entry { identity, keys: Some((issuer, number)) }) = self.verified.get(&hash)
            && self.issuers.get(issuer).is_some_and(|issuer| issuer.number() == number)
        {
            let expired = identity.is_expired(now);
            return if expired { Err(EXPIRED) } else { Ok(identity) };
        }
        let text = std::str::from_utf8(token);
        let text = text.map_err(|_| Refusal::Bad("the token is not known here"))?;
        self.verify(text, hash, now)
    }

    fn verify(&self, token: &str, hash: TokenHash, now: u64) -> Result<Identity, Refusal> {
        let (header, named) = jwt::named(token)?;
        let mut issuers = self.issuers.iter().enumerate();
        let found = issuers.find(|(_, issuer)| issuer.settings().issuer == named);
        let (number, issuer) =
            found.ok_or(Refusal::Bad("the token is of an issuer that this host does not know"))?;
        let Some(keys) = issuer.keys() else {
            issuer.want();
            return Err(Refusal::NotReady);
        };
        let settings = issuer.settings();
        let verified = jwt::verify(token, &header, settings, &keys.set, now);
        let Verified { subject, until } = match verified {
            Ok(verified) => verified,
            Err(Unverified::Refused(refusal)) => return Err(refusal),
            Err(Unverified::UnknownKey) => {
                issuer.want();
                return Err(Refusal::Bad(
                    "the token is signed by a key that this host does not have; \
                     if its issuer has a new one, try again soon",
                ));
            }
        };
        let name = format!("jwt:{}:{subject}", settings.name);
        let source = Source::Jwt(Arc::new(settings.clone()));
        let identity = identity(&self.policy, name, source, Some(until));
        let entry = Entry { identity, keys: Some((number, keys.number)) };
        self.verified.put(hash, &entry, now);
        Ok(entry.identity)
    }

    fn by_certificate(&self, peer: &Peer, now: u64) -> Result<Identity, Refusal> {
        let print = peer.authorities();
        if self.authorities.as_ref().is_none_or(|now| now.fingerprint != print) {
            return Err(Refusal::Bad(
                "the client certificate was shown before its authorities changed: connect again",
            ));
        }
        let (name, until) = peer.identity()?;
        if until <= now {
            return Err(Refusal::Expired("the client certificate has expired: get a new one"));
        }
        if let Some(entry) = self.verified.get(&peer.hash()) {
            return Ok(entry.identity);
        }
        let (name, source) = (format!("cert:{name}"), Source::Certificate(print));
        let identity = identity(&self.policy, name, source, Some(until));
        let entry = Entry { identity, keys: None };
        self.verified.put(peer.hash(), &entry, now);
        Ok(entry.identity)
    }
}

fn identity(policy: &Policy, name: String, source: Source, until: Option<u64>) -> Identity {
    let standing = policy.grants.standing(&name);
    Identity::new(name.into(), source, until, standing)
}

fn authorities(path: &Path) -> Result<Authorities, OpenError> {
    let wrong = |problem: String| OpenError::Authorities { path: path.to_owned(), problem };
    let pem = read(path)?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|error| wrong(error.to_string()))?;
        roots.add(certificate).map_err(|error| wrong(error.to_string()))?;
    }
    if roots.is_empty() {
        return Err(wrong("it holds no certificate".to_owned()));
    }
    let provider = Arc::new(ring::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
        .allow_unauthenticated()
        .build()
        .map_err(|error| wrong(error.to_string()))?;
    Ok(Authorities { fingerprint: fingerprint(&pem), verifier })
}
