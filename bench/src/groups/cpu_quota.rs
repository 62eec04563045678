//! How well quotas of processor time are kept while modules that want all compete for two processors.
//!
//! What a module with `cpu` is granted is what its spec says; what the others are granted is their
//! part, by weight, of what the guest threads had left. The client shares the machine, so that is
//! less than two processors.

use std::time::Duration;

use anyhow::Context as _;
use roadstead_proto::v1::{ListUsageRequest, module_service_client::ModuleServiceClient};
use tonic::{Request, client::Grpc, transport::Channel};
use tonic_prost::ProstCodec;

use crate::{
    figure,
    group::Group,
    host::{Host, Upload, push},
    record::{Case, Row, Sample},
    report,
    stage::Stage,
};

const SPIN: &str = "/hostile.spin.spin.v0_1.Spin/Forever";

/// Before what is measured: the queues fill, bursts are used up.
const WARM_UP: Duration = Duration::from_secs(1);

/// What is measured.
const TIME: Duration = Duration::from_secs(10);

/// Calls that spin at the same time in each module.
const CALLERS: usize = 16;

/// Competitors: name, quota, guarantee in millicores, and weight where there is none.
const MODULES: [Competitor; 5] = [
    Competitor { name: "capped", spec: "cpu: 300m, borrow: false", cpu: Some(300.0), weight: 0.0 },
    Competitor { name: "small", spec: "cpu: 50m, borrow: false", cpu: Some(50.0), weight: 0.0 },
    Competitor { name: "promised", spec: "cpu: 800m, weight: 1", cpu: Some(800.0), weight: 0.0 },
    Competitor { name: "heavy", spec: "weight: 300", cpu: None, weight: 300.0 },
    Competitor { name: "light", spec: "weight: 100", cpu: None, weight: 100.0 },
];

struct Competitor {
    name: &'static str,
    spec: &'static str,
    cpu: Option<f64>,
    weight: f64,
}

pub(super) async fn measure(stage: &Stage) -> anyhow::Result<Vec<Row>> {
    let names = MODULES.map(|module| format!("{}: {}", module.name, module.spec));
    let mut case = Case::new(Group::CpuQuota, format!("{CALLERS} calls each"), names);
    let time = if stage.plan.quick { Duration::from_millis(200) } else { TIME };
    let got = compete(stage, time).await?;
    for (number, sample) in samples(&got).into_iter().enumerate() {
        case.add(number, sample);
    }
    Ok(case.finish())
}

/// What each module got, in thousandths of a processor.
async fn compete(stage: &Stage, time: Duration) -> anyhow::Result<Vec<f64>> {
    let data = tempfile::tempdir()?;
    let host = Host::start(&stage.paths.host, data.path(), &["--guest-threads", "2"])?;
    let channel = host.child.connect().await?;
    let component = Upload::read(&stage.paths.modules, "hostile-spin")?;
    let mut spinning = tokio::task::JoinSet::new();
    for Competitor { name, spec, .. } in &MODULES {
        let deadline = (WARM_UP + time).as_secs() + 60;
        let spec = format!(
            "limits: {{deadline: {deadline}s, fuel_per_call: 1_000_000_000_000_000}}\n\
             quota: {{concurrency: {CALLERS}, {spec}}}"
        );
        push(channel.clone(), component.named(name, &spec)).await?;
        for _ in 0..CALLERS {
            spinning.spawn(spin(channel.clone(), name));
        }
    }
    tokio::time::sleep(WARM_UP).await;
    report::progress(format_args!("{} modules compete for {time:?}", MODULES.len()));
    let before = used(&channel).await?;
    let began = tokio::time::Instant::now();
    tokio::time::sleep(time).await;
    let after = used(&channel).await?;
    let took = began.elapsed().as_secs_f64();
    spinning.abort_all();
    Ok(after.iter().zip(before).map(|(after, before)| (after - before) * 1e3 / took).collect())
}

fn samples(got: &[f64]) -> Vec<Sample> {
    let promised: f64 = MODULES.iter().filter_map(|module| module.cpu).sum();
    let left = (got.iter().sum::<f64>() - promised).max(0.0);
    let weights: f64 = MODULES.iter().map(|module| module.weight).sum();
    let sample = |(module, used): (&Competitor, &f64)| {
        let granted = module.cpu.unwrap_or(left * module.weight / weights);
        Sample::Measured(vec![
            (figure::GRANTED, granted),
            (figure::USED, *used),
            (figure::ERROR, (used / granted.max(1.0) - 1.0) * 100.0),
        ])
    };
    MODULES.iter().zip(got).map(sample).collect()
}

/// Seconds of processor time of each module so far.
async fn used(channel: &Channel) -> anyhow::Result<Vec<f64>> {
    let mut client = ModuleServiceClient::new(channel.clone());
    let usage = client.list_usage(ListUsageRequest::default()).await?.into_inner();
    let of = |name: &str| {
        let module = usage.modules.iter().find(|module| module.name == name);
        let cpu = module.and_then(|module| module.cpu).context("a module's usage")?;
        Ok(Duration::from_micros(cpu.total_us).as_secs_f64())
    };
    MODULES.iter().map(|module| of(module.name)).collect()
}

/// A call that ends when it is dropped; how it ends says nothing.
async fn spin(channel: Channel, module: &'static str) {
    let mut client = Grpc::new(channel);
    if client.ready().await.is_err() {
        return;
    }
    let mut request = Request::new(());
    let name = tonic::metadata::MetadataValue::from_static(module);
    request.metadata_mut().insert("roadstead-module", name);
    let path = http::uri::PathAndQuery::from_static(SPIN);
    drop(client.unary(request, path, ProstCodec::<(), ()>::default()).await);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_granted_by_weight() {
        let samples = samples(&[300.0, 50.0, 800.0, 600.0, 200.0]);
        let figures = samples.into_iter().map(|sample| match sample {
            Sample::Measured(figures) => figures.into_iter().map(|(_, value)| value.round()),
            Sample::Refused(reason) => panic!("{reason}"),
        });
        let granted_and_error: Vec<_> =
            figures.map(|mut figures| (figures.next().unwrap(), figures.nth(1).unwrap())).collect();
        let granted = [300.0, 50.0, 800.0, 600.0, 200.0];
        assert_eq!(granted_and_error, granted.map(|granted| (granted, 0.0)));
    }
}
