//! Streams and sessions as Rust clients use them, by generated stubs; and what ends streams.

use std::{sync::Arc, time::Duration};

use roadstead_gateway::Monitored as _;
use roadstead_gateway::{Drained, GatewayConfig};
use roadstead_proto::v1::{PushHeader, SpecFormat};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Status, Streaming};
use tonic_types::StatusExt as _;

use crate::{
    built::{
        component,
        csv::{
            Options, Row, RowsRequest, RowsResponse,
            csv_client::CsvClient,
            rows_request::{Message, Start},
            rows_response::Event,
            trouble::Kind,
        },
        stats::{
            SeriesHandle, StatsSeriesAddRequest, StatsSeriesCreateRequest, StatsSeriesDropRequest,
            StatsSeriesSummaryRequest, stats_series_add_response::Result as Added,
            stats_series_client::StatsSeriesClient,
        },
    },
    support::{Host, PATIENCE, failure, outcome, push},
};

pub(crate) async fn publish(host: &Host, name: &str, spec: &str) {
    let header = PushHeader {
        name: name.to_owned(),
        spec: spec.to_owned(),
        spec_format: SpecFormat::Yaml.into(),
        ..PushHeader::default()
    };
    outcome(&push(host.channel().await, header, component(name)).await.unwrap());
}

/// A file on its way, and the rows of it.
pub(crate) struct Reading {
    pub(crate) send: Option<mpsc::Sender<RowsRequest>>,
    rows: Streaming<RowsResponse>,
}

impl Reading {
    pub(crate) async fn begin(host: &Host) -> Self {
        let (send, requests) = mpsc::channel(4);
        let start = Start { options: Some(Options::default()) };
        send.send(RowsRequest { message: Some(Message::Start(start)) }).await.unwrap();
        let mut client = CsvClient::new(host.channel().await);
        let rows = client.rows(ReceiverStream::new(requests)).await.unwrap().into_inner();
        Self { send: Some(send), rows }
    }

    pub(crate) async fn write(&self, bytes: &str) {
        let item = Message::Item(bytes.as_bytes().to_vec());
        let sent = self.send.as_ref().unwrap().send(RowsRequest { message: Some(item) });
        sent.await.unwrap();
    }

    pub(crate) async fn next(&mut self) -> Result<Option<Event>, Status> {
        Ok(self.rows.message().await?.map(|response| response.event.unwrap()))
    }

    pub(crate) async fn row(&mut self) -> Row {
        match self.next().await.unwrap() {
            Some(Event::Item(row)) => row,
            other => panic!("{other:?}"),
        }
    }
}

