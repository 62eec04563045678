//! What a module wrote, as a stream: on this host, or on all hosts of its pool.

mod follow;
mod merge;

use std::time::{SystemTime, UNIX_EPOCH};

use futures::{FutureExt as _, Stream, StreamExt as _, stream};
use http::Uri;
use prost::Message as _;
use roadstead_domain::{Fault, HostName, ModuleName, Namespace};
use roadstead_engine::{LogEvent, LogFollower, LogLine, LogSource};
use roadstead_proto::v1::{self as pb, Scope, StreamLogsRequest, StreamLogsResponse};
use roadstead_registry::Registry;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use super::{Answers, Modules, fleet::Inquiry, module_name};
use crate::{
    pool::Missing,
    status::{from_change, from_fault},
    steps::{permit, while_granted},
};
use follow::Following;
use merge::{Part, Parts};

/// Lines of one message, and bytes after which no further line is put into it.
const LINES: usize = 100;
const BYTES: usize = 16 << 10;
/// Hosts whose kept lines are read at the same time.
const AT_ONCE: usize = 64;

/// The newest lines, and if asked for every line from now on.
pub(super) async fn list(
    modules: &Modules,
    request: Request<StreamLogsRequest>,
) -> Result<Response<Answers<StreamLogsResponse>>, Status> {
    let permit = permit(&request)?;
    let inquiry = modules.fleet.inquiry(&permit, &request, request.get_ref().scope)?;
    let asked = request.into_inner();
    let (namespace, name) = (permit.namespace(), module_name(&asked.name)?);
    modules.registry.get(namespace, &name).map_err(from_change)?;
    let own = own(&modules.registry, modules.drain.clone(), namespace, &name, &asked);
    let here = modules.fleet.name.clone();
    let answers: Answers<StreamLogsResponse> = if inquiry.others().is_empty() {
        Box::pin(while_granted(permit, alone(here, own)))
    } else {
        Box::pin(while_granted(permit, together(here, Box::pin(own), inquiry, asked)))
    };
    Ok(Response::new(answers))
}

/// This host's lines, with its name.
fn alone(
    here: HostName,
    own: impl Stream<Item = Result<StreamLogsResponse, Status>> + Send,
) -> impl Stream<Item = Result<StreamLogsResponse, Status>> + Send {
    let mut first = vec![pb::HostAnswer { name: here.to_string(), error: String::new() }];
    own.map(move |answer| {
        let mut answer = named(&here, answer?);
        answer.hosts = std::mem::take(&mut first);
        Ok(answer)
    })
}

fn named(host: &HostName, mut answer: StreamLogsResponse) -> StreamLogsResponse {
    for line in &mut answer.lines {
        line.host = host.to_string();
    }
    answer
}

/// The lines of all hosts: what is kept in one order, then whatever comes, as it comes.
fn together(
    here: HostName,
    own: Answers<StreamLogsResponse>,
    inquiry: Inquiry,
    asked: StreamLogsRequest,
) -> impl Stream<Item = Result<StreamLogsResponse, Status>> + Send {
    async_stream::try_stream! {
        let began = unix_ms(SystemTime::now());
        let others = inquiry.others();
        let most = merge::share(others.len() + 1);
        let reading = others.into_iter().map(|host| {
            let opening = open(&inquiry, host.clone(), asked.clone());
            read(host.0, opening, inquiry.until, most)
        });
        let others = stream::iter(reading.collect::<Vec<_>>()).buffer_unordered(AT_ONCE);
        let own = read(here.clone(), async { Ok(own) }, inquiry.until, most);
        let (mut own, others) = tokio::join!(own, others.collect::<Vec<_>>());
        if let Some(error) = own.failed.take() {
            Err(error)?;
        }
        let mut parts = Parts::new(std::iter::once(own).chain(others));
        let mut hosts = parts.hosts();
        let mut lines = parts.take_lines(tail(&asked)).into_iter();
        while let Some(first) = lines.next() {
            let hosts = std::mem::take(&mut hosts);
            yield StreamLogsResponse { hosts, ..batch(first, || lines.next()) };
        }
        if !asked.follow {
            if !hosts.is_empty() {
                yield StreamLogsResponse { hosts, ..StreamLogsResponse::default() };
            }
            return;
        }
        yield StreamLogsResponse { hosts, live: true, ..StreamLogsResponse::default() };
        let mut following = Following::new(here, parts, inquiry, asked, began);
        while let Some(next) = following.next().await {
            yield next?;
        }
    }
}

