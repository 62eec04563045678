//! Spans on their way to the collector, in batches, with one connection.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use opentelemetry::KeyValue;
use opentelemetry_otlp::{
    ExporterBuildError, SpanExporter, WithExportConfig as _, WithTonicConfig as _,
};
use opentelemetry_sdk::{
    Resource,
    trace::{SpanData, SpanExporter as _},
};
use tokio::{
    sync::mpsc,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint};

use super::{Counts, TracesConfig};

/// Spans of one message.
const BATCH: usize = 512;
/// How long spans are gathered.
const GATHER: Duration = Duration::from_secs(1);
/// How long the collector may take to be connected to, and to take a batch.
const CONNECT: Duration = Duration::from_secs(3);
const PATIENCE: Duration = Duration::from_secs(5);
/// How long the last batches may take.
const LAST: Duration = Duration::from_secs(2);

/// Why spans cannot be exported.
#[derive(Debug, thiserror::Error)]
pub enum TracesError {
    #[error("the collector's address {0} is no URL like http://collector:4317")]
    Endpoint(String),
    #[error("the collector's authority cannot be used")]
    Tls(#[source] tonic::transport::Error),
    #[error("the exporter of spans cannot be made")]
    Exporter(#[from] ExporterBuildError),
}

pub(super) fn exporter(config: &TracesConfig) -> Result<SpanExporter, TracesError> {
    let endpoint = Endpoint::from_shared(config.endpoint.clone());
    let mut endpoint = endpoint
        .map_err(|_| TracesError::Endpoint(config.endpoint.clone()))?
        .connect_timeout(CONNECT);
    if config.endpoint.starts_with("https:") {
        let tls = match &config.authority {
            Some(pem) => ClientTlsConfig::new().ca_certificate(Certificate::from_pem(pem)),
            None => ClientTlsConfig::new().with_native_roots(),
        };
        endpoint = endpoint.tls_config(tls).map_err(TracesError::Tls)?;
    }
    let exporter = SpanExporter::builder().with_tonic().with_channel(endpoint.connect_lazy());
    let mut exporter = exporter.with_timeout(PATIENCE).build()?;
    exporter.set_resource(&resource(config));
    Ok(exporter)
}

fn resource(config: &TracesConfig) -> Resource {
    let host = config.host.to_string();
    let about = [
        KeyValue::new("service.name", "roadstead"),
        KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
        KeyValue::new("service.instance.id", host.clone()),
        KeyValue::new("roadstead.host", host),
        KeyValue::new("roadstead.pool", config.pool.clone()),
    ];
    Resource::builder_empty().with_attributes(about).build()
}

/// Exports until nobody makes spans any more, or until it is told to close.
pub(super) async fn run(
    exporter: SpanExporter,
    mut spans: mpsc::Receiver<SpanData>,
    counts: Arc<Counts>,
    closing: CancellationToken,
) {
    let mut heard = true;
    loop {
        let mut batch = Vec::new();
        let more = tokio::select! {
            more = spans.recv_many(&mut batch, BATCH) => 0 < more,
            () = closing.cancelled() => false,
        };
        if !more {
            break;
        }
        if batch.len() < BATCH {
            tokio::select! {
                () = sleep(GATHER) => {}
                () = closing.cancelled() => {}
            }
            gather(&mut spans, &mut batch);
        }
        let sending = send(&exporter, batch, &counts, &mut heard);
        // What is on its way at the end has as long as the last ones.
        tokio::select! {
            () = sending => {}
            () = async { closing.cancelled().await; sleep(LAST).await } => return,
        }
    }
    let rest = async {
        loop {
            let mut batch = Vec::new();
            gather(&mut spans, &mut batch);
            if batch.is_empty() {
                return;
            }
            send(&exporter, batch, &counts, &mut heard).await;
        }
    };
    if timeout(LAST, rest).await.is_err() {
        tracing::debug!("the collector took too long to take the last spans");
    }
}

/// Takes what is there, up to a batch.
fn gather(spans: &mut mpsc::Receiver<SpanData>, batch: &mut Vec<SpanData>) {
    while batch.len() < BATCH
        && let Ok(span) = spans.try_recv()
    {
        batch.push(span);
    }
}

/// The collector's loss is told once, and that it is back.
async fn send(exporter: &SpanExporter, batch: Vec<SpanData>, counts: &Counts, heard: &mut bool) {
    let count = batch.len() as u64;
    match timeout(PATIENCE, exporter.export(batch)).await {
        Ok(Ok(())) => {
            counts.sent.fetch_add(count, Ordering::Relaxed);
            if !*heard {
                tracing::info!("the collector of spans takes them again");
            }
            *heard = true;
        }
        failed => {
            counts.refused.fetch_add(count, Ordering::Relaxed);
            if *heard {
                let why = match failed {
                    Ok(Err(error)) => error.to_string(),
                    _ => "it did not answer in time".to_owned(),
                };
                tracing::warn!(why, "the collector takes no spans: they are dropped meanwhile");
            }
            *heard = false;
        }
    }
}
