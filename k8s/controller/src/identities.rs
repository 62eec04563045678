//! The authority of native modules in its Secret, the Secrets of their servers, and what hosts are
//! told by it.

use std::{collections::BTreeMap, path::PathBuf, sync::OnceLock};

use k8s_openapi::{ByteString, api::core::v1::Secret, jiff::Timestamp};
use roadstead_domain::Version;
use roadstead_proto::v1::{NativeServer, NativeServers, ServersStanding};
use serde_json::json;

use crate::{
    cluster::{Cluster, Failure},
    native::{
        Rules,
        authority::Authority,
        observed::Workload,
        standing::version_label,
        workload::{Ground, PORT, secret, server_name, set},
    },
    objects::Kind,
    plan::{NativePlan, whole_seconds},
    settings::LeaseName,
    world::{ModuleKey, World},
};

/// On the Secret of a module's servers: what it follows from, and when a new certificate is due.
const MARK: &str = "roadstead.dev/identity";
const RENEW: &str = "roadstead.dev/renew-after";

/// What servers and hosts of native modules know each other by.
pub(crate) struct Identities {
    cluster: Cluster,
    rules: Rules,
    place: LeaseName,
    /// Who vouches for hosts.
    hosts: PathBuf,
    authority: OnceLock<Authority>,
}

impl Identities {
    /// None where the rules name no place for the authority.
    pub(crate) fn new(cluster: Cluster, rules: Rules, hosts: PathBuf) -> Option<Self> {
        let place = rules.authority.parse().ok()?;
        Some(Self { cluster, rules, place, hosts, authority: OnceLock::new() })
    }

    pub(crate) fn rules(&self) -> &Rules {
        &self.rules
    }

    /// The authority, once it was read or made.
    pub(crate) fn authority(&self) -> Option<&Authority> {
        self.authority.get()
    }

    /// Makes sure that a module's servers have a Secret that holds, and tells it from others.
    pub(crate) async fn look(
        &self,
        key: &ModuleKey,
        uid: &str,
    ) -> Result<(String, Timestamp), Failure> {
        let authority = self.take().await?;
        let hosts = tokio::fs::read_to_string(&self.hosts).await.map_err(refused)?;
        let (name, call_key) = (server_name(key), authority.call_key(key, uid));
        let mark = authority.mark(&name, &call_key, &hosts);
        let now = whole_seconds(Timestamp::now());
        let object = secret(&key.module);
        let stands = self.cluster.secret(&key.namespace, &object).await?;
        if let Some(renew) = stands.as_ref().and_then(|stands| holds(stands, &mark, now)) {
            return Ok((format!("{mark}-{}", renew.as_second()), now));
        }
        let identity = authority.sign(&name, now).map_err(refused)?;
        let renew = whole_seconds(identity.renew);
        let ground = Ground { key, uid, rules: &self.rules, certificate: "" };
        let mut metadata = ground.metadata(&object);
        set(&mut metadata, "annotations", json!({MARK: mark, RENEW: renew.to_string()}));
        let files = [
            ("tls.crt", identity.certificate),
            ("tls.key", identity.key),
            ("hosts.crt", hosts),
            ("call.key", call_key),
        ];
        let made = Secret {
            metadata: serde_json::from_value(metadata).map_err(refused)?,
            data: Some(data(files)),
            ..Secret::default()
        };
        self.cluster.apply_secret(&key.namespace, &object, &made).await?;
        Ok((format!("{mark}-{}", renew.as_second()), now))
    }

