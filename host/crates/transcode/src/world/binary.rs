//! Reading component binaries, and making components of core modules.

use std::{
    borrow::Cow,
    fmt::Display,
    panic::{AssertUnwindSafe, catch_unwind},
};

use wasi_preview1_component_adapter_provider::{
    WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, WASI_SNAPSHOT_PREVIEW1_COMMAND_ADAPTER,
    WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER,
};
use wasmparser::{Parser, Payload};
use wit_component::{ComponentEncoder, DecodedWasm};

use super::{World, WorldError, bounds};

/// A component as it is; a core module with WIT metadata made into one.
///
/// # Errors
/// [`WorldError`] for anything else.
pub fn to_component(wasm: &[u8]) -> Result<Cow<'_, [u8]>, WorldError> {
    if Parser::is_component(wasm) {
        Ok(Cow::Borrowed(wasm))
    } else {
        componentize(wasm, preview1_adapter(wasm)).map(Cow::Owned)
    }
}

/// The adapter from WASI preview 1 that fits a core module: a command's if it has a `_start`.
pub fn preview1_adapter(core: &[u8]) -> &'static [u8] {
    if exports_start(core) {
        WASI_SNAPSHOT_PREVIEW1_COMMAND_ADAPTER
    } else {
        WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER
    }
}

/// Makes a component of a core module that carries WIT metadata.
///
/// # Errors
/// [`WorldError`] if the bytes are no core module, have no metadata, or do not fit it.
pub fn componentize(core: &[u8], preview1_adapter: &[u8]) -> Result<Vec<u8>, WorldError> {
    if !Parser::is_core_wasm(core) {
        return Err(if Parser::is_component(core) {
            WorldError::Componentize("it already is a component".to_owned())
        } else {
            WorldError::NotWasm
        });
    }
    if !has_wit_metadata(core)? {
        return Err(WorldError::NoWit);
    }
    bounds::check_core(core)?;
    guarded(|| {
        ComponentEncoder::default()
            .module(core)?
            .adapter(WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, preview1_adapter)?
            .validate(true)
            .encode()
    })
    .map_err(WorldError::Componentize)
}

pub(super) fn decode(component: &[u8]) -> Result<World, WorldError> {
    if Parser::is_core_wasm(component) {
        return Err(if has_wit_metadata(component)? {
            WorldError::CoreModule
        } else {
            WorldError::NoWit
        });
    }
    if !Parser::is_component(component) {
        return Err(WorldError::NotWasm);
    }
    let component_instances = bounds::check(component)?;
    match guarded(|| wit_component::decode(component)).map_err(malformed)? {
        DecodedWasm::Component(resolve, world) => {
            Ok(World { resolve, world, undeclared: Vec::new(), component_instances })
        }
        DecodedWasm::WitPackage(..) => Err(WorldError::WitPackage),
    }
}

/// The decoder and encoder of WIT assert that WIT can express what they are given; the validity of
/// a component does not promise that, so a failed assertion is the upload's fault.
pub(super) fn guarded<T, E: Display>(work: impl FnOnce() -> Result<T, E>) -> Result<T, String> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(done) => done.map_err(|error| format!("{error:#}")),
        Err(_) => Err("it holds something that WIT cannot express".to_owned()),
    }
}

pub(super) fn malformed(problem: String) -> WorldError {
    if problem.contains("unexpected end") {
        WorldError::Truncated(problem)
    } else {
        WorldError::Malformed(problem)
    }
}

fn has_wit_metadata(core: &[u8]) -> Result<bool, WorldError> {
    let mut found = false;
    for payload in Parser::new(0).parse_all(core) {
        if let Payload::CustomSection(section) =
            payload.map_err(|error| malformed(error.to_string()))?
        {
            found |= section.name().starts_with("component-type");
        }
    }
    Ok(found)
}

fn exports_start(core: &[u8]) -> bool {
    Parser::new(0).parse_all(core).map_while(Result::ok).any(|payload| match payload {
        Payload::ExportSection(exports) => {
            exports.into_iter().map_while(Result::ok).any(|export| export.name == "_start")
        }
        _ => false,
    })
}
