//! What a module wrote, as a stream.

use std::time::{SystemTime, UNIX_EPOCH};

use futures::{FutureExt as _, Stream};
use roadstead_domain::{Fault, ModuleName, Namespace};
use roadstead_engine::{LogEvent, LogFollower, LogLine, LogSource};
use roadstead_proto::v1::{self as pb, StreamLogsRequest, StreamLogsResponse};
use roadstead_registry::Registry;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::status::from_fault;

/// Lines of one message.
const BATCH: usize = 100;

/// The newest lines, and if asked for every line from now on.
pub(super) fn stream(
    registry: &Registry,
    drain: CancellationToken,
    namespace: &Namespace,
    name: &ModuleName,
    asked: &StreamLogsRequest,
) -> impl Stream<Item = Result<StreamLogsResponse, Status>> + Send + use<> {
    let logs = registry.engine().logs();
    let count = match asked.tail {
        0 => usize::MAX,
        count => usize::try_from(count).unwrap_or(usize::MAX),
    };
    let (kept, follower) = if asked.follow {
        (Vec::new(), Some(logs.follow(namespace, name, count)))
    } else {
        (logs.tail(namespace, name, count), None)
    };
    async_stream::try_stream! {
        for lines in kept.chunks(BATCH) {
            yield StreamLogsResponse { lines: lines.iter().map(|found| line(found)).collect() };
        }
        let Some(mut follower) = follower else { return };
        loop {
            let lines = tokio::select! {
                lines = batch(&mut follower) => lines,
                () = drain.cancelled() => None,
            };
            if drain.is_cancelled() {
                Err(from_fault(&Fault::Draining, true))?;
            }
            // The module was deleted.
            let Some(lines) = lines else { return };
            yield StreamLogsResponse { lines };
        }
    }
}

/// The next line, and those that are there already behind it.
async fn batch(follower: &mut LogFollower) -> Option<Vec<pb::LogLine>> {
    let mut lines = vec![event(&follower.next().await?)];
    while lines.len() < BATCH {
        match follower.next().now_or_never() {
            Some(Some(next)) => lines.push(event(&next)),
            _ => break,
        }
    }
    Some(lines)
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
    }
}

fn unix_ms(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
