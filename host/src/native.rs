//! Native modules of this host: the backend that runs them as processes, or calls those that the
//! cluster runs, wired to its settings.

use std::{path::Path, sync::Arc};

use anyhow::Context as _;
use roadstead_engine::{Engine, Natives};
use roadstead_native::{Pods, PodsConfig, Processes, ProcessesConfig};

use crate::config::{ControllerSettings, NativeSettings, ServeConfig};

/// Who runs native modules for this host: at most one of them.
pub(crate) struct Backends {
    pub(crate) processes: Option<Arc<Processes>>,
    pub(crate) pods: Option<Arc<Pods>>,
}

impl Backends {
    /// In a cluster with a controller that runs them, else the host does; nobody where its operator
    /// did not say so.
    pub(crate) async fn open(
        settings: &ServeConfig,
        data: &Path,
        engine: &Engine,
    ) -> anyhow::Result<Self> {
        let (processes, pods) = match (&settings.native, &settings.controller) {
            (Some(_), Some(controller)) => (None, Some(pods(controller, engine))),
            (Some(native), None) => (Some(open(native, data, engine).await?), None),
            (None, _) => (None, None),
        };
        Ok(Self { processes, pods })
    }

    pub(crate) fn natives(&self) -> Option<Arc<dyn Natives>> {
        let processes = self.processes.clone().map(|processes| processes as Arc<dyn Natives>);
        processes.or_else(|| self.pods.clone().map(|pods| pods as Arc<dyn Natives>))
    }
}

/// Opens the backend and ends what an earlier host left running.
async fn open(
    settings: &NativeSettings,
    data: &Path,
    engine: &Engine,
) -> anyhow::Result<Arc<Processes>> {
    let directory = settings.directory.clone().unwrap_or_else(|| data.join("native"));
    let mut hidden = settings.hidden.clone();
    hidden.push(std::path::absolute(data)?);
    let config = ProcessesConfig {
        path: settings.path.clone(),
        hidden,
        offers: engine.offers().clone(),
        ..ProcessesConfig::new(directory, settings.working.clone(), engine.logs().clone())
    };
    let runtime = tokio::runtime::Handle::current();
    let opening = tokio::task::spawn_blocking(move || {
        let _within = runtime.enter();
        Processes::open(config)
    });
    opening.await?.context("open the directory of native modules")
}

/// Those that the cluster's controller runs. Servers are shown what the controller is.
fn pods(controller: &ControllerSettings, engine: &Engine) -> Arc<Pods> {
    let (cert, key) = (controller.files.cert.clone(), controller.files.key.clone());
    Arc::new(Pods::new(PodsConfig { cert, key, logs: engine.logs().clone() }))
}
