//! What a module may touch outside its sandbox: the seam between calls and the host's interfaces.
//!
//! Three phases. [`link`] puts every interface that the host serves into the linker, once per
//! engine: WASI 0.2 and 0.3, `wasi:http`, `wasi:config` and `wasi:logging`. [`Granted::new`] works
//! out what a version's spec allows, once per module; it may open directories and fails with words
//! for who pushes. [`Granted::guest`] makes an instance's own state, once per instance, in less
//! than a microsecond or two and without system calls. A call on a reused instance starts with
//! [`GuestCapabilities::begin_call`].
//!
//! Everything is denied that the spec does not name. A denied interface still links, so that a
//! module can be written for hosts that allow more: its functions answer with the error that the
//! interface has for it.

mod clocks;
mod disk;
mod environment;
mod files;
mod grant;
mod imports;
mod limit;
mod link;
mod logging;
mod network;
mod offers;
mod random;
mod secrets;
mod shares;
mod streams;
#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Instant};

use roadstead_domain::{CallId, LimitKind, LimitReached, Limits};
use wasmtime::{
    Store,
    component::{ResourceTable, ResourceTableError},
};
use wasmtime_wasi::{
    WasiCtx, cli::WasiCliCtxView, filesystem::WasiFilesystemCtxView, sockets::WasiSocketsCtxView,
};
use wasmtime_wasi_config::{WasiConfig, WasiConfigVariables};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView};

pub(crate) use grant::Granted;
pub(crate) use imports::grant_of;
pub(crate) use link::link;
pub use offers::{Offer, OfferKind, OfferedDirectory, OfferedNetwork, OfferedSecret, Offers};

use crate::{logs::GuestLog, store::GuestState};
use clocks::{Clock, ClockView};
use environment::Environment;
use files::OpenFiles;
use limit::{Account, LimitTrap};
use network::Network;
use random::RandomSource;
pub use secrets::NativeSecrets;
pub(crate) use secrets::Secrets;
pub(crate) use shares::Shares;

/// The data of a store whose guest has capabilities.
pub(crate) trait HasCapabilities: Send + 'static {
    fn capabilities(&mut self) -> &mut GuestCapabilities;
}

impl HasCapabilities for GuestState {
    fn capabilities(&mut self) -> &mut GuestCapabilities {
        &mut self.capabilities
    }
}

/// The call that an instance serves now.
pub(crate) struct CallContext {
    pub(crate) id: CallId,
    /// No connection is waited for longer than this.
    pub(crate) deadline: Option<Instant>,
}

/// Puts `limits.handles` in force for what wasmtime itself keeps of an instance: handles of the
/// guest's tables, and tasks, streams and futures of 0.3. Once per store.
pub(crate) fn limit_handles<T>(store: &mut Store<T>, limits: &Limits) {
    let handles = usize::try_from(limits.handles).unwrap_or(usize::MAX);
    store.set_max_component_handles(handles);
    if let Some(table) = store.concurrent_resource_table() {
        // A call has some entries of its own, and each stream or future has three.
        table.set_max_capacity(handles.saturating_mul(3).saturating_add(64));
    }
}

/// An instance's contexts, tables and counters.
pub(crate) struct GuestCapabilities {
    wasi: WasiCtx,
    http: WasiHttpCtx,
    table: ResourceTable,
    environment: Environment,
    config: Arc<WasiConfigVariables>,
    secrets: Arc<Secrets>,
    clock: Clock,
    random: RandomSource,
    files: OpenFiles,
    network: Network,
    log: GuestLog,
    account: Arc<Account>,
}

impl GuestCapabilities {
    /// An instance that was made ahead gets the call that it is for.
    pub(crate) fn begin_first_call(&mut self, call: &CallContext) {
        self.network.begin_call(call.deadline);
        self.log.begin_call(call.id);
        self.config = self.secrets.variables();
    }

    /// A pooled instance begins another call: counters, seeded random bytes and a fixed clock start
    /// anew, so that no answer depends on earlier callers, and logs get the call's id.
    pub(crate) fn begin_call(&mut self, call: &CallContext) {
        self.account.begin_call();
        self.random.begin_call();
        self.clock.begin_call();
        self.network.begin_call(call.deadline);
        self.log.begin_call(call.id);
        self.config = self.secrets.variables();
    }

    /// The call is over, however it ended: what the guest wrote without a line end is logged.
    pub(crate) fn end_call(&mut self) {
        self.log.end_call();
    }

    /// The limit that a host call of this call ran into, if any: a trap that follows is its fault.
    pub(crate) fn limit_reached(&self) -> Option<LimitReached> {
        self.account.any_limit()
    }

    /// The limit that ends this call whatever the guest answers: bytes were about to be sent (from
    /// a task of the host, where no trap can reach the guest) or drawn that it may not have.
    pub(crate) fn limit_exceeded(&self) -> Option<LimitReached> {
        self.account.hard_limit()
    }

    /// The limit that a trap is about, if it is about one of those of this module.
    pub(crate) fn limit_of(&self, trap: &wasmtime::Error) -> Option<LimitReached> {
        if let Some(LimitTrap(reached)) = trap.downcast_ref() {
            return Some(*reached);
        }
        let handles = || LimitReached {
            limit: LimitKind::Handles,
            allowed: u64::try_from(self.table.max_capacity()).unwrap_or(u64::MAX),
            used: None,
        };
        let full = trap.chain().any(|cause| {
            matches!(cause.downcast_ref(), Some(ResourceTableError::Full))
                // wasmtime has no type for this one.
                || cause.to_string().contains("store handle limit exceeded")
        });
        if full { Some(handles()) } else { self.limit_reached() }
    }

    fn cli(&mut self) -> WasiCliCtxView<'_> {
        WasiCliCtxView { ctx: self.wasi.cli(), table: &mut self.table }
    }

    fn filesystem(&mut self) -> WasiFilesystemCtxView<'_> {
        WasiFilesystemCtxView { ctx: self.wasi.filesystem(), table: &mut self.table }
    }

    fn sockets(&mut self) -> WasiSocketsCtxView<'_> {
        WasiSocketsCtxView { ctx: self.wasi.sockets(), table: &mut self.table }
    }

    fn clocks(&mut self) -> ClockView<'_> {
        ClockView { clock: &self.clock, table: &mut self.table }
    }

    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { hooks: &mut self.network, table: &mut self.table, ctx: &mut self.http }
    }

    fn config(&mut self) -> WasiConfig<'_> {
        WasiConfig::new(&self.config)
    }
}
