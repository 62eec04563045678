//! Everything the command prints, and its exit status: values on stdout, all else on stderr.

#![expect(clippy::print_stderr, reason = "the one place that prints")]

use std::{
    fmt::Display,
    io::{IsTerminal as _, Write as _},
    process::ExitCode,
};

use tracing_subscriber::EnvFilter;

use crate::{
    cli::{Cli, Verb},
    client::Refusal,
};

/// What a client can make these libraries warn of is not for the log of a host: it would grow as
/// fast as the client sends. What kube says of an API server that does not answer, the catalog says
/// once.
const LIBRARIES: &str = "h2=error,hyper=error,rustls=error,kube_client=off,kube_runtime=off";

/// Sends the log to stderr: at `info` for a host, at `warn` for client verbs; `ROADSTEAD_LOG`
/// overrides, in the syntax of tracing's directives.
pub(crate) fn start_logging(cli: &Cli) {
    let default = if matches!(cli.verb, Verb::Serve(_)) { "info" } else { "warn" };
    let filter = EnvFilter::builder()
        .with_env_var("ROADSTEAD_LOG")
        .try_from_env()
        .unwrap_or_else(|_| EnvFilter::new(format!("{default},{LIBRARIES}")));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    if cli.connection.json { log.json().init() } else { log.init() }
}

/// A result, on stdout.
pub(crate) fn line(text: impl Display) {
    let mut out = std::io::stdout().lock();
    // A reader that went away (`| head`) is no failure of ours.
    if writeln!(out, "{text}").and_then(|()| out.flush()).is_err() {
        #[expect(clippy::exit, reason = "nobody reads any more; there is nothing to unwind")]
        std::process::exit(0);
    }
}

/// A result as one JSON document, on stdout.
pub(crate) fn json(value: &serde_json::Value) {
    line(format_args!("{value:#}"));
}

/// A result that takes the place of the one before it on a terminal, and follows it elsewhere.
pub(crate) fn screen(text: impl Display) {
    if std::io::stdout().is_terminal() {
        line(format_args!("\x1b[H\x1b[2J{text}"));
    } else {
        line(format_args!("{text}\n"));
    }
}

/// A remark, on stderr.
pub(crate) fn note(text: impl Display) {
    eprintln!("{text}");
}

/// Progress on stderr: one line rewritten on a terminal, nothing elsewhere.
pub(crate) struct Progress {
    shown: bool,
}

impl Progress {
    pub(crate) fn new(json: bool) -> Self {
        Self { shown: !json && std::io::stderr().is_terminal() }
    }

    pub(crate) fn show(&self, text: impl Display) {
        if self.shown {
            eprint!("\r\x1b[2K{text}");
        }
    }

    pub(crate) fn clear(&self) {
        self.show("");
    }
}

/// The command was told what it cannot do; nothing was begun.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub(crate) struct WrongUsage(pub anyhow::Error);

/// Reports why the command failed.
pub(crate) fn failed(error: &anyhow::Error, json: bool) -> ExitCode {
    if json {
        let value = match error.downcast_ref::<Refusal>() {
            Some(refusal) => refusal.json(),
            None => serde_json::json!({"message": chain(error)}),
        };
        eprintln!("{:#}", serde_json::json!({"error": value}));
    } else {
        eprintln!("error: {}", chain(error));
    }
    if error.is::<WrongUsage>() { ExitCode::from(2) } else { ExitCode::FAILURE }
}

/// An error with its causes, each said once: many libraries repeat a cause in their own text.
fn chain(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if text.is_empty() {
            text = cause;
        } else if !text.contains(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cause_is_said_once() {
        let error = anyhow::anyhow!("in use (98)")
            .context("cannot listen on 1.2.3.4: in use (98)")
            .context("start");
        assert_eq!(chain(&error), "start: cannot listen on 1.2.3.4: in use (98)");
        let error = anyhow::anyhow!("refused").context("connect").context("connect");
        assert_eq!(chain(&error), "connect: refused");
    }
}
