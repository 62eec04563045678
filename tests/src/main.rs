//! `roadstead-fixture`: what the end-to-end tests need beside the host.
//!
//! `component` makes a component from WIT text alone, so that a test can say in WIT which shape it
//! publishes without a guest toolchain. `certificate` makes one for TLS, `client` one for a client and
//! its authority, `jwt` a token and the keys of its issuer. `protox` compiles `.proto` files with the pure Rust
//! compiler, as the counterpart of Google's.

mod component;
mod identity;

use std::{fs, path::PathBuf};

use anyhow::Context as _;
use clap::Parser;

#[derive(Parser)]
enum Verb {
    /// Makes a component whose functions give back their argument, or trap where they cannot
    Component {
        /// A WIT file or package directory with one world
        wit: PathBuf,
        #[arg(short, long)]
        out: PathBuf,
        /// Bytes of a custom section appended, to make other bytes of the same component
        #[arg(long, default_value_t = 0)]
        padding: usize,
        /// Stop at a core module that carries its WIT and imports WASI 0.1
        #[arg(long, conflicts_with = "padding")]
        core: bool,
    },
    /// Makes a self-signed certificate for `localhost` and 127.0.0.1: cert.pem and key.pem
    Certificate {
        #[arg(short, long)]
        out: PathBuf,
    },
    /// Makes client.pem and client-key.pem, and the authority that vouches for it: clients.pem
    Client {
        /// The common name, or a URI
        name: String,
        #[arg(short, long)]
        out: PathBuf,
    },
    /// Prints a token with these claims, signed by ES256, and writes the key to keys.json
    Jwt {
        /// JSON
        claims: String,
        #[arg(short, long)]
        out: PathBuf,
    },
    /// Compiles every given file with protox
    Protox {
        #[arg(short = 'I', long)]
        include: PathBuf,
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
}

fn main() -> anyhow::Result<()> {
    match Verb::parse() {
        Verb::Component { wit, out, padding, core } => {
            let bytes = if core { component::core(&wit)? } else { component::echo(&wit, padding)? };
            fs::write(&out, bytes).with_context(|| format!("write {}", out.display()))
        }
        Verb::Certificate { out } => {
            let names = ["localhost", "127.0.0.1"].map(str::to_owned);
            let made = rcgen::generate_simple_self_signed(names)?;
            fs::write(out.join("cert.pem"), made.cert.pem())?;
            fs::write(out.join("key.pem"), made.signing_key.serialize_pem())?;
            Ok(())
        }
        Verb::Client { name, out } => identity::client(&name, &out),
        Verb::Jwt { claims, out } => identity::jwt(&claims, &out),
        Verb::Protox { include, files } => {
            protox::compile(files, [include]).context("compile with protox")?;
            Ok(())
        }
    }
}
