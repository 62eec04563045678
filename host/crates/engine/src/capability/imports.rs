//! What serves an import, in words: for the answer to a push. Runs once per import.

use roadstead_domain::{Clocks, ModuleSpec, Random};

use super::{files, network};

/// What serves an import (`fixed`, `ro /data`, `denied: …`), or what to do about one that this
/// host does not know.
pub(crate) fn grant_of(import: &str, spec: &ModuleSpec) -> Result<String, String> {
    let (name, version) = import.split_once('@').unwrap_or((import, ""));
    let Some((package, interface)) = name.split_once('/') else {
        return Err("functions and resources are imported through interfaces only".to_owned());
    };
    if !serves(package, version) {
        return Err(hint(package, version));
    }
    grant(package, interface, spec)
        .ok_or_else(|| format!("this host's `{package}` has no interface `{interface}`"))
}

/// Whether the linker's version of a package can stand for this one: any of the same
/// semver-compatible range, as wasmtime matches them.
fn serves(package: &str, version: &str) -> bool {
    match package {
        "wasi:cli" | "wasi:clocks" | "wasi:filesystem" | "wasi:http" | "wasi:random"
        | "wasi:sockets" => is_release_of(version, "0.2.") || is_release_of(version, "0.3."),
        "wasi:io" => is_release_of(version, "0.2."),
        "wasi:config" => version == "0.2.0-rc.1",
        "wasi:logging" => version == "0.1.0-draft",
        _ => false,
    }
}

/// Pre-releases match nothing but themselves.
fn is_release_of(version: &str, range: &str) -> bool {
    version
        .strip_prefix(range)
        .is_some_and(|patch| !patch.is_empty() && patch.bytes().all(|b| b.is_ascii_digit()))
}

fn hint(package: &str, version: &str) -> String {
    let served = match package {
        "wasi:cli" | "wasi:clocks" | "wasi:filesystem" | "wasi:http" | "wasi:random"
        | "wasi:sockets" => "0.2.x and 0.3.0",
        "wasi:io" => "0.2.x",
        "wasi:config" => "0.2.0-rc.1",
        "wasi:logging" => "0.1.0-draft",
        _ if package.starts_with("wasi:") => {
            return format!("this host does not serve `{package}`: build without it");
        }
        _ => {
            return "this host serves WASI only: name a module that serves it under `bindings`, or \
                    compose the component with one that exports it"
                .to_owned();
        }
    };
    let written = if version.is_empty() { "no version" } else { version };
    format!("this host serves `{package}` {served}, not {written}: build against one of those")
}

fn grant(package: &str, interface: &str, spec: &ModuleSpec) -> Option<String> {
    let asked = &spec.capabilities;
    Some(match (package, interface) {
        ("wasi:cli", "environment") => match asked.env.len() {
            0 => "empty: nothing in capabilities.env".to_owned(),
            _ => list("variables", asked.env.keys()),
        },
        ("wasi:cli", "stdout" | "stderr") => {
            format!("captured in the module's log, at most {}", spec.limits.log_rate)
        }
        ("wasi:cli", "stdin") => "empty".to_owned(),
        ("wasi:cli", "exit") => "ends the call".to_owned(),
        ("wasi:cli", "terminal-input" | "terminal-output") => "types only".to_owned(),
        ("wasi:cli", "terminal-stdin" | "terminal-stdout" | "terminal-stderr") => {
            "no terminal".to_owned()
        }
        ("wasi:cli", "types") | ("wasi:clocks", "types") => "types only".to_owned(),
        ("wasi:clocks", "wall-clock" | "monotonic-clock" | "system-clock") => match asked.clocks {
            Clocks::Real => "real".to_owned(),
            Clocks::Fixed => "fixed".to_owned(),
        },
        ("wasi:random", "random" | "insecure" | "insecure-seed") => {
            let source = match asked.random {
                Random::Real => "real",
                Random::Seeded => "seeded",
            };
            format!("{source}, at most {} a call", spec.limits.random)
        }
        ("wasi:io", "error" | "poll" | "streams") => "streams of the other interfaces".to_owned(),
        ("wasi:filesystem", "preopens" | "types") => files::grant_text(&asked.files),
        ("wasi:http", "outgoing-handler" | "client" | "types") => {
            network::grant_text(&asked.network.http, "http")
        }
        ("wasi:sockets", "udp" | "udp-create-socket") => "denied: no host serves UDP".to_owned(),
        (
            "wasi:sockets",
            "tcp" | "tcp-create-socket" | "ip-name-lookup" | "network" | "instance-network"
            | "types",
        ) => network::grant_text(&asked.network.tcp, "tcp"),
        ("wasi:config", "store") => match (asked.config.len(), asked.secrets.len()) {
            (0, 0) => "empty: nothing in capabilities.config or capabilities.secrets".to_owned(),
            (_, 0) => list("keys", asked.config.keys()),
            (0, _) => list("secrets", asked.secrets.iter()),
            _ => {
                let secrets = list("secrets", asked.secrets.iter());
                format!("{}; {secrets}", list("keys", asked.config.keys()))
            }
        },
        ("wasi:logging", "logging") => {
            format!("captured in the module's log, at most {}", spec.limits.log_rate)
        }
        _ => return None,
    })
}

fn list<'a>(what: &str, names: impl Iterator<Item = &'a String>) -> String {
    format!("{what} {}", names.map(String::as_str).collect::<Vec<_>>().join(", "))
}
