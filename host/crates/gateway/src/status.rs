//! The one place where a [`Fault`] becomes a gRPC status: the code says whose fault it is,
//! `google.rpc.ErrorInfo` says which.
//!
//! Texts come from the fault, whose words are meant for callers, and are clipped: clients refuse
//! header blocks beyond 8 KiB, and then show neither the code nor the reason.

use std::{collections::HashMap, error::Error, fmt, time::Duration};

use roadstead_domain::{BindingHop, BindingProblem, Fault, FieldViolation, ModuleRef, with_causes};
use roadstead_registry::{ChangeError, PushError};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use crate::trace::TraceId;

/// The `domain` of every `google.rpc.ErrorInfo`.
pub const ERROR_DOMAIN: &str = "roadstead.dev";

const MESSAGE_BYTES: usize = 512;
const VIOLATIONS: usize = 8;
const VIOLATION_BYTES: usize = 160;
const BACKTRACE_FRAMES: usize = 16;
const FRAME_BYTES: usize = 120;

/// How long a client that meets a host in its last or first moments should wait.
pub(crate) const RETRY_SOON: Duration = Duration::from_secs(1);

/// How long a client should wait before it changes a catalog again that did not answer.
const CATALOG_RETRY: Duration = Duration::from_secs(5);

/// The status of a fault, without `google.rpc.DebugInfo` unless `may_debug`.
pub fn from_fault(fault: &Fault, may_debug: bool) -> Status {
    status(fault, may_debug, None)
}

/// The same for a fault of a call, with the trace that tells it in the log.
pub(crate) fn traced(fault: &Fault, may_debug: bool, trace: TraceId) -> Status {
    status(fault, may_debug, Some(trace))
}

fn status(fault: &Fault, may_debug: bool, trace: Option<TraceId>) -> Status {
    let mut details = ErrorDetails::new();
    if let Some(reason) = fault.reason() {
        let mut facts = metadata(fault);
        facts.extend(trace.map(|trace| ("trace_id".to_owned(), trace.to_string())));
        details.set_error_info(reason, ERROR_DOMAIN, facts);
    }
    if let Fault::BadInput(violations) = fault {
        for FieldViolation { field, description } in violations.iter().take(VIOLATIONS) {
            details.add_bad_request_violation(
                clip(field, VIOLATION_BYTES),
                clip(description, VIOLATION_BYTES),
            );
        }
    }
    if let Some(retry) = retry_after(fault) {
        details.set_retry_info(Some(retry));
    }
    if let (true, Fault::GuestTrap { message, backtrace }) = (may_debug, root(fault)) {
        let frames = backtrace.iter().take(BACKTRACE_FRAMES);
        let frames: Vec<String> = frames.map(|frame| clip(frame, FRAME_BYTES)).collect();
        details.set_debug_info(frames, clip(message, FRAME_BYTES));
    }
    Status::with_error_details(code(fault), clip(&fault.to_string(), MESSAGE_BYTES), details)
}

/// When a call that ended so may be made again, where that helps.
fn retry_after(fault: &Fault) -> Option<Duration> {
    match root(fault) {
        Fault::Overloaded { retry_after, .. } | Fault::BreakerOpen { retry_after } => {
            Some(*retry_after)
        }
        Fault::Draining | Fault::Aged | Fault::NotReady(_) => Some(RETRY_SOON),
        Fault::Binding(binding) if matches!(binding.problem, BindingProblem::Absent(_)) => {
            Some(RETRY_SOON)
        }
        _ => None,
    }
}

/// The fault behind all bindings.
fn root(fault: &Fault) -> &Fault {
    match fault {
        Fault::Binding(binding) => match &binding.problem {
            BindingProblem::Fault(inner) => root(inner),
            _ => fault,
        },
        other => other,
    }
}

/// A failure of the host: the cause goes to the log, its id to the caller.
pub(crate) fn host_fault(doing: &str, cause: &dyn fmt::Display) -> Fault {
    let log_id = uuid::Uuid::new_v4().simple().to_string();
    tracing::error!(log_id, "{doing}: {cause}");
    Fault::Host { log_id }
}

