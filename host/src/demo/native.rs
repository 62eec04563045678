//! The part of the demo with a native module: a server outside of the sandbox.

use std::path::Path;

use anyhow::Context as _;
use roadstead_domain::SpecFormat;
use roadstead_proto::v1 as api;

use super::{ThrowAwayHost, push};
use crate::{cli::NativeArgs, client, commands::sources, output};

const SERVICE: &str = "demo.linalg.linalg.v0_1.Linalg";
const EQUATIONS: &str = r#"{"a": {"rows": 2, "columns": 2, "values": [2, 1, 1, 3]}, "b": [3, 5]}"#;

/// Pushes it, calls it and says how it is kept apart.
pub(super) async fn show(host: &ThrowAwayHost, spec: &Path) -> anyhow::Result<()> {
    let args = NativeArgs { native: Some(spec.to_owned()), world: None };
    let given = sources::read(None, None, (&args, None), None)?;
    let name = given.name.to_string();
    let header = api::PushHeader {
        name: name.clone(),
        spec: given.written.text,
        spec_format: match given.written.format {
            SpecFormat::Toml => api::SpecFormat::Toml,
            SpecFormat::Yaml => api::SpecFormat::Yaml,
        }
        .into(),
        ..api::PushHeader::default()
    };
    let (module, took) = push(host, header, given.bytes.into()).await?;
    output::line(format_args!("  {}@{}  published after {took} ms", module.name, module.version));
    let probe = host.probe("linalg", SERVICE, "Solve", EQUATIONS).await?;
    output::line(format_args!("  {}", probe.once().await?));
    let request = api::GetModuleRequest { name };
    let answer = client::modules(&host.to).await?.get_module(request).await?.into_inner();
    let standing = answer.module.and_then(|module| module.versions.into_iter().next()?.native);
    let standing = standing.context("the host does not say how it stands")?;
    output::line(format_args!("  {}: {}", standing.state, standing.confinement));
    Ok(())
}
