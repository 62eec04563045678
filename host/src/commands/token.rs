//! `roadstead token`: makes tokens. The host gets the hash alone.

use std::process::ExitCode;

use roadstead_auth::Token;
use serde_json::json;

use crate::{
    cli::{Connection, TokenArgs, TokenVerb},
    output,
};

pub(crate) fn token(to: &Connection, args: TokenArgs) -> anyhow::Result<ExitCode> {
    let TokenVerb::New { name } = args.what;
    let token = Token::random();
    let (text, hash) = (token.reveal(), token.hash().to_string());
    if to.json {
        output::json(&json!({ "token": text, "hash": hash }));
        return Ok(ExitCode::SUCCESS);
    }
    output::line(text);
    output::note(format_args!(
        "\nThis is shown once: keep it. The host's policy file needs its hash alone:\n\n\
         [[token]]\nname = \"{name}\"\nhash = \"{hash}\"\n\n\
         [[grant]]\nwho = \"token:{name}\"\nrole = \"caller\"\nnamespaces = [\"default\"]"
    ));
    Ok(ExitCode::SUCCESS)
}
