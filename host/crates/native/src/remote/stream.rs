//! Calls with a stream one way or both.

use bytes::Bytes;
use roadstead_domain::Fault;
use roadstead_engine::{RemoteCall, RemoteRequests, RemoteResponses, RequestStream};
use tokio::{sync::mpsc, time::timeout_at};

use super::{Attempted, ServerRemote, TRIES};
use crate::{
    grpc::{Code, Messages, Outgoing, Part},
    link::Link,
    place::Place,
    server::Running,
    statuses::{Failed, of_error, of_status},
};

impl<P: Place> ServerRemote<P> {
    pub(super) async fn streaming(
        &self,
        call: RemoteCall,
        requests: RemoteRequests,
        responses: RemoteResponses,
    ) -> Result<(), Fault> {
        let _calling = self.begin();
        let mut attempted = Attempted::new(&call);
        let mut streams = Streams { requests: Some(requests), responses };
        let mut last = None;
        for _ in 0..TRIES {
            let (mut running, link) = match self.server(&attempted).await {
                Ok(found) => found,
                Err(fault) => return Err(last.unwrap_or(fault)),
            };
            let served = self.serve(&attempted, &running, &link, &mut streams);
            let served = timeout_at(attempted.deadline(), served).await;
            match served.unwrap_or_else(|_| Err(Failed::Fault(attempted.late()))) {
                Ok(()) => {
                    running.answered();
                    return Ok(());
                }
                Err(Failed::Fault(fault)) => return Err(fault),
                Err(Failed::Broken(text)) => return Err(Fault::Interrupted(text)),
                Err(Failed::Unseen(text)) if streams.requests.is_none() => {
                    return Err(Fault::NotReady(text));
                }
                Err(Failed::Unseen(text)) => last = Some(Fault::NotReady(text)),
            }
            attempted.not_taken(&running, &link);
        }
        Err(last.unwrap_or_else(|| Fault::NotReady("no server took the call".to_owned())))
    }

    /// Passes messages on both ways until the call ends.
    async fn serve(
        &self,
        attempted: &Attempted<'_>,
        running: &Running,
        link: &Link,
        streams: &mut Streams,
    ) -> Result<(), Failed> {
        let (body, sending) = match streams.requests.take() {
            Some(RemoteRequests::One(message)) => {
                self.input_fits(&message)?;
                // It can be sent again, as long as the server has not seen it.
                streams.requests = Some(RemoteRequests::One(message.clone()));
                (Outgoing::one(message), None)
            }
            Some(RemoteRequests::Stream(requests)) => {
                let (sender, body) = mpsc::channel(1);
                (Outgoing::stream(body), Some((requests, sender)))
            }
            None => return Err(Failed::Unseen("no server took the call".to_owned())),
        };
        let request = self.request(attempted.call, running, body)?;
        let receiving = self.receive(attempted, link, request, &mut streams.responses);
        let Some((requests, sender)) = sending else { return receiving.await };
        tokio::select! {
            received = receiving => received,
            fault = self.pass_on(requests, sender) => Err(fault.into()),
        }
    }

    /// Passes the caller's messages on as the server takes them. Comes back only where the call is
    /// to end for them.
    async fn pass_on(&self, mut requests: RequestStream, sender: mpsc::Sender<Part>) -> Fault {
        loop {
            let part = match requests.next().await {
                Ok(Some(message)) => match self.input_fits(&message) {
                    Ok(()) => Part::Message(message),
                    Err(fault) => return fault,
                },
                Ok(None) => Part::End,
                Err(_) => return Fault::Cancelled,
            };
            let is_last = matches!(part, Part::End);
            // A server that reads no more may answer still.
            if sender.send(part).await.is_err() || is_last {
                return std::future::pending().await;
            }
        }
    }

    async fn receive(
        &self,
        attempted: &Attempted<'_>,
        link: &Link,
        request: http::Request<Outgoing>,
        responses: &mut RemoteResponses,
    ) -> Result<(), Failed> {
        let (_, output) = self.version.sizes();
        let response = link.send(request).await.map_err(|error| of_error(&error))?;
        let broken = |broken| self.broken(link, &broken);
        let most = usize::try_from(output).unwrap_or(usize::MAX);
        let messages = Messages::new(response, most).map_err(broken)?;
        let mut messages = messages.within(attempted.call.room.hold());
        let mut has_answered = false;
        while let Some(message) = messages.next().await.map_err(broken)? {
            let message: Bytes = message;
            has_answered = true;
            if responses.send(message).await.is_err() {
                return Err(Fault::Cancelled.into());
            }
        }
        let status = messages.status().map_err(broken)?;
        match status.code {
            Code::Ok => Ok(()),
            _ => match of_status(status, attempted.began.elapsed(), self.version.sizes().1) {
                // Whatever it says: another server would answer all of it once more.
                Failed::Unseen(_) if has_answered => {
                    Err(Failed::Broken("its server broke off".to_owned()))
                }
                failed => Err(failed),
            },
        }
    }
}

/// What a call with streams is between.
struct Streams {
    /// Gone once a server may have taken some of it.
    requests: Option<RemoteRequests>,
    responses: RemoteResponses,
}
