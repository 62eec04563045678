//! The state, told all kinds of news in all kinds of orders.

use roadstead_domain::ModuleName;
use roadstead_k8s_api::rules::Deleted;

use super::*;
use crate::objects::ModuleObject;

fn namespace() -> Namespace {
    Namespace::default()
}

fn module(name: &str, uid: &str) -> Object {
    Object::Module(ModuleObject {
        native: false,
        created: 0,
        uid: uid.to_owned(),
        name: name.parse::<ModuleName>().unwrap(),
        pinned: None,
        highest: None,
        deleted: Deleted::default(),
        traffic: None,
        rollout: None,
        progress: None,
        leaving: false,
    })
}

fn news(name: &str, revision: u64) -> Read {
    Read { name: name.to_owned(), revision, object: module(name, "u1") }
}

/// A state that serves the default namespace, and what is done to it.
struct Known(State);

impl Known {
    fn new() -> Self {
        let mut state = State::default();
        state.enable(&namespace());
        Self(state)
    }

    fn put(&mut self, name: &str, revision: u64, by: By) {
        self.0.put(&namespace(), Kind::Module, news(name, revision), by, Instant::now());
    }

    fn replace(&mut self, list: &[(&str, u64)], mark: u64) -> Vec<String> {
        let list = list.iter().map(|(name, revision)| news(name, *revision)).collect();
        self.0.replace(&namespace(), Kind::Module, list, mark, Instant::now())
    }

    fn names(&self) -> Vec<(&str, u64)> {
        let objects = &self.0.namespaces[&namespace()];
        let all = objects.all(Kind::Module);
        all.map(|(name, _, _)| (name, objects.known(Kind::Module, name).unwrap())).collect()
    }
}

#[test]
fn old_news_are_no_news() {
    let mut known = Known::new();
    known.put("m", 5, By::Answer);
    known.put("m", 4, By::Watch);
    assert_eq!((known.names(), known.0.revision), (vec![("m", 5)], 5));
    known.0.gone(&namespace(), Kind::Module, "m", 3);
    assert_eq!(known.names(), [("m", 5)]);
    known.0.gone(&namespace(), Kind::Module, "m", 6);
    assert_eq!((known.names(), known.0.revision), (vec![], 6));
}

#[test]
fn what_this_host_deleted_does_not_come_back_by_an_echo() {
    let mut known = Known::new();
    known.put("m", 5, By::Answer);
    known.0.deleted(&namespace(), Kind::Module, "m", "another");
    assert_eq!(known.names(), [("m", 5)]);
    known.0.deleted(&namespace(), Kind::Module, "m", "u1");
    assert_eq!(known.names(), []);
    known.put("m", 4, By::Watch);
    known.put("m", 5, By::Watch);
    assert_eq!(known.names(), []);
    // Another of the same name is news, before or after the watch tells of the deletion.
    known.put("m", 8, By::Answer);
    known.0.gone(&namespace(), Kind::Module, "m", 6);
    assert_eq!(known.names(), [("m", 8)]);
}

#[test]
fn a_list_replaces_all_but_answers_that_are_younger() {
    let mut known = Known::new();
    known.put("old", 5, By::Watch);
    known.put("mine", 6, By::Answer);
    let mark = known.0.mark();
    known.put("young", 7, By::Answer);
    let unsure = known.replace(&[("other", 4)], mark);
    assert_eq!(unsure, ["young"]);
    assert_eq!(known.names(), [("other", 4), ("young", 7)]);
    // What is gone is told, although it had no revision of its own.
    assert_eq!(known.0.revision, 8);
    assert_eq!(known.replace(&[("other", 4), ("young", 7)], known.0.mark()), [""; 0]);
    assert_eq!(known.0.revision, 8);
}

#[test]
fn a_list_counts_even_if_the_cluster_went_back_in_time() {
    let mut known = Known::new();
    known.put("m", 900, By::Watch);
    known.replace(&[("m", 12)], known.0.mark());
    known.put("m", 13, By::Watch);
    assert_eq!(known.names(), [("m", 13)]);
    assert_eq!(known.0.revision, 900, "revisions never go back");
}

#[test]
fn an_answer_that_something_is_not_there_is_for_what_was_known_then() {
    let mut known = Known::new();
    known.put("m", 5, By::Watch);
    known.0.absent(&namespace(), Kind::Module, "m", None);
    known.0.absent(&namespace(), Kind::Module, "m", Some(4));
    assert_eq!(known.names(), [("m", 5)]);
    known.0.absent(&namespace(), Kind::Module, "m", Some(5));
    assert_eq!((known.names(), known.0.revision), (vec![], 6));
}

#[test]
fn a_module_that_does_not_read_any_more_stays_what_it_was() {
    let mut known = Known::new();
    known.put("m", 5, By::Watch);
    let malformed = |uid: &str, revision| Read {
        name: "m".to_owned(),
        revision,
        object: Object::Malformed { uid: uid.to_owned(), why: "odd".to_owned() },
    };
    known.0.put(&namespace(), Kind::Module, malformed("u1", 6), By::Watch, Instant::now());
    let object =
        |known: &Known| known.0.namespaces[&namespace()].get(Kind::Module, "m").unwrap().0.clone();
    assert_eq!(object(&known), module("m", "u1"));
    known.0.put(&namespace(), Kind::Module, malformed("u2", 7), By::Watch, Instant::now());
    assert!(matches!(object(&known), Object::Malformed { .. }));
}

#[test]
fn what_is_kept_comes_back() {
    let mut known = Known::new();
    known.put("m", 5, By::Answer);
    known.put("n", 6, By::Watch);
    known.0.deleted(&namespace(), Kind::Module, "n", "u1");
    known.0.revision = 9;
    let text = serde_json::to_string(&known.0.keep()).unwrap();
    let kept = serde_json::from_str(&text).unwrap();
    let again = Known(State::restore(9, kept, Instant::now()));
    assert_eq!((again.names(), again.0.revision), (vec![("m", 5)], 9));
}

#[test]
fn a_namespace_that_is_not_served_has_nothing() {
    let mut known = Known::new();
    let other: Namespace = "other".parse().unwrap();
    known.0.put(&other, Kind::Module, news("m", 5), By::Watch, Instant::now());
    assert_eq!(known.0.revision, 0);
    known.put("m", 6, By::Watch);
    known.0.disable(&namespace());
    assert_eq!((known.0.namespaces.len(), known.0.revision), (0, 7));
}
