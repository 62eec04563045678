//! From a push to the first answer: cold, after a restart, and after the code was evicted.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use serde::Serialize;
use tonic::{Request, client::Grpc, transport::Channel};
use tonic_prost::ProstCodec;

use crate::{
    host::{Host, Upload, push},
    report,
};

const REPETITIONS: usize = 5;

/// One row: a module of one language.
#[derive(Serialize)]
pub(crate) struct Publish {
    pub module: &'static str,
    pub component_bytes: usize,
    /// From the first byte of the push until the first call is answered.
    pub cold_ms: f64,
    /// From starting the process on existing data until the first call is answered.
    pub restarted_ms: f64,
    /// Of which the first call alone.
    pub restarted_call_ms: f64,
    /// A call whose compiled code had been evicted.
    pub evicted_ms: f64,
    /// The next call, for comparison.
    pub warm_ms: f64,
}

struct Subject {
    module: &'static str,
    label: &'static str,
    method: &'static str,
    request: Vec<u8>,
}

fn subjects() -> [Subject; 2] {
    let text = |field: u8, text: &str| {
        let mut bytes = vec![field << 3 | 2, u8::try_from(text.len()).unwrap_or(0)];
        bytes.extend_from_slice(text.as_bytes());
        bytes
    };
    [
        Subject {
            module: "text-stats",
            label: "Rust: text-stats",
            method: "/demo.text_stats.analyze.v0_1.Analyze/Summarize",
            request: text(1, "A short text. It has two sentences."),
        },
        Subject {
            module: "reward",
            label: "Python: reward",
            method: "/demo.reward.grade.v0_1.Grade/Equivalent",
            request: [text(1, "1/2"), text(2, "0.5")].concat(),
        },
    ]
}

pub(crate) async fn measure(bin: &Path, modules: &Path) -> anyhow::Result<Vec<Publish>> {
    let mut rows = Vec::new();
    for subject in subjects() {
        let upload = Upload::read(modules, subject.module)?;
        rows.push(one(bin, modules, &subject, upload).await?);
    }
    Ok(rows)
}

async fn one(
    bin: &Path,
    modules: &Path,
    subject: &Subject,
    upload: Upload,
) -> anyhow::Result<Publish> {
    report::progress(format_args!("push to first call, cold: {}", subject.label));
    let component_bytes = upload.component.len();
    let data = tempfile::tempdir()?;
    // Room for one module's code at a time: calling another evicts.
    let host = Host::start(bin, data.path(), &["--code-budget", "1"])?;
    let channel = host.child.connect().await?;
    let began = Instant::now();
    push(channel.clone(), upload).await?;
    call(&channel, subject).await?;
    let cold = began.elapsed();

    push(channel, Upload::read(modules, "echo")?).await?;
    report::progress(format_args!("restarted: {}", subject.label));
    let began = Instant::now();
    let host = host.restart()?;
    let channel = host.child.connect().await?;
    let restarted_call = timed(call(&channel, subject)).await?;
    let restarted = began.elapsed();

    report::progress(format_args!("evicted: {}", subject.label));
    let mut evicted = Vec::new();
    let mut warm = Vec::new();
    for _ in 0..REPETITIONS {
        crate::load::call(&channel, Some("echo")).await?;
        evicted.push(timed(call(&channel, subject)).await?);
        warm.push(timed(call(&channel, subject)).await?);
    }
    Ok(Publish {
        module: subject.label,
        component_bytes,
        cold_ms: ms(cold),
        restarted_ms: ms(restarted),
        restarted_call_ms: ms(restarted_call),
        evicted_ms: ms(middle(evicted)),
        warm_ms: ms(middle(warm)),
    })
}

async fn call(channel: &Channel, subject: &Subject) -> anyhow::Result<()> {
    let mut client = Grpc::new(channel.clone());
    client.ready().await?;
    // Field numbers of the request are those of the subject; the answer is not looked into.
    let codec = ProstCodec::<Raw, ()>::default();
    let path = http::uri::PathAndQuery::from_static(subject.method);
    let request = Request::new(Raw { bytes: subject.request.clone() });
    client.unary(request, path, codec).await.with_context(|| format!("call {}", subject.method))?;
    Ok(())
}

async fn timed(call: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<Duration> {
    let began = Instant::now();
    call.await?;
    Ok(began.elapsed())
}

fn middle(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// A message that is written as the bytes that it holds.
#[derive(Debug, Default)]
struct Raw {
    bytes: Vec<u8>,
}

impl prost::Message for Raw {
    fn encode_raw(&self, buffer: &mut impl bytes::BufMut) {
        buffer.put_slice(&self.bytes);
    }

    fn merge_field(
        &mut self,
        tag: u32,
        wire_type: prost::encoding::WireType,
        buffer: &mut impl bytes::Buf,
        context: prost::encoding::DecodeContext,
    ) -> Result<(), prost::DecodeError> {
        prost::encoding::skip_field(wire_type, tag, buffer, context)
    }

    fn encoded_len(&self) -> usize {
        self.bytes.len()
    }

    fn clear(&mut self) {
        self.bytes.clear();
    }
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;
    use crate::echo;

    #[test]
    fn requests_are_protobuf() {
        let [rust, _] = subjects();
        let request = echo::BytesRequest::decode(rust.request.as_slice()).unwrap();
        assert!(request.data.starts_with(b"A short text."));
        assert_eq!(Raw { bytes: rust.request.clone() }.encode_to_vec(), rust.request);
    }
}
