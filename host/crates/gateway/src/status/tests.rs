//! Every fault against the contract's table of errors.

use http::HeaderMap;
use roadstead_blobs::BlobError;
use roadstead_catalog::CatalogError;
use roadstead_domain::{Credentials, LimitKind, NotGranted};
use roadstead_registry::CompileLimit;
use tonic_types::StatusExt as _;

use super::*;

fn table() -> Vec<(Fault, Code, Option<&'static str>)> {
    let mut rows = vec![
        (Fault::bad_input("a.b", "must be set"), Code::InvalidArgument, Some("BAD_INPUT")),
        (Fault::NoSuchModule("m".parse().unwrap()), Code::NotFound, Some("NO_SUCH_MODULE")),
        (Fault::NoSuchVersion("m@1.0.0".parse().unwrap()), Code::NotFound, Some("NO_SUCH_VERSION")),
        (Fault::NoSuchService("a.B".into()), Code::Unimplemented, Some("NO_SUCH_SERVICE")),
        (
            Fault::NoSuchMethod { service: "a.B".into(), method: "C".into() },
            Code::Unimplemented,
            Some("NO_SUCH_METHOD"),
        ),
        (
            Fault::Ambiguous {
                service: "a.B".into(),
                candidates: vec!["x".parse().unwrap(), "y".parse().unwrap()],
            },
            Code::FailedPrecondition,
            Some("AMBIGUOUS_MODULE"),
        ),
        (
            Fault::Overloaded { what: "queue", retry_after: Duration::from_millis(250) },
            Code::ResourceExhausted,
            Some("OVERLOADED"),
        ),
        (Fault::NoSuchHandle, Code::NotFound, Some("NO_SUCH_HANDLE")),
        (Fault::SessionLost("it trapped"), Code::NotFound, Some("SESSION_LOST")),
        (Fault::MixedSessions, Code::FailedPrecondition, Some("MIXED_SESSIONS")),
        (Fault::NeverFits("memory".into()), Code::FailedPrecondition, Some("NEVER_FITS")),
        (Fault::NotOffered("data".into()), Code::FailedPrecondition, Some("NOT_OFFERED")),
        (Fault::Deadline(Duration::from_secs(2)), Code::DeadlineExceeded, Some("DEADLINE")),
        (Fault::Cancelled, Code::Cancelled, None),
        (
            Fault::NotGranted(Box::new(NotGranted {
                who: "token:ci".into(),
                needs: "publisher",
                has: Some("reader"),
                namespace: Some("team".parse().unwrap()),
                elsewhere: Vec::new(),
            })),
            Code::PermissionDenied,
            Some("NOT_GRANTED"),
        ),
        (
            Fault::GuestTrap { message: "unreachable".into(), backtrace: vec!["f".into()] },
            Code::Aborted,
            Some("GUEST_TRAP"),
        ),
        (
            Fault::BreakerOpen { retry_after: Duration::from_millis(250) },
            Code::Unavailable,
            Some("BREAKER_OPEN"),
        ),
        (Fault::Draining, Code::Unavailable, Some("DRAINING")),
        (Fault::Aged, Code::Unavailable, Some("CONNECTION_AGE")),
        (Fault::NotReady("x".into()), Code::Unavailable, Some("NOT_READY")),
        (Fault::Interrupted("x".into()), Code::Unavailable, Some("INTERRUPTED")),
        (Fault::Host { log_id: "id".into() }, Code::Internal, Some("HOST_FAULT")),
    ];
    rows.extend(
        [
            (Credentials::Missing, "NO_CREDENTIALS"),
            (Credentials::Bad, "BAD_CREDENTIALS"),
            (Credentials::Expired, "EXPIRED_CREDENTIALS"),
        ]
        .map(|(credentials, reason)| {
            let fault = Fault::Unauthenticated { credentials, why: "why".into() };
            (fault, Code::Unauthenticated, Some(reason))
        }),
    );
    rows.extend(LimitKind::ALL.map(|kind| {
        (Fault::limit(kind, 10, Some(11)), Code::ResourceExhausted, Some(kind.reason()))
    }));
    rows
}

#[test]
fn every_fault_has_the_code_and_reason_of_the_contract() {
    for (fault, code, reason) in table() {
        let status = from_fault(&fault, true);
        assert_eq!(status.code(), code, "{fault:?}");
        let info = status.get_details_error_info();
        assert_eq!(info.as_ref().map(|info| info.reason.as_str()), reason, "{fault:?}");
        if let Some(info) = info {
            assert_eq!(info.domain, ERROR_DOMAIN);
        }
        assert_eq!(status.message(), fault.to_string());
    }
}

#[test]
fn details_carry_what_the_contract_promises() {
    let bad = from_fault(&Fault::bad_input("lot.weight", "must be set"), true);
    let violations = bad.get_details_bad_request().unwrap().field_violations;
    assert_eq!(violations[0].field, "lot.weight");

    let limit = from_fault(&Fault::limit(LimitKind::Memory, 10, Some(11)), true);
    let facts = limit.get_details_error_info().unwrap().metadata;
    assert_eq!(facts["limit"], "memory");
    assert_eq!((facts["allowed"].as_str(), facts["used"].as_str()), ("10", "11"));

    let retry = Duration::from_millis(250);
    let busy = from_fault(&Fault::Overloaded { what: "queue", retry_after: retry }, true);
    assert_eq!(busy.get_details_retry_info().unwrap().retry_delay, Some(retry));
    let open = from_fault(&Fault::BreakerOpen { retry_after: retry }, true);
    assert_eq!(open.get_details_retry_info().unwrap().retry_delay, Some(retry));
    assert!(from_fault(&Fault::Draining, true).get_details_retry_info().is_some());
    assert!(from_fault(&Fault::Aged, true).get_details_retry_info().is_some());
    assert!(from_fault(&Fault::NotReady(String::new()), true).get_details_retry_info().is_some());
}

