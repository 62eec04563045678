//! Calls of one message each way.

use bytes::Bytes;
use roadstead_domain::Fault;
use roadstead_engine::RemoteCall;
use tokio::time::timeout_at;

use super::{Attempted, ServerRemote, TRIES};
use crate::{
    grpc::{Code, Messages, Outgoing},
    link::Link,
    place::Place,
    server::Running,
    statuses::{Failed, of_error, of_status},
};

impl<P: Place> ServerRemote<P> {
    pub(super) async fn unary(&self, call: RemoteCall, request: Bytes) -> Result<Bytes, Fault> {
        self.input_fits(&request)?;
        let _calling = self.begin();
        let mut attempted = Attempted::new(&call);
        let mut last = None;
        for _ in 0..TRIES {
            let (mut running, link) = match self.server(&attempted).await {
                Ok(found) => found,
                // What another server said tells more than that there is no further one.
                Err(fault) => return Err(last.unwrap_or(fault)),
            };
            let sent = self.send(&attempted, &running, &link, request.clone());
            let sent = timeout_at(attempted.deadline(), sent).await;
            match sent.unwrap_or_else(|_| Err(Failed::Fault(attempted.late()))) {
                Ok(answer) => {
                    running.answered();
                    return Ok(answer);
                }
                Err(Failed::Fault(fault)) => return Err(fault),
                Err(Failed::Unseen(text)) => last = Some(Fault::NotReady(text)),
                Err(Failed::Broken(text)) => {
                    let fault = Fault::Interrupted(text);
                    if !self.version.is_idempotent(&call.method) {
                        return Err(fault);
                    }
                    last = Some(fault);
                }
            }
            attempted.not_taken(&running, &link);
        }
        Err(last.unwrap_or_else(|| Fault::NotReady("no server took the call".to_owned())))
    }

    /// Counts the call, and wakes who begins servers where that is news.
    pub(super) fn begin(&self) -> crate::version::Calling {
        let (calling, is_first) = self.version.call();
        self.module.called(&self.version, is_first);
        calling
    }

    async fn send(
        &self,
        attempted: &Attempted<'_>,
        running: &Running,
        link: &Link,
        message: Bytes,
    ) -> Result<Bytes, Failed> {
        let request = self.request(attempted.call, running, Outgoing::one(message))?;
        let (_, output) = self.version.sizes();
        let response = link.send(request).await.map_err(|error| of_error(&error))?;
        let broken = |broken| self.broken(link, &broken);
        let most = usize::try_from(output).unwrap_or(usize::MAX);
        let messages = Messages::new(response, most).map_err(broken)?;
        let mut messages = messages.within(attempted.call.room.hold());
        let answer = messages.next().await.map_err(broken)?;
        let further = match answer {
            Some(_) => messages.next().await.map_err(broken)?,
            None => None,
        };
        let status = messages.status().map_err(broken)?;
        match (status.code, answer, further) {
            (Code::Ok, Some(answer), None) => Ok(answer),
            (Code::Ok, _, Some(_)) => {
                let message = "its server sent more than one message".to_owned();
                Err(Fault::GuestTrap { message, backtrace: Vec::new() }.into())
            }
            _ => Err(of_status(status, attempted.began.elapsed(), self.version.sizes().1)),
        }
    }
}
