//! Following the cluster: one watch for each kind in each namespace, and one of the namespaces where
//! a label says which.

use std::{
    collections::{BTreeSet, HashMap},
    pin::pin,
    sync::Arc,
    time::Instant,
};

use futures::StreamExt as _;
use kube::{ResourceExt as _, core::DynamicObject};
use roadstead_domain::{Namespace, with_causes};
use roadstead_k8s_watch::{Error, Event};
use tokio::task::JoinSet;
use tokio_util::task::AbortOnDropHandle;

use crate::{
    inner::Inner,
    objects::{Kind, read},
    settings::Namespaces,
    state::By,
};

/// Follows all namespaces until it is dropped.
pub(crate) async fn follow(inner: Arc<Inner>, namespaces: Namespaces) {
    match namespaces {
        Namespaces::Named(names) => {
            names.iter().for_each(|name| add(&inner, name));
            limit(&inner, &names.iter().cloned().collect());
            let mut all: JoinSet<()> =
                names.into_iter().map(|name| in_namespace(Arc::clone(&inner), name)).collect();
            while all.join_next().await.is_some() {}
        }
        Namespaces::Labelled(selector) => labelled(inner, &selector).await,
    }
}

/// Follows the namespaces that carry a label, as they come and go.
async fn labelled(inner: Arc<Inner>, selector: &str) {
    let namespaces = inner.cluster.namespaces();
    let mut events = pin!(roadstead_k8s_watch::follow(namespaces, Some(selector)));
    let mut following: HashMap<Namespace, AbortOnDropHandle<()>> = HashMap::new();
    let mut listed = BTreeSet::new();
    while let Some(event) = events.next().await {
        let event = match event {
            Ok(event) => event,
            Err(error) => {
                lost(&inner, None, &error);
                continue;
            }
        };
        let begin = |name: &Namespace| {
            let task = in_namespace(Arc::clone(&inner), name.clone());
            AbortOnDropHandle::new(tokio::spawn(task))
        };
        match event {
            Event::Init => listed.clear(),
            Event::InitApply(object) => listed.extend(name(&object)),
            Event::InitDone => {
                following.retain(|name, _| listed.contains(name));
                for name in listed.iter().filter(|name| !following.contains_key(*name)) {
                    add(&inner, name);
                }
                limit(&inner, &listed);
                for name in &listed {
                    following.entry(name.clone()).or_insert_with(|| begin(name));
                }
            }
            Event::Apply(object) => {
                let Some(name) = name(&object) else { continue };
                if !following.contains_key(&name) {
                    tracing::info!(namespace = %name, "a namespace is enabled");
                    add(&inner, &name);
                    following.insert(name.clone(), begin(&name));
                }
            }
            Event::Delete(object) => {
                let Some(name) = name(&object) else { continue };
                tracing::info!(namespace = %name, "a namespace is no longer enabled");
                following.remove(&name);
                drop_namespace(&inner, &name);
            }
        }
    }
}

fn name(object: &k8s_openapi::api::core::v1::Namespace) -> Option<Namespace> {
    object.name_any().parse().ok()
}

/// Forgets all other namespaces.
fn limit(inner: &Inner, names: &BTreeSet<Namespace>) {
    let others = inner.look(|state| {
        let others = state.namespaces.keys().filter(|name| !names.contains(*name));
        others.cloned().collect::<Vec<_>>()
    });
    others.iter().for_each(|name| drop_namespace(inner, name));
    inner.health.send_modify(|health| {
        health.behind.get_or_insert_default();
    });
}

/// A namespace whose objects are still to be listed.
fn add(inner: &Inner, name: &Namespace) {
    inner.update(|state| state.enable(name));
    inner.health.send_modify(|health| {
        let behind = health.behind.get_or_insert_default();
        behind.extend(Kind::ALL.map(|kind| (name.clone(), kind)));
    });
}

fn drop_namespace(inner: &Inner, name: &Namespace) {
    inner.update(|state| state.disable(name));
    inner.health.send_modify(|health| {
        if let Some(behind) = &mut health.behind {
            behind.retain(|(namespace, _)| namespace != name);
        }
    });
}

/// Follows all kinds of a namespace.
async fn in_namespace(inner: Arc<Inner>, namespace: Namespace) {
    let kinds = Kind::ALL.map(|kind| kind_in_namespace(&inner, &namespace, kind));
    futures::future::join_all(kinds).await;
}

async fn kind_in_namespace(inner: &Arc<Inner>, namespace: &Namespace, kind: Kind) {
    let api = inner.cluster.api(namespace, kind);
    let mut events = pin!(roadstead_k8s_watch::follow(api, None));
    let mut list = Vec::new();
    let mut mark = 0;
    while let Some(event) = events.next().await {
        match event {
            // The list is asked for after this event was taken.
            Ok(Event::Init) => {
                list.clear();
                mark = inner.look(|state| state.mark());
                continue;
            }
            Ok(Event::InitApply(object)) => {
                list.extend(read(kind, object));
                continue;
            }
            Ok(Event::InitDone) => {
                let list = std::mem::take(&mut list);
                let now = Instant::now();
                let unsure = inner.update(|state| state.replace(namespace, kind, list, mark, now));
                for name in unsure {
                    if let Err(failure) = inner.look_again(namespace, kind, &name).await {
                        tracing::warn!(%namespace, name, ?failure, "read an object again");
                    }
                }
            }
            Ok(Event::Apply(object)) => {
                if let Some(read) = read(kind, object) {
                    let now = Instant::now();
                    inner.update(|state| state.put(namespace, kind, read, By::Watch, now));
                }
            }
            Ok(Event::Delete(object)) => gone(inner, namespace, kind, object),
            Err(error) => {
                lost(inner, Some((namespace, kind)), &error);
                continue;
            }
        }
        current(inner, namespace, kind);
    }
}

fn gone(inner: &Inner, namespace: &Namespace, kind: Kind, object: DynamicObject) {
    if let Some(read) = read(kind, object) {
        inner.update(|state| state.gone(namespace, kind, &read.name, read.revision));
    }
}

fn current(inner: &Inner, namespace: &Namespace, kind: Kind) {
    inner.health.send_if_modified(|health| {
        let Some(behind) = &mut health.behind else { return false };
        let changed = behind.remove(&(namespace.clone(), kind));
        if changed && behind.is_empty() {
            tracing::info!("the catalog is up to date with the cluster");
            health.why.clear();
        }
        changed
    });
}

fn lost(inner: &Inner, what: Option<(&Namespace, Kind)>, error: &Error) {
    let why = with_causes(error);
    inner.health.send_if_modified(|health| {
        let changed = match (&mut health.behind, what) {
            (Some(behind), Some((namespace, kind))) => behind.insert((namespace.clone(), kind)),
            _ => false,
        };
        if changed || health.why.is_empty() {
            tracing::warn!(error = why, "the cluster does not tell what changes: serving on");
        }
        let new = health.why != why;
        health.why = why;
        changed || new
    });
}
