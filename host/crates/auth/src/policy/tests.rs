//! Policies that are read, and those that are refused with their line and field.

use super::*;
use crate::Role;

const HASH: &str = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

fn read(text: &str) -> Result<Policy, PolicyError> {
    Policy::parse(&text.replace("HASH", HASH), Path::new("/etc/roadstead"))
}

const WHOLE: &str = r#"
[[token]]
name = "ci"
hash = "HASH"

[[jwt]]
name = "cluster"
issuer = "https://kubernetes.default.svc"
audience = "roadstead"
jwks_url = "https://kubernetes.default.svc/openid/v1/jwks"
ca = "ca.crt"
token_file = "/var/run/token"
algorithms = ["RS256"]
leeway = "10s"

[[jwt]]
name = "idp"
issuer = "https://idp.example/realm/"
audience = ["a", "b"]

[mtls]
client_ca = "clients.pem"

[[grant]]
who = "token:ci"
role = "publisher"
namespaces = ["team-a", "team-b"]
home = "team-a"

[[grant]]
who = ["jwt:cluster:system:serviceaccount:team-a:*", "cert:spiffe://prod/*"]
role = "caller"
namespaces = ["team-a"]

[[grant]]
who = "jwt:cluster:system:serviceaccount:team-a:boss"
role = "admin"
namespaces = ["*"]
"#;

#[test]
fn a_whole_policy_is_read() {
    let policy = read(WHOLE).unwrap();
    assert_eq!(policy.tokens.values().collect::<Vec<_>>(), ["ci"]);
    let [cluster, idp] = &policy.issuers[..] else { panic!("{policy:?}") };
    let KeysFrom::Web { at: Address::Keys(url), ca, token_file } = &cluster.keys else {
        panic!("{cluster:?}")
    };
    assert_eq!(url.path(), "/openid/v1/jwks");
    assert_eq!(ca.as_deref(), Some(Path::new("/etc/roadstead/ca.crt")));
    assert_eq!(token_file.as_deref(), Some(Path::new("/var/run/token")));
    assert_eq!(cluster.algorithms, [Algorithm::Rs256]);
    assert_eq!(cluster.leeway, Duration::from_secs(10));
    let KeysFrom::Web { at: Address::Discovery(url), .. } = &idp.keys else { panic!("{idp:?}") };
    assert_eq!(url.to_string(), "https://idp.example/realm/.well-known/openid-configuration");
    assert_eq!(idp.algorithms, Algorithm::ALL);
    let files: Vec<_> = policy.files().collect();
    assert_eq!(files, [Path::new("/etc/roadstead/clients.pem")]);
}

#[test]
fn the_documented_policy_is_one() {
    let page = include_str!("../../../../README.md");
    let blocks: Vec<_> = page.split("```toml\n").skip(1).collect();
    let documented = blocks[1].split("```").next().unwrap();
    let policy = read(documented).unwrap();
    assert_eq!((policy.tokens.len(), policy.issuers.len()), (1, 1));
    assert!(policy.client_ca.is_some());
    let settings = &policy.issuers[0];
    let defaults =
        documented.replace("leeway =", "#").replace("refresh =", "#").replace("min_#", "#");
    assert_eq!(read(&defaults).unwrap().issuers[0], *settings, "what it shows are the defaults");
}

#[test]
fn grants_add_up() {
    let policy = read(WHOLE).unwrap();
    let team = |name: &str| name.parse().unwrap();
    let ci = policy.grants.standing("token:ci");
    assert_eq!(ci.home, Some(team("team-a")));
    assert_eq!(ci.namespaces.get(&team("team-b")), Some(&Role::Publisher));
    assert_eq!(ci.everywhere, None);
    let of =
        |name: &str| policy.grants.standing(&format!("jwt:cluster:system:serviceaccount:{name}"));
    assert_eq!(of("team-a:worker").namespaces.get(&team("team-a")), Some(&Role::Caller));
    assert_eq!(of("team-a:worker").everywhere, None);
    let boss = of("team-a:boss");
    assert_eq!((boss.everywhere, boss.namespaces.len()), (Some(Role::Admin), 1));
    assert_eq!(of("team-ab:worker"), Standing::default());
    assert_eq!(policy.grants.standing("token:other"), Standing::default());
    assert!(!policy.grants.anonymous());
}