/// The lines of another host, as they come.
async fn open(
    inquiry: &Inquiry,
    host: (HostName, Uri),
    asked: StreamLogsRequest,
) -> Result<Answers<StreamLogsResponse>, Status> {
    let gone = || Status::unavailable("it is in no pool with this one");
    let mut client = inquiry.listener(host).ok_or_else(gone)?;
    let asked = StreamLogsRequest { scope: Scope::Host.into(), ..asked };
    Ok(Box::pin(client.stream_logs(asked).await?.into_inner()))
}

/// Reads what a host has kept, `most` bytes of it, the newest.
async fn read(
    host: HostName,
    opening: impl Future<Output = Result<Answers<StreamLogsResponse>, Status>>,
    until: Instant,
    most: usize,
) -> Part {
    let mut part = Part::new(host, most);
    let reading = async {
        let mut lines = opening.await?;
        while let Some(answer) = lines.next().await {
            let answer = answer?;
            part.push(answer.lines);
            if answer.live {
                return Ok::<_, Status>(Some(lines));
            }
        }
        Ok(None)
    };
    match tokio::time::timeout_at(until, reading).await {
        Ok(Ok(rest)) => part.rest = rest,
        Ok(Err(status)) => {
            part.missing = Some(Missing::from(status.clone()));
            part.failed = Some(status);
        }
        Err(_) => part.missing = Some(Missing::Because(super::fleet::LATE.to_owned())),
    }
    part
}

fn tail(asked: &StreamLogsRequest) -> usize {
    match asked.tail {
        0 => usize::MAX,
        count => usize::try_from(count).unwrap_or(usize::MAX),
    }
}

/// The lines of this host.
fn own(
    registry: &Registry,
    drain: CancellationToken,
    namespace: &Namespace,
    name: &ModuleName,
    asked: &StreamLogsRequest,
) -> impl Stream<Item = Result<StreamLogsResponse, Status>> + Send + use<> {
    let logs = registry.engine().logs();
    let (kept, follower) = if asked.follow {
        let mut follower = logs.follow(namespace, name, tail(asked));
        (follower.kept(), Some(follower))
    } else {
        (logs.tail(namespace, name, tail(asked)), None)
    };
    async_stream::try_stream! {
        let mut kept = kept.iter().map(|found| line(found));
        while let Some(first) = kept.next() {
            yield batch(first, || kept.next());
        }
        let Some(mut follower) = follower else { return };
        yield StreamLogsResponse { live: true, ..StreamLogsResponse::default() };
        loop {
            let first = tokio::select! {
                next = follower.next() => next,
                () = drain.cancelled() => None,
            };
            if drain.is_cancelled() {
                Err(from_fault(&Fault::Draining, true))?;
            }
            // The module was deleted.
            let Some(first) = first else { return };
            yield batch(event(&first), || ready(&mut follower));
        }
    }
}

/// A line, and as many of those behind it as go into one message.
fn batch(first: pb::LogLine, mut next: impl FnMut() -> Option<pb::LogLine>) -> StreamLogsResponse {
    let mut bytes = first.encoded_len();
    let mut lines = vec![first];
    while lines.len() < LINES && bytes < BYTES {
        let Some(line) = next() else { break };
        bytes += line.encoded_len();
        lines.push(line);
    }
    StreamLogsResponse { lines, ..StreamLogsResponse::default() }
}

/// The next line if it is there already.
fn ready(follower: &mut LogFollower) -> Option<pb::LogLine> {
    follower.next().now_or_never().flatten().map(|next| event(&next))
}

fn event(event: &LogEvent) -> pb::LogLine {
    match event {
        LogEvent::Line(found) => line(found),
        LogEvent::Missed(count) => pb::LogLine {
            unix_ms: unix_ms(SystemTime::now()),
            source: LogSource::Host.as_str().to_owned(),
            text: format!("{count} lines came faster than they were read"),
            ..pb::LogLine::default()
        },
    }
}

fn line(line: &LogLine) -> pb::LogLine {
    pb::LogLine {
        unix_ms: unix_ms(line.time),
        version: line.version.to_string(),
        call: line.call.to_string(),
        source: line.source.as_str().to_owned(),
        text: line.text.clone(),
        host: String::new(),
    }
}

fn unix_ms(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_bounded_by_lines_and_by_bytes() {
        for (length, most) in [(1, LINES), (1 << 10, 17), (1 << 20, 1)] {
            let line = || pb::LogLine { text: "x".repeat(length), ..Default::default() };
            let lines = batch(line(), || Some(line())).lines.len();
            assert!(lines <= most && lines + 1 >= most, "{lines} lines of {length} bytes");
        }
        let mut rest = vec![pb::LogLine::default()];
        assert_eq!(batch(pb::LogLine::default(), || rest.pop()).lines.len(), 2);
    }
}
