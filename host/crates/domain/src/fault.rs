//! What can go wrong with a call, by meaning.
//!
//! A [`Fault`] says whose fault it is and which; the gateway alone turns it into a gRPC status.
//! Texts in here reach callers, so they never carry paths, addresses or the host's own errors.

use std::time::Duration;

use crate::{ModuleName, ModuleRef, Namespace};

/// A bound of the spec that a call ran into. The order and names are those of the spec.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LimitKind {
    Memory,
    Tables,
    Instances,
    Fuel,
    Input,
    Output,
    HostCopy,
    Handles,
    Random,
    Sockets,
    OpenFiles,
    Egress,
    Connections,
    Disk,
    Inodes,
}

/// One field of a request that breaks the contract.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldViolation {
    /// Path of protobuf field names, like `items[3].corner.x`; empty for the message itself.
    pub field: String,
    pub description: String,
}

/// Which limit, its value, and what was used or asked for where that is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LimitReached {
    pub limit: LimitKind,
    pub allowed: u64,
    pub used: Option<u64>,
}

/// What is wrong with what a caller shows of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Credentials {
    Missing,
    Bad,
    Expired,
}

/// A role that somebody would need.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotGranted {
    /// As the host's policy names them.
    pub who: String,
    pub needs: &'static str,
    pub has: Option<&'static str>,
    /// None for the host as a whole.
    pub namespace: Option<Namespace>,
    /// Where it has a role.
    pub elsewhere: Vec<Namespace>,
}

/// Why a call was not answered with a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error("the request does not fit the method's type{}", first(.0))]
    BadInput(Vec<FieldViolation>),
    #[error("{}", limit_text(.0))]
    Limit(LimitReached),
    #[error("no module `{0}` here")]
    NoSuchModule(ModuleName),
    #[error("module `{}` has no version {}", .0.name, .0.version.as_ref().map(ToString::to_string).unwrap_or_default())]
    NoSuchVersion(ModuleRef),
    #[error("no module serves `{0}` here")]
    NoSuchService(String),
    #[error("`{service}` has no method `{method}`")]
    NoSuchMethod { service: String, method: String },
    /// Of no live resource of the type asked for that is the caller's.
    #[error("no such handle: it expired, was dropped or given away, or is another's")]
    NoSuchHandle,
    /// The handle was good; what it named ended before its time.
    #[error("the handle's session is lost: {0}")]
    SessionLost(&'static str),
    #[error("the handles in one call must be of one session")]
    MixedSessions,
    #[error(
        "several modules serve `{service}` ({}): name one with the metadata `roadstead-module`",
        names(candidates)
    )]
    Ambiguous { service: String, candidates: Vec<ModuleName> },
    #[error("the {what} is full: try again")]
    Overloaded { what: &'static str, retry_after: Duration },
    #[error("this host can never run it: {0}")]
    NeverFits(String),
    /// The spec asks for what the operator does not offer to the module, or no more.
    #[error("not offered here: {0}")]
    NotOffered(String),
    #[error("the deadline of {} ms passed", .0.as_millis())]
    Deadline(Duration),
    /// No message of a stream went either way for so long.
    #[error("no message of the stream came or went for {} ms", .0.as_millis())]
    Idle(Duration),
    /// Who asks is not known.
    #[error("{why}")]
    Unauthenticated { credentials: Credentials, why: String },
    /// Who asks is known, and may not.
    #[error("{}", not_granted_text(.0))]
    NotGranted(Box<NotGranted>),
    #[error("the caller cancelled")]
    Cancelled,
    #[error("the module trapped: {message}")]
    GuestTrap { message: String, backtrace: Vec<String> },
    /// The module trapped again and again: its calls are refused for a while.
    #[error("the module traps again and again and is paused: try again in {} ms", .retry_after.as_millis())]
    BreakerOpen { retry_after: Duration },
    #[error("the host is draining: connect again")]
    Draining,
    /// A stream went on after its connection had to end.
    #[error("the connection is as old as it may get: connect again")]
    Aged,
    #[error("not ready: {0}")]
    NotReady(String),
    /// Whoever answered the call broke off: it may have run.
    #[error("the call was interrupted and may have run: {0}")]
    Interrupted(String),
    /// The host's own failure. `log_id` stands beside the cause in the host's log.
    #[error("the host failed, see its log for {log_id}")]
    Host { log_id: String },
}

fn first(violations: &[FieldViolation]) -> String {
    violations.first().map_or_else(String::new, |violation| {
        if violation.field.is_empty() {
            format!(": {}", violation.description)
        } else {
            format!(": {}: {}", violation.field, violation.description)
        }
    })
}

fn names(candidates: &[ModuleName]) -> String {
    candidates.iter().map(ModuleName::as_str).collect::<Vec<_>>().join(", ")
}

