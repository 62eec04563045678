//! Brings about what is planned for one module: looks, plans, does, and looks again.

use std::{io, sync::Arc, time::Duration};

use roadstead_domain as domain;
use roadstead_native_plan::{Action, Attempt, End, Why, plan};
use tokio::time::{Instant, sleep_until};

use crate::{
    environment::{Home, private},
    helper::Order,
    module::Module,
    process::{Process, blocking},
    records::{self, Record},
    server::Server,
    sign::CallKey,
    watch::watch,
};

/// Files that a server may have open.
const FILES: u64 = 4096;
/// Characters of a file's name that is made up.
const NAME: usize = 4;
/// Before the host tries again what it could not do.
const PAUSE: Duration = Duration::from_secs(1);

/// Runs for as long as the host.
pub(crate) async fn supervise(module: Arc<Module>) {
    loop {
        let changed = module.changed.notified();
        let plan = plan(&module.observe(), module.now());
        let mut again = plan.again.map(|at| Instant::from_std(module.ground.clock.instant(at)));
        for action in &plan.actions {
            if let Err(error) = apply(&module, action).await {
                tracing::error!(module = %module.name, ?action, %error, "run a native module");
                again = Some(Instant::now() + PAUSE);
                break;
            }
        }
        module.publish(plan.versions);
        if let Some(deletion) = module.gone() {
            let deleted = Arc::clone(&module);
            match blocking(move || deleted.set_aside()).await {
                Ok(()) => module.begin_anew(deletion),
                Err(error) => {
                    tracing::error!(module = %module.name, %error, "set a deleted module's state aside");
                    again = Some(Instant::now() + PAUSE);
                }
            }
        }
        let wait = async {
            match again {
                Some(at) => sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = changed => {}
            () = wait => {}
        }
    }
}

async fn apply(module: &Arc<Module>, action: &Action) -> io::Result<()> {
    match action {
        Action::Claim { epoch } => {
            let (directory, claimed) = (module.directory.clone(), *epoch);
            blocking(move || {
                private(&directory)?;
                records::claim(&directory, claimed)
            })
            .await?;
            module.claimed(*epoch);
        }
        Action::Start { version, epoch } => start(module, version, *epoch).await,
        Action::Drain { epoch } => {
            if let Some(server) = module.server(*epoch) {
                let now = module.now();
                module.see(&server, |seen| seen.draining = seen.draining.or(Some(now)));
                server.version.log.host(&format!("attempt {epoch} ends"));
                tokio::spawn(server.drain());
            }
        }
        Action::End { epoch, why } => {
            if let Some(server) = module.server(*epoch) {
                server.kill(match why {
                    Why::Grace => End::Drained,
                    Why::Failed(why) => End::Failed(why.clone()),
                    Why::Mismatch(how) => End::Mismatch(how.clone()),
                });
            }
        }
    }
    Ok(())
}

async fn start(module: &Arc<Module>, version: &domain::Version, epoch: u64) {
    // Deleted meanwhile: the next plan has it no more.
    let Some(version) = module.version(version) else { return };
    let native = Arc::clone(&version.native);
    let seen = Attempt::new(epoch, version.id.version.clone(), native, module.now());
    let server = Arc::new(Server::new(version, CallKey::new(), seen));
    module.add(&server);
    match launch(module, &server).await {
        Ok((process, home)) => {
            server.run(Arc::clone(&process));
            tokio::spawn(look_after(Arc::clone(module), server, process, home));
        }
        Err(error) => {
            tracing::error!(module = %module.name, %error, "start a server");
            server.version.log.host(&format!("attempt {epoch} cannot be started: {error}"));
            server.failed("this host cannot start it: see its log".to_owned(), module.now());
            module.remove(&server);
        }
    }
}

async fn launch(module: &Arc<Module>, server: &Arc<Server>) -> io::Result<(Arc<Process>, Home)> {
    let id = hex::encode(rand::random::<[u8; NAME]>());
    let home = Home(module.ground.config.directory.join("run").join(&id));
    let (making, of) = (home.clone(), Arc::clone(server));
    let state = module.state_directory();
    let secrets = blocking(move || {
        let secrets = of.version.secrets.texts();
        making.make(&of.key, &secrets)?;
        private(&state)?;
        Ok(secrets.len())
    })
    .await?;
    if secrets < server.version.native.secrets.len() {
        return Err(io::Error::other("a secret cannot be read"));
    }
    let record = record(module, server, &home, &id)?;
    let output = server.version.log.output();
    let process = Process::start(&module.ground.spawner, record, output).await?;
    Ok((Arc::new(process), home))
}

fn record(module: &Module, server: &Server, home: &Home, id: &str) -> io::Result<Record> {
    let (ground, version) = (&module.ground, &server.version);
    let config = &ground.config;
    let cgroups = ground.cgroups.as_ref();
    let cgroup = cgroups.map(|groups| groups.make(id, &version.native.resources)).transpose()?;
    let mut own = vec![home.0.clone()];
    if version.native.stateful {
        own.push(module.state_directory());
    }
    let order = Order {
        file: config.directory.join("records").join(format!("{id}.json")),
        host: std::process::id(),
        layers: ground.layers,
        command: version.native.command.clone(),
        env: home.environment(version, &config.path, &module.state_directory(), server.epoch()),
        working: config.working.clone(),
        own,
        temporary: home.temporary(),
        hidden: hidden(config),
        devices: version.native.resources.gpu > 0,
        cgroup: cgroup.map(|group| group.path),
        pids: u64::from(version.native.resources.pids),
        files: FILES,
    };
    Ok(Record { order, boot: records::boot(), process: None, directory: home.0.clone() })
}

/// What no server sees.
pub(crate) fn hidden(config: &crate::ProcessesConfig) -> Vec<std::path::PathBuf> {
    let mut hidden = config.hidden.clone();
    hidden.push(config.directory.clone());
    hidden
}

/// From a server's start to its end.
async fn look_after(module: Arc<Module>, server: Arc<Server>, process: Arc<Process>, home: Home) {
    let watching = watch(Arc::clone(&module), Arc::clone(&server), home);
    let how = tokio::select! {
        how = process.ended() => how,
        () = watching => process.ended().await,
    };
    let epoch = server.epoch();
    let text = match server.ended(how, module.now()) {
        End::Drained => format!("attempt {epoch} has ended"),
        End::Failed(why) | End::Mismatch(why) => format!("attempt {epoch} failed: {why}"),
    };
    server.version.log.host(&text);
    module.remove(&server);
}

/// Ends all servers of a module, each with its grace; none begins any more.
pub(crate) async fn stop(module: &Module) {
    module.want(&[]);
    let mut rounds = module.rounds();
    while !module.servers().is_empty() {
        if rounds.changed().await.is_err() {
            return;
        }
    }
}

/// Ends all servers of a module now.
pub(crate) async fn end(module: &Module) {
    while !module.servers().is_empty() {
        for server in module.servers() {
            server.kill(End::Drained);
        }
        // One that is about to start has no process yet.
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
