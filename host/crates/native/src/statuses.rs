//! What becomes of a server's status for whoever called: nothing of it is passed on as it
//! is, and texts of it only as [`crate::remote`] tells them.

use std::time::Duration;

use roadstead_domain::{Fault, FieldViolation, LimitKind};

use crate::{
    grpc::{Broken, Code, Status},
    link::{explain, unseen},
    messages::{BadRequest, ErrorInfo, RetryInfo},
};

/// Violations that are passed on.
const VIOLATIONS: usize = 8;
/// How long a caller waits where the server does not say, and at the most.
const RETRY: Duration = Duration::from_secs(1);
const LONGEST_RETRY: Duration = Duration::from_secs(60);

/// How a call went on a server.
#[derive(Debug)]
pub(crate) enum Failed {
    /// It has surely not run: another server may have it.
    Unseen(String),
    /// The server or the way to it broke off.
    Broken(String),
    /// The server's answer, or what it should not have done.
    Fault(Fault),
}

impl From<Fault> for Failed {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// Of a status that is not OK.
pub(crate) fn of_status(status: Status, elapsed: Duration, output: u64) -> Failed {
    let reason = status.details.find::<ErrorInfo>("google.rpc.ErrorInfo").map(|info| info.reason);
    Failed::Fault(match status.code {
        Code::InvalidArgument => bad_input(status),
        Code::ResourceExhausted if reason.as_deref() == Some("OUTPUT_LIMIT") => {
            Fault::limit(LimitKind::Output, output, None)
        }
        Code::ResourceExhausted => {
            Fault::Overloaded { what: "module's server", retry_after: retry(&status) }
        }
        Code::Unavailable if reason.as_deref() == Some("NOT_READY") => {
            return Failed::Unseen(status.text);
        }
        // It may have run.
        Code::Unavailable => {
            return Failed::Broken(format!("its server broke off and says: {}", status.text));
        }
        Code::Cancelled => Fault::Cancelled,
        Code::DeadlineExceeded => Fault::Deadline(elapsed),
        Code::Ok => trap("an answer without a message"),
        Code::Unimplemented => trap("it does not have the method"),
        Code::Other(_) => trap(&status.text),
    })
}

fn trap(message: &str) -> Fault {
    Fault::GuestTrap { message: message.to_owned(), backtrace: Vec::new() }
}

fn bad_input(status: Status) -> Fault {
    let request = status.details.find::<BadRequest>("google.rpc.BadRequest");
    let violations = request.map(|request| request.violations).unwrap_or_default();
    if violations.is_empty() {
        return Fault::bad_input("", status.text);
    }
    let violations = violations.into_iter().take(VIOLATIONS);
    Fault::BadInput(
        violations
            .map(|one| FieldViolation { field: one.field, description: one.description })
            .collect(),
    )
}

fn retry(status: &Status) -> Duration {
    let said = status.details.find::<RetryInfo>("google.rpc.RetryInfo").and_then(|info| info.delay);
    let said = said.and_then(|delay| Duration::try_from(delay).ok());
    said.unwrap_or(RETRY).min(LONGEST_RETRY)
}

/// Of a request that could not be sent, or of an answer that did not begin.
pub(crate) fn of_error(error: &hyper::Error) -> Failed {
    if unseen(error) {
        return Failed::Unseen(explain(error));
    }
    match misbehaved(error) {
        Some(reason) => Failed::Fault(trap(&format!("its server broke the protocol: {reason}"))),
        None => Failed::Broken("its server broke off".to_owned()),
    }
}

/// Why a server reset the call, or this side did for what the server sent.
fn misbehaved(error: &hyper::Error) -> Option<h2::Reason> {
    use std::error::Error as _;
    let cause = error.source()?.downcast_ref::<h2::Error>()?;
    let told = cause.is_reset() || (cause.is_go_away() && !cause.is_remote());
    told.then(|| cause.reason()).flatten()
}

/// Of an answer that broke off or was none.
pub(crate) fn of_broken(broken: &Broken, output: u64) -> Failed {
    match broken {
        Broken::Transport(error) => match of_error(error) {
            // It had begun to answer.
            Failed::Unseen(text) => Failed::Broken(text),
            other => other,
        },
        Broken::Garbage(what) => Failed::Fault(trap(&format!("its server sent {what}"))),
        Broken::NoRoom(fault) => Failed::Fault(fault.clone()),
        Broken::TooLarge(bytes) => {
            Failed::Fault(Fault::limit(LimitKind::Output, output, Some(*bytes)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::messages::{RpcStatus, Violation};

    fn status(code: Code, details: Vec<prost_types::Any>) -> Status {
        Status { code, text: "why".to_owned(), details: RpcStatus { details } }
    }

    fn fault(status: Status) -> Fault {
        match of_status(status, Duration::from_secs(3), 7) {
            Failed::Fault(fault) => fault,
            other => panic!("{other:?}"),
        }
    }

    fn any(name: &str, message: &impl prost::Message) -> prost_types::Any {
        let type_url = format!("type.googleapis.com/{name}");
        prost_types::Any { type_url, value: message.encode_to_vec() }
    }

    #[test]
    fn codes_become_faults() {
        let plain = |code| fault(status(code, Vec::new()));
        assert_eq!(plain(Code::InvalidArgument), Fault::bad_input("", "why"));
        assert_eq!(plain(Code::Cancelled), Fault::Cancelled);
        assert_eq!(plain(Code::DeadlineExceeded), Fault::Deadline(Duration::from_secs(3)));
        let broken = of_status(status(Code::Unavailable, Vec::new()), RETRY, 7);
        assert!(matches!(broken, Failed::Broken(why) if why.contains("says: why")));
        assert!(matches!(plain(Code::Unimplemented), Fault::GuestTrap { .. }));
        let trap = Fault::GuestTrap { message: "why".to_owned(), backtrace: Vec::new() };
        assert_eq!(plain(Code::Other(13)), trap);
        // Whom the server does not believe, or lets do nothing, is not the caller's business.
        assert_eq!(plain(Code::Other(16)), trap);
    }

    #[test]
    fn details_are_read_and_bounded() {
        let one = Violation { field: "a.b".to_owned(), description: "x".to_owned() };
        let request = BadRequest { violations: vec![one; 20] };
        let details = vec![any("google.rpc.BadRequest", &request)];
        let Fault::BadInput(found) = fault(status(Code::InvalidArgument, details)) else {
            panic!()
        };
        assert_eq!((found.len(), found[0].field.as_str()), (VIOLATIONS, "a.b"));

        let delay = prost_types::Duration { seconds: 100_000, nanos: 0 };
        let retry = any("google.rpc.RetryInfo", &RetryInfo { delay: Some(delay) });
        let Fault::Overloaded { retry_after, .. } =
            fault(status(Code::ResourceExhausted, vec![retry]))
        else {
            panic!()
        };
        assert_eq!(retry_after, LONGEST_RETRY);

        let info =
            |reason: &str| any("google.rpc.ErrorInfo", &ErrorInfo { reason: reason.to_owned() });
        let unseen = of_status(status(Code::Unavailable, vec![info("NOT_READY")]), RETRY, 7);
        assert!(matches!(unseen, Failed::Unseen(_)));
        let output = fault(status(Code::ResourceExhausted, vec![info("OUTPUT_LIMIT")]));
        assert_eq!(output, Fault::limit(LimitKind::Output, 7, None));
    }
}
