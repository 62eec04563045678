//! Policies that change while the host serves.

use super::{GRANTS, Guarded, named};
use crate::guest::{self, SERVICE};

const LIST: &str = "/roadstead.v1.ModuleService/ListModules";

/// Grants without those of one token.
fn without(who: &str) -> Vec<&'static str> {
    GRANTS.into_iter().filter(|grant| super::first(grant) != who).collect()
}

#[tokio::test]
async fn a_new_policy_counts_for_the_next_call() {
    let host = Guarded::start().await;
    host.publish("team-a", "guest", &guest::component()).await;
    let add = guest::path("Add");
    assert_eq!(host.ask("caller", "team-a", &add, b"").await.0, 0);
    host.grant(&without("caller")).await;
    assert_eq!(host.ask("caller", "team-a", &add, b"").await.0, 7);
    let mut grants = without("caller");
    grants.push("caller reader team-a");
    host.grant(&grants).await;
    let (code, _, text) = host.ask("caller", "team-a", &add, b"").await;
    assert_eq!(code, 7);
    assert!(text.contains("has the role reader") && text.contains("needs caller"), "{text}");
    assert_eq!(host.ask("caller", "team-a", LIST, b"").await.0, 0);
    host.host.stop().await;
}

#[tokio::test]
async fn a_wrong_policy_changes_nothing() {
    let host = Guarded::start().await;
    let good = std::fs::read_to_string(host.path()).unwrap();
    for wrong in [
        "",
        "what is this",
        "[[token]]\nname = 'x'\nhash = 'rst_secret'",
        "[[grant]]\nwho = 'token:nobody'\nrole = 'admin'\nnamespaces = ['*']",
        "[mtls]\nclient_ca = 'ca.pem'",
        "[[jwt]]\nname = 'i'\nissuer = 'i'\naudience = 'a'\njwks_file = 'absent.json'",
    ] {
        host.write(wrong).await;
        assert_eq!(host.ask("reader", "team-a", LIST, b"").await.0, 0, "{wrong}");
        assert_eq!(host.ask("", "team-a", LIST, b"").await.0, 16, "{wrong}");
    }
    std::fs::remove_file(host.path()).unwrap();
    host.auth.reload().await;
    assert_eq!(host.ask("reader", "team-a", LIST, b"").await.0, 0, "the file is gone");
    host.write(&good).await;
    assert_eq!(host.ask("reader", "team-a", LIST, b"").await.0, 0);
    host.host.stop().await;
}

#[tokio::test]
async fn the_file_is_followed() {
    let host = Guarded::start().await;
    let following = tokio::spawn(std::sync::Arc::clone(&host.auth).follow());
    let mut changes = host.auth.changes();
    let policy = std::fs::read_to_string(host.path()).unwrap();
    std::fs::write(host.path(), policy.replace("role = 'reader'", "role = 'caller'")).unwrap();
    tokio::time::timeout(crate::support::PATIENCE, changes.changed()).await.unwrap().unwrap();
    host.publish("team-a", "guest", &guest::component()).await;
    assert_eq!(host.ask("reader", "team-a", &guest::path("Add"), b"").await.0, 0);
    following.abort();
    host.host.stop().await;
}

#[tokio::test]
async fn streams_of_the_host_end_when_their_grant_does() {
    let host = Guarded::start().await;
    host.publish("team-a", "guest", &guest::component()).await;
    let follow = [named("guest"), vec![0x10, 1]].concat();
    let streams = [
        ("/roadstead.v1.ModuleService/WatchModules", vec![], "reader"),
        ("/grpc.health.v1.Health/Watch", named(SERVICE), "reader"),
    ];
    for (path, message, who) in streams {
        let kept = host.first("publisher", path, &message).await.ok().unwrap();
        let open = host.first(who, path, &message).await.ok().unwrap();
        host.grant(&without(who)).await;
        let (code, reason, text) = open.end().await;
        assert_eq!((code, reason.as_str()), (7, "NOT_GRANTED"), "{path}: {text}");
        let open = host.first("other", path, &message).await;
        assert!(open.is_err(), "{path}");
        host.grant(&GRANTS).await;
        // The token itself is withdrawn.
        let policy = std::fs::read_to_string(host.path()).unwrap();
        let open = host.first(who, path, &message).await.ok().unwrap();
        let (_, hash) = host.tokens.iter().find(|(name, _)| name == who).unwrap();
        let others = roadstead_auth::Token::random().hash().to_string();
        host.write(&policy.replace(&hash.hash().to_string(), &others)).await;
        let (code, reason, text) = open.end().await;
        assert_eq!((code, reason.as_str()), (16, "BAD_CREDENTIALS"), "{path}: {text}");
        host.grant(&GRANTS).await;
        // Whose grant stayed goes on until it, too, is gone.
        host.grant(&without("publisher")).await;
        assert_eq!(kept.end().await.0, 7, "{path}");
        host.grant(&GRANTS).await;
    }
    // Logs need a publisher: a lesser role is not enough to go on.
    let response = host
        .open(
            "publisher",
            "team-a",
            "/roadstead.v1.ModuleService/StreamLogs",
            vec![crate::raw::framed(&follow)],
        )
        .await;
    let mut grants = without("publisher");
    grants.push("publisher caller team-a");
    host.grant(&grants).await;
    let (_, body) = response.into_parts();
    assert_eq!(super::Open(body).end().await.0, 7);
    host.host.stop().await;
}

#[tokio::test]
async fn callers_without_credentials_are_let_in_where_the_policy_says() {
    let host = Guarded::start().await;
    host.publish("team-a", "guest", &guest::component()).await;
    let mut grants = GRANTS.to_vec();
    grants.push("anonymous reader team-a");
    host.grant(&grants).await;
    assert_eq!(host.ask("", "team-a", LIST, b"").await.0, 0);
    assert_eq!(host.ask("", "team-a", &guest::path("Add"), b"").await.0, 7);
    assert_eq!(host.ask("", "team-b", LIST, b"").await.0, 7);
    assert_eq!(host.ask("rst_unknown", "team-a", LIST, b"").await.0, 16, "a bad token is none");
    host.host.stop().await;
}
