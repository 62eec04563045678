//! What runs a module outside of the sandbox: a server of its derived services, in a process of its
//! own on one machine, in a container of its own in a cluster.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::SpecError;
use crate::{ByteSize, Millicores, Span};

/// A native service and what it may take.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct NativeSpec {
    /// The program and its arguments, run by a host of one machine.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    /// The container image, run by a cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    pub resources: Resources,
    /// Servers that run at the same time, while the module is not idle. Stateful modules have one.
    pub replicas: u32,
    /// Whether it keeps state: one attempt at a time, with a directory of its own for checkpoints,
    /// and an epoch by which an earlier attempt is kept from committing.
    pub stateful: bool,
    /// Environment variables, given as they stand here.
    pub env: BTreeMap<String, String>,
    /// Secrets that the operator offers by name, as files in the directory `ROADSTEAD_SECRETS`.
    pub secrets: Vec<String>,
    pub probes: Probes,
    /// After so long without a call the servers end, until the next call begins them again. None:
    /// they run on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idle: Option<Span>,
    /// How long a call waits for a server to be ready.
    pub activation_timeout: Span,
    /// How long servers have to finish their calls when they end; 1h at most.
    pub grace: Span,
    /// Methods, as the WIT names them, that may run beside others on the same server; `*` for all.
    /// The others run one at a time.
    pub concurrent: BTreeSet<String>,
    /// Methods that may run again where it is not known whether they ran; `*` for all.
    pub idempotent: BTreeSet<String>,
    /// The service account of its pods, of those that the operator allows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_account: Option<String>,
}

/// What one server may take, and is given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Resources {
    pub cpu: Millicores,
    pub memory: ByteSize,
    /// Processes and threads.
    pub pids: u32,
    /// GPUs, in a cluster.
    pub gpu: u32,
    /// The TPUs of a single slice host, in a cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tpu: Option<Tpu>,
}

/// A TPU slice of one host, as its cloud names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Tpu {
    /// Like `v5e`, `v6e`, `v5p` or `v4`.
    pub accelerator: String,
    /// Chips along each axis, like `2x2`.
    pub topology: String,
}

/// How a server is watched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Probes {
    /// How long a server may take to be ready.
    pub startup: Span,
    /// How often it is asked whether it is well, and how long it may take to answer.
    pub period: Span,
    /// Answers that may be missing before it is ended.
    pub failures: u32,
    /// How long calls may run without progress before it is taken for stuck and ended. None: for
    /// ever.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub progress: Option<Span>,
}

/// Chips of the slices that fit one host, by accelerator: the topologies that a host of Google Cloud
/// has whole (v4 and v5p count four chips to a host, v5e and v6e up to eight).
const SLICE_HOSTS: [(&str, &[(&str, u32)]); 4] = [
    ("v4", &[("2x2x1", 4)]),
    ("v5p", &[("2x2x1", 4)]),
    ("v5e", &[("1x1", 1), ("2x2", 4), ("2x4", 8)]),
    ("v6e", &[("1x1", 1), ("2x2", 4), ("2x4", 8)]),
];

impl Default for NativeSpec {
    fn default() -> Self {
        Self {
            command: Vec::new(),
            image: None,
            resources: Resources::default(),
            replicas: 1,
            stateful: false,
            env: BTreeMap::new(),
            secrets: Vec::new(),
            probes: Probes::default(),
            idle: None,
            activation_timeout: Span::secs(30),
            grace: Span::secs(20),
            concurrent: BTreeSet::new(),
            idempotent: BTreeSet::new(),
            service_account: None,
        }
    }
}

impl Default for Resources {
    fn default() -> Self {
        Self { cpu: Millicores(1000), memory: ByteSize::mib(1024), pids: 256, gpu: 0, tpu: None }
    }
}

impl Default for Probes {
    fn default() -> Self {
        Self { startup: Span::secs(60), period: Span::secs(5), failures: 3, progress: None }
    }
}

impl Tpu {
    /// Chips of the slice; none where it is not a slice of a single host that is known.
    pub fn chips(&self) -> Option<u32> {
        let (_, topologies) = SLICE_HOSTS.iter().find(|(name, _)| *name == self.accelerator)?;
        topologies.iter().find(|(name, _)| *name == self.topology).map(|(_, chips)| *chips)
    }

    fn known() -> String {
        let all = SLICE_HOSTS.iter().map(|(name, topologies)| {
            let topologies: Vec<_> = topologies.iter().map(|(name, _)| *name).collect();
            format!("{name} ({})", topologies.join(", "))
        });
        all.collect::<Vec<_>>().join(", ")
    }
}

/// Of what nobody waits for longer.
const LONGEST_GRACE: Duration = Duration::from_secs(3600);

/// A server keeps this part of its grace, at the most this long, for what is left to do once its
/// calls have ended: a checkpoint, above all.
const LAST_PART: u32 = 5;
const LONGEST_LAST: Duration = Duration::from_secs(5);

impl NativeSpec {
    /// How much of a server's grace its calls have to end.
    pub fn grace_of_calls(&self) -> Duration {
        let grace = self.grace.duration();
        grace.saturating_sub((grace / LAST_PART).min(LONGEST_LAST))
    }

