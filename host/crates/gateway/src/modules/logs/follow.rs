//! The further lines of several hosts, as they are written.
//!
//! Each host has a task that passes its lines on through one bounded channel: who reads slowly
//! holds all of them, and the hosts say how many lines were missed. A host that breaks off is asked
//! again, and said to be gone if that fails; hosts that come are joined.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
    time::Duration,
};

use futures::StreamExt as _;
use roadstead_domain::HostName;
use roadstead_proto::v1::{HostAnswer, StreamLogsRequest, StreamLogsResponse};
use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{Instant, Interval, MissedTickBehavior, interval, sleep, timeout},
};
use tonic::{Code, Status};

use super::{super::Answers, merge::Parts, named, open};
use crate::{modules::fleet::Inquiry, pool::Missing};

/// Messages of all hosts that wait for the reader.
const WAITING: usize = 64;
/// How often hosts that are away are asked again, and new ones looked for.
const AGAIN: Duration = Duration::from_secs(2);
/// How long a host may take to say that it follows.
const PATIENCE: Duration = Duration::from_secs(3);

/// What comes of a host.
type Event = Result<StreamLogsResponse, Status>;

/// The lines of all hosts from now on.
pub(super) struct Following {
    inquiry: Arc<Inquiry>,
    asked: StreamLogsRequest,
    /// When the stream began.
    began: i64,
    known: HashSet<HostName>,
    look: Interval,
    events: mpsc::Receiver<Event>,
    send: mpsc::Sender<Event>,
    /// Ends with this.
    tasks: JoinSet<()>,
    /// This host's own lines, with whose end all is over.
    own: Option<Answers<StreamLogsResponse>>,
    here: HostName,
}

impl Following {
    pub(super) fn new(
        here: HostName,
        parts: Parts,
        inquiry: Inquiry,
        asked: StreamLogsRequest,
        began: i64,
    ) -> Self {
        let (send, events) = mpsc::channel(WAITING);
        let mut look = interval(AGAIN);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (inquiry, tasks) = (Arc::new(inquiry), JoinSet::new());
        let known = HashSet::from([here.clone()]);
        let mut following =
            Self { inquiry, asked, began, known, look, events, send, tasks, own: None, here };
        let addresses: BTreeMap<_, _> = following.inquiry.others().into_iter().collect();
        for part in parts.0 {
            if part.host == following.here {
                following.own = part.rest;
            } else if addresses.contains_key(&part.host) {
                let away = part.missing.is_some();
                let since = part.last().unwrap_or(began);
                following.join(part.host, part.rest, since, away);
            }
        }
        following
    }

    /// What comes next; none when this host has no more.
    pub(super) async fn next(&mut self) -> Option<Event> {
        loop {
            let own = self.own.as_mut()?;
            tokio::select! {
                next = own.next() => {
                    return next.map(|answer| answer.map(|answer| named(&self.here, answer)));
                }
                Some(event) = self.events.recv() => return Some(event),
                _ = self.look.tick() => self.look_for_more(),
            }
        }
    }

    fn look_for_more(&mut self) {
        for (host, _) in self.inquiry.others() {
            if !self.known.contains(&host) {
                self.join(host, None, self.began, true);
            }
        }
    }

    fn join(
        &mut self,
        host: HostName,
        lines: Option<Answers<StreamLogsResponse>>,
        since: i64,
        away: bool,
    ) {
        self.known.insert(host.clone());
        let (inquiry, send) = (Arc::clone(&self.inquiry), self.send.clone());
        let asked = StreamLogsRequest { tail: 0, ..self.asked.clone() };
        let one = One { host, inquiry, asked, send, since, away };
        self.tasks.spawn(one.follow(lines));
    }
}

/// Another host that is followed.
struct One {
    host: HostName,
    inquiry: Arc<Inquiry>,
    asked: StreamLogsRequest,
    send: mpsc::Sender<Event>,
    /// When its newest line was written that was passed on.
    since: i64,
    /// Its lines are not here, and the reader knows.
    away: bool,
}

impl One {
    /// Passes its lines on until nobody reads them.
    async fn follow(mut self, mut lines: Option<Answers<StreamLogsResponse>>) {
        loop {
            let mut why = String::new();
            if let Some(lines) = lines.take() {
                match self.pass_on(lines).await {
                    Ok(said) => why = said,
                    Err(NotRead) => return,
                }
            }
            let began = Instant::now();
            match self.again().await {
                Ok(again) => lines = Some(again),
                Err(missing) => {
                    if let Missing::Because(said) = missing {
                        why = said;
                    }
                    if !self.away && self.tell(&why).await.is_err() {
                        return;
                    }
                    self.away = true;
                }
            }
            // A host whose lines end at once is not asked without a pause.
            let pause = if self.away { AGAIN } else { AGAIN / 20 };
            sleep(pause.saturating_sub(began.elapsed())).await;
            if self.send.is_closed() {
                return;
            }
        }
    }

    /// Why its lines ended.
    async fn pass_on(&mut self, mut lines: Answers<StreamLogsResponse>) -> Result<String, NotRead> {
        if self.away {
            self.away = false;
            self.tell("").await?;
        }
        loop {
            let answer = match lines.next().await {
                Some(Ok(answer)) => Some(answer),
                Some(Err(status)) => match Missing::from(status) {
                    Missing::Because(why) => return Ok(why),
                    Missing::Absent => None,
                },
                None => None,
            };
            let Some(mut answer) = answer else { return Ok("its lines ended".to_owned()) };
            if let Some(last) = answer.lines.last() {
                self.since = self.since.max(last.unix_ms);
            }
            (answer.hosts, answer.live) = (Vec::new(), false);
            if !answer.lines.is_empty() {
                self.send.send(Ok(named(&self.host, answer))).await.map_err(|_| NotRead)?;
            }
        }
    }

    /// Asks it once more, for what it has written since.
    async fn again(&self) -> Result<Answers<StreamLogsResponse>, Missing> {
        let found = self.inquiry.others().into_iter().find(|(name, _)| *name == self.host);
        let host = found.ok_or(Missing::Absent)?;
        let since = self.since;
        let opening = open(&self.inquiry, host, self.asked.clone());
        let opened = timeout(PATIENCE, opening).await;
        let lines = match opened {
            Ok(Ok(lines)) => lines,
            // It does not know the module, or not yet.
            Ok(Err(status)) if status.code() == Code::NotFound => return Err(Missing::Absent),
            Ok(Err(status)) => return Err(status.into()),
            Err(_) => return Err(Missing::Because(super::super::fleet::LATE.to_owned())),
        };
        let mut kept = true;
        Ok(Box::pin(lines.map(move |answer| {
            let mut answer = answer?;
            if kept {
                answer.lines.retain(|line| since < line.unix_ms);
                kept = !answer.live;
            }
            Ok(answer)
        })))
    }

    /// Says that the host is gone, or with no reason that it is there.
    async fn tell(&self, why: &str) -> Result<(), NotRead> {
        let hosts = vec![HostAnswer { name: self.host.to_string(), error: why.to_owned() }];
        let told = StreamLogsResponse { hosts, ..StreamLogsResponse::default() };
        self.send.send(Ok(told)).await.map_err(|_| NotRead)
    }
}

/// Nobody reads the stream any more.
struct NotRead;
