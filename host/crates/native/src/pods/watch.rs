//! Watches one server in its pod: connects, asks whether it is well, compares its contract, and asks
//! again and again, until the controller tells of it no more.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use roadstead_native_plan::{Contract, late, stuck};
use tokio::time::sleep;

use super::{
    module::{Address, Module},
    tls::connect,
};
use crate::{
    link::{FLOODED, Link},
    server::Server,
    watch::{kept, progress, unwell},
};

/// Pauses between attempts: twice as long each time.
const FIRST: Duration = Duration::from_millis(50);
const LONGEST: Duration = Duration::from_secs(2);
/// How often one that breaks its contract is looked at again.
const BROKEN: Duration = Duration::from_secs(30);

pub(super) async fn watch(module: Weak<Module>, server: Arc<Server>, address: Address) {
    let mut pause = FIRST;
    while let Some(module) = module.upgrade() {
        match connect(&module.config, &address).await {
            Ok(link) => {
                pause = FIRST;
                follow(&module, &server, &address.id, &link).await;
                module.see(&server, |seen| seen.serving = false);
                if link.flooded() {
                    module.stands(&server, &address.id, Some(FLOODED.to_owned()));
                    pause = LONGEST;
                }
            }
            Err(error) => {
                let address = &address.address;
                tracing::debug!(%address, %error, "connect to a native module's server");
            }
        }
        drop(module);
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST);
    }
}

/// Until the connection is no more, or is of no use.
async fn follow(module: &Arc<Module>, server: &Server, id: &str, link: &Link) {
    let probes = &server.version.native.probes;
    let period = probes.period.duration();
    let mut missed = 0;
    let mut is_known = false;
    while missed < probes.failures {
        let trouble = unwell(link, period).await;
        let serving = trouble.is_none();
        module.see(server, |seen| seen.trouble = trouble);
        if serving && !is_known {
            is_known = contract(module, server, link).await;
            server.connect(link.clone());
        }
        let answers = serving && is_known;
        let got_on = match probes.progress {
            Some(_) if answers => progress(link, period).await,
            _ => None,
        };
        let now = crate::place::Place::clock(&**module).now();
        module.see(server, |seen| {
            seen.serving = answers;
            if answers {
                seen.ready.get_or_insert(now);
                seen.missed = 0;
            } else if seen.ready.is_some() {
                seen.missed = seen.missed.saturating_add(1);
            }
            seen.progress = got_on;
        });
        let seen = server.seen();
        let is_kept = !matches!(seen.contract, Contract::Broken(_));
        module.stands(server, id, stuck(&seen).or_else(|| late(&seen, now).filter(|_| is_kept)));
        missed = if serving { 0 } else { missed.saturating_add(1) };
        let again = if answers { period } else { FIRST.max(period.min(FIRST * 4)) };
        tokio::select! {
            () = sleep(again) => {}
            () = link.closed() => return,
        }
    }
}

/// Whether the server keeps its contract.
async fn contract(module: &Arc<Module>, server: &Server, link: &Link) -> bool {
    let contract = match kept(link, server).await {
        Ok(contract) => contract,
        Err(trouble) => {
            tracing::debug!(module = %server.version.id, trouble, "ask a server for its contract");
            module.see(server, |seen| seen.trouble = Some(trouble));
            return false;
        }
    };
    let broken = match &contract {
        Contract::Broken(how) => Some(how.clone()),
        _ => None,
    };
    if let Some(how) = &broken {
        server.version.log.host(how);
    }
    let is_broken = broken.is_some();
    module.keeps(&server.version, broken);
    module.see(server, |seen| seen.contract = contract);
    if is_broken {
        sleep(BROKEN).await;
    }
    !is_broken
}
