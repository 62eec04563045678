//! A module's spec: its limits, quota, instance policy and capabilities.
//!
//! Written as TOML or YAML beside the component. Every field has a default that fits a 50 kB Rust
//! module as well as an 18 MB Python one; every field that exists is enforced, and a field that
//! does not exist is an error, never ignored. Nothing is granted that is not named.

mod capabilities;
mod limits;
mod native;
mod text;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use capabilities::{
    Capabilities, Clocks, DirectoryGrant, DirectoryMode, HostPort, HttpTarget, Network, Random,
};
pub use limits::{InstancePolicy, Instances, Limits, Quota, Share};
pub use native::{NativeSpec, Probes, Resources, Tpu};

use crate::{ModuleName, Version};

/// How a spec is written. YAML covers JSON too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpecFormat {
    Toml,
    Yaml,
}

/// Why a spec was refused; the text names the field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    #[error("the spec does not read: {0}")]
    Syntax(String),
    #[error("spec field `{field}`: {problem}")]
    Field { field: &'static str, problem: String },
}

/// The whole spec of a module version.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct ModuleSpec {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<ModuleName>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<Version>,
    pub limits: Limits,
    pub quota: Quota,
    pub instances: Instances,
    pub capabilities: Capabilities,
    /// Which other modules serve imports, by interface as the WIT names it.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub bindings: BTreeMap<String, Binding>,
    /// What serves the module in place of a component. Limits of instances and capabilities say
    /// nothing then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub native: Option<NativeSpec>,
}

/// The module of the same namespace that serves an import.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Binding {
    pub module: ModuleName,
    /// None: the version that answers the module's calls.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<Version>,
}

impl SpecFormat {
    /// By a file's extension: `toml`, `yaml`, `yml` or `json`.
    pub fn from_extension(extension: &str) -> Option<Self> {
        match extension {
            "toml" => Some(Self::Toml),
            "yaml" | "yml" | "json" => Some(Self::Yaml),
            _ => None,
        }
    }
}

impl ModuleSpec {
    /// Parses and validates; an empty text is the default spec.
    ///
    /// # Errors
    /// [`SpecError`] names the line or the field and says what is expected there.
    pub fn parse(text: &str, format: SpecFormat) -> Result<Self, SpecError> {
        let spec = text::read(text, format)?;
        spec.validate()?;
        Ok(spec)
    }

    /// What a field's own type cannot tell; a spec that was parsed has passed.
    ///
    /// # Errors
    /// [`SpecError`] names the field and says what is expected there.
    pub fn validate(&self) -> Result<(), SpecError> {
        self.limits.validate()?;
        self.quota.validate()?;
        self.instances.validate()?;
        self.capabilities.validate()?;
        let Some(native) = &self.native else { return Ok(()) };
        if self.capabilities != Capabilities::default() {
            let problem = "a native module has none: see `native.env` and `native.secrets`".into();
            return Err(SpecError::Field { field: "capabilities", problem });
        }
        if !self.bindings.is_empty() {
            let problem = "a native module has no imports".into();
            return Err(SpecError::Field { field: "bindings", problem });
        }
        for (field, given) in
            [("quota.cpu", self.quota.cpu.is_some()), ("quota.memory", self.quota.memory.is_some())]
        {
            if given {
                let problem = "a native module has what `native.resources` says".into();
                return Err(SpecError::Field { field, problem });
            }
        }
        native.validate()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ByteSize;

    #[test]
    fn the_default_spec_is_valid_and_grants_nothing() {
        let spec = ModuleSpec::parse("", SpecFormat::Yaml).unwrap();
        assert_eq!(spec, ModuleSpec::default());
        assert_eq!(spec.capabilities, Capabilities::default());
        assert_eq!(spec.instances.policy, InstancePolicy::PerCall);
        assert_eq!(spec.limits.memory, ByteSize::mib(256));
    }

    #[test]
    fn yaml_and_toml_say_the_same() {
        let yaml = "
name: reward
version: 0.3.0
limits: {memory: 64Mi, fuel_per_call: 2_000_000_000, deadline: 2s, log_rate: 64Ki/s}
quota: {cpu: 1.5, borrow: false, weight: 7, concurrency: 8, queue: 16}
instances: {policy: pooled, max_uses: 10}
capabilities:
  env: {MODE: strict}
  network: {http: ['api.example.com:443']}
  files: [{host: datasets, guest: /data, mode: ro}]
  clocks: real
";
        let toml = r#"
name = "reward"
version = "0.3.0"
limits = { memory = "64Mi", fuel_per_call = 2_000_000_000, deadline = "2s", log_rate = "64Ki/s" }
quota = { cpu = 1.5, borrow = false, weight = 7, concurrency = 8, queue = 16 }
instances = { policy = "pooled", max_uses = 10 }
[capabilities]
env = { MODE = "strict" }
network = { http = ["api.example.com:443"] }
files = [{ host = "datasets", guest = "/data", mode = "ro" }]
clocks = "real"
"#;
        let parsed = ModuleSpec::parse(yaml, SpecFormat::Yaml).unwrap();
        assert_eq!(parsed, ModuleSpec::parse(toml, SpecFormat::Toml).unwrap());
        let printed = serde_norway::to_string(&parsed).unwrap();
        assert_eq!(ModuleSpec::parse(&printed, SpecFormat::Yaml).unwrap(), parsed);
    }

    #[test]
    fn a_bad_field_is_named() {
        for (text, part) in [
            ("limits: {memry: 1Mi}", "memry"),
            ("quota: {cpu: 0}", "quota.cpu: `0`"),
            ("quota: {cpu: half}", "quota.cpu: `half`"),
            ("quota: {borrow: false}", "quota.borrow"),
            ("quota: {cpu: 1, borrow: 0}", "quota.borrow: "),
            ("quota: {weight: 0}", "quota.weight"),
            ("quota: {weight: 1001}", "quota.weight"),
            ("quota: {weight: 1.5}", "quota.weight: `1.5`"),
            ("limits: {memory: -1}", "limits.memory: invalid"),
            ("limits: {memory: 0}", "limits.memory"),
            ("limits: {fuel_per_call: 0}", "limits.fuel_per_call"),
            ("quota: {concurrency: 0}", "quota.concurrency"),
            ("instances: {max_uses: 0}", "instances.max_uses"),
            ("instances: {sessions: 0}", "instances.sessions"),
            ("capabilities: {env: {'A=B': x}}", "capabilities.env"),
            ("capabilities: {network: {tcp: [example.com]}}", "example.com"),
            ("capabilities: {files: [{host: a, guest: data, mode: ro}]}", "capabilities.files"),
            ("capabilities: {files: [{host: a, guest: /a/../b, mode: ro}]}", "capabilities.files"),
            ("capabilities: {secrets: ['a b']}", "capabilities.secrets"),
            ("capabilities: {secrets: [a, a]}", "capabilities.secrets"),
            ("capabilities: {secrets: [a], config: {a: b}}", "capabilities.secrets"),
            ("quota: {egress: 0/s}", "quota.egress"),
            ("quota: {connections: 0}", "quota.connections"),
            ("name: Not A Name", "Not A Name"),
            ("- 1", "invalid"),
        ] {
            let error = ModuleSpec::parse(text, SpecFormat::Yaml).unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
