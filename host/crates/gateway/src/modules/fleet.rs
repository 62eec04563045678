//! What is asked of the whole pool: this host asks the others, waits no longer than a bound, and
//! says who is missing.
//!
//! A request that another host asks in turn is answered for this host alone.

use std::{sync::Arc, time::Duration};

use futures::{StreamExt as _, stream};
use http::Uri;
use roadstead_domain::{Fault, HostName};
use roadstead_proto::v1::{HostAnswer, Scope};
use tokio::time::{Instant, timeout_at};
use tonic::{Request, Status};

use crate::{
    pool::{Client, Missing, Pool},
    status::from_fault,
    steps::{Caller, OwnPermit},
    timeout::Patience,
};

/// How long other hosts may take to answer.
const PATIENCE: Duration = Duration::from_secs(3);
/// Hosts that are asked at the same time; all of them share the bound on time.
const AT_ONCE: usize = 64;

/// The hosts that answer together with this one.
pub(crate) struct Fleet {
    pub name: HostName,
    pub pool: Option<Arc<Pool>>,
}

/// Whom a request asks, and until when they may answer.
pub(super) struct Inquiry {
    pool: Option<Arc<Pool>>,
    caller: Caller,
    pub until: Instant,
}

/// What came of asking one host; none of those that do not exist now.
pub(super) type Answered<T> = (HostName, Result<T, String>);

impl Fleet {
    /// Whom the request asks beside this host.
    ///
    /// # Errors
    /// [`Fault::BadInput`] if the scope is none that is known, [`Fault::Deadline`].
    pub(super) fn inquiry<T>(
        &self,
        permit: &OwnPermit,
        request: &Request<T>,
        scope: i32,
    ) -> Result<Inquiry, Status> {
        let bad = |_| from_fault(&Fault::bad_input("scope", "must be one of Scope"), true);
        let scope = Scope::try_from(scope).map_err(bad)?;
        let patience = request.extensions().get::<Patience>();
        let left = patience.map_or(Ok(None), Patience::left);
        let left = left.map_err(|fault| from_fault(&fault, true))?;
        // The caller gets what is there by then.
        let within = left.map_or(PATIENCE, |left| PATIENCE.min(left / 4 * 3));
        let alone = scope == Scope::Host || permit.caller().is_forwarded();
        let pool = self.pool.as_ref().filter(|_| !alone).map(Arc::clone);
        Ok(Inquiry { pool, caller: permit.caller().clone(), until: Instant::now() + within })
    }
}

impl Inquiry {
    /// The other hosts that there may be.
    pub(super) fn others(&self) -> Vec<(HostName, Uri)> {
        self.pool.as_ref().map(|pool| pool.others()).unwrap_or_default()
    }

    /// A host, to be asked one question.
    pub(super) fn client(&self, host: (HostName, Uri)) -> Option<Client> {
        let left = self.until.saturating_duration_since(Instant::now());
        self.pool.as_ref().map(|pool| pool.client(host, &self.caller, Some(left)))
    }

    /// A host, whose answer may go on for long.
    pub(super) fn listener(&self, host: (HostName, Uri)) -> Option<Client> {
        self.pool.as_ref().map(|pool| pool.client(host, &self.caller, None))
    }

    /// Asks all other hosts at once.
    pub(super) async fn ask<T, F>(&self, question: impl Fn(Client) -> F) -> Vec<Answered<T>>
    where
        F: Future<Output = Result<T, Status>>,
    {
        let asked = self.others().into_iter().filter_map(|(name, at)| {
            let answer = question(self.client((name.clone(), at))?);
            Some(async move { (name, in_time(self.until, answer).await) })
        });
        let answers = stream::iter(asked).buffer_unordered(AT_ONCE);
        answers.filter_map(|(name, answer)| async { present(name, answer) }).collect().await
    }
}

/// An answer that comes before the bound.
pub(super) async fn in_time<T>(
    until: Instant,
    answer: impl Future<Output = Result<T, Status>>,
) -> Result<T, Missing> {
    match timeout_at(until, answer).await {
        Ok(answer) => answer.map_err(Missing::from),
        Err(_) => Err(Missing::Because(LATE.to_owned())),
    }
}

pub(super) const LATE: &str = "it did not answer in time";

fn present<T>(name: HostName, answer: Result<T, Missing>) -> Option<Answered<T>> {
    match answer {
        Ok(answer) => Some((name, Ok(answer))),
        Err(Missing::Absent) => None,
        Err(Missing::Because(why)) => Some((name, Err(why))),
    }
}

/// Who was asked, by name.
pub(super) fn asked<'a>(
    answers: impl IntoIterator<Item = (&'a HostName, Option<&'a String>)>,
) -> Vec<HostAnswer> {
    let answer = |(name, error): (&HostName, Option<&String>)| HostAnswer {
        name: name.to_string(),
        error: error.cloned().unwrap_or_default(),
    };
    let mut asked: Vec<_> = answers.into_iter().map(answer).collect();
    asked.sort_by(|one, other| one.name.cmp(&other.name));
    asked
}
