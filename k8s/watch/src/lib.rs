//! Following the objects of a cluster, so that whoever follows learns of every change, and when what
//! it knows is true again after a failure.
//!
//! A watch begins with a list that the API server reads anew (a streamed one would be served from a
//! cache that may be older than what was seen already) and goes on from there, with bookmarks
//! against losing its place. After a failure it begins again with a list: one that merely went on
//! would say nothing until the next change, which may be days away.

mod pauses;

use std::{fmt::Debug, time::Duration};

use futures::{
    Stream, StreamExt as _,
    stream::{self, BoxStream},
};
use kube::{
    Api, Resource,
    runtime::watcher::{self, watcher},
};
pub use kube::{
    Config,
    runtime::watcher::{Error, Event},
};
use serde::de::DeserializeOwned;

use crate::pauses::Pauses;

/// Seconds after which a watch is asked for anew; a connection that died in silence is noticed then.
const WATCH: u32 = 60;
/// How long a connection may take to be there.
const CONNECT: Duration = Duration::from_secs(5);
/// How long an API server may say nothing: a list, and the answer that begins a watch, have no
/// bound of their own.
const SILENCE: Duration = Duration::from_secs(WATCH as u64 + 15);

/// The same cluster, asked with bounds on how long it may be silent. What it refuses is not asked
/// again in secret, for minutes on end: whoever asks must hear that nothing is known meanwhile.
pub fn bounded(mut config: Config) -> Config {
    config.default_retry = false;
    config.connect_timeout = Some(CONNECT);
    config.read_timeout = Some(SILENCE);
    config.reset_reader_on_write = true;
    config
}

/// The objects, or those with these labels, and what becomes of them: `Init`, `InitApply` of each,
/// `InitDone`, and changes from then on. An error is followed by an `Init`, at once or after a pause
/// of up to five seconds. Never ends.
pub fn follow<K>(
    api: Api<K>,
    labels: Option<&str>,
) -> impl Stream<Item = Result<Event<K>, Error>> + Send + use<K>
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let config = watcher::Config::default().timeout(WATCH);
    let config = labels.into_iter().fold(config, watcher::Config::labels);
    let begin = move || watcher(api.clone(), config.clone()).boxed();
    stream::unfold(Following { events: begin(), pauses: Pauses::default(), failed: false }, {
        move |mut following| {
            let begin = begin.clone();
            async move {
                if following.failed {
                    tokio::time::sleep(following.pauses.next()).await;
                    following.events = begin();
                }
                let event = following.events.next().await?;
                following.failed = event.is_err();
                Some((event, following))
            }
        }
    })
}

struct Following<K: 'static> {
    events: BoxStream<'static, Result<Event<K>, Error>>,
    pauses: Pauses,
    failed: bool,
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };

    use http::{Request, Response, StatusCode};
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::{Client, client::Body};
    use serde_json::{Value, json};

    use super::*;

    /// An API server that gives a list whenever it is asked for one, and of watches refuses the
    /// first; those after it say nothing and never end.
    async fn quiet(refused: Arc<AtomicUsize>, request: Request<Body>) -> Response<Body> {
        let answer = |status: StatusCode, value: Value| {
            let body = Body::from(value.to_string().into_bytes());
            Response::builder().status(status).body(body).unwrap()
        };
        let is_watch = request.uri().query().is_some_and(|query| query.contains("watch=true"));
        if !is_watch {
            let list = json!({
                "apiVersion": "v1", "kind": "ConfigMapList",
                "metadata": {"resourceVersion": "7"}, "items": [],
            });
            return answer(StatusCode::OK, list);
        }
        if refused.fetch_add(1, Ordering::SeqCst) == 0 {
            let status = json!({
                "apiVersion": "v1", "kind": "Status", "status": "Failure", "code": 429,
                "reason": "TooManyRequests", "message": "storage is (re)initializing",
            });
            return answer(StatusCode::TOO_MANY_REQUESTS, status);
        }
        std::future::pending().await
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_failure_all_is_listed_again() {
        let watches = Arc::<AtomicUsize>::default();
        let service = tower::service_fn(move |request| {
            let watches = Arc::clone(&watches);
            async move { Ok::<_, std::convert::Infallible>(quiet(watches, request).await) }
        });
        let api: Api<ConfigMap> = Api::namespaced(Client::new(service, "default"), "default");
        let events = follow(api, None);
        let seen: Vec<_> = events.take(5).map(|event| event.map(name)).collect().await;
        let seen: Vec<_> = seen.iter().map(|event| event.as_deref().unwrap_or("failed")).collect();
        assert_eq!(seen, ["begins", "listed", "failed", "begins", "listed"]);
    }

    fn name(event: Event<ConfigMap>) -> String {
        let name = match event {
            Event::Init => "begins",
            Event::InitDone => "listed",
            _ => "another",
        };
        name.to_owned()
    }
}
