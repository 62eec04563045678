//! Policies at work over real issuers: HTTPS servers in this process with keys that change.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a panic is how a test reports"
)]

mod issuer;
mod keys;

use std::{path::PathBuf, sync::Arc, time::Duration};

use issuer::{Answer, Server, Signer, claims};
use roadstead_auth::{Auth, Refusal, Role, Token};
use serde_json::json;

/// Long enough for anything that should happen at all.
const PATIENCE: Duration = Duration::from_secs(60);

/// A policy in a directory of its own.
struct Policy(tempfile::TempDir);

impl Policy {
    fn new(text: &str) -> Self {
        let policy = Self(tempfile::tempdir().unwrap());
        policy.write("policy.toml", text);
        policy
    }

    fn write(&self, file: &str, text: impl AsRef<[u8]>) {
        std::fs::write(self.0.path().join(file), text).unwrap();
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("policy.toml")
    }

    async fn open(&self) -> Arc<Auth> {
        Auth::open(&self.path(), false).await.unwrap()
    }
}

/// The name of whoever has the token.
fn who(auth: &Auth, token: &str) -> Result<String, Refusal> {
    auth.authenticate(Some(token.as_bytes()), None).map(|identity| identity.name().to_owned())
}

/// Waits until the token is answered as wanted.
async fn until(auth: &Auth, token: &str, wanted: impl Fn(&Result<String, Refusal>) -> bool) {
    let waiting = async {
        while !wanted(&who(auth, token)) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let done = tokio::time::timeout(PATIENCE, waiting).await;
    assert!(done.is_ok(), "{:?}", who(auth, token));
}

#[tokio::test]
async fn a_static_token_is_found_by_its_hash() {
    let (good, other) = (Token::random(), Token::random());
    let policy = Policy::new(&format!(
        "[[token]]\nname = 'ci'\nhash = '{}'\n[[grant]]\nwho = 'token:ci'\nrole = 'publisher'\n\
         namespaces = ['team-a']\nhome = 'team-a'",
        good.hash()
    ));
    let auth = policy.open().await;
    let identity = auth.authenticate(Some(good.reveal().as_bytes()), None).unwrap();
    let team = "team-a".parse().unwrap();
    assert_eq!((identity.name(), identity.role(&team)), ("token:ci", Some(Role::Publisher)));
    assert_eq!(identity.home(), Some(&team));
    assert_eq!(identity.role(&"team-b".parse().unwrap()), None);
    assert_eq!(identity.owner().as_deref(), Some("token:ci"));
    for bad in [other.reveal(), &good.hash().to_string(), "", "a.b.c", "ci"] {
        assert!(matches!(who(&auth, bad), Err(Refusal::Bad(_))), "{bad}");
    }
    assert_eq!(auth.authenticate(None, None).unwrap_err(), Refusal::NoCredentials);
    let shown = format!("{auth:?} {identity:?}");
    assert!(!shown.contains(good.reveal()) && !shown.contains(&good.hash().to_string()), "{shown}");
}

#[tokio::test]
async fn without_a_policy_everybody_may_do_everything() {
    let auth = Auth::none();
    assert!(!auth.is_required());
    let identity = auth.authenticate(Some(b"anything"), None).unwrap();
    assert_eq!(identity.role_everywhere(), Some(Role::Admin));
    assert_eq!(identity.owner(), None);
}

#[tokio::test]
async fn an_identity_is_judged_anew_after_a_change() {
    let token = Token::random();
    let text = |role: &str| {
        format!(
            "[[token]]\nname = 'ci'\nhash = '{}'\n[[grant]]\nwho = 'token:ci'\nrole = '{role}'\n\
             namespaces = ['team-a']",
            token.hash()
        )
    };
    let policy = Policy::new(&text("publisher"));
    let auth = policy.open().await;
    let identity = auth.authenticate(Some(token.reveal().as_bytes()), None).unwrap();
    let team = "team-a".parse().unwrap();
    policy.write("policy.toml", text("reader"));
    auth.reload().await;
    assert_eq!(auth.renew(&identity).unwrap().role(&team), Some(Role::Reader));
    policy.write("policy.toml", text("reader").replace("'ci'", "'cd'").replace(":ci", ":cd"));
    auth.reload().await;
    assert!(auth.renew(&identity).is_err(), "the token has another name now");
}

#[tokio::test]
async fn a_wrong_policy_is_no_policy() {
    for (text, part) in [
        ("", "policy.toml: lets nobody in"),
        ("[[grant]]\nwho = 1", "line 2"),
        ("[mtls]\nclient_ca = 'x'", "tls_cert"),
        ("[[jwt]]\nname = 'i'\nissuer = 'i'\naudience = 'a'\njwks_file = 'x.json'", "x.json"),
    ] {
        let policy = Policy::new(text);
        let error = Auth::open(&policy.path(), false).await.unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
    let policy = Policy::new("");
    std::fs::write(policy.path(), [0xff]).unwrap();
    assert!(Auth::open(&policy.path(), false).await.unwrap_err().to_string().contains("UTF-8"));
    let none = Auth::open(&policy.0.path().join("none"), false).await.unwrap_err().to_string();
    assert!(none.contains("none"), "{none}");
}

#[tokio::test]
async fn keys_in_a_file_are_read_with_the_policy() {
    let (old, new) = (Signer::new("old"), Signer::new("new"));
    let policy = Policy::new(
        "[[jwt]]\nname = 'idp'\nissuer = 'me'\naudience = 'roadstead'\njwks_file = 'keys.json'",
    );
    policy.write("keys.json", "{}");
    assert!(Auth::open(&policy.path(), false).await.unwrap_err().to_string().contains("keys.json"));
    policy.write("keys.json", old.set());
    let auth = policy.open().await;
    let (from_old, from_new) =
        (old.token(&claims("me", "alice")), new.token(&claims("me", "alice")));
    assert_eq!(who(&auth, &from_old).unwrap(), "jwt:idp:alice");
    assert!(who(&auth, &from_new).is_err());
    policy.write("keys.json", new.set());
    auth.reload().await;
    assert_eq!(who(&auth, &from_new).unwrap(), "jwt:idp:alice");
    assert!(who(&auth, &from_old).is_err(), "its key is gone, and so is what it vouched for");
    policy.write("keys.json", "broken");
    auth.reload().await;
    assert!(who(&auth, &from_new).is_ok(), "the old keys stay");
}

#[tokio::test]
async fn a_token_is_good_until_it_expires_though_it_was_verified_before() {
    let signer = Signer::new("a");
    let policy = Policy::new(
        "[[jwt]]\nname = 'idp'\nissuer = 'me'\naudience = 'roadstead'\njwks_file = 'keys.json'\n\
         leeway = '1s'",
    );
    policy.write("keys.json", signer.set());
    let auth = policy.open().await;
    let mut soon = claims("me", "alice");
    soon["exp"] = json!(issuer::now() + 2);
    let token = signer.token(&soon);
    let identity = auth.authenticate(Some(token.as_bytes()), None).unwrap();
    assert_eq!(identity.until(), Some(soon["exp"].as_u64().unwrap() + 1));
    until(&auth, &token, |said| matches!(said, Err(Refusal::Expired(_)))).await;
    assert!(matches!(auth.renew(&identity), Err(Refusal::Expired(_))));
}