/// The status of a push that came to nothing.
pub(crate) fn from_push(error: PushError) -> Status {
    let text = error.to_string();
    match error {
        PushError::NoName => from_fault(&Fault::bad_input("header.name", text), true),
        PushError::Lock(problem) => from_fault(&Fault::bad_input("header.lock", problem), true),
        PushError::NeverFits(why) => from_fault(&Fault::NeverFits(why), true),
        PushError::NotOffered(why) => from_fault(&Fault::NotOffered(why), true),
        PushError::CpuPromised { wanted, free, whole } => {
            let facts = [("wanted", wanted), ("free", free), ("whole", whole)];
            exhausted("CPU_PROMISED", text, facts.map(|(key, cpu)| (key, cpu.to_string())))
        }
        PushError::NamespaceFull { setting, allowed, would_be } => {
            let facts = [
                ("limit", format!("namespace.{setting}")),
                ("allowed", allowed.to_string()),
                ("used", would_be.to_string()),
            ];
            exhausted("NAMESPACE_LIMIT", text, facts)
        }
        PushError::Overloaded { retry_after } => {
            from_fault(&Fault::Overloaded { what: "queue of pushes", retry_after }, true)
        }
        PushError::Invalid(_) => refusal(Code::InvalidArgument, "INVALID_COMPONENT", &text),
        PushError::TooLarge(limit) => {
            let facts = [("limit", "upload".to_owned()), ("allowed", limit.0.to_string())];
            exhausted("UPLOAD_LIMIT", text, facts)
        }
        PushError::CompileLimit(limit) => {
            let facts = [("limit", limit.setting.to_owned()), ("allowed", limit.allowed)];
            exhausted("COMPILE_LIMIT", text, facts)
        }
        PushError::CompileCrash(_) => refusal(Code::Aborted, "COMPILE_CRASH", &text),
        PushError::UnknownImports(imports) => {
            let found = imports.into_iter().map(|import| (import.name, import.hint));
            precondition("UNKNOWN_IMPORT", &text, found)
        }
        PushError::Bindings(problems) => {
            let found = problems.into_iter().map(|one| (one.import, one.problem));
            precondition("BAD_BINDING", &text, found)
        }
        PushError::Breaks(breaks) => {
            let found = breaks.into_iter().map(|found| (found.subject, found.description));
            precondition("BREAKING_CHANGE", &text, found)
        }
        PushError::VersionExists { .. } => refusal(Code::AlreadyExists, "VERSION_EXISTS", &text),
        PushError::NameTaken(_) => refusal(Code::AlreadyExists, "NAME_TAKEN", &text),
        PushError::DamagedLock(_) => refusal(Code::FailedPrecondition, "DAMAGED_LOCK", &text),
        PushError::Unavailable(cause) => unavailable("CATALOG_UNAVAILABLE", &text, &cause),
        PushError::StoreUnavailable(cause) => unavailable("BLOBS_UNAVAILABLE", &text, &cause),
        PushError::NotEnabled(_) => {
            refusal(Code::FailedPrecondition, "NAMESPACE_NOT_ENABLED", &text)
        }
        PushError::RecordTooLarge(cause) => {
            tracing::warn!("a record is too large: {}", with_causes(&cause));
            refusal(Code::ResourceExhausted, "RECORD_LIMIT", &text)
        }
        PushError::Full(cause) => full(&text, &*cause),
        PushError::Host(cause) => {
            from_fault(&host_fault("push a module", &with_causes(&*cause)), true)
        }
    }
}

/// A push that asks for more than there is, and the figures.
fn exhausted<const N: usize>(reason: &str, text: String, facts: [(&str, String); N]) -> Status {
    let facts = facts.map(|(key, value)| (key.to_owned(), value));
    let mut details = ErrorDetails::new();
    details.set_error_info(reason, ERROR_DOMAIN, HashMap::from(facts));
    Status::with_error_details(Code::ResourceExhausted, text, details)
}

