//! Keys that are asked for: found, rotated, away, and never asked for too often.

use super::*;

const DESCRIPTION: &str = "/.well-known/openid-configuration";

/// A policy with one issuer; `rest` are more lines of it.
fn policy(server: &Server, issuer: &str, rest: &str) -> Policy {
    let policy = Policy::new(&format!(
        "[[jwt]]\nname = 'idp'\nissuer = '{issuer}'\naudience = 'roadstead'\nca = 'ca.pem'\n\
         min_refresh = '100ms'\n{rest}"
    ));
    policy.write("ca.pem", &server.ca);
    policy
}

/// An issuer that describes itself.
async fn described() -> (Server, String, Signer) {
    let (server, signer) = (Server::start().await, Signer::new("a"));
    let issuer = server.url("");
    let description = json!({"issuer": issuer, "jwks_uri": server.url("/keys"), "more": true});
    server.put(DESCRIPTION, Answer::ok(description.to_string()));
    server.put("/keys", Answer::ok(signer.set()));
    (server, issuer, signer)
}

#[tokio::test]
async fn keys_are_found_by_the_issuers_description() {
    let (server, issuer, signer) = described().await;
    let policy = policy(&server, &issuer, "");
    let auth = policy.open().await;
    assert_eq!(who(&auth, &signer.token(&claims(&issuer, "alice"))).unwrap(), "jwt:idp:alice");
    for (claims, part) in [
        (claims("https://other", "alice"), "issuer that this host does not know"),
        (claims(&issuer, ""), "`sub`"),
    ] {
        let said = who(&auth, &signer.token(&claims)).unwrap_err().to_string();
        assert!(said.contains(part), "{said}");
    }
}

#[tokio::test]
async fn rotated_keys_are_taken_and_old_ones_end() {
    let (server, issuer, old) = described().await;
    let policy = policy(&server, &issuer, "");
    let auth = policy.open().await;
    let from_old = old.token(&claims(&issuer, "alice"));
    assert!(who(&auth, &from_old).is_ok());
    let new = Signer::new("b");
    let from_new = new.token(&claims(&issuer, "alice"));
    server.put("/keys", Answer::ok(json!({"keys": [old.jwk(), new.jwk()]}).to_string()));
    let said = who(&auth, &from_new).unwrap_err().to_string();
    assert!(said.contains("try again"), "a call waits for no key: {said}");
    until(&auth, &from_new, Result::is_ok).await;
    assert!(who(&auth, &from_old).is_ok());
    server.put("/keys", Answer::ok(new.set()));
    let unknown = Signer::new("c").token(&claims(&issuer, "x"));
    until(&auth, &from_old, |said| {
        drop(who(&auth, &unknown));
        said.is_err()
    })
    .await;
    assert!(who(&auth, &from_new).is_ok());
}

