//! Watches one server: connects, asks whether it is well, compares its contract, and asks again and
//! again. Over a new connection it gets no call before its contract was compared anew.

use std::{sync::Arc, time::Duration};

use roadstead_native_plan::{Contract, Progress};
use roadstead_proto::v1::{GetProgressRequest, GetProgressResponse};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::{
    environment::Home,
    link::{FLOODED, Link, Unanswered},
    messages::{Health, SERVING},
    module::Module,
    reflection,
    server::Server,
    socket::{Directory, NoWay},
};

/// From one connection to the next of a server that is ready, at the least: one that ends them all
/// is not besieged.
const BETWEEN: Duration = Duration::from_millis(200);
/// How often a server that starts is asked.
const STARTING: Duration = Duration::from_millis(50);
/// How long all of its reflection may take.
const REFLECTION: Duration = Duration::from_secs(10);
/// Bytes of an answer to the host's own questions.
const ANSWER: usize = 64 << 10;

/// Watches until the server has ended, which drops this.
pub(crate) async fn watch(module: Arc<Module>, server: Arc<Server>, home: Home) {
    let home = match Directory::open(&home) {
        Ok(home) => home,
        Err(error) => {
            tracing::error!(module = %module.name, %error, "open a server's directory");
            return;
        }
    };
    let mut link = connect(&module, &server, &home).await;
    while !begin(&module, &server, &link).await {
        sleep(STARTING).await;
        if link.is_closed() {
            end_flood(&server, &link);
            link = connect(&module, &server, &home).await;
        }
    }
    let period = server.version.native.probes.period.duration();
    let (mut is_known, mut connected) = (true, Instant::now());
    loop {
        tokio::select! {
            () = sleep(period) => {}
            // It went away, or closed the connection by itself.
            () = link.closed() => {
                end_flood(&server, &link);
                sleep_until(connected + BETWEEN).await;
                link = connect(&module, &server, &home).await;
                (is_known, connected) = (false, Instant::now());
            }
        }
        let serving = unwell(&link, period).await.is_none();
        if serving && !is_known {
            is_known = keeps_on(&module, &server, &link).await;
        }
        let progress = progress(&link, period).await;
        module.see(&server, |seen| {
            seen.serving = serving && is_known;
            seen.missed = if seen.serving { 0 } else { seen.missed.saturating_add(1) };
            seen.progress = progress;
        });
    }
}

/// Ends a server that floods. No probe would tell: those it may answer well.
fn end_flood(server: &Server, link: &Link) {
    if let Some(process) = server.process().filter(|_| link.flooded()) {
        process.kill(Some(FLOODED.to_owned()));
    }
}

/// Whether the server is ready, or will never be.
async fn begin(module: &Module, server: &Server, link: &Link) -> bool {
    let within = server.patience();
    let contract = match unwell(link, within).await {
        None => kept(link, server).await,
        Some(trouble) => Err(trouble),
    };
    let now = module.now();
    module.see(server, |seen| match &contract {
        Ok(Contract::Kept) => {
            seen.contract = Contract::Kept;
            seen.serving = true;
            seen.ready = Some(now);
            seen.trouble = None;
        }
        Ok(other) => seen.contract = other.clone(),
        Err(trouble) => seen.trouble = Some(trouble.clone()),
    });
    contract.is_ok()
}

/// Whether a server that is ready keeps its contract over a new connection, too.
async fn keeps_on(module: &Module, server: &Server, link: &Link) -> bool {
    match kept(link, server).await {
        Ok(Contract::Kept) => true,
        Ok(other) => {
            module.see(server, |seen| {
                seen.serving = false;
                seen.contract = other;
            });
            false
        }
        Err(trouble) => {
            tracing::debug!(module = %module.name, trouble, "compare a server's contract again");
            false
        }
    }
}

async fn connect(module: &Module, server: &Server, home: &Directory) -> Link {
    module.see(server, |seen| seen.serving = false);
    let mut last = None;
    loop {
        let connected = match server.process() {
            Some(process) => Link::connect(home, process.started.pid).await,
            None => Err(NoWay::Stranger),
        };
        match connected {
            Ok(link) => {
                server.connect(link.clone());
                return link;
            }
            Err(error) => {
                tracing::trace!(?error, "connect to a server");
                let trouble = Some(error.to_string());
                if last != trouble {
                    last.clone_from(&trouble);
                    module.see(server, |seen| seen.trouble = trouble);
                }
            }
        }
        sleep(STARTING).await;
    }
}

/// Why a server does not serve, by its own word or for want of one; none where it does.
pub(crate) async fn unwell(link: &Link, within: Duration) -> Option<String> {
    let question = Health::default();
    let asked = link.ask::<_, Health>("/grpc.health.v1.Health/Check", &question, within, ANSWER);
    match asked.await {
        Ok(answer) if answer.status == SERVING => None,
        Ok(_) => Some("it says that it does not serve yet".to_owned()),
        Err(error) => Some(format!("its health: {error}")),
    }
}

pub(crate) async fn progress(link: &Link, within: Duration) -> Option<Progress> {
    let question = GetProgressRequest {};
    let path = "/roadstead.v1.NativeService/GetProgress";
    let answer = link.ask::<_, GetProgressResponse>(path, &question, within, ANSWER).await.ok()?;
    Some(Progress { calls: answer.calls, idle: Duration::from_millis(answer.idle_ms) })
}

/// What came of the comparison; an error where it could not be made yet.
pub(crate) async fn kept(link: &Link, server: &Server) -> Result<Contract, String> {
    let contract = &server.version.contract;
    let files = match timeout(REFLECTION, reflection::files(link, contract)).await {
        Err(_) => return Err("its reflection did not answer in time".to_owned()),
        Ok(Err(error @ Unanswered::Unimplemented)) => {
            return Ok(Contract::Broken(format!("ContractMismatch: its reflection: {error}")));
        }
        Ok(Err(error)) => return Err(format!("its reflection: {error}")),
        Ok(Ok(files)) => files,
    };
    let compared = files.compare(Arc::clone(contract)).await;
    Ok(match compared.map_err(|error| format!("its reflection: {error}"))? {
        Ok(()) => Contract::Kept,
        Err(mismatch) => Contract::Broken(mismatch.to_string()),
    })
}
