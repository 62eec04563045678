//! What hosts may say, and what becomes of it.

use std::time::Duration;

use roadstead_proto::v1::{StuckServer, VersionReport};

use super::*;

fn hello(host: &str, started: i64) -> HostHello {
    HostHello {
        host: host.to_owned(),
        pool: "pool".to_owned(),
        release: "1".to_owned(),
        started_unix_ms: started,
        fingerprint: String::new(),
    }
}

fn version_key(version: &str) -> VersionKey {
    VersionKey { namespace: "n".to_owned(), module: "m".to_owned(), version: version.to_owned() }
}

fn report(versions: &[(&str, VersionState, u64)]) -> HostReport {
    let versions = versions.iter().map(|(version, state, calls)| VersionReport {
        key: Some(version_key(version)),
        state: (*state).into(),
        calls: *calls,
        ..VersionReport::default()
    });
    let namespaces = vec!["n".to_owned()];
    HostReport { versions: versions.collect(), namespaces, ..HostReport::default() }
}

fn module() -> ModuleKey {
    ModuleKey { namespace: "n".to_owned(), module: "m".to_owned(), native: false }
}

fn one() -> Version {
    "0.1.0".parse().unwrap()
}

#[test]
fn the_first_report_is_all_and_later_ones_what_changed() {
    let (mut hosts, now) = (Hosts::default(), Instant::now());
    let (key, session) = hosts.hello(hello("a", 1), now).unwrap();
    assert_eq!(hosts.serving("n").count(), 0, "it has said nothing yet");
    let ready = report(&[("0.1.0", VersionState::Ready, 5), ("0.2.0", VersionState::Compiling, 0)]);
    let touched = hosts.report(&key, session, ready, now).unwrap();
    assert!(touched.hosts && touched.namespaces.contains("n"));
    assert_eq!(hosts.serving("n").count(), 1);
    let counted = report(&[("0.1.0", VersionState::Ready, 9)]);
    let touched = hosts.report(&key, session, counted, now).unwrap();
    assert_eq!((touched.modules.len(), touched.counted.len()), (0, 1));
    let seen = |hosts: &Hosts| {
        let (_, host) = hosts.serving("n").next().unwrap();
        (host.seen(&module(), &one()).map(|seen| seen.calls), host.count)
    };
    assert_eq!(seen(&hosts), (Some(9), 2));
    let gone = HostReport { gone: vec![version_key("0.2.0")], ..report(&[]) };
    assert_eq!(hosts.report(&key, session, gone, now).unwrap().modules.len(), 1);
    assert_eq!(seen(&hosts), (Some(9), 1));
    // The next stream's first report says all anew; until then the last word counts.
    let (key, again) = hosts.hello(hello("a", 1), now).unwrap();
    assert_eq!(seen(&hosts), (Some(9), 1));
    let late = hosts.report(&key, session, report(&[("0.3.0", VersionState::Ready, 1)]), now);
    assert_eq!(late, Ok(Touched::default()), "a stream that was replaced says nothing");
    hosts.report(&key, again, report(&[]), now).unwrap();
    assert_eq!(seen(&hosts), (None, 0));
}

#[test]
fn who_says_nothing_falls_silent_and_is_forgotten() {
    let (mut hosts, now) = (Hosts::default(), Instant::now());
    let (a, session) = hosts.hello(hello("a", 1), now).unwrap();
    hosts.report(&a, session, report(&[]), now).unwrap();
    let later = now + Duration::from_secs(1);
    let (fell, touched) = hosts.sweep(later, now);
    assert_eq!((fell, touched.hosts), (vec![a.clone()], true));
    assert_eq!(hosts.sweep(later, now).0, [], "told once");
    let touched = hosts.report(&a, session, report(&[]), later).unwrap();
    assert!(touched.hosts && touched.namespaces.contains("n"), "it is back");
    hosts.closed(&a, session);
    hosts.sweep(later, later);
    assert_eq!(hosts.iter().count(), 1);
    hosts.sweep(later, later + Duration::from_secs(1));
    assert_eq!(hosts.iter().count(), 0);
    // Who said that it ends is gone with its stream.
    let (b, session) = hosts.hello(hello("b", 1), now).unwrap();
    let draining = HostReport { draining: true, ..report(&[]) };
    hosts.report(&b, session, draining, now).unwrap();
    assert!(hosts.closed(&b, session).hosts);
    assert_eq!(hosts.iter().count(), 0);
}

#[test]
fn what_is_out_of_bounds_is_refused() {
    let (mut hosts, now) = (Hosts::default(), Instant::now());
    for (host, pool, field) in [("A", "p", "host"), ("a", "", "pool"), ("a.b", "p", "host")] {
        let hello = HostHello { host: host.to_owned(), pool: pool.to_owned(), ..hello("a", 1) };
        assert_eq!(hosts.hello(hello, now), Err(BadReport::Name { field }));
    }
    let long = HostHello { release: "x".repeat(WORD + 1), ..hello("a", 1) };
    assert_eq!(hosts.hello(long, now), Err(BadReport::Long { field: "release" }));
    let (key, session) = hosts.hello(hello("a", 1), now).unwrap();
    let mut refused = |report| hosts.report(&key, session, report, now).unwrap_err();
    let none = HostReport { versions: vec![VersionReport::default()], ..HostReport::default() };
    assert_eq!(refused(none), BadReport::Key);
    assert_eq!(refused(report(&[("one", VersionState::Ready, 1)])), BadReport::Key);
    let many = |count: usize| report(&vec![("0.1.0", VersionState::Ready, 1); count]);
    let what = "versions";
    assert_eq!(refused(many(VERSIONS + 1)), BadReport::TooMany { what, limit: VERSIONS });
    let judgements = vec![Judgement::default(); JUDGEMENTS + 1];
    let what = "judgements";
    let report = HostReport { judgements, ..HostReport::default() };
    assert_eq!(refused(report), BadReport::TooMany { what, limit: JUDGEMENTS });
    let report =
        HostReport { namespaces: vec![String::new(); NAMESPACES + 1], ..HostReport::default() };
    let what = "namespaces";
    assert_eq!(refused(report), BadReport::TooMany { what, limit: NAMESPACES });
    let stuck = vec![StuckServer::default(); STUCK + 1];
    let used = NativeUse { key: Some(version_key("0.1.0")), stuck, ..NativeUse::default() };
    let report = HostReport { natives: vec![used], ..HostReport::default() };
    let what = "servers that do not get on";
    assert_eq!(refused(report), BadReport::TooMany { what, limit: STUCK });
}

#[test]
fn versions_of_many_reports_are_bounded_too_and_texts_are_cut() {
    let (mut hosts, now) = (Hosts::default(), Instant::now());
    let (key, session) = hosts.hello(hello("a", 1), now).unwrap();
    let part = |major: usize| {
        let versions = (0..VERSIONS / 2 + 1).map(|minor| VersionReport {
            key: Some(version_key(&format!("{major}.{minor}.0"))),
            state: VersionState::Failing.into(),
            problem: "x".repeat(TEXT + 1),
            calls: 1,
            failures: 2,
        });
        HostReport { versions: versions.collect(), ..report(&[]) }
    };
    hosts.report(&key, session, part(0), now).unwrap();
    let seen = hosts.iter().next().unwrap().1.seen(&module(), &one()).unwrap().clone();
    assert_eq!((seen.problem.len(), seen.calls, seen.failures), (TEXT, 1, 1));
    let what = "versions";
    let error = hosts.report(&key, session, part(1), now).unwrap_err();
    assert_eq!(error, BadReport::TooMany { what, limit: VERSIONS });
}