    pub(super) fn validate(&self) -> Result<(), SpecError> {
        let refuse = |field, problem: String| Err(SpecError::Field { field, problem });
        if self.command.is_empty() && self.image.is_none() {
            return refuse("native", "needs `command` (one machine) or `image` (a cluster)".into());
        }
        if self.command.iter().any(|part| part.contains('\0'))
            || self.command.first().is_some_and(String::is_empty)
        {
            return refuse("native.command", "must begin with a program".into());
        }
        if self.image.as_ref().is_some_and(|image| !is_image(image)) {
            return refuse("native.image", "is not like registry/name:tag".into());
        }
        if !(1..=1000).contains(&self.replicas) {
            return refuse("native.replicas", format!("`{}` is not 1 to 1000", self.replicas));
        }
        if self.stateful && self.replicas != 1 {
            return refuse("native.replicas", "a stateful module has one".into());
        }
        for (key, value) in &self.env {
            if key.is_empty() || key.contains(['=', '\0']) || value.contains('\0') {
                return refuse("native.env", format!("`{key}` is not a variable's name"));
            }
            if key.starts_with("ROADSTEAD_") {
                return refuse("native.env", format!("`{key}`: such names are the host's"));
            }
        }
        let mut seen = BTreeSet::new();
        for name in &self.secrets {
            if !is_plain(name) || !seen.insert(name) {
                let problem = format!(
                    "`{name}` is given twice, or is not 1 to 64 of letters, digits, `-`, `_`, `.`"
                );
                return refuse("native.secrets", problem);
            }
        }
        if LONGEST_GRACE < self.grace.duration() {
            return refuse("native.grace", format!("`{}` is more than 1h", self.grace));
        }
        if self.probes.failures == 0 {
            return refuse("native.probes.failures", "must be 1 or more".into());
        }
        self.resources.validate()
    }
}

impl Resources {
    fn validate(&self) -> Result<(), SpecError> {
        let refuse = |field, problem: String| Err(SpecError::Field { field, problem });
        if self.memory < ByteSize::mib(1) {
            return refuse("native.resources.memory", "must be 1Mi or more".into());
        }
        if self.pids == 0 {
            return refuse("native.resources.pids", "must be 1 or more".into());
        }
        let Some(tpu) = &self.tpu else { return Ok(()) };
        if tpu.chips().is_none() {
            let problem = format!(
                "{} of {} is no slice of a single host that is known: {}",
                tpu.topology,
                tpu.accelerator,
                Tpu::known()
            );
            return refuse("native.resources.tpu", problem);
        }
        if self.gpu != 0 {
            return refuse("native.resources.gpu", "not beside TPUs".into());
        }
        Ok(())
    }
}

fn is_plain(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    (1..=64).contains(&name.len()) && name != "." && name != ".." && name.bytes().all(plain)
}

fn is_image(image: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:@".contains(&byte);
    (1..=512).contains(&image.len()) && image.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use crate::{ModuleSpec, SpecFormat};

    #[test]
    fn a_spec_names_what_runs_and_what_it_may_take() {
        let text = "
name: learner
native:
  command: [python3, -m, roadstead.native, learner.py]
  image: registry.example.com/learner:1
  resources: {cpu: 4, memory: 8Gi, tpu: {accelerator: v5e, topology: 2x2}}
  stateful: true
  env: {MODE: train}
  probes: {startup: 2m, progress: 30s}
  idle: 10m
  concurrent: [status]
";
        let spec = ModuleSpec::parse(text, SpecFormat::Yaml).unwrap();
        let native = spec.native.as_ref().unwrap();
        assert_eq!(native.resources.tpu.as_ref().unwrap().chips(), Some(4));
        let printed = serde_norway::to_string(&spec).unwrap();
        assert_eq!(ModuleSpec::parse(&printed, SpecFormat::Yaml).unwrap(), spec);
    }

    #[test]
    fn a_bad_field_is_named() {
        for (text, part) in [
            ("native: {}", "`command`"),
            ("native: {command: ['']}", "native.command"),
            ("native: {image: 'a b'}", "native.image"),
            ("native: {command: [a], replicas: 0}", "native.replicas"),
            ("native: {command: [a], grace: 61m}", "native.grace"),
            ("native: {command: [a], replicas: 2, stateful: true}", "native.replicas"),
            ("native: {command: [a], env: {ROADSTEAD_SOCKET: x}}", "native.env"),
            ("native: {command: [a], env: {'A=': x}}", "native.env"),
            ("native: {command: [a], secrets: ['..']}", "native.secrets"),
            ("native: {command: [a], probes: {failures: 0}}", "native.probes.failures"),
            ("native: {command: [a], resources: {memory: 1Ki}}", "native.resources.memory"),
            ("native: {command: [a], resources: {pids: 0}}", "native.resources.pids"),
            (
                "native: {image: a, resources: {tpu: {accelerator: v5e, topology: 4x4}}}",
                "4x4 of v5e is no slice of a single host",
            ),
            (
                "native: {image: a, resources: {gpu: 1, tpu: {accelerator: v4, topology: 2x2x1}}}",
                "native.resources.gpu",
            ),
            ("native: {command: [a]}\ncapabilities: {env: {A: b}}", "capabilities"),
            ("native: {command: [a]}\nbindings: {a: {module: b}}", "bindings"),
            ("native: {command: [a]}\nquota: {cpu: 1}", "quota.cpu"),
            ("native: {command: [a]}\nquota: {memory: 1Gi}", "quota.memory"),
            ("native: {command: [a], comand: [b]}", "comand"),
        ] {
            let error = ModuleSpec::parse(text, SpecFormat::Yaml).unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
