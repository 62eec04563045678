//! Conditions: what holds of an object, why, and what a person should do about it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// One condition of an object, as Kubernetes has them everywhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    #[serde(rename = "type")]
    pub kind: ConditionKind,
    pub status: ConditionStatus,
    pub reason: Reason,
    /// For people.
    pub message: String,
    /// The generation of the spec that this is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// When the status last changed.
    pub last_transition_time: Time,
}

/// What a condition is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ConditionKind {
    /// Of a module: calls of it are answered. Of a native version: its servers are ready.
    Ready,
    /// Of a module: a new version is on its way.
    Progressing,
    /// Of a module: not all is as it should be.
    Degraded,
    /// Of a version: it is published.
    Accepted,
    /// Of a version: compiled code is there for every host.
    Compiled,
    /// Of a version: hosts answer calls with it.
    Serving,
}

/// Whether it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ConditionStatus {
    True,
    False,
    Unknown,
}

macro_rules! reasons {
    ($($(#[doc = $doc:literal])+ $name:ident: $remedy:literal,)*) => {
        /// Why a condition is as it is. [`Reason::remedy`] says what a person should do.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum Reason {
            $($(#[doc = $doc])+ #[doc = ""] #[doc = $remedy] $name,)*
        }

        impl Reason {
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// The word in the object.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)*
                }
            }

            /// What a person should do.
            pub fn remedy(self) -> &'static str {
                match self {
                    $(Self::$name => $remedy,)*
                }
            }
        }
    };
}

reasons! {
    /// The version is published: all its locks are in the chains of its namespace.
    Published: "Nothing to do.",
    /// It is written, and nobody has judged its locks yet.
    Pending: "Wait some seconds; if it stays, look whether hosts of this namespace run.",
    /// It would break callers with old stubs, and does not say that it may.
    BreaksContract: "Push it with --force if callers may break, or under another interface version.",
    /// Its locks do not follow from those that hold now: it was made from older ones.
    LocksMoved: "Push the component again, so that its locks are derived from the newest ones.",
    /// Bytes that it names are not in the store of the hosts.
    BlobMissing: "Push the component through a host, which stores it before it names it.",
    /// The object does not say what a version must say.
    Malformed: "Delete the object, and push the component through a host instead.",
    /// There is no module of its name, or another one by now.
    NoModule: "Apply a Module of that name, or delete the version.",
    /// It asks for more than hosts have for a module.
    NeverFits: "Ask for less in the version's spec, or give hosts more.",
    /// Operators of the hosts do not offer what its spec asks for.
    NotOffered: "Offer it in the hosts' settings, or ask for less in the version's spec.",
    /// It did not compile.
    CompileFailed: "Read the message; most often the component needs a newer host.",
    /// Compiled code is there.
    CompiledEverywhere: "Nothing to do.",
    /// Some hosts have no compiled code of it yet.
    Compiling: "Wait; loading waits for it, calls of older versions do not.",
    /// Hosts answer calls with it.
    Answering: "Nothing to do.",
    /// No call leads to it: another version answers.
    Superseded: "Nothing to do; pin it to bring it back.",
    /// No host serves its namespace.
    NoHosts: "Start hosts, and label the namespace roadstead.dev/enabled=true.",
    /// The pinned version does not exist.
    PinnedMissing: "Unpin the module, pin another version, or push that one again.",
    /// Calls move to a new version step by step.
    RollingOut: "Nothing to do; `spec.rollout.paused` holds it where it is.",
    /// The rollout stays at its step because it was told to.
    Paused: "Set `spec.rollout.paused` to false to go on.",
    /// Too many calls failed with the new version: the old one answers again.
    RolledBack: "Find the fault (`roadstead logs`), and push a new version.",
    /// A person ended the rollout: the version before answers.
    Aborted: "Nothing to do; promote it to try it again, or push a new version.",
    /// Its step is over, but too few calls were answered to judge it.
    TooFewCalls: "Wait for calls, lower `minimumCalls`, or promote the version.",
    /// Not all hosts are ready for the new version.
    WaitsForHosts: "Wait; if a host fails with it, read the message and look at that host.",
    /// It ends in a fault on some hosts, whatever it is asked.
    FailsOnHosts: "Read the message; most often these hosts' settings or release differ.",
    /// Calls of the module are pinned to a version.
    Pinned: "Nothing to do; unpin the module to let newer versions answer.",
    /// Nothing is on its way.
    UpToDate: "Nothing to do.",
    /// The module has no published version.
    NoVersion: "Push a version of it, or look at the conditions of those that are there.",
    /// Its spec says what this release of the controller does not know.
    NotUnderstood: "Update the controller; until then the calls are shared as they are.",
    /// An older module of the other kind has its name.
    NameTaken: "Delete one of the two; a name is of one module, native or not.",
    /// Operators do not allow it to run here.
    NotAllowed: "Read the message; the chart's value `native` says what may run.",
    /// Operators do not allow its image.
    ImageNotAllowed: "Add the image to the chart's value `native.allow.images`, or use an allowed one.",
    /// Its servers do not serve what its wire contract says.
    ContractMismatch: "Read the message; make the server serve the version's WIT, and push it anew.",
    /// Its servers are not ready yet.
    Starting: "Wait; if it stays, look at the events and logs of its pods.",
    /// Its servers end or are not ready in time, and are tried again.
    BackingOff: "Read the message, and the logs of its pods; push a version that starts.",
    /// Nobody called it for so long that its servers ended.
    Idle: "Nothing to do; a call begins them again.",
    /// Its servers are ready.
    Ready: "Nothing to do.",
    /// Hosts do not answer the controller.
    HostsSilent: "Look at the hosts' pods and their logs; those that run serve on.",
}

/// The schema of a list of conditions, one for each type.
pub(crate) fn conditions(_: &mut SchemaGenerator) -> Schema {
    let reasons: Vec<&str> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
    json_schema!({
        "type": "array",
        "maxItems": 16,
        "default": [],
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
        "items": {
            "type": "object",
            "required": ["type", "status", "reason", "message", "lastTransitionTime"],
            "properties": {
                "type": {
                    "type": "string",
                    "enum": ["Ready", "Progressing", "Degraded", "Accepted", "Compiled", "Serving"]
                },
                "status": {"type": "string", "enum": ["True", "False", "Unknown"]},
                "reason": {"type": "string", "enum": reasons},
                "message": {"type": "string", "maxLength": 32768},
                "observedGeneration": {"type": "integer", "format": "int64", "minimum": 0},
                "lastTransitionTime": {"type": "string", "format": "date-time"}
            }
        }
    })
}

impl JsonSchema for Condition {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Condition".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let list = conditions(generator);
        let item = list.get("items").cloned().unwrap_or_default();
        Schema::try_from(item).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_is_one_word_and_says_what_to_do() {
        for reason in Reason::ALL {
            let word = serde_json::to_value(reason).unwrap();
            assert_eq!(word, reason.as_str());
            assert!(reason.remedy().ends_with('.'), "{word}");
        }
    }
}