/// The status of another change of the catalog that came to nothing.
pub(crate) fn from_change(error: ChangeError) -> Status {
    let text = error.to_string();
    match error {
        ChangeError::NoSuchModule(name) => from_fault(&Fault::NoSuchModule(name), true),
        ChangeError::NoSuchVersion { name, version } => {
            let wanted = ModuleRef { name, version: Some(version) };
            from_fault(&Fault::NoSuchVersion(wanted), true)
        }
        ChangeError::Pinned { .. } => refusal(Code::FailedPrecondition, "PINNED", &text),
        ChangeError::DamagedLock(_) => refusal(Code::FailedPrecondition, "DAMAGED_LOCK", &text),
        ChangeError::RolloutUnsupported(_) => {
            refusal(Code::FailedPrecondition, "ROLLOUT_UNSUPPORTED", &text)
        }
        ChangeError::RolloutRefused(_) => {
            refusal(Code::FailedPrecondition, "ROLLOUT_REFUSED", &text)
        }
        ChangeError::Unavailable(cause) => unavailable("CATALOG_UNAVAILABLE", &text, &cause),
        ChangeError::Full(cause) => full(&text, &*cause),
        ChangeError::Host(cause) => {
            from_fault(&host_fault("change the catalog", &with_causes(&*cause)), true)
        }
    }
}

