//! Where the catalog is, and which namespaces of it a host serves.

use std::path::PathBuf;

use roadstead_domain::Namespace;
use roadstead_k8s_api::ENABLED;

/// How a host finds its catalog.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KubernetesSettings {
    /// A file that says where the API server is and who asks. Without it, the service account of
    /// the pod.
    pub kubeconfig: Option<PathBuf>,
    pub namespaces: Namespaces,
    /// The hosts that share blobs and code with this one; stands with what they write.
    pub pool: String,
    /// This host's name in it, by which the others see who does what.
    pub host: String,
    /// Where hosts say so: the namespace of the pod, or of the kubeconfig, unless set.
    pub lease_namespace: Option<Namespace>,
}

/// Which namespaces a host serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Namespaces {
    Named(Vec<Namespace>),
    /// Those that carry a label, as they come and go.
    Labelled(String),
}

impl Default for KubernetesSettings {
    fn default() -> Self {
        Self {
            kubeconfig: None,
            namespaces: Namespaces::Labelled(format!("{ENABLED}=true")),
            pool: "default".to_owned(),
            host: "default".to_owned(),
            lease_namespace: None,
        }
    }
}
