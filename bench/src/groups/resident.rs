//! Memory of an idle instance, beside that of a whole process with the same functions.

use anyhow::Context as _;
use roadstead_proto::v1::{ListUsageRequest, module_service_client::ModuleServiceClient};
use tokio::task::JoinSet;
use tonic::transport::Channel;

use super::published::each;
use crate::{
    group::Group,
    host::{Host, push},
    load::Caller,
    peers::{grpcio, native},
    record::{Case, Row, Sample},
    report,
    stage::{Language, Stage},
    work::{Exchange, Kernel, Kind, Way, Work},
};

/// Calls that run at the same time take an instance each; while there are fewer, there are more calls.
const ATTEMPTS: usize = 50;

pub(super) async fn measure(stage: &Stage) -> anyhow::Result<Vec<Row>> {
    let languages = stage.paths.languages();
    let names = languages.iter().map(|language| language.name());
    let mut instances = Case::new(Group::Memory, "an idle instance", names);
    let mut processes = Case::new(Group::Memory, "a process", ["native tonic", "grpcio"]);
    for (number, language) in languages.iter().enumerate() {
        report::progress(format_args!("memory: idle instances of {}", language.name()));
        instances.add(number, idle(stage, *language).await?);
    }
    processes.add(0, each(native::start()?.resident()?, 0, 1));
    if let Some(grpcio) = grpcio::start(&stage.paths.python)? {
        processes.add(1, each(grpcio.child.resident()?, 0, 1));
    }
    Ok([instances.finish(), processes.finish()].concat())
}

/// What the host's memory grows by with each further idle instance of a module; the first brings the
/// module's code, which is none of its own.
async fn idle(stage: &Stage, language: Language) -> anyhow::Result<Sample> {
    let data = tempfile::tempdir()?;
    let host = Host::start(&stage.paths.host, data.path(), &[])?;
    let wanted = stage.plan.instances;
    let spec = format!(
        "instances: {{policy: pooled, warm: {wanted}, max_uses: 1000000}}\n\
         quota: {{concurrency: {wanted}, queue: {wanted}}}\n"
    );
    let upload = stage.paths.guest(language)?.named("idle", &spec);
    push(host.child.connect().await?, upload).await?;
    let channel = host.child.connect().await?;
    call_at_once(&channel, language, 1).await?;
    let empty = host.child.resident()?;
    for _ in 0..ATTEMPTS {
        call_at_once(&channel, language, wanted).await?;
        let idle = idle_instances(&channel).await?;
        if 1 < idle && wanted / 2 <= idle {
            return Ok(each(host.child.resident()?, empty, idle - 1));
        }
    }
    Ok(Sample::Refused("calls did not run at the same time".to_owned()))
}

/// Calls that take long enough to run beside each other, and touch little memory.
async fn call_at_once(channel: &Channel, language: Language, calls: usize) -> anyhow::Result<()> {
    let exchange = Exchange::of(match language {
        Language::Rust => Work::Compute { kernel: Kernel::Collatz, size: 50_000 },
        Language::Python | Language::JavaScript => {
            Work::Transfer { kind: Kind::Records, way: Way::Out, count: 1000 }
        }
    })?;
    let mut running = JoinSet::new();
    for _ in 0..calls {
        let (mut caller, exchange) = (Caller::new(channel.clone()), exchange.clone());
        running.spawn(async move { caller.send(&exchange, None).await });
    }
    while let Some(ended) = running.join_next().await {
        ended?.context("a call beside others")?;
    }
    Ok(())
}

async fn idle_instances(channel: &Channel) -> anyhow::Result<usize> {
    let mut client = ModuleServiceClient::new(channel.clone());
    let usage = client.list_usage(ListUsageRequest::default()).await?.into_inner();
    let idle = usage.modules.iter().map(|module| module.idle_instances).sum::<u64>();
    Ok(usize::try_from(idle)?)
}
