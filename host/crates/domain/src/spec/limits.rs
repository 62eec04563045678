//! What one call and one instance may spend, how many calls run at once, and how long instances live.

use serde::{Deserialize, Deserializer, Serialize, de};

use super::SpecError;
use crate::{ByteRate, ByteSize, MessageSize, Millicores, Span, units::Written};

/// Bounds of one instance or one call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// All linear memories and tables of an instance together. The instances of a module get at most
    /// half of the host's memory for instances.
    pub memory: ByteSize,
    /// Table elements of an instance, over all its tables.
    #[serde(deserialize_with = "whole_number")]
    pub tables: u64,
    /// Core instances, and likewise memories and tables, that one component instance may have.
    #[serde(deserialize_with = "whole_number")]
    pub instances: u64,
    /// Fuel of one call, instantiation and `start` included; of one that streams, from each message
    /// to the next. Hosts set a ceiling (10^15).
    #[serde(deserialize_with = "whole_number")]
    pub fuel_per_call: u64,
    /// Wall time of one call; the caller's own deadline counts if it is shorter. Hosts set a ceiling
    /// (an hour).
    pub deadline: Span,
    /// Wall time of one call that streams, in place of `deadline`. Hosts set a ceiling (a day).
    pub stream_deadline: Span,
    /// How long a stream may be open without a message either way.
    pub stream_idle: Span,
    /// Bytes of one request message. `auto`, the default, is 32Mi for methods that the compiled
    /// codec serves and 2Mi for others; what is written counts for all.
    pub input: MessageSize,
    /// Bytes of one response message, likewise.
    pub output: MessageSize,
    /// Bytes that one call may have moved between host and guest, its own values included. On the
    /// dynamic path each byte of a `list<u8>` counts about 40 on the way in and as much on the way
    /// out; where the compiled codec serves, each byte of a message counts once.
    pub host_copy: ByteSize,
    /// Live resource handles of an instance; callers of a session may hold a little less than half
    /// as many, so that a call can borrow them all. What they
    /// hold on the host (headers, bodies that are not sent yet) is 32 MiB at the most, shared out
    /// evenly, and 32 KiB for each.
    #[serde(deserialize_with = "whole_number")]
    pub handles: u64,
    /// How long an instance that outlives its call, a session among them, may sit idle before it is
    /// dropped.
    pub session_idle: Span,
    /// What a module may write to its log; the rest is dropped and counted.
    pub log_rate: ByteRate,
    /// Random bytes that one call may draw.
    pub random: ByteSize,
    /// Sockets and outgoing HTTP requests that an instance may have open.
    #[serde(deserialize_with = "whole_number")]
    pub sockets: u64,
    /// Files and directories that an instance may have open, preopened ones aside.
    #[serde(deserialize_with = "whole_number")]
    pub open_files: u64,
    /// Bytes that one call may send to the network.
    pub egress: ByteSize,
}

/// Bounds of a module on a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Quota {
    /// Processor time that the module is sure to get, over all its calls and versions together,
    /// whatever others do. What live modules are promised never exceeds the host's guest threads.
    /// Without it a module shares what is left.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu: Option<Millicores>,
    /// Whether the module may use more than `cpu` while others leave time unused; if not, `cpu` is
    /// a ceiling too.
    pub borrow: bool,
    /// Its part, beside those of others, of the time that is not promised: 1 to 1000.
    #[serde(deserialize_with = "whole_number")]
    pub weight: u64,
    /// Calls that run at the same time.
    #[serde(deserialize_with = "whole_number")]
    pub concurrency: u64,
    /// Calls that may wait for one of those places.
    #[serde(deserialize_with = "whole_number")]
    pub queue: u64,
    /// Bytes that all instances together may send to the network, over time, after one
    /// second's worth in advance. Who would send more waits: no byte is refused for it.
    pub egress: ByteRate,
    /// Bytes that each directory which the module may write may hold, whoever wrote them, before it
    /// is full for this module. Operators may set less. A file counts with its length.
    pub disk: ByteSize,
    /// Files, directories and links that such a directory may hold before it is full.
    #[serde(deserialize_with = "whole_number")]
    pub inodes: u64,
    /// Sockets, outgoing HTTP requests and lookups of all instances together.
    #[serde(deserialize_with = "whole_number")]
    pub connections: u64,
    /// Bytes of all instances of the module together, with what each takes besides its memories
    /// and tables (3.5Mi with the default stack). None: half of the host's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<ByteSize>,
}

