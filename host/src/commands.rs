//! One file for every verb, or for a few that belong together.

pub(crate) mod call;
mod catalog;
mod check;
mod logs;
pub(crate) mod proto;
pub(crate) mod push;
mod rollout;
mod serve;
pub(crate) mod sources;
mod status;
mod token;
mod top;

use std::process::ExitCode;

use crate::{
    cli::{Cli, Verb},
    demo,
};

pub(crate) use serve::{Running, start};

/// Does what the command line says.
///
/// # Errors
/// Whatever keeps the verb from being done; the caller prints it.
pub(crate) async fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    let to = cli.connection;
    match cli.verb {
        Verb::Serve(args) => serve::serve(args).await,
        Verb::Push(args) => push::push(&to, args).await,
        Verb::Check(args) => check::check(&to, args).await,
        Verb::List => catalog::list(&to).await,
        Verb::Describe(args) => catalog::describe(&to, args).await,
        Verb::Offers(args) => catalog::offers(&to, args).await,
        Verb::Top(args) => top::top(&to, args).await,
        Verb::Status(args) => status::status(&to, args).await,
        Verb::Delete(args) => catalog::delete(&to, args).await,
        Verb::Pin(args) => catalog::pin(&to, args).await,
        Verb::Unpin(args) => catalog::unpin(&to, args).await,
        Verb::Rollout(args) => rollout::rollout(&to, args).await,
        Verb::Proto(args) => proto::proto(&to, args).await,
        Verb::Call(args) => call::call(&to, args).await,
        Verb::Logs(args) => logs::logs(&to, args).await,
        Verb::Token(args) => token::token(&to, args),
        Verb::Demo(args) => demo::demo(args).await,
    }
}
