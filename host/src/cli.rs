//! The command line: verbs, flags and their help. Parsing only; nothing is done here.

mod parse;
mod rollout;
mod serve;

use std::{path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand};
use roadstead_domain::{ModuleName, ModuleRef, Namespace, Version};

pub(crate) use parse::parse;
pub(crate) use rollout::{RolloutArgs, RolloutVerb, SetArgs};
pub(crate) use serve::ServeArgs;

const EXAMPLES: &str = "\
Examples:
  roadstead serve                                        run a host on 127.0.0.1:7411
  roadstead push target/wasm32-wasip2/release/calc.wasm --name calc
  roadstead call demo.calc.ops.v0_1.Ops/Add -d '{\"a\": 2, \"b\": 3}'
  roadstead proto calc -o stubs                          .proto files for any language
  roadstead demo                                         the whole round on a throw-away host

Exit status: 0 done, 1 the call or operation failed, 2 wrong usage.";

/// Runs WebAssembly components as typed, limited, sandboxed gRPC services.
#[derive(Parser)]
#[command(name = "roadstead", version, after_help = EXAMPLES, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub connection: Connection,
    #[command(subcommand)]
    pub verb: Verb,
}

/// Which host a client verb talks to, as whom, and how it prints.
#[derive(Args, Default)]
pub(crate) struct Connection {
    /// The host to talk to
    #[arg(
        long,
        global = true,
        value_name = "URL",
        env = "ROADSTEAD_HOST",
        default_value = "http://127.0.0.1:7411",
        value_parser = parse::url
    )]
    pub host: String,
    /// The namespace to act in
    #[arg(short, long, global = true, value_name = "NAMESPACE", env = "ROADSTEAD_NAMESPACE")]
    pub namespace: Option<Namespace>,
    /// PEM file of certificates to trust for https, beside none other
    #[arg(long, global = true, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// The token to show; --token-file keeps it out of the list of processes
    #[arg(
        long,
        global = true,
        value_name = "TOKEN",
        env = "ROADSTEAD_TOKEN",
        hide_env_values = true
    )]
    pub token: Option<String>,
    /// File with the token to show, before --token
    #[arg(long, global = true, value_name = "FILE", env = "ROADSTEAD_TOKEN_FILE")]
    pub token_file: Option<PathBuf>,
    /// PEM file of the certificate to show
    #[arg(long, global = true, value_name = "FILE", env = "ROADSTEAD_CERT")]
    pub cert: Option<PathBuf>,
    /// PEM file of the certificate's private key
    #[arg(long, global = true, value_name = "FILE", env = "ROADSTEAD_KEY")]
    pub key: Option<PathBuf>,
    /// Print machine-readable JSON
    #[arg(long, global = true)]
    pub json: bool,
}

#[derive(Subcommand)]
pub(crate) enum Verb {
    /// Run a host: catalog, storage and gateway in one process
    Serve(ServeArgs),
    /// Upload a component and publish it as a service
    Push(PushArgs),
    /// Say what a push would say: mapping, imports, limits, compatibility
    Check(CheckArgs),
    /// List the modules of the namespace
    List,
    /// Show one module: usage against grants, versions, services, imports, spec
    Describe(NameArgs),
    /// List what the operator offers to modules, and which versions hold it
    Offers(OffersArgs),
    /// Show what modules use against what they are granted, on all hosts, the busiest first
    Top(TopArgs),
    /// Show the hosts of the pool and how they are
    Status(StatusArgs),
    /// Delete a version, or a module with all its versions
    Delete(RefArgs),
    /// Make one version answer all calls that name none (the rollback)
    Pin(PinArgs),
    /// Let the newest version answer again
    Unpin(NameArgs),
    /// Move calls to new versions step by step; needs a cluster's controller
    Rollout(RolloutArgs),
    /// Write .proto files and the lock, of a module or of WIT files
    Proto(ProtoArgs),
    /// Call a method: JSON in, JSON out
    Call(CallArgs),
    /// Show what a module wrote to stdout, stderr and its log
    Logs(LogsArgs),
    /// Tokens for hosts that ask who calls
    Token(TokenArgs),
    /// Show the main job from end to end on a throw-away host
    Demo(DemoArgs),
}