use crate::identity::Standing;

#[test]
fn wrong_policies_name_line_and_field() {
    let token = "[[token]]\nname = 'ci'\nhash = 'HASH'\n";
    let jwt = "[[jwt]]\nname = 'i'\nissuer = 'https://i'\naudience = 'a'\n";
    let grant = |who: &str, rest: &str| {
        format!("{token}[[grant]]\nwho = '{who}'\nrole = 'reader'\nnamespaces = ['a']\n{rest}")
    };
    let cases: Vec<(String, usize, &str)> = vec![
        (String::new(), 0, "nobody"),
        ("token = 1".into(), 1, "sequence"),
        ("[[token]]\nname = 'x'".into(), 1, "hash"),
        ("[[token]]\nname = 'x'\nhash = 'secret'".into(), 3, "roadstead token new"),
        ("[[token]]\nname = 'a b'\nhash = 'HASH'".into(), 2, "token.name"),
        (format!("{token}{token}"), 5, "token.name"),
        (format!("{token}{}", token.replace("ci", "cd")), 6, "token.hash"),
        (format!("{token}secret = 1"), 4, "secret"),
        (format!("{token}[grants]"), 4, "grants"),
        (jwt.replace("'a'", "''"), 4, "jwt.audience"),
        (jwt.replace("'a'", "[]"), 4, "jwt.audience"),
        (jwt.replace("'a'", "1"), 4, "text"),
        (jwt.replace("https", "http"), 3, "jwt.issuer"),
        (jwt.replace("'https://i'", "''"), 3, "jwt.issuer"),
        (format!("{jwt}jwks_url = 'http://i/k'"), 5, "jwt.jwks_url"),
        (format!("{jwt}jwks_url = 'https://u:p@i/k'"), 5, "jwt.jwks_url"),
        (format!("{jwt}jwks_file = 'k'\nca = 'c'"), 6, "jwt.ca"),
        (format!("{jwt}jwks_file = 'k'\nrefresh = '1m'"), 6, "jwt.refresh"),
        (format!("{jwt}algorithms = ['HS256']"), 5, "HS256"),
        (format!("{jwt}algorithms = ['none']"), 5, "none"),
        (format!("{jwt}algorithms = []"), 5, "jwt.algorithms"),
        (format!("{jwt}leeway = '10m'"), 5, "jwt.leeway"),
        (format!("{jwt}{jwt}"), 6, "jwt.name"),
        (format!("{jwt}{}", jwt.replace("'i'", "'j'")), 7, "jwt.issuer"),
        (grant("token:other", ""), 5, "token:other"),
        (grant("ci", ""), 5, "grant.who"),
        (grant("jwt:x:y", ""), 5, "no [[jwt]]"),
        (format!("{jwt}{}", grant("jwt:i", "")), 9, "SUBJECT"),
        (format!("{jwt}{}", grant("jwt:i:*a", "")), 9, "at the end"),
        (grant("cert:a", ""), 5, "[mtls]"),
        (grant("token:ci", "").replace("reader", "owner"), 6, "owner"),
        (grant("token:ci", "").replace("['a']", "[]"), 7, "grant.namespaces"),
        (grant("token:ci", "").replace("['a']", "['A b']"), 7, "a-z"),
        (grant("token:ci", "home = 'b'"), 8, "grant.home"),
        ("[mtls]".into(), 1, "client_ca"),
    ];
    for (text, line, part) in cases {
        let error = read(&text).map(|_| ()).unwrap_err();
        assert!(error.to_string().contains(part), "{error} for\n{text}");
        assert_eq!(error.line.unwrap_or(0), line, "{error} for\n{text}");
        assert!(!error.to_string().contains("secret'"), "{error}");
    }
    let twice = "[[grant]]\nwho = 'token:ci'\nrole = 'reader'\nnamespaces = ['b']\nhome = 'b'";
    let text = format!("{}{twice}", grant("token:ci", "home = 'a'\n"));
    assert!(read(&text).unwrap_err().to_string().contains("another home"));
}

#[test]
fn anonymous_callers_are_let_in_by_name_alone() {
    let text = "[[grant]]\nwho = 'anonymous'\nrole = 'reader'\nnamespaces = ['open']";
    assert!(read(text).unwrap().grants.anonymous());
}