pub(crate) async fn until(come: impl Fn() -> bool) {
    let waiting = async {
        while !come() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap();
}

/// Waits until so many streams are open, and run.
async fn open(host: &Host, wanted: u64) {
    until(|| {
        let stats = host.stats("csv-reader");
        (stats.streams, stats.running) == (wanted, wanted)
    })
    .await;
}

#[tokio::test]
async fn bytes_go_in_and_rows_come_out() {
    let host = Host::start().await;
    publish(&host, "csv-reader", "").await;
    let mut reading = Reading::begin(&host).await;
    for number in 0..50 {
        reading.write(&format!("{number},\"a")).await;
        reading.write("\nb\"\n").await;
        let row = reading.row().await;
        let fields = vec![number.to_string(), "a\nb".to_owned()];
        assert_eq!((row.line, row.fields), (1 + 2 * number, fields));
    }
    assert_eq!(host.stats("csv-reader").streams, 1);
    reading.write("half,closed").await;
    reading.send = None;
    assert_eq!(reading.row().await.fields, ["half", "closed"]);
    assert_eq!(reading.next().await.unwrap(), None);
    let trailers = reading.rows.trailers().await.unwrap().unwrap();
    assert_eq!(trailers.get("roadstead-module").unwrap(), "csv-reader@0.1.0");
    open(&host, 0).await;
    let stats = host.stats("csv-reader");
    assert_eq!((stats.messages_in, stats.messages_out), (101, 51));
    let text = host.monitor.metrics().unwrap();
    let labels = "namespace=\"default\",module=\"csv-reader\",version=\"0.1.0\"";
    for line in [
        format!("roadstead_module_streams{{{labels}}} 0"),
        format!("roadstead_module_stream_messages_total{{{labels},direction=\"in\"}} 101"),
        format!("roadstead_module_stream_messages_total{{{labels},direction=\"out\"}} 51"),
    ] {
        assert!(text.contains(&line), "{line}\n{text}");
    }
    host.stop().await;
}

#[tokio::test]
async fn errors_of_the_module_come_last_and_are_typed() {
    let host = Host::start().await;
    publish(&host, "csv-reader", "").await;
    let mut reading = Reading::begin(&host).await;
    reading.write("a,b\n1,2\n3\n4,5\n").await;
    assert_eq!((reading.row().await.line, reading.row().await.line), (1, 2));
    let Some(Event::Error(error)) = reading.next().await.unwrap() else { panic!("no error") };
    let Some(Kind::Ragged(ragged)) = error.trouble.unwrap().kind else { panic!("other trouble") };
    assert_eq!((error.line, ragged.wanted, ragged.found), (3, 2, 1));
    assert_eq!(reading.next().await.unwrap(), None);
    host.stop().await;
}

#[tokio::test]
async fn a_client_that_leaves_ends_its_stream() {
    let host = Host::start().await;
    publish(&host, "csv-reader", "").await;
    let mut reading = Reading::begin(&host).await;
    reading.write("a,b\n").await;
    reading.row().await;
    open(&host, 1).await;
    reading.write("\"open").await;
    drop(reading);
    open(&host, 0).await;
    host.stop().await;
}

#[tokio::test]
async fn open_streams_hear_why_a_drain_ends_them() {
    let drain_timeout = Duration::from_millis(100);
    let host = Host::with(GatewayConfig { drain_timeout, ..GatewayConfig::default() }).await;
    publish(&host, "csv-reader", "").await;
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    until(|| host.counters.read().open == 0).await;
    let before = tasks();
    let mut reading = Reading::begin(&host).await;
    reading.write("a,b\n").await;
    reading.row().await;
    let engine = Arc::clone(host.registry.engine());
    let stopped = host.begin_stop();
    // It goes on while the drain lasts.
    reading.write("1,2\n").await;
    assert_eq!(reading.row().await.line, 2);
    let ended = reading.next().await.unwrap_err();
    assert_eq!(ended.code(), Code::Unavailable);
    assert_eq!(ended.get_details_error_info().unwrap().reason, "DRAINING");
    assert_eq!(ended.metadata().get("roadstead-module").unwrap(), "csv-reader@0.1.0");
    let drained = tokio::time::timeout(PATIENCE, stopped).await.unwrap().unwrap();
    assert_eq!(drained, Drained::TimedOut);
    drop(reading);
    // What served, watched and pumped the stream is gone, and the gateway's own task.
    until(|| tasks() < before).await;
    engine.shutdown().await;
}

#[tokio::test]
async fn a_stream_that_is_refused_says_whose_trace_it_was() {
    let host = Host::start().await;
    publish(&host, "csv-reader", "quota: {concurrency: 1, queue: 0}").await;
    let mut reading = Reading::begin(&host).await;
    reading.write("a,b\n").await;
    reading.row().await;
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let mut request = Request::new(tokio_stream::empty::<RowsRequest>());
    let parent = format!("00-{trace}-00f067aa0ba902b7-01");
    request.metadata_mut().insert("traceparent", parent.parse().unwrap());
    let refused = CsvClient::new(host.channel().await).rows(request).await.unwrap_err();
    let info = refused.get_details_error_info().unwrap();
    assert_eq!((refused.code(), &*info.reason), (Code::ResourceExhausted, "OVERLOADED"));
    assert_eq!(info.metadata.get("trace_id").map(String::as_str), Some(trace));
    host.stop().await;
}

#[tokio::test]
async fn an_instance_lives_behind_a_handle() {
    let host = Host::start().await;
    publish(&host, "running-stats", "").await;
    let mut series = StatsSeriesClient::new(host.channel().await);
    let created = series.create(StatsSeriesCreateRequest {}).await.unwrap().into_inner();
    let handle = created.value.unwrap();
    let request = |numbers: &[f64]| StatsSeriesAddRequest {
        self_: Some(handle.clone()),
        numbers: numbers.to_vec(),
    };
    for (numbers, count) in [(&[2.0, 4.0][..], 2), (&[6.0], 3)] {
        let added = series.add(request(numbers)).await.unwrap();
        assert_eq!(added.metadata().get("roadstead-instance").unwrap(), "session");
        assert_eq!(added.into_inner().result, Some(Added::Ok(count)));
    }
    let refused = series.add(request(&[f64::NAN])).await.unwrap().into_inner();
    assert!(matches!(refused.result, Some(Added::Error(_))), "{refused:?}");
    let whole = StatsSeriesSummaryRequest { self_: Some(handle.clone()) };
    let summary = series.summary(whole).await.unwrap().into_inner().value.unwrap();
    assert_eq!((summary.count, summary.mean), (3, 4.0));
    let stranger = SeriesHandle { id: vec![7; handle.id.len()] };
    let forged = StatsSeriesSummaryRequest { self_: Some(stranger) };
    let lost = (Code::NotFound, "NO_SUCH_HANDLE".to_owned());
    assert_eq!(failure(series.summary(forged).await), lost);
    series.drop(StatsSeriesDropRequest { self_: Some(handle.clone()) }).await.unwrap();
    assert_eq!(failure(series.add(request(&[1.0])).await), lost);
    assert_eq!(host.stats("running-stats").sessions, 0);
    host.stop().await;
}