#[derive(Args)]
#[command(
    override_usage = "roadstead push [OPTIONS] <FILE.wasm>\n       roadstead push [OPTIONS] --native <SPEC>"
)]
pub(crate) struct PushArgs {
    /// The component (or a core module with WIT metadata, which becomes one)
    #[arg(value_name = "FILE.wasm", required_unless_present = "native")]
    pub file: Option<PathBuf>,
    #[command(flatten)]
    pub native: NativeArgs,
    /// The module's name [default: the spec's, else the file's]
    #[arg(long)]
    pub name: Option<ModuleName>,
    /// The version [default: the spec's, else the next patch]
    #[arg(long)]
    pub version: Option<Version>,
    /// Limits and capabilities, as .toml or .yaml
    #[arg(long, value_name = "FILE")]
    pub spec: Option<PathBuf>,
    /// Directory with the WIT text: for comments in the .proto files, and of a native module the
    /// interface itself [default: the spec's `wit`]
    #[arg(long, value_name = "DIR")]
    pub wit: Option<PathBuf>,
    /// A roadstead.lock whose field numbers to keep
    #[arg(long, value_name = "FILE")]
    pub lock: Option<PathBuf>,
    /// Publish even if this breaks callers with old stubs; recorded
    #[arg(long)]
    pub force: bool,
}

/// A module that is served outside of the sandbox.
#[derive(Args)]
pub(crate) struct NativeArgs {
    /// Spec with `native:`, of a server outside of the sandbox, in place of a component
    #[arg(long, value_name = "SPEC", conflicts_with_all = ["file", "spec"])]
    pub native: Option<PathBuf>,
    /// The world, where its WIT files hold several [default: the spec's `world`]
    #[arg(long, requires = "native")]
    pub world: Option<String>,
}

#[derive(Args)]
#[command(
    override_usage = "roadstead check [OPTIONS] <FILE.wasm>\n       roadstead check [OPTIONS] --native <SPEC>"
)]
pub(crate) struct CheckArgs {
    #[arg(value_name = "FILE.wasm", required_unless_present = "native")]
    pub file: Option<PathBuf>,
    #[command(flatten)]
    pub native: NativeArgs,
    /// Compare with this module on the host; without it no host is needed
    #[arg(long, value_name = "NAME")]
    pub against: Option<ModuleName>,
    /// Limits and capabilities, as .toml or .yaml
    #[arg(long, value_name = "FILE")]
    pub spec: Option<PathBuf>,
    /// Directory with the WIT text
    #[arg(long, value_name = "DIR")]
    pub wit: Option<PathBuf>,
}

#[derive(Args)]
pub(crate) struct OffersArgs {
    /// Every offer, with holders in all namespaces
    #[arg(long)]
    pub all_namespaces: bool,
}

#[derive(Args)]
pub(crate) struct NameArgs {
    pub name: ModuleName,
}

#[derive(Args)]
pub(crate) struct TopArgs {
    /// The modules of every namespace
    #[arg(long)]
    pub all_namespaces: bool,
    /// Each host's figures instead of sums
    #[arg(long)]
    pub by_host: bool,
    /// This host alone, and none of the others of its pool
    #[arg(long)]
    pub this_host: bool,
    /// Print once instead of again and again, as a table that goes elsewhere than to a terminal is
    #[arg(long)]
    pub once: bool,
    /// Time between two looks, like 500ms or 2s
    #[arg(long, value_name = "SPAN", default_value = "2s", value_parser = parse::span)]
    pub interval: Duration,
}

#[derive(Args)]
pub(crate) struct StatusArgs {
    /// Count the modules of every namespace
    #[arg(long)]
    pub all_namespaces: bool,
    /// This host alone, and none of the others of its pool
    #[arg(long)]
    pub this_host: bool,
}

#[derive(Args)]
pub(crate) struct RefArgs {
    /// NAME or NAME@VERSION
    #[arg(value_name = "NAME[@VERSION]")]
    pub module: ModuleRef,
}

