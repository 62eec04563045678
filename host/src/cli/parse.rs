//! From words to arguments: what clap does not do by itself.

use std::time::Duration;

use clap::{Command, CommandFactory as _, FromArgMatches as _};
use http::{Uri, uri::Scheme};
use roadstead_domain::{ModuleName, ModuleRef, Span, Version};

use super::Cli;

/// Flags of the client verbs that mean nothing to a verb with a host of its own.
const OF_CLIENTS: [&str; 7] = ["host", "namespace", "ca", "token", "token_file", "cert", "key"];

/// The command line of this process; wrong usage ends it with status 2.
pub(crate) fn parse() -> Cli {
    let matches = command().get_matches();
    Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
}

fn command() -> Command {
    let mut command = Cli::command();
    // Makes global flags visible in the verbs, so that they can be changed there.
    command.build();
    let verbs: Vec<String> =
        command.get_subcommands().map(|verb| verb.get_name().to_owned()).collect();
    verbs.iter().fold(command, |command, name| command.mut_subcommand(name, tidy))
}

fn tidy(mut verb: Command) -> Command {
    if matches!(verb.get_name(), "serve" | "demo" | "token") {
        verb = verb.mut_args(|arg| {
            let hidden = OF_CLIENTS.contains(&arg.get_id().as_str());
            if hidden { arg.hide(true) } else { arg }
        });
    }
    // The usage beside an error would show flags that the environment sets as if they were needed.
    let usage = verb.render_usage().to_string();
    verb.override_usage(usage.trim_start_matches("Usage: ").to_owned())
}

pub(super) fn span(text: &str) -> Result<Duration, String> {
    text.parse::<Span>().map(Span::duration).map_err(|error| error.to_string())
}

pub(super) fn ratio(text: &str) -> Result<f64, String> {
    let ratio = text.parse().ok().filter(|ratio| (0.0..=1.0).contains(ratio));
    ratio.ok_or_else(|| "expected a number from 0 to 1, like 0.01".to_owned())
}

pub(super) fn url(text: &str) -> Result<String, String> {
    let known = |uri: &Uri| {
        uri.scheme().is_some_and(|scheme| [Scheme::HTTP, Scheme::HTTPS].contains(scheme))
            && uri.authority().is_some()
    };
    match text.parse::<Uri>() {
        Ok(uri) if known(&uri) => Ok(text.to_owned()),
        _ => Err("expected a URL like http://127.0.0.1:7411".to_owned()),
    }
}

pub(super) fn version_of(text: &str) -> Result<(ModuleName, Version), String> {
    let module: ModuleRef = text.parse().map_err(|error| format!("{error}"))?;
    let version = module.version.ok_or_else(|| format!("say which version: {text}@VERSION"))?;
    Ok((module.name, version))
}

pub(super) fn method(text: &str) -> Result<(String, String), String> {
    match text.trim_start_matches('/').split_once('/') {
        Some((service, method)) if !service.is_empty() && !method.is_empty() => {
            Ok((service.to_owned(), method.to_owned()))
        }
        _ => Err("expected package.Service/Method, like demo.calc.ops.v0_1.Ops/Add".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(words: &[&str]) -> (String, i32) {
        let words = ["roadstead"].iter().chain(words);
        let error = command().try_get_matches_from(words).unwrap_err();
        (error.to_string(), error.exit_code())
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
        command().debug_assert();
    }

    #[test]
    fn a_host_of_its_own_takes_no_flags_of_clients() {
        for verb in ["serve", "demo", "token"] {
            let (help, code) = said(&[verb, "--help"]);
            assert_eq!(code, 0);
            for flag in ["--namespace", "--host", "--token", "--cert"] {
                assert!(!help.contains(flag), "{help}");
            }
            assert!(help.contains("--json"), "{help}");
        }
        let (help, _) = said(&["list", "--help"]);
        assert!(help.contains("--namespace") && help.contains("--host"), "{help}");
    }

    #[test]
    fn wrong_usage_is_told_from_failure() {
        for (words, part) in [
            (&["pin", "calc"][..], "calc@VERSION"),
            (&["call", "foo"], "package.Service/Method"),
            (&["call", "foo/"], "package.Service/Method"),
            (&["--host", "zzz", "list"], "http://"),
            (&["list", "--host", "127.0.0.1:7411"], "http://"),
            (&["list", "--host", "ftp://x"], "http://"),
            (&["rollout"], "Usage: roadstead rollout"),
            (&["rollout", "set", "calc", "--steps", "5,x"], "--steps"),
            (&["rollout", "set", "calc", "--steps", "0,5"], "1..=100"),
            (&["rollout", "set", "calc", "--steps", "101"], "1..=100"),
            (&["rollout", "set", "calc", "--interval", "soon"], "--interval"),
            (&["rollout", "set", "calc", "--minimum-calls", "0"], "--minimum-calls"),
            (&["rollout", "set", "calc", "--max-failure-ratio", "1.5"], "0 to 1"),
            (&["rollout", "set", "calc", "--max-failure-ratio", "NaN"], "0 to 1"),
            (&["rollout", "promote", "calc@"], "NAME[@VERSION]"),
            (&["rollout", "start", "calc"], "unrecognized subcommand"),
            (&["push"], "Usage: roadstead push [OPTIONS] <FILE.wasm>"),
        ] {
            let (text, code) = said(words);
            assert_eq!(code, 2, "{words:?}");
            assert!(text.contains(part), "{text}");
        }
        let (help, _) = said(&["pin", "--help"]);
        assert!(help.contains("<NAME@VERSION>"), "{help}");
    }

    #[test]
    fn flags_of_clients_go_before_the_verb_or_after_it() {
        for words in [["roadstead", "-n", "team", "list"], ["roadstead", "list", "-n", "team"]] {
            let matches = command().try_get_matches_from(words).unwrap();
            let cli = Cli::from_arg_matches(&matches).unwrap();
            assert_eq!(cli.connection.namespace.unwrap().as_str(), "team");
        }
    }
}
