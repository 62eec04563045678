//! Environments of Python that a peer needs, each of which may not be here.

use std::{
    path::Path,
    process::{Command, Stdio},
};

/// A Python with packages, and how it comes here.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Python<'a> {
    pub program: &'a Path,
    /// What is imported, with commas between.
    pub packages: &'a str,
    pub setup: &'a str,
}

impl<'a> Python<'a> {
    /// With Ray and numpy.
    pub(crate) fn ray(program: &'a Path) -> Self {
        Self { program, packages: "ray, numpy", setup: "scripts/setup-ray.sh" }
    }

    /// With FastAPI, what serves it, and grpcio.
    pub(crate) fn fastapi(program: &'a Path) -> Self {
        let packages = "fastapi, uvicorn, grpc, numpy";
        Self { program, packages, setup: "scripts/setup-fastapi.sh" }
    }

    /// With the package of this repository.
    pub(crate) fn roadstead(program: &'a Path) -> Self {
        Self { program, packages: "roadstead.native, numpy", setup: "scripts/setup.sh" }
    }

    /// The same with JAX.
    pub(crate) fn jax(program: &'a Path) -> Self {
        Self { program, packages: "roadstead.native, jax", setup: "scripts/setup-jax.sh" }
    }

    /// Whether it is here.
    ///
    /// # Errors
    /// What is missing, and what installs it.
    pub(crate) fn check(self) -> Result<&'a Path, String> {
        let Self { program, packages, setup } = self;
        let imported = Command::new(program)
            .args(["-c", &format!("import {packages}")])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        match imported {
            Ok(status) if status.success() => Ok(program),
            _ => Err(format!("no {packages} in {}: {setup} installs it", program.display())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_said_with_what_installs_it() {
        let missing = Python::ray(Path::new("none")).check().unwrap_err();
        assert_eq!(missing, "no ray, numpy in none: scripts/setup-ray.sh installs it");
        let broken = Python::fastapi(Path::new("false")).check().unwrap_err();
        assert!(broken.contains("scripts/setup-fastapi.sh"), "{broken}");
        assert!(Python::jax(Path::new("true")).check().is_ok());
    }
}
