//! The objects that a native module's servers are made of: pure.
//!
//! A stateless version has a Deployment of its own, so that two can answer while calls move over; a
//! stateful module has one StatefulSet with one pod, so that the old server has ended, and made its
//! state durable, before the new one begins on the same volume. Pods have no rights, no network but
//! from hosts, and what Kubernetes' `restricted` profile asks for.

use roadstead_domain::{NativeSpec, Tpu, Version};
use roadstead_k8s_api::GROUP;
use serde::Serialize;
use serde_json::{Value, json};

use super::{
    observed::{MODULE, VERSION},
    rules::Rules,
    standing::{digits, version_label},
};
use crate::{objects::Kind, world::ModuleKey};

/// Where servers listen.
pub const PORT: u16 = 7421;

/// Who the pod's process is.
const USER: u32 = 65532;

/// Seconds that a pod has beyond the grace that its spec gives to calls.
const END: u64 = 10;

/// An object as it should be, but for its kind's own words.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Manifest {
    pub kind: Kind,
    pub name: String,
    pub body: Value,
}

/// What the objects of one module are made from.
#[derive(Debug, Clone, Copy)]
pub struct Ground<'a> {
    pub key: &'a ModuleKey,
    /// The module's uid.
    pub uid: &'a str,
    pub rules: &'a Rules,
    /// Tells the certificate that servers show from the one before.
    pub certificate: &'a str,
}

/// A version that is to run.
#[derive(Debug, Clone, Copy)]
pub struct Runs<'a> {
    pub version: &'a Version,
    pub spec: &'a NativeSpec,
    pub image: &'a str,
    pub replicas: u32,
}

/// Sets a field of an object.
pub fn set(object: &mut Value, field: &str, value: Value) {
    if let Some(fields) = object.as_object_mut() {
        fields.insert(field.to_owned(), value);
    }
}

/// How the module's objects are called: short enough for what Kubernetes adds.
pub fn base(module: &str) -> String {
    const LONGEST: usize = 40;
    if module.len() <= LONGEST {
        return format!("native-{module}");
    }
    let short: String = module.chars().take(29).collect();
    format!("native-{short}-{}", digits(module, 10))
}

/// The Secret with the certificate and the call key.
pub fn secret(module: &str) -> String {
    format!("{}-tls", base(module))
}

/// The volume claim of a stateful module.
pub fn claim(module: &str) -> String {
    format!("{}-state", base(module))
}

/// The name by which hosts know the servers of a module, whatever their addresses are.
pub fn server_name(key: &ModuleKey) -> String {
    format!("{}.{}.native.roadstead.internal", base(&key.module), key.namespace)
}