#[test]
fn a_backtrace_is_shown_only_to_those_who_may_see_it() {
    let trap = Fault::GuestTrap { message: "x".into(), backtrace: vec!["frame".into()] };
    let shown = from_fault(&trap, true).get_details_debug_info().unwrap();
    assert_eq!(shown.stack_entries, ["frame"]);
    assert!(from_fault(&trap, false).get_details_debug_info().is_none());
}

#[test]
fn no_status_outgrows_what_clients_accept() {
    let long = "ä\n".repeat(10_000);
    let faults = [
        Fault::BadInput(
            (0..1000)
                .map(|_| FieldViolation { field: long.clone(), description: long.clone() })
                .collect(),
        ),
        Fault::GuestTrap { message: long.clone(), backtrace: vec![long.clone(); 1000] },
        Fault::NoSuchMethod { service: long.clone(), method: long.clone() },
        Fault::NeverFits(long),
    ];
    for fault in faults {
        let mut headers = HeaderMap::new();
        from_fault(&fault, true).add_header(&mut headers).unwrap();
        let size: usize = headers.iter().map(|(k, v)| k.as_str().len() + v.len() + 32).sum();
        assert!(size < 8 << 10, "{size}");
    }
}

#[test]
fn a_host_fault_tells_the_caller_only_an_id() {
    let fault = host_fault("read the catalog", &"/var/lib/secret: permission denied");
    let status = from_fault(&fault, true);
    let Fault::Host { log_id } = fault else { panic!("{fault:?}") };
    assert!(status.message().contains(&log_id));
    assert!(!format!("{status:?}").contains("secret"));
}

#[test]
fn a_component_that_costs_too_much_names_the_setting() {
    let limit = CompileLimit {
        doing: "compiling",
        what: "memory",
        setting: "compile.memory",
        allowed: "2Gi".to_owned(),
    };
    let status = from_push(PushError::CompileLimit(limit));
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert!(status.message().contains("compile.memory"), "{}", status.message());
    let info = status.get_details_error_info().unwrap();
    assert_eq!(info.reason, "COMPILE_LIMIT");
    assert_eq!((&*info.metadata["limit"], &*info.metadata["allowed"]), ("compile.memory", "2Gi"));
    assert!(status.get_details_retry_info().is_none(), "trying again changes nothing");
}

#[test]
fn a_store_that_does_not_answer_is_worth_another_try_and_tells_nothing() {
    let source = "https://10.0.0.1/bucket: access denied".into();
    let lost = BlobError::Unavailable { doing: "store a blob", source };
    let status = from_push(PushError::from(lost));
    assert_eq!(status.code(), Code::Unavailable);
    assert_eq!(status.get_details_error_info().unwrap().reason, "BLOBS_UNAVAILABLE");
    assert!(status.get_details_retry_info().is_some());
    assert!(!format!("{status:?}").contains("10.0.0.1"), "{status:?}");
}

#[test]
fn a_catalog_that_does_not_answer_is_worth_another_try_and_tells_nothing() {
    let source = "https://10.0.0.1:6443: token refused".into();
    let lost = CatalogError::Unavailable { doing: "read an object", source };
    let changed = CatalogError::Contended("m".parse().unwrap());
    for status in [from_push(PushError::from(lost)), from_change(ChangeError::from(changed))] {
        assert_eq!(status.code(), Code::Unavailable);
        assert_eq!(status.get_details_error_info().unwrap().reason, "CATALOG_UNAVAILABLE");
        assert!(status.get_details_retry_info().is_some());
        assert!(!format!("{status:?}").contains("10.0.0.1"), "{status:?}");
    }
    for (error, code, reason) in [
        (
            CatalogError::NotEnabled("team-a".parse().unwrap()),
            Code::FailedPrecondition,
            "NAMESPACE_NOT_ENABLED",
        ),
        (CatalogError::TooLarge("3 MB".to_owned()), Code::ResourceExhausted, "RECORD_LIMIT"),
    ] {
        let status = from_push(PushError::from(error));
        assert_eq!(
            (status.code(), &*status.get_details_error_info().unwrap().reason),
            (code, reason)
        );
    }
    for (error, reason) in [
        (CatalogError::RolloutUnsupported, "ROLLOUT_UNSUPPORTED"),
        (CatalogError::RolloutRefused("why".to_owned()), "ROLLOUT_REFUSED"),
    ] {
        let status = from_change(ChangeError::from(error));
        assert_eq!(status.code(), Code::FailedPrecondition);
        assert_eq!(status.get_details_error_info().unwrap().reason, reason);
    }
    let refused = CatalogError::Forbidden { doing: "write", message: "user host".to_owned() };
    let status = from_push(PushError::from(refused));
    assert_eq!(status.code(), Code::Internal);
    assert!(!format!("{status:?}").contains("user host"), "{status:?}");
}
