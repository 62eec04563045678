//! `wasi:logging`: messages with a level go where stdout and stderr go.

use wasmtime::component::HasData;

use super::GuestCapabilities;
use crate::logs::Source;

mod generated {
    wasmtime::component::bindgen!({ path: "wit/logging", world: "imports" });
}

pub(crate) use generated::wasi::logging::logging::add_to_linker;
use generated::wasi::logging::logging::{Host, Level};

/// Marks the logging interface in the linker.
pub(crate) struct HasLogging;

impl HasData for HasLogging {
    type Data<'a> = &'a mut GuestCapabilities;
}

impl Host for GuestCapabilities {
    fn log(&mut self, level: Level, context: String, message: String) {
        let source = match level {
            Level::Trace => Source::Trace,
            Level::Debug => Source::Debug,
            Level::Info => Source::Info,
            Level::Warn => Source::Warn,
            Level::Error => Source::Error,
            Level::Critical => Source::Critical,
        };
        self.log.message(source, &context, &message);
    }
}