#[tokio::test]
async fn an_issuer_that_is_away_is_waited_for_by_nobody() {
    let (mut server, issuer, signer) = described().await;
    server.pause();
    let policy = policy(&server, &issuer, "");
    let auth = policy.open().await;
    let token = signer.token(&claims(&issuer, "alice"));
    assert_eq!(who(&auth, &token), Err(Refusal::NotReady));
    server.resume().await;
    until(&auth, &token, Result::is_ok).await;
    // Away again: what was there stays.
    server.pause();
    drop(who(&auth, &Signer::new("b").token(&claims(&issuer, "x"))));
    let fresh = signer.token(&claims(&issuer, "bob"));
    assert_eq!(who(&auth, &fresh).unwrap(), "jwt:idp:bob");
    // Answers of no use leave the keys alone, too.
    server.put("/keys", Answer::ok("{\"keys\": []}"));
    server.resume().await;
    let before = server.asked("/keys").len();
    let waiting = async {
        while server.asked("/keys").len() < before + 2 {
            drop(who(&auth, &Signer::new("b").token(&claims(&issuer, "x"))));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap();
    assert!(who(&auth, &signer.token(&claims(&issuer, "carol"))).is_ok());
}

#[tokio::test]
async fn unknown_keys_make_nobody_ask_more_often_than_the_policy_says() {
    let (server, issuer, signer) = described().await;
    let policy = policy(&server, &issuer, "");
    let text = std::fs::read_to_string(policy.path()).unwrap();
    policy.write("policy.toml", text.replace("100ms", "1h"));
    let auth = policy.open().await;
    for number in 0..200 {
        let unknown = Signer::new(&format!("k{number}")).token(&claims(&issuer, "x"));
        assert!(who(&auth, &unknown).is_err());
        tokio::task::yield_now().await;
    }
    assert!(who(&auth, &signer.token(&claims(&issuer, "alice"))).is_ok());
    assert_eq!(server.asked("/keys").len(), 1);
}

#[tokio::test]
async fn a_cluster_is_an_issuer() {
    let (server, signer) = (Server::start().await, Signer::new("a"));
    let keys = "/openid/v1/jwks";
    let answer = Answer { token: Some("of-the-pod".to_owned()), ..Answer::ok(signer.set()) };
    server.put(keys, answer);
    let issuer = "https://kubernetes.default.svc.cluster.local";
    let rest = format!(
        "jwks_url = '{}'\ntoken_file = 'token'\n[[grant]]\n\
         who = 'jwt:idp:system:serviceaccount:team-a:*'\nrole = 'caller'\nnamespaces = ['team-a']",
        server.url(keys)
    );
    let policy = policy(&server, issuer, &rest);
    policy.write("token", "of-the-pod\n");
    let auth = policy.open().await;
    let team = "team-a".parse().unwrap();
    let role = |subject: &str| {
        let token = signer.token(&claims(issuer, subject));
        auth.authenticate(Some(token.as_bytes()), None).unwrap().role(&team)
    };
    assert_eq!(role("system:serviceaccount:team-a:worker"), Some(Role::Caller));
    assert_eq!(role("system:serviceaccount:team-ab:worker"), None);
    assert_eq!(role("alice"), None);
    assert_eq!(server.asked(keys).first().unwrap().as_deref(), Some("of-the-pod"));
}

#[tokio::test]
async fn keys_of_another_place_are_not_taken() {
    let (server, issuer, signer) = described().await;
    let elsewhere = Server::start().await;
    elsewhere.put("/keys", Answer::ok(signer.set()));
    let token = signer.token(&claims(&issuer, "alice"));
    for (description, status) in [
        (json!({"issuer": "https://other", "jwks_uri": server.url("/keys")}), 200),
        (json!({"issuer": issuer, "jwks_uri": "http://localhost/keys"}), 200),
        (json!({"issuer": issuer}), 200),
        // Another host, whose certificate the policy does not trust.
        (json!({"issuer": issuer, "jwks_uri": elsewhere.url("/keys")}), 200),
        (json!({"issuer": issuer, "jwks_uri": server.url("/keys")}), 302),
        (json!({"issuer": issuer, "jwks_uri": server.url("/keys"), "x": "x".repeat(2 << 20)}), 200),
    ] {
        let body = description.to_string();
        server.put(DESCRIPTION, Answer { status, ..Answer::ok(body) });
        let policy = policy(&server, &issuer, "");
        assert_eq!(who(&*policy.open().await, &token), Err(Refusal::NotReady), "{status}");
    }
    assert!(elsewhere.asked("/keys").is_empty());
}

#[tokio::test]
async fn the_hosts_own_token_goes_nowhere_else() {
    let (server, issuer, signer) = described().await;
    let elsewhere = Server::start().await;
    elsewhere.put("/keys", Answer::ok(signer.set()));
    let description = json!({"issuer": issuer, "jwks_uri": elsewhere.url("/keys")});
    server.put(DESCRIPTION, Answer::ok(description.to_string()));
    let policy = policy(&server, &issuer, "token_file = 'token'");
    policy.write("token", "of-the-pod");
    policy.write("ca.pem", format!("{}{}", server.ca, elsewhere.ca));
    let auth = policy.open().await;
    assert!(who(&auth, &signer.token(&claims(&issuer, "alice"))).is_ok());
    assert_eq!(server.asked(DESCRIPTION), [Some("of-the-pod".to_owned())]);
    assert_eq!(elsewhere.asked("/keys"), [None]);
}

#[tokio::test]
async fn an_issuer_without_a_trusted_certificate_is_not_asked() {
    let (server, issuer, signer) = described().await;
    let policy = policy(&server, &issuer, "");
    policy.write("ca.pem", Server::start().await.ca);
    let auth = policy.open().await;
    assert_eq!(who(&auth, &signer.token(&claims(&issuer, "alice"))), Err(Refusal::NotReady));
    assert!(server.asked(DESCRIPTION).is_empty());
}

#[tokio::test]
async fn an_issuer_keeps_its_keys_over_a_change_of_grants() {
    let (mut server, issuer, signer) = described().await;
    let policy = policy(&server, &issuer, "");
    let auth = policy.open().await;
    let token = signer.token(&claims(&issuer, "alice"));
    let identity = auth.authenticate(Some(token.as_bytes()), None).unwrap();
    server.pause();
    let text = std::fs::read_to_string(policy.path()).unwrap();
    let grant = "[[grant]]\nwho = 'jwt:idp:alice'\nrole = 'reader'\nnamespaces = ['*']";
    policy.write("policy.toml", format!("{text}\n{grant}"));
    auth.reload().await;
    assert_eq!(auth.renew(&identity).unwrap().role_everywhere(), Some(Role::Reader));
    assert_eq!(who(&auth, &token).unwrap(), "jwt:idp:alice");
    // Another audience is another issuer: what was verified for the old one counts no more.
    policy.write("policy.toml", text.replace("'roadstead'", "'other'"));
    auth.reload().await;
    assert!(auth.renew(&identity).is_err());
    assert!(who(&auth, &token).is_err());
}
