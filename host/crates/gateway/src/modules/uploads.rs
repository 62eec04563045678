//! The messages of an upload, at a pace that it must keep: none holds its place for nothing.

use std::time::Duration;

use prost::Message as _;
use roadstead_domain::Fault;
use roadstead_proto::v1::{PushModuleRequest, push_module_request::Message};
use tokio::time::{Instant, timeout, timeout_at};
use tonic::{Request, Status, Streaming};

use super::push::bad;
use crate::{
    builtin::{UPLOAD_MESSAGE, amended_status},
    status::from_fault,
    upload::{Admission, UploadPlace},
};

/// How long a sender may pause, all pauses together.
const PATIENCE: Duration = Duration::from_secs(60);
/// Bytes that earn a sender another second.
const PACE: u32 = 16 << 10;

pub(super) struct Messages {
    stream: Streaming<PushModuleRequest>,
    pace: Pace,
    admission: Admission,
    place: Option<UploadPlace>,
}

impl Messages {
    pub(super) fn of(request: Request<Streaming<PushModuleRequest>>) -> Result<Self, Status> {
        let admission = request.extensions().get::<Admission>().cloned();
        let admission = admission.ok_or_else(|| Status::internal("an upload by no connection"))?;
        Ok(Self { stream: request.into_inner(), pace: Pace::new(), admission, place: None })
    }

    /// The first message, with which the upload takes its place.
    pub(super) async fn first(&mut self) -> Result<Option<Message>, Status> {
        let within = self.admission.header_within;
        let first = timeout(within, self.next()).await;
        let first = first.map_err(|_| from_fault(&Fault::Deadline(within), true))??;
        let place = self.admission.place().map_err(|fault| from_fault(&fault, true))?;
        self.place = Some(place);
        Ok(first)
    }

    pub(super) async fn next(&mut self) -> Result<Option<Message>, Status> {
        let next = self.pace.keep(self.stream.message()).await;
        let next = next.map_err(|fault| from_fault(&fault, true))?;
        let next = next.map_err(|status| amended_status(status, UPLOAD_MESSAGE.into()))?;
        let Some(next) = next else { return Ok(None) };
        self.pace.came(next.encoded_len());
        next.message.map(Some).ok_or_else(|| bad("message", "must be a header or a chunk"))
    }
}

/// When the next message must be here.
struct Pace {
    began: Instant,
    allowed: Duration,
}

impl Pace {
    fn new() -> Self {
        Self { began: Instant::now(), allowed: PATIENCE }
    }

    fn came(&mut self, bytes: usize) {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        self.allowed += Duration::from_secs(1) * bytes / PACE;
    }

    async fn keep<T>(&self, next: impl Future<Output = T>) -> Result<T, Fault> {
        let kept = timeout_at(self.began + self.allowed, next).await;
        kept.map_err(|_| Fault::Deadline(self.allowed))
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::sleep;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_keeps_the_pace_may_go_on_and_who_trickles_may_not() {
        let mut steady = Pace::new();
        for _ in 0..1000 {
            steady.keep(sleep(Duration::from_secs(1))).await.unwrap();
            steady.came(16 << 10);
        }
        steady.keep(sleep(PATIENCE - Duration::from_secs(1))).await.unwrap();

        let mut trickling = Pace::new();
        let mut messages = 0;
        let fault = loop {
            match trickling.keep(sleep(PATIENCE / 4)).await {
                Ok(()) => trickling.came(1),
                Err(fault) => break fault,
            }
            messages += 1;
        };
        assert!(matches!(fault, Fault::Deadline(_)), "{fault}");
        assert!(messages <= 4, "{messages}");
    }
}