#[derive(Args)]
pub(crate) struct PinArgs {
    #[arg(value_name = "NAME@VERSION", value_parser = parse::version_of)]
    pub module: (ModuleName, Version),
}

#[derive(Args)]
pub(crate) struct ProtoArgs {
    /// A published module, NAME or NAME@VERSION
    #[arg(value_name = "NAME[@VERSION]", required_unless_present = "wit")]
    pub module: Option<ModuleRef>,
    /// Derive from this directory of WIT files instead; needs no host
    #[arg(long, value_name = "DIR", conflicts_with = "module")]
    pub wit: Option<PathBuf>,
    /// The world, where the WIT files hold several
    #[arg(long, requires = "wit")]
    pub world: Option<String>,
    /// A roadstead.lock whose field numbers to keep
    #[arg(long, value_name = "FILE", requires = "wit")]
    pub lock: Option<PathBuf>,
    /// Write roadstead.plan.json too, and of WIT files roadstead.binpb: for generators of bindings
    #[arg(long)]
    pub plan: bool,
    /// Where to write
    #[arg(short, long, value_name = "DIR")]
    pub out: PathBuf,
}

#[derive(Args)]
pub(crate) struct CallArgs {
    /// package.Service/Method
    #[arg(value_name = "SERVICE/METHOD", value_parser = parse::method)]
    pub method: (String, String),
    /// The request as JSON; @FILE reads a file, @- standard input
    #[arg(short, long, value_name = "JSON", default_value = "{}")]
    pub data: String,
    /// Which module answers, NAME or NAME@VERSION
    #[arg(long, value_name = "NAME[@VERSION]")]
    pub module: Option<ModuleRef>,
    /// Give up after this long, like 500ms or 5s, connecting included
    #[arg(long, value_parser = parse::span)]
    pub timeout: Option<Duration>,
    /// Print module, instance, fuel and memory on stderr
    #[arg(short, long)]
    pub verbose: bool,
}

#[derive(Args)]
pub(crate) struct LogsArgs {
    pub name: ModuleName,
    /// Keep printing what is written from now on
    #[arg(short, long)]
    pub follow: bool,
    /// Only the newest lines
    #[arg(long, value_name = "N")]
    pub tail: Option<u32>,
    /// This host alone, and none of the others of its pool
    #[arg(long)]
    pub this_host: bool,
}

#[derive(Args)]
pub(crate) struct TokenArgs {
    #[command(subcommand)]
    pub what: TokenVerb,
}

#[derive(Subcommand)]
pub(crate) enum TokenVerb {
    /// Make a token, and its hash for a host's policy file; needs no host
    New {
        /// The name that the policy's grants will use
        #[arg(default_value = "NAME")]
        name: String,
    },
}

#[derive(Args)]
pub(crate) struct DemoArgs {
    /// Directory with the demo's built modules
    #[arg(long, value_name = "DIR", default_value = ".build/modules")]
    pub modules: PathBuf,
    /// Spec of the demo's native module, whose command runs where this does
    #[arg(long, value_name = "SPEC", default_value = "modules/linalg/roadstead.yaml")]
    pub native: PathBuf,
    /// A Python with grpcio-tools, for the part with generated stubs
    #[arg(long, value_name = "FILE", default_value = ".venv/bin/python")]
    pub python: PathBuf,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_takes_json_a_module_and_a_timeout() {
        let cli = Cli::try_parse_from([
            "roadstead",
            "call",
            "a.B/C",
            "-d",
            "{}",
            "--module",
            "m@1.0.0",
            "--timeout",
            "50ms",
            "-n",
            "team",
        ])
        .unwrap_or_else(|error| panic!("{error}"));
        let Verb::Call(call) = cli.verb else { panic!("not a call") };
        assert_eq!(call.timeout, Some(Duration::from_millis(50)));
        assert_eq!(call.module.map(|m| m.to_string()).as_deref(), Some("m@1.0.0"));
        assert!(Cli::try_parse_from(["roadstead", "call", "a.B/C", "--timeout", "soon"]).is_err());
        assert!(Cli::try_parse_from(["roadstead", "proto", "-o", "x"]).is_err());
    }
}