fn limit_text(reached: &LimitReached) -> String {
    let name = reached.limit.spec_field();
    match reached.used {
        Some(used) => format!("the limit `{name}` of {} was reached: {used}", reached.allowed),
        None => format!("the limit `{name}` of {} was reached", reached.allowed),
    }
}

fn not_granted_text(not: &NotGranted) -> String {
    let NotGranted { who, needs, has, namespace, elsewhere } = not;
    let place = match namespace {
        Some(namespace) => format!("in namespace `{namespace}`"),
        None => "in all namespaces".to_owned(),
    };
    let advice = "a grant in this host's policy file would allow it";
    match has {
        Some(has) => format!("{who} has the role {has} {place}, this needs {needs}: {advice}"),
        None if elsewhere.is_empty() => format!("{who} has no role {place}: {advice}"),
        None => {
            let elsewhere: Vec<_> = elsewhere.iter().map(Namespace::as_str).collect();
            let elsewhere = elsewhere.join(", ");
            format!(
                "{who} has no role {place}, but in: {elsewhere} (metadata `roadstead-namespace`)"
            )
        }
    }
}

impl Credentials {
    fn reason(self) -> &'static str {
        match self {
            Self::Missing => "NO_CREDENTIALS",
            Self::Bad => "BAD_CREDENTIALS",
            Self::Expired => "EXPIRED_CREDENTIALS",
        }
    }
}

impl LimitKind {
    pub const ALL: [Self; 15] = [
        Self::Memory,
        Self::Tables,
        Self::Instances,
        Self::Fuel,
        Self::Input,
        Self::Output,
        Self::HostCopy,
        Self::Handles,
        Self::Random,
        Self::Sockets,
        Self::OpenFiles,
        Self::Egress,
        Self::Connections,
        Self::Disk,
        Self::Inodes,
    ];

    /// The name under `limits:` or `quota:` in a spec.
    pub fn spec_field(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Tables => "tables",
            Self::Instances => "instances",
            Self::Fuel => "fuel_per_call",
            Self::Input => "input",
            Self::Output => "output",
            Self::HostCopy => "host_copy",
            Self::Handles => "handles",
            Self::Random => "random",
            Self::Sockets => "sockets",
            Self::OpenFiles => "open_files",
            Self::Egress => "egress",
            Self::Connections => "connections",
            Self::Disk => "disk",
            Self::Inodes => "inodes",
        }
    }

    /// The `reason` of `google.rpc.ErrorInfo`.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Memory => "MEMORY_LIMIT",
            Self::Tables => "TABLE_LIMIT",
            Self::Instances => "INSTANCE_LIMIT",
            Self::Fuel => "FUEL_EXHAUSTED",
            Self::Input => "INPUT_LIMIT",
            Self::Output => "OUTPUT_LIMIT",
            Self::HostCopy => "HOST_COPY_LIMIT",
            Self::Handles => "HANDLE_LIMIT",
            Self::Random => "RANDOM_LIMIT",
            Self::Sockets => "SOCKET_LIMIT",
            Self::OpenFiles => "OPEN_FILE_LIMIT",
            Self::Egress => "EGRESS_LIMIT",
            Self::Connections => "CONNECTION_LIMIT",
            Self::Disk => "DISK_LIMIT",
            Self::Inodes => "INODE_LIMIT",
        }
    }
}

impl Fault {
    /// A fault about the message as a whole or one field of it.
    pub fn bad_input(field: impl Into<String>, description: impl Into<String>) -> Self {
        Self::BadInput(vec![FieldViolation {
            field: field.into(),
            description: description.into(),
        }])
    }

    pub fn limit(limit: LimitKind, allowed: u64, used: Option<u64>) -> Self {
        Self::Limit(LimitReached { limit, allowed, used })
    }

    /// Whether a call that ended so counts as a failure of the version that was called, or of its
    /// host: traps, limits of the spec, deadlines, and whatever keeps the host from running it.
    /// Mistakes of callers, a request that is too large among them, and their leaving count for
    /// nothing, and neither do a host that is busy or about to end, who may call, and handles.
    pub fn blames_version(&self) -> bool {
        match self {
            Self::Limit(reached) => reached.limit != LimitKind::Input,
            Self::NeverFits(_)
            | Self::NotOffered(_)
            | Self::Deadline(_)
            | Self::GuestTrap { .. }
            | Self::BreakerOpen { .. }
            | Self::NotReady(_)
            | Self::Interrupted(_)
            | Self::Host { .. } => true,
            Self::BadInput(_)
            | Self::NoSuchModule(_)
            | Self::NoSuchVersion(_)
            | Self::NoSuchService(_)
            | Self::NoSuchMethod { .. }
            | Self::NoSuchHandle
            | Self::SessionLost(_)
            | Self::MixedSessions
            | Self::Ambiguous { .. }
            | Self::Overloaded { .. }
            | Self::Idle(_)
            | Self::Unauthenticated { .. }
            | Self::NotGranted(_)
            | Self::Cancelled
            | Self::Draining
            | Self::Aged => false,
        }
    }

