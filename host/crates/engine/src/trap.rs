//! The one place that turns an error of wasmtime into a fault.
//!
//! Callers get fixed phrases: texts of wasmtime may quote the guest, and guest text is never
//! trusted. Names of wasm functions in a backtrace are the guest's too; they are demangled,
//! bounded and stripped of whatever a terminal would act on.

use roadstead_domain::{CallId, Fault, LimitKind, LimitReached, Limits};
use wasmtime::{
    Error, FrameInfo, OutOfMemory, PoolConcurrencyLimitError, Trap, WasmBacktrace, WasmtimeBug,
};
use wasmtime_wasi::I32Exit;

use crate::{binding::BindingTrap, limiter::Refusal, overload, store::GuestState};

/// Frames that a fault shows.
const FRAMES: usize = 20;

/// Characters of a function's name that a fault shows.
const NAME: usize = 200;

/// Whose fault it is that a guest's instantiation or call failed.
pub(crate) fn fault_of(error: &Error, guest: &GuestState, limits: &Limits, call: CallId) -> Fault {
    if let Some(BindingTrap(fault)) = error.downcast_ref() {
        return fault.clone();
    }
    let trap = error.downcast_ref::<Trap>().copied();
    match trap {
        Some(Trap::OutOfFuel) => {
            return Fault::limit(LimitKind::Fuel, limits.fuel_per_call, Some(limits.fuel_per_call));
        }
        Some(Trap::StackOverflow) => return trapped(Trap::StackOverflow, error),
        _ => {}
    }
    match guest.limiter.refused() {
        Some(Refusal::Limit(reached)) => return Fault::Limit(reached),
        Some(Refusal::Host(level)) => return overload::memory(level),
        None => {}
    }
    if let Some(reached) = limit_of_a_host_call(error, guest, limits) {
        return Fault::Limit(reached);
    }
    if let Some(trap) = trap {
        return trapped(trap, error);
    }
    if let Some(I32Exit(code)) = error.downcast_ref() {
        let message = format!("it exited with status {code} instead of answering");
        return Fault::GuestTrap { message, backtrace: backtrace(error) };
    }
    if error.is::<PoolConcurrencyLimitError>() {
        return overload::slots();
    }
    if error.is::<OutOfMemory>() || error.is::<std::io::Error>() || error.is::<WasmtimeBug>() {
        return host(error, call);
    }
    tracing::debug!(%call, error = %format_args!("{error:#}"), "a guest broke off");
    let message = "it broke the rules of the component model or of an interface".to_owned();
    Fault::GuestTrap { message, backtrace: backtrace(error) }
}

/// The host's own failure: the cause goes to the log, an id to the caller.
pub(crate) fn host(error: &Error, call: CallId) -> Fault {
    tracing::error!(%call, error = %format_args!("{error:#}"), "a call failed in the host");
    Fault::Host { log_id: call.to_string() }
}

fn limit_of_a_host_call(
    error: &Error,
    guest: &GuestState,
    limits: &Limits,
) -> Option<LimitReached> {
    if let Some(reached) = guest.capabilities.limit_of(error) {
        return Some(reached);
    }
    // wasmtime gives these no type of their own: a test holds it to the texts.
    let text = error.root_cause().to_string();
    let parts = |what| text.starts_with("resource limit exceeded: ") && text.contains(what);
    let (limit, allowed) = if text.contains("fuel allocated for hostcalls has been exhausted") {
        (LimitKind::HostCopy, limits.host_copy.0)
    } else if parts("instance count") || parts("memory count") || parts("table count") {
        (LimitKind::Instances, limits.instances)
    } else if text.contains("store handle limit exceeded") {
        (LimitKind::Handles, limits.handles)
    } else {
        return None;
    };
    Some(LimitReached { limit, allowed, used: None })
}

fn trapped(trap: Trap, error: &Error) -> Fault {
    Fault::GuestTrap { message: phrase(trap).to_owned(), backtrace: backtrace(error) }
}

fn phrase(trap: Trap) -> &'static str {
    match trap {
        Trap::StackOverflow => "the stack overflowed",
        Trap::MemoryOutOfBounds | Trap::HeapMisaligned => "it reached outside its memory",
        Trap::TableOutOfBounds => "it reached outside a table",
        Trap::IndirectCallToNull => "it called a function that is not there",
        Trap::BadSignature => "it called a function of another type",
        Trap::IntegerOverflow => "an integer overflowed",
        Trap::IntegerDivisionByZero => "it divided by zero",
        Trap::BadConversionToInteger => "it converted a number that is no integer",
        Trap::UnreachableCodeReached => "it aborted (reached `unreachable`)",
        Trap::Interrupt => "it was interrupted",
        Trap::CannotEnterComponent => "the instance was entered again while it was busy",
        Trap::AsyncDeadlock => "it waits for something that can never happen",
        _ => "it broke the rules of wasm or of the component model",
    }
}

fn backtrace(error: &Error) -> Vec<String> {
    error
        .downcast_ref::<WasmBacktrace>()
        .map_or_else(Vec::new, |trace| trace.frames().iter().take(FRAMES).map(frame).collect())
}

fn frame(frame: &FrameInfo) -> String {
    let function = match frame.func_name() {
        Some(name) => plain(&format!("{:#}", rustc_demangle::demangle(name))),
        None => format!("function {}", frame.func_index()),
    };
    match frame.module().name() {
        Some(module) => format!("{}!{function}", plain(module)),
        None => function,
    }
}

/// Guest text, bounded, with one line and nothing that a terminal would act on.
fn plain(text: &str) -> String {
    let shown = |c: char| if c.is_control() || is_format(c) { '\u{fffd}' } else { c };
    text.chars().take(NAME).map(shown).collect()
}

/// Characters that change the direction or are not seen.
fn is_format(c: char) -> bool {
    matches!(c,
        '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guest_names_are_made_plain() {
        assert_eq!(plain("a\u{1b}[31mb\nc\u{202e}d"), "a\u{fffd}[31mb\u{fffd}c\u{fffd}d");
        assert_eq!(plain(&"x".repeat(1000)).len(), NAME);
    }
}
