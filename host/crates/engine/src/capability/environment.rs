//! Environment variables exactly as the spec has them; no arguments, no working directory.

use std::sync::Arc;

use wasmtime::component::HasData;
use wasmtime_wasi::p2::bindings::cli::environment as p2;
use wasmtime_wasi::p3::bindings::cli::environment as p3;

/// The variables of a module, shared by its instances.
#[derive(Debug, Clone, Default)]
pub(crate) struct Environment(pub(crate) Arc<[(String, String)]>);

/// Marks the environment interfaces in the linker.
pub(crate) struct HasEnvironment;

impl HasData for HasEnvironment {
    type Data<'a> = &'a mut Environment;
}

impl p2::Host for Environment {
    fn get_environment(&mut self) -> wasmtime::Result<Vec<(String, String)>> {
        Ok(self.0.to_vec())
    }

    fn get_arguments(&mut self) -> wasmtime::Result<Vec<String>> {
        Ok(Vec::new())
    }

    fn initial_cwd(&mut self) -> wasmtime::Result<Option<String>> {
        Ok(None)
    }
}

impl p3::Host for Environment {
    fn get_environment(&mut self) -> wasmtime::Result<Vec<(String, String)>> {
        Ok(self.0.to_vec())
    }

    fn get_arguments(&mut self) -> wasmtime::Result<Vec<String>> {
        Ok(Vec::new())
    }

    fn get_initial_cwd(&mut self) -> wasmtime::Result<Option<String>> {
        Ok(None)
    }
}