/// What hosts share does not answer now.
fn unavailable(reason: &str, text: &str, cause: &(dyn Error + 'static)) -> Status {
    tracing::warn!(reason, "nothing can be published: {}", with_causes(cause));
    let mut details = ErrorDetails::new();
    details.set_error_info(reason, ERROR_DOMAIN, HashMap::<String, String>::new());
    details.set_retry_info(Some(CATALOG_RETRY));
    Status::with_error_details(Code::Unavailable, clip(text, MESSAGE_BYTES), details)
}

fn full(text: &str, cause: &(dyn Error + 'static)) -> Status {
    tracing::error!("the disk is full: {}", with_causes(cause));
    refusal(Code::ResourceExhausted, "DISK_FULL", text)
}

/// What must change before the request can succeed, item by item.
fn precondition(reason: &str, text: &str, items: impl Iterator<Item = (String, String)>) -> Status {
    let mut details = ErrorDetails::new();
    details.set_error_info(reason, ERROR_DOMAIN, HashMap::new());
    for (subject, description) in items.take(VIOLATIONS) {
        details.add_precondition_failure_violation(
            reason,
            clip(&subject, VIOLATION_BYTES),
            clip(&description, VIOLATION_BYTES),
        );
    }
    Status::with_error_details(Code::FailedPrecondition, clip(text, MESSAGE_BYTES), details)
}

/// A status with an `ErrorInfo` for refusals that are not about a call.
pub(crate) fn refusal(code: Code, reason: &str, message: &str) -> Status {
    let mut details = ErrorDetails::new();
    details.set_error_info(reason, ERROR_DOMAIN, HashMap::new());
    Status::with_error_details(code, clip(message, MESSAGE_BYTES), details)
}

fn code(fault: &Fault) -> Code {
    match fault {
        Fault::BadInput(_) => Code::InvalidArgument,
        Fault::Limit(_) | Fault::Overloaded { .. } => Code::ResourceExhausted,
        Fault::NoSuchModule(_)
        | Fault::NoSuchVersion(_)
        | Fault::NoSuchHandle
        | Fault::SessionLost(_) => Code::NotFound,
        Fault::NoSuchService(_) | Fault::NoSuchMethod { .. } => Code::Unimplemented,
        Fault::Ambiguous { .. }
        | Fault::NeverFits(_)
        | Fault::NotOffered(_)
        | Fault::MixedSessions => Code::FailedPrecondition,
        Fault::Deadline(_) | Fault::Idle(_) => Code::DeadlineExceeded,
        Fault::Unauthenticated { .. } => Code::Unauthenticated,
        Fault::NotGranted(_) => Code::PermissionDenied,
        Fault::Cancelled => Code::Cancelled,
        Fault::GuestTrap { .. } => Code::Aborted,
        Fault::BreakerOpen { .. }
        | Fault::Draining
        | Fault::Aged
        | Fault::NotReady(_)
        | Fault::Interrupted(_) => Code::Unavailable,
        Fault::Host { .. } => Code::Internal,
        Fault::Binding(binding) => match &binding.problem {
            BindingProblem::Absent(_) => Code::Unavailable,
            BindingProblem::Mismatch(_) | BindingProblem::Cycle(_) | BindingProblem::Depth(_) => {
                Code::FailedPrecondition
            }
            BindingProblem::Fault(inner) => code_behind(inner),
        },
    }
}

/// The code for a fault of a module that another one called: whether it answers in time is as if the
/// caller had called it, everything else is a failure of what the caller did call.
fn code_behind(inner: &Fault) -> Code {
    match inner {
        Fault::Overloaded { .. }
        | Fault::Deadline(_)
        | Fault::Cancelled
        | Fault::BreakerOpen { .. }
        | Fault::Draining
        | Fault::NotReady(_)
        | Fault::NeverFits(_)
        | Fault::NotOffered(_)
        | Fault::Host { .. } => code(inner),
        _ => Code::Aborted,
    }
}

fn metadata(fault: &Fault) -> HashMap<String, String> {
    let mut facts = HashMap::new();
    let mut put = |key: &str, value: String| {
        facts.insert(key.to_owned(), clip(&value, VIOLATION_BYTES));
    };
    match fault {
        Fault::Limit(reached) => {
            put("limit", reached.limit.spec_field().to_owned());
            put("allowed", reached.allowed.to_string());
            if let Some(used) = reached.used {
                put("used", used.to_string());
            }
        }
        Fault::NoSuchModule(name) => put("module", name.to_string()),
        Fault::NoSuchVersion(reference) => put("module", reference.to_string()),
        Fault::NoSuchService(service) => put("service", service.clone()),
        Fault::NoSuchMethod { service, method } => {
            put("service", service.clone());
            put("method", method.clone());
        }
        Fault::Ambiguous { service, candidates } => {
            let names: Vec<&str> = candidates.iter().map(|name| name.as_str()).collect();
            put("service", service.clone());
            put("candidates", names.join(","));
        }
        Fault::SessionLost(why) => put("why", (*why).to_owned()),
        Fault::Overloaded { what, .. } => put("what", (*what).to_owned()),
        Fault::Deadline(limit) => put("deadline_ms", limit.as_millis().to_string()),
        Fault::Idle(limit) => put("stream_idle_ms", limit.as_millis().to_string()),
        Fault::NotGranted(not) => {
            put("who", not.who.clone());
            put("needs", not.needs.to_owned());
            put("has", not.has.unwrap_or("nothing").to_owned());
            put("namespace", not.namespace.as_ref().map_or("*", |name| name.as_str()).to_owned());
        }
        Fault::Host { log_id } => put("log_id", log_id.clone()),
        Fault::Binding(binding) => {
            let names = |name: fn(&BindingHop) -> &str| {
                binding.hops.iter().map(name).collect::<Vec<_>>().join(", ")
            };
            put("binding", names(|hop| &hop.import));
            put("target", names(|hop| &hop.target));
            if let BindingProblem::Fault(inner) = &binding.problem {
                put("reason", inner.reason().unwrap_or("CANCELLED").to_owned());
                let inner = metadata(inner).into_iter();
                facts.extend(inner.map(|(key, value)| (format!("target_{key}"), value)));
            }
        }
        _ => {}
    }
    facts
}

/// At most `most` bytes of `text`, cut between characters.
fn clip(text: &str, most: usize) -> String {
    if text.len() <= most {
        return text.to_owned();
    }
    let cut = text.floor_char_boundary(most.saturating_sub('…'.len_utf8()));
    format!("{}…", text.get(..cut).unwrap_or_default())
}

#[cfg(test)]
mod tests;