    /// Reads the authority, or makes the first one.
    async fn take(&self) -> Result<&Authority, Failure> {
        if let Some(authority) = self.authority.get() {
            return Ok(authority);
        }
        let LeaseName { namespace, name } = &self.place;
        if self.cluster.secret(namespace, name).await?.is_none() {
            let files = Authority::make().map_err(refused)?;
            let mut made = Secret { data: Some(data(files)), ..Secret::default() };
            made.metadata.name = Some(name.clone());
            match self.cluster.make_secret(namespace, &made).await {
                // Whichever was first counts.
                Ok(()) | Err(Failure::Conflict) => {}
                Err(failure) => return Err(failure),
            }
        }
        let kept = self.cluster.secret(namespace, name).await?.ok_or(Failure::Gone)?;
        let files = kept.data.unwrap_or_default().into_iter().map(|(name, bytes)| (name, bytes.0));
        let authority = Authority::read(&files.collect()).map_err(|error| {
            Failure::Refused(format!("the authority {namespace}/{name} cannot be used: {error}"))
        })?;
        Ok(self.authority.get_or_init(|| authority))
    }
}

fn data(
    files: impl IntoIterator<Item = (impl Into<String>, String)>,
) -> BTreeMap<String, ByteString> {
    let files = files.into_iter();
    files.map(|(name, text)| (name.into(), ByteString(text.into_bytes()))).collect()
}

/// Until when a Secret holds, if it follows from the same and is whole.
fn holds(stands: &Secret, mark: &str, now: Timestamp) -> Option<Timestamp> {
    let annotations = stands.metadata.annotations.as_ref()?;
    let whole = stands.data.as_ref().is_some_and(|data| {
        ["tls.crt", "tls.key", "hosts.crt", "call.key"].iter().all(|file| data.contains_key(*file))
    });
    let renew: Timestamp = annotations.get(RENEW)?.parse().ok()?;
    (whole && annotations.get(MARK)? == mark && now < renew).then_some(renew)
}

fn refused(error: impl std::fmt::Display) -> Failure {
    Failure::Refused(error.to_string())
}

/// What hosts are told of a module; none while it has pods and the authority by which to know them
/// was not read yet. One that never ran may have no authority, and how it stands is told.
pub(crate) fn servers(
    world: &World,
    key: &ModuleKey,
    uid: &str,
    plan: &NativePlan,
    authority: Option<&Authority>,
) -> Option<NativeServers> {
    let standings = plan.standings.iter().map(|(version, standing)| {
        let (_, reason, message) = standing.says();
        let (version, reason) = (version.to_string(), reason.as_str().to_owned());
        ServersStanding { version, reason, message }
    });
    let told = NativeServers {
        namespace: key.namespace.clone(),
        module: key.module.clone(),
        standings: standings.collect(),
        ..NativeServers::default()
    };
    match authority {
        None => pods(world, key).next().is_none().then_some(told),
        Some(authority) => Some(NativeServers {
            servers: ready(world, key),
            server_name: server_name(key),
            authority: authority.certificate().to_owned(),
            call_key: authority.call_key(key, uid).into_bytes().into(),
            ..told
        }),
    }
}

/// The pods of a module that go on.
fn pods<'a>(world: &'a World, key: &'a ModuleKey) -> impl Iterator<Item = &'a Workload> {
    world.workloads(key).filter(|one| one.kind == Kind::Pod && !one.leaving)
}

/// Those that are ready, of any version: one that is to run no more answers until its pods go.
fn ready(world: &World, key: &ModuleKey) -> Vec<NativeServer> {
    let versions = world.versions(key).into_iter().filter_map(|one| one.says.as_ref().ok());
    let versions: BTreeMap<String, &Version> =
        versions.map(|said| (version_label(&said.version), &said.version)).collect();
    let server = |one: &Workload| {
        let version = versions.get(&one.version)?;
        let address = one.pod.as_ref().filter(|pod| pod.ready)?.address.as_ref()?;
        let address = if address.contains(':') { format!("[{address}]") } else { address.clone() };
        Some(NativeServer {
            version: version.to_string(),
            address: format!("{address}:{PORT}"),
            id: one.id.uid.clone(),
        })
    };
    pods(world, key).filter_map(server).collect()
}
