//! What a module wrote, as a stream.

use std::time::{SystemTime, UNIX_EPOCH};

use futures::{FutureExt as _, Stream};
use prost::Message as _;
use roadstead_domain::{Fault, ModuleName, Namespace};
use roadstead_engine::{LogEvent, LogFollower, LogLine, LogSource};
use roadstead_proto::v1::{self as pb, StreamLogsRequest, StreamLogsResponse};
use roadstead_registry::Registry;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::status::from_fault;

/// Lines of one message, and bytes after which no further line is put into it.
const LINES: usize = 100;
const BYTES: usize = 16 << 10;

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
        let mut kept = kept.iter().map(|found| line(found));
        while let Some(first) = kept.next() {
            yield batch(first, || kept.next());
        }
        let Some(mut follower) = follower else { return };
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
    StreamLogsResponse { lines }
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
