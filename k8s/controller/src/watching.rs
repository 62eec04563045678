//! Following the cluster: one watch for each kind in each namespace, and one of the namespaces where
//! a label says which. What they tell goes through one bounded queue.

use roadstead_domain::with_causes;
use std::{
    collections::{BTreeSet, HashMap},
    pin::pin,
};

use futures::StreamExt as _;
use kube::ResourceExt as _;
use roadstead_k8s_watch::{Error, Event};
use tokio::{sync::mpsc::Sender, task::JoinSet};
use tokio_util::task::AbortOnDropHandle;

use crate::{
    cluster::Cluster,
    native::observed::MODULE,
    objects::{Kind, Object, read},
    settings::Namespaces,
};

/// What a watch tells.
#[derive(Debug)]
pub(crate) enum Told {
    /// These namespaces are looked after, and no others.
    Namespaces(BTreeSet<String>),
    Enabled(String),
    Disabled(String),
    /// All objects of a kind.
    Listed(String, Kind, Vec<Object>),
    Put(String, Object),
    Gone(String, Object),
    /// A watch does not tell what changes; of the namespaces, where none is named.
    Lost(Option<(String, Kind)>, String),
}

/// Follows these kinds in all namespaces until it is dropped.
pub(crate) async fn follow(
    cluster: Cluster,
    namespaces: Namespaces,
    kinds: &'static [Kind],
    to: Sender<Told>,
) {
    match namespaces {
        Namespaces::Named(names) => {
            let names: BTreeSet<String> = names.iter().map(ToString::to_string).collect();
            if to.send(Told::Namespaces(names.clone())).await.is_err() {
                return;
            }
            let all = names.into_iter();
            let mut all: JoinSet<()> =
                all.map(|name| in_namespace(cluster.clone(), name, kinds, to.clone())).collect();
            while all.join_next().await.is_some() {}
        }
        Namespaces::Labelled(selector) => labelled(cluster, &selector, kinds, to).await,
    }
}

/// Follows the namespaces that carry a label, as they come and go.
async fn labelled(cluster: Cluster, selector: &str, kinds: &'static [Kind], to: Sender<Told>) {
    let mut events = pin!(roadstead_k8s_watch::follow(cluster.namespaces(), Some(selector)));
    let mut following: HashMap<String, AbortOnDropHandle<()>> = HashMap::new();
    let mut listed = BTreeSet::new();
    let begin = |name: &str| {
        let task = in_namespace(cluster.clone(), name.to_owned(), kinds, to.clone());
        AbortOnDropHandle::new(tokio::spawn(task))
    };
    while let Some(event) = events.next().await {
        let told = match event {
            Err(error) => Told::Lost(None, with_causes(&error)),
            Ok(Event::Init) => {
                listed.clear();
                continue;
            }
            Ok(Event::InitApply(object)) => {
                listed.insert(object.name_any());
                continue;
            }
            Ok(Event::InitDone) => {
                following.retain(|name, _| listed.contains(name));
                Told::Namespaces(listed.clone())
            }
            Ok(Event::Apply(object)) => Told::Enabled(object.name_any()),
            Ok(Event::Delete(object)) => {
                following.remove(&object.name_any());
                Told::Disabled(object.name_any())
            }
        };
        let new: Vec<String> = match &told {
            Told::Namespaces(all) => all.iter().cloned().collect(),
            Told::Enabled(name) => vec![name.clone()],
            _ => Vec::new(),
        };
        if to.send(told).await.is_err() {
            return;
        }
        for name in new {
            following.entry(name).or_insert_with_key(|name| begin(name));
        }
    }
}

/// Follows the kinds of a namespace.
async fn in_namespace(
    cluster: Cluster,
    namespace: String,
    kinds: &'static [Kind],
    to: Sender<Told>,
) {
    let kinds = kinds.iter().map(|kind| of_kind(&cluster, &namespace, *kind, &to));
    futures::future::join_all(kinds).await;
}

async fn of_kind(cluster: &Cluster, namespace: &str, kind: Kind, to: &Sender<Told>) {
    let labels = Kind::WORKLOADS.contains(&kind).then_some(MODULE);
    let mut events = pin!(roadstead_k8s_watch::follow(cluster.api(namespace, kind), labels));
    let mut list = Vec::new();
    while let Some(event) = events.next().await {
        let name = || namespace.to_owned();
        let told = match event {
            Ok(Event::Init) => {
                list.clear();
                continue;
            }
            Ok(Event::InitApply(object)) => {
                list.extend(read(kind, &object));
                continue;
            }
            Ok(Event::InitDone) => Told::Listed(name(), kind, std::mem::take(&mut list)),
            Ok(Event::Apply(object)) => match read(kind, &object) {
                Some(object) => Told::Put(name(), object),
                None => continue,
            },
            Ok(Event::Delete(object)) => match read(kind, &object) {
                Some(object) => Told::Gone(name(), object),
                None => continue,
            },
            Err(error) => lost(namespace, kind, &error),
        };
        if to.send(told).await.is_err() {
            return;
        }
    }
}

fn lost(namespace: &str, kind: Kind, error: &Error) -> Told {
    Told::Lost(Some((namespace.to_owned(), kind)), with_causes(error))
}