    /// The `reason` of `google.rpc.ErrorInfo`, where the contract names one.
    pub fn reason(&self) -> Option<&'static str> {
        Some(match self {
            Self::BadInput(_) => "BAD_INPUT",
            Self::Limit(reached) => reached.limit.reason(),
            Self::NoSuchModule(_) => "NO_SUCH_MODULE",
            Self::NoSuchVersion(_) => "NO_SUCH_VERSION",
            Self::NoSuchService(_) => "NO_SUCH_SERVICE",
            Self::NoSuchMethod { .. } => "NO_SUCH_METHOD",
            Self::NoSuchHandle => "NO_SUCH_HANDLE",
            Self::SessionLost(_) => "SESSION_LOST",
            Self::MixedSessions => "MIXED_SESSIONS",
            Self::Ambiguous { .. } => "AMBIGUOUS_MODULE",
            Self::Overloaded { .. } => "OVERLOADED",
            Self::NeverFits(_) => "NEVER_FITS",
            Self::NotOffered(_) => "NOT_OFFERED",
            Self::Deadline(_) => "DEADLINE",
            Self::Idle(_) => "STREAM_IDLE",
            Self::Unauthenticated { credentials, .. } => credentials.reason(),
            Self::NotGranted(_) => "NOT_GRANTED",
            Self::Cancelled => return None,
            Self::GuestTrap { .. } => "GUEST_TRAP",
            Self::BreakerOpen { .. } => "BREAKER_OPEN",
            Self::Draining => "DRAINING",
            Self::Aged => "CONNECTION_AGE",
            Self::NotReady(_) => "NOT_READY",
            Self::Interrupted(_) => "INTERRUPTED",
            Self::Host { .. } => "HOST_FAULT",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_limit_has_its_own_reason_and_field() {
        let reasons: std::collections::BTreeSet<_> =
            LimitKind::ALL.iter().map(|limit| (limit.reason(), limit.spec_field())).collect();
        assert_eq!(reasons.len(), LimitKind::ALL.len());
    }

    #[test]
    fn texts_name_the_field_and_the_limit() {
        assert_eq!(
            Fault::bad_input("lot.weight", "must be set").to_string(),
            "the request does not fit the method's type: lot.weight: must be set"
        );
        assert_eq!(
            Fault::limit(LimitKind::Fuel, 10, Some(11)).to_string(),
            "the limit `fuel_per_call` of 10 was reached: 11"
        );
    }

    #[test]
    fn only_what_is_wrong_with_the_version_or_its_host_blames_it() {
        let text = || "x".to_owned();
        let second = Duration::from_secs(1);
        let name = || "m".parse::<ModuleName>().unwrap();
        let not_granted = NotGranted {
            who: text(),
            needs: "caller",
            has: None,
            namespace: None,
            elsewhere: Vec::new(),
        };
        let blamed = [
            Fault::NeverFits(text()),
            Fault::NotOffered(text()),
            Fault::Deadline(second),
            Fault::GuestTrap { message: text(), backtrace: Vec::new() },
            Fault::BreakerOpen { retry_after: second },
            Fault::NotReady(text()),
            Fault::Interrupted(text()),
            Fault::Host { log_id: text() },
        ];
        let others = [
            Fault::bad_input("a", "b"),
            Fault::NoSuchModule(name()),
            Fault::NoSuchVersion(ModuleRef { name: name(), version: None }),
            Fault::NoSuchService(text()),
            Fault::NoSuchMethod { service: text(), method: text() },
            Fault::NoSuchHandle,
            Fault::SessionLost("gone"),
            Fault::MixedSessions,
            Fault::Ambiguous { service: text(), candidates: Vec::new() },
            Fault::Overloaded { what: "queue", retry_after: second },
            Fault::Idle(second),
            Fault::Unauthenticated { credentials: Credentials::Bad, why: text() },
            Fault::NotGranted(Box::new(not_granted)),
            Fault::Cancelled,
            Fault::Draining,
            Fault::Aged,
        ];
        assert!(blamed.iter().all(Fault::blames_version));
        assert!(!others.iter().any(Fault::blames_version));
        let limits = LimitKind::ALL.map(|limit| (limit, Fault::limit(limit, 1, None)));
        for (limit, fault) in &limits {
            assert_eq!(fault.blames_version(), *limit != LimitKind::Input, "{limit:?}");
        }
        // All of them were tried.
        let reasons = blamed.iter().chain(&others).chain(limits.iter().map(|(_, fault)| fault));
        let reasons: std::collections::BTreeSet<_> = reasons.map(Fault::reason).collect();
        assert_eq!(reasons.len(), blamed.len() + others.len() + limits.len());
    }
}