/// Whether an instance serves one call or several.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum InstancePolicy {
    /// A fresh instance for every call.
    PerCall,
    /// Reused after a success, never after a trap, never across owners.
    Pooled,
}

/// Who owns a reused instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Share {
    /// All callers of the module's namespace.
    Namespace,
    /// One caller's identity.
    Caller,
}

/// The life of instances.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Instances {
    pub policy: InstancePolicy,
    /// Calls after which a pooled instance is retired.
    #[serde(deserialize_with = "whole_number")]
    pub max_uses: u64,
    /// Idle pooled instances that are kept at the most.
    #[serde(deserialize_with = "whole_number")]
    pub warm: u64,
    pub share: Share,
    /// Sessions that callers may have open at the same time, of all versions together; hosts give
    /// less where a quarter of their instance slots is less.
    #[serde(deserialize_with = "whole_number")]
    pub sessions: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory: ByteSize::mib(256),
            tables: 200_000,
            instances: 100,
            fuel_per_call: 2_000_000_000,
            deadline: Span::secs(10),
            stream_deadline: Span::secs(3600),
            stream_idle: Span::secs(60),
            input: MessageSize::Auto,
            output: MessageSize::Auto,
            host_copy: ByteSize::mib(192),
            handles: 1_000,
            session_idle: Span::secs(300),
            log_rate: ByteRate(64 << 10),
            random: ByteSize::mib(1),
            sockets: 16,
            open_files: 64,
            egress: ByteSize::mib(64),
        }
    }
}

impl Default for Quota {
    fn default() -> Self {
        Self {
            cpu: None,
            borrow: true,
            weight: 100,
            concurrency: 64,
            queue: 256,
            egress: ByteRate(16 << 20),
            connections: 256,
            disk: ByteSize(1 << 30),
            inodes: 10_000,
            memory: None,
        }
    }
}

impl Default for Instances {
    fn default() -> Self {
        Self {
            policy: InstancePolicy::PerCall,
            max_uses: 1000,
            warm: 4,
            share: Share::Namespace,
            sessions: 64,
        }
    }
}

impl Limits {
    pub(super) fn validate(&self) -> Result<(), SpecError> {
        positive("limits.memory", self.memory.0)?;
        positive("limits.instances", self.instances)?;
        positive("limits.fuel_per_call", self.fuel_per_call)?;
        positive("limits.host_copy", self.host_copy.0)?;
        positive("limits.output", self.output.most().0)
    }
}

impl Quota {
    pub(super) fn validate(&self) -> Result<(), SpecError> {
        let refuse =
            |field, problem: &str| Err(SpecError::Field { field, problem: problem.to_owned() });
        if !self.borrow && self.cpu.is_none() {
            return refuse("quota.borrow", "false needs `quota.cpu`, which it makes a ceiling");
        }
        if !(1..=1000).contains(&self.weight) {
            return refuse("quota.weight", "must be 1 to 1000");
        }
        positive("quota.concurrency", self.concurrency)?;
        positive("quota.egress", self.egress.0)?;
        positive("quota.connections", self.connections)
    }
}

impl Instances {
    pub(super) fn validate(&self) -> Result<(), SpecError> {
        positive("instances.sessions", self.sessions)?;
        positive("instances.max_uses", self.max_uses)
    }
}

fn positive(field: &'static str, value: u64) -> Result<(), SpecError> {
    if value == 0 {
        return Err(SpecError::Field { field, problem: "must be more than 0".to_owned() });
    }
    Ok(())
}

/// A whole number, also written as text with `_` between digits (YAML 1.2 has no such numbers).
fn whole_number<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    match Written::deserialize(from)? {
        Written::Number(number) => Ok(number),
        Written::Text(text) => text
            .replace('_', "")
            .parse()
            .map_err(|_| de::Error::custom(format!("`{text}` is not a whole number"))),
    }
}
