//! What is read of the objects that a native module's servers are made of.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::Value;

use crate::objects::{Identity, Kind};

/// On all objects of a native module's servers: the module's name.
pub const MODULE: &str = "roadstead.dev/native-module";

/// On pods, and on what makes them where each version has its own: the version.
pub const VERSION: &str = "roadstead.dev/native-version";

/// Characters of a problem that a condition tells.
const PROBLEM: usize = 500;

/// Reasons of a container that waits which are no news of a server that begins.
const BEGINNING: [&str; 2] = ["ContainerCreating", "PodInitializing"];

/// One object that servers are made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workload {
    pub id: Identity,
    pub kind: Kind,
    /// The module that its label says.
    pub module: String,
    /// The version that its label says; empty without one.
    pub version: String,
    /// Changes when somebody changes what it asks for.
    pub mark: u64,
    pub leaving: bool,
    /// Of a pod.
    pub pod: Option<Pod>,
}

/// How a pod stands.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Pod {
    pub ready: bool,
    pub address: Option<String>,
    /// Why it does not run, where it should.
    pub problem: Option<String>,
}

/// Reads an object by its metadata and status.
pub fn workload(kind: Kind, id: Identity, metadata: &ObjectMeta, status: &Value) -> Workload {
    let label = |name: &str| {
        let labels = metadata.labels.as_ref();
        labels.and_then(|labels| labels.get(name)).cloned().unwrap_or_default()
    };
    let generation = id.generation.and_then(|generation| u64::try_from(generation).ok());
    Workload {
        module: label(MODULE),
        version: label(VERSION),
        mark: generation.unwrap_or(id.revision),
        leaving: metadata.deletion_timestamp.is_some(),
        pod: (kind == Kind::Pod).then(|| pod(status)),
        kind,
        id,
    }
}

fn pod(status: &Value) -> Pod {
    let text = |value: &Value, field: &str| {
        value.get(field).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    let list = |field: &str| status.get(field).and_then(Value::as_array).into_iter().flatten();
    let ready =
        list("conditions").any(|one| text(one, "type") == "Ready" && text(one, "status") == "True");
    let unscheduled = list("conditions")
        .find(|one| text(one, "type") == "PodScheduled" && text(one, "status") == "False");
    let waiting = list("containerStatuses").find_map(|container| {
        let waiting = container.get("state")?.get("waiting")?;
        let reason = text(waiting, "reason");
        if BEGINNING.contains(&reason.as_str()) {
            return None;
        }
        let ended = container.get("lastState").and_then(|last| last.get("terminated"));
        let how = ended.map(|ended| {
            let code = ended.get("exitCode").and_then(Value::as_i64).unwrap_or_default();
            format!(" (it ended with {code}, {})", text(ended, "reason"))
        });
        let message = text(waiting, "message");
        Some(format!("{reason}: {message}{}", how.unwrap_or_default()))
    });
    let ended = list("containerStatuses").find_map(|container| {
        let ended = container.get("state")?.get("terminated")?;
        let code = ended.get("exitCode").and_then(Value::as_i64).filter(|code| *code != 0)?;
        Some(format!("{}: it ended with {code}", text(ended, "reason")))
    });
    let failed = (text(status, "phase") == "Failed")
        .then(|| format!("{}: {}", text(status, "reason"), text(status, "message")));
    let unscheduled = unscheduled.map(|one| format!("it has no node: {}", text(one, "message")));
    let problem = waiting.or(ended).or(failed).or(unscheduled).filter(|_| !ready);
    let address = Some(text(status, "podIP")).filter(|address| !address.is_empty());
    Pod { ready, address, problem: problem.map(|text| text.chars().take(PROBLEM).collect()) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_pod_says_whether_it_is_ready_and_what_keeps_it() {
        let ready =
            json!({"podIP": "10.0.0.7", "conditions": [{"type": "Ready", "status": "True"}]});
        let seen = pod(&ready);
        assert_eq!((seen.ready, seen.address.as_deref()), (true, Some("10.0.0.7")));
        assert_eq!(seen.problem, None);
        let waits = |reason: &str| {
            json!({"containerStatuses": [{"state": {"waiting": {"reason": reason, "message": "m"}},
                "lastState": {"terminated": {"exitCode": 3, "reason": "Error"}}}]})
        };
        let problem = pod(&waits("CrashLoopBackOff")).problem.unwrap();
        assert_eq!(problem, "CrashLoopBackOff: m (it ended with 3, Error)");
        assert_eq!(pod(&waits("ContainerCreating")).problem, None);
        let ended = |code: i64| {
            json!({"containerStatuses": [
                {"state": {"terminated": {"exitCode": code, "reason": "Error"}}},
            ]})
        };
        assert_eq!(pod(&ended(3)).problem.as_deref(), Some("Error: it ended with 3"));
        assert_eq!(pod(&ended(0)).problem, None);
        let full = json!({"conditions": [
            {"type": "PodScheduled", "status": "False", "message": "Insufficient google.com/tpu"},
        ]});
        assert!(pod(&full).problem.unwrap().contains("google.com/tpu"));
        assert_eq!(pod(&Value::Null), Pod::default());
    }
}