impl Ground<'_> {
    /// All objects of the module for the versions that are to run.
    pub fn manifests(&self, runs: &[Runs<'_>]) -> Vec<Manifest> {
        if runs.is_empty() {
            return Vec::new();
        }
        let mut all = vec![self.network(), self.service()];
        for one in runs {
            if one.spec.stateful {
                all.push(self.claim());
                all.push(self.stateful(one));
            } else {
                all.push(self.deployment(one));
            }
        }
        all
    }

    /// Metadata that makes an object the module's: it goes with it.
    pub fn metadata(&self, name: &str) -> Value {
        json!({
            "name": name,
            "labels": self.labels(),
            "ownerReferences": [{
                "apiVersion": format!("{GROUP}/v1alpha1"), "kind": "NativeModule",
                "name": self.key.module, "uid": self.uid, "controller": true,
            }],
        })
    }

    fn labels(&self) -> Value {
        json!({MODULE: self.key.module, "app.kubernetes.io/managed-by": "roadstead-controller"})
    }

    fn manifest(&self, kind: Kind, name: String, spec: Value) -> Manifest {
        let body = json!({"metadata": self.metadata(&name), "spec": spec});
        Manifest { kind, name, body }
    }

    fn selector(&self) -> Value {
        json!({MODULE: self.key.module})
    }

    fn service(&self) -> Manifest {
        let spec = json!({
            "clusterIP": "None",
            "selector": self.selector(),
            "ports": [{"name": "grpc", "port": PORT, "targetPort": "grpc", "protocol": "TCP"}],
        });
        self.manifest(Kind::Service, base(&self.key.module), spec)
    }

    /// Hosts may connect; servers reach nothing.
    fn network(&self) -> Manifest {
        let hosts = &self.rules.hosts;
        let spec = json!({
            "podSelector": {"matchLabels": self.selector()},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [{
                "from": [{
                    "namespaceSelector": {
                        "matchLabels": {"kubernetes.io/metadata.name": hosts.namespace},
                    },
                    "podSelector": {"matchLabels": hosts.labels},
                }],
                "ports": [{"port": PORT, "protocol": "TCP"}],
            }],
        });
        self.manifest(Kind::NetworkPolicy, base(&self.key.module), spec)
    }

    fn claim(&self) -> Manifest {
        let state = &self.rules.state;
        let mut spec = json!({
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": state.size}},
        });
        if let Some(class) = &state.storage_class {
            set(&mut spec, "storageClassName", json!(class));
        }
        self.manifest(Kind::Claim, claim(&self.key.module), spec)
    }

    fn stateful(&self, runs: &Runs<'_>) -> Manifest {
        let name = base(&self.key.module);
        let spec = json!({
            "replicas": runs.replicas,
            "serviceName": name,
            "selector": {"matchLabels": self.selector()},
            "podManagementPolicy": "OrderedReady",
            "updateStrategy": {"type": "RollingUpdate"},
            "template": self.template(runs),
        });
        self.manifest(Kind::StatefulSet, name, spec)
    }

    fn deployment(&self, runs: &Runs<'_>) -> Manifest {
        let name = format!("{}-{}", base(&self.key.module), digits(&runs.version.to_string(), 8));
        let label = version_label(runs.version);
        let spec = json!({
            "replicas": runs.replicas,
            "selector": {"matchLabels": {MODULE: self.key.module, VERSION: label}},
            "strategy": {
                "type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1},
            },
            "revisionHistoryLimit": 1,
            "template": self.template(runs),
        });
        let mut manifest = self.manifest(Kind::Deployment, name, spec);
        if let Some(labels) = manifest.body.pointer_mut("/metadata/labels") {
            set(labels, VERSION, json!(label));
        }
        manifest
    }

    fn template(&self, runs: &Runs<'_>) -> Value {
        let mut labels = self.labels();
        set(&mut labels, VERSION, json!(version_label(runs.version)));
        json!({
            "metadata": {
                "labels": labels,
                "annotations": {"roadstead.dev/certificate": self.certificate},
            },
            "spec": self.pod(runs),
        })
    }

    fn pod(&self, runs: &Runs<'_>) -> Value {
        let Runs { spec, .. } = runs;
        let secrets = &self.rules.image_pull_secrets;
        let mut pod = json!({
            "automountServiceAccountToken": false,
            "enableServiceLinks": false,
            "terminationGracePeriodSeconds": spec.grace.duration().as_secs().saturating_add(END),
            "securityContext": {
                "runAsNonRoot": true, "runAsUser": USER, "runAsGroup": USER, "fsGroup": USER,
                "fsGroupChangePolicy": "OnRootMismatch",
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [self.container(runs)],
            "volumes": self.volumes(spec),
        });
        if !secrets.is_empty() {
            let named: Vec<Value> = secrets.iter().map(|name| json!({"name": name})).collect();
            set(&mut pod, "imagePullSecrets", json!(named));
        }
        if let Some(account) = &spec.service_account {
            set(&mut pod, "serviceAccountName", json!(account));
        }
        if let Some(Tpu { accelerator, topology }) = &spec.resources.tpu {
            set(
                &mut pod,
                "nodeSelector",
                json!({
                    "cloud.google.com/gke-tpu-accelerator": accelerator_label(accelerator),
                    "cloud.google.com/gke-tpu-topology": topology,
                }),
            );
            set(&mut pod, "tolerations", json!([{"key": "google.com/tpu", "operator": "Exists"}]));
        } else if 0 < spec.resources.gpu {
            set(&mut pod, "tolerations", json!([{"key": "nvidia.com/gpu", "operator": "Exists"}]));
        }
        pod
    }

    fn container(&self, Runs { spec, image, .. }: &Runs<'_>) -> Value {
        let period = spec.probes.period.duration().as_secs().max(1);
        let startup = spec.probes.startup.duration().as_secs().div_ceil(period).max(1);
        // Health is asked by hosts, which alone have a certificate; here is asked whether it listens.
        let probe = |failures: u64| json!({"tcpSocket": {"port": "grpc"}, "periodSeconds": period, "failureThreshold": failures});
        let mut mounts = vec![
            json!({"name": "identity", "mountPath": "/etc/roadstead/native", "readOnly": true}),
            json!({"name": "tmp", "mountPath": "/tmp"}),
        ];
        if spec.stateful {
            mounts.push(json!({"name": "state", "mountPath": "/var/lib/roadstead"}));
        }
        if !spec.secrets.is_empty() {
            mounts.push(json!({
                "name": "secrets", "mountPath": "/etc/roadstead/secrets", "readOnly": true,
            }));
        }
        json!({
            "name": "server",
            "image": image,
            "env": environment(spec),
            "ports": [{"name": "grpc", "containerPort": PORT, "protocol": "TCP"}],
            "resources": resources(spec),
            "startupProbe": probe(startup),
            "readinessProbe": probe(1),
            "livenessProbe": probe(spec.probes.failures.into()),
            "securityContext": {
                "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true,
                "capabilities": {"drop": ["ALL"]},
            },
            "volumeMounts": mounts,
        })
    }

    fn volumes(&self, spec: &NativeSpec) -> Value {
        let ModuleKey { namespace, module, .. } = self.key;
        let mut volumes = vec![
            json!({"name": "identity", "secret": {
                "secretName": secret(module), "defaultMode": 0o440,
            }}),
            json!({"name": "tmp", "emptyDir": {}}),
        ];
        if spec.stateful {
            volumes.push(json!({
                "name": "state", "persistentVolumeClaim": {"claimName": claim(module)},
            }));
        }
        let found = spec.secrets.iter().filter_map(|name| {
            let from = self.rules.secret(namespace, module, name)?;
            let items = json!([{"key": from.key, "path": name}]);
            Some(json!({"secret": {"name": from.secret, "items": items}}))
        });
        let sources: Vec<Value> = found.collect();
        if !sources.is_empty() {
            volumes.push(json!({
                "name": "secrets", "projected": {"defaultMode": 0o440, "sources": sources},
            }));
        }
        json!(volumes)
    }
}

fn environment(spec: &NativeSpec) -> Value {
    let file = |name: &str| format!("/etc/roadstead/native/{name}");
    let mut all: Vec<(String, String)> =
        spec.env.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
    let mut own = vec![
        ("HOME", "/tmp".to_owned()),
        ("ROADSTEAD_LISTEN", format!("0.0.0.0:{PORT}")),
        ("ROADSTEAD_TLS_CERT", file("tls.crt")),
        ("ROADSTEAD_TLS_KEY", file("tls.key")),
        ("ROADSTEAD_TLS_CA", file("hosts.crt")),
        ("ROADSTEAD_CALL_KEY", file("call.key")),
        ("ROADSTEAD_GRACE", spec.grace_of_calls().as_secs_f64().to_string()),
    ];
    if spec.stateful {
        own.push(("ROADSTEAD_STATE", "/var/lib/roadstead/state".to_owned()));
    }
    if !spec.secrets.is_empty() {
        own.push(("ROADSTEAD_SECRETS", "/etc/roadstead/secrets".to_owned()));
    }
    let own = own.into_iter().filter(|(name, _)| !spec.env.contains_key(*name));
    all.extend(own.map(|(name, value)| (name.to_owned(), value)));
    let all = all.into_iter().map(|(name, value)| (name, value.replace("$(", "$$(")));
    all.map(|(name, value)| json!({"name": name, "value": value})).collect()
}

fn resources(spec: &NativeSpec) -> Value {
    let resources = &spec.resources;
    let mut all = json!({
        "cpu": format!("{}m", resources.cpu.0), "memory": resources.memory.0.to_string(),
    });
    if 0 < resources.gpu {
        set(&mut all, "nvidia.com/gpu", json!(resources.gpu.to_string()));
    }
    if let Some(chips) = resources.tpu.as_ref().and_then(Tpu::chips) {
        set(&mut all, "google.com/tpu", json!(chips.to_string()));
    }
    json!({"requests": all, "limits": all})
}

/// An accelerator as GKE labels its nodes.
fn accelerator_label(accelerator: &str) -> String {
    let label = match accelerator {
        "v4" => "tpu-v4-podslice",
        "v5p" => "tpu-v5p-slice",
        "v5e" => "tpu-v5-lite-podslice",
        "v6e" => "tpu-v6e-slice",
        other => other,
    };
    label.to_owned()
}
