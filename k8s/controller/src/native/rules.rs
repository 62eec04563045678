//! What operators allow native modules: images, service accounts and secrets by name. What is not
//! named is refused.

use std::{collections::BTreeMap, path::Path};

use roadstead_domain::NativeSpec;
use roadstead_k8s_api::Reason;
use serde::Deserialize;

/// A file of rules does not read.
#[derive(Debug, thiserror::Error)]
pub enum RulesError {
    #[error("read {path}")]
    Read {
        path: String,
        #[source]
        source: std::io::Error,
    },
    #[error("{path} does not say what may run, as JSON")]
    Parse {
        path: String,
        #[source]
        source: serde_json::Error,
    },
}

/// What operators say of native modules, as the file of `--native` has it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Rules {
    /// What may run.
    #[serde(default)]
    pub allow: Allow,
    /// The pods that may connect to servers.
    pub hosts: Hosts,
    #[serde(default)]
    pub state: State,
    /// The Secret in which the controller keeps its authority, as NAMESPACE/NAME.
    pub authority: String,
    /// With which servers' images are pulled.
    #[serde(default)]
    pub image_pull_secrets: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Allow {
    /// Images; `*` stands for any characters.
    #[serde(default)]
    pub images: Vec<String>,
    /// Service accounts that specs may name, as NAMESPACE/NAME.
    #[serde(default)]
    pub service_accounts: Vec<String>,
    /// Secrets by the name that specs say.
    #[serde(default)]
    pub secrets: BTreeMap<String, Secret>,
}

/// A secret that modules may ask for: a key of a Secret in the module's namespace.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Secret {
    pub secret: String,
    pub key: String,
    /// To whom, as NAMESPACE/MODULE, where MODULE may be `*`.
    pub to: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hosts {
    pub namespace: String,
    pub labels: BTreeMap<String, String>,
}

/// Volumes of stateful modules.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct State {
    pub size: String,
    pub storage_class: Option<String>,
}

impl Default for State {
    fn default() -> Self {
        Self { size: "1Gi".to_owned(), storage_class: None }
    }
}

/// Why a version may not run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    pub reason: Reason,
    pub message: String,
}

impl Rules {
    /// Reads the file.
    ///
    /// # Errors
    /// [`RulesError`].
    pub fn read(path: &Path) -> Result<Self, RulesError> {
        let name = || path.display().to_string();
        let text =
            std::fs::read(path).map_err(|source| RulesError::Read { path: name(), source })?;
        serde_json::from_slice(&text).map_err(|source| RulesError::Parse { path: name(), source })
    }

    /// The image of a version that may run.
    ///
    /// # Errors
    /// [`Refused`] where operators do not allow it.
    pub fn allows<'a>(
        &self,
        namespace: &str,
        module: &str,
        spec: &'a NativeSpec,
    ) -> Result<&'a str, Refused> {
        let refused = |reason, message| Err(Refused { reason, message });
        let Some(image) = &spec.image else {
            let message = "It names no image (native.image), and a cluster runs images.".to_owned();
            return refused(Reason::ImageNotAllowed, message);
        };
        if !self.allow.images.iter().any(|pattern| matches(pattern, image)) {
            let message = format!("No pattern of native.allow.images allows {image}.");
            return refused(Reason::ImageNotAllowed, message);
        }
        if let Some(account) = &spec.service_account {
            let wanted = format!("{namespace}/{account}");
            if !self.allow.service_accounts.contains(&wanted) {
                let message = format!("native.allow.serviceAccounts does not name {wanted}.");
                return refused(Reason::NotAllowed, message);
            }
        }
        for name in &spec.secrets {
            if self.secret(namespace, module, name).is_none() {
                let message =
                    format!("native.allow.secrets offers no `{name}` to {namespace}/{module}.");
                return refused(Reason::NotAllowed, message);
            }
        }
        Ok(image)
    }

    /// The secret that a module gets by that name.
    pub fn secret(&self, namespace: &str, module: &str, name: &str) -> Option<&Secret> {
        let secret = self.allow.secrets.get(name)?;
        let to = [format!("{namespace}/{module}"), format!("{namespace}/*")];
        secret.to.iter().any(|one| to.contains(one)).then_some(secret)
    }
}

/// Whether a text fits a pattern in which `*` stands for any characters.
fn matches(pattern: &str, text: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut text) = text.strip_prefix(first) else { return false };
    let mut parts: Vec<&str> = rest.split('*').collect();
    let last = parts.pop().unwrap_or_default();
    for part in parts {
        let Some((_, after)) = text.split_once(part) else { return false };
        text = after;
    }
    text.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules() -> Rules {
        serde_json::from_str(
            r#"{"allow": {"images": ["registry.example.com/team/*@sha256:*", "exact:1"],
                "serviceAccounts": ["team/trainer"],
                "secrets": {"key": {"secret": "s", "key": "k", "to": ["team/learner"]},
                            "all": {"secret": "s", "key": "k", "to": ["team/*"]}}},
               "hosts": {"namespace": "roadstead", "labels": {"a": "b"}},
               "authority": "roadstead/authority"}"#,
        )
        .unwrap()
    }

    #[test]
    fn what_is_not_named_is_refused() {
        let rules = rules();
        let spec =
            |image: &str| NativeSpec { image: Some(image.to_owned()), ..NativeSpec::default() };
        let judge = |spec: &NativeSpec, module: &str| rules.allows("team", module, spec).map(drop);
        let fine = "registry.example.com/team/learner@sha256:0";
        assert_eq!(judge(&spec(fine), "learner"), Ok(()));
        assert_eq!(judge(&spec("exact:1"), "learner"), Ok(()));
        for image in ["exact:12", "registry.example.com/team/learner:1", "x/exact:1", ""] {
            let refused = judge(&spec(image), "learner").unwrap_err();
            assert_eq!(refused.reason, Reason::ImageNotAllowed, "{image}");
        }
        assert!(judge(&NativeSpec::default(), "learner").is_err(), "without an image");
        let account =
            |name: &str| NativeSpec { service_account: Some(name.to_owned()), ..spec(fine) };
        assert_eq!(judge(&account("trainer"), "learner"), Ok(()));
        assert_eq!(judge(&account("admin"), "learner").unwrap_err().reason, Reason::NotAllowed);
        let secret = |name: &str| NativeSpec { secrets: vec![name.to_owned()], ..spec(fine) };
        assert_eq!(judge(&secret("key"), "learner"), Ok(()));
        assert_eq!(judge(&secret("all"), "linalg"), Ok(()));
        for (name, module) in [("key", "linalg"), ("other", "learner")] {
            let refused = judge(&secret(name), module).unwrap_err();
            assert!(refused.message.contains("native.allow.secrets"), "{}", refused.message);
        }
        let none = Rules { allow: Allow::default(), ..rules.clone() };
        assert!(none.allows("team", "learner", &spec(fine)).is_err(), "by default nothing");
    }

    #[test]
    fn stars_stand_for_any_characters() {
        for (pattern, text, fits) in [
            ("*", "anything", true),
            ("a*c", "abc", true),
            ("a*c", "ac", true),
            ("a*c", "ab", false),
            ("a*b*c", "axbyc", true),
            ("a*b*c", "axyc", false),
            ("a*a", "a", false),
            ("", "", true),
        ] {
            assert_eq!(matches(pattern, text), fits, "{pattern} {text}");
        }
    }
}
