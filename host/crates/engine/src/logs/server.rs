//! What a server of a native module writes, as lines of its module's log.

use std::sync::Arc;

use roadstead_domain::{ByteRate, CallId, ModuleId};

use super::{GuestLog, LogStore, Source, VersionLog, line::readable};
use crate::NativeSecrets;

/// The most bytes of a text that a server says of itself.
const LONGEST: usize = 300;

/// Where a version's servers write: lines of bounded length, at the rate of the version's spec,
/// without its secrets. Lines belong to no call.
#[derive(Debug, Clone)]
pub struct ServerLog(VersionLog);

/// The outputs of one server.
#[derive(Debug)]
pub struct ServerOutput(GuestLog);

impl LogStore {
    /// For the servers of a version.
    pub fn servers(&self, id: &ModuleId, rate: ByteRate, secrets: &NativeSecrets) -> ServerLog {
        let log = self.module(&id.namespace, &id.name);
        ServerLog(VersionLog::new(log, id.version.clone(), rate).without(&secrets.0))
    }
}

impl ServerLog {
    /// For one more server.
    pub fn output(&self) -> Arc<ServerOutput> {
        Arc::new(ServerOutput(self.0.guest(CallId(0))))
    }

    /// The host's own word about the servers.
    pub fn host(&self, text: &str) {
        self.0.host(CallId(0), text);
    }

    /// What a server says, as it may be passed on: cut, without control characters, line ends among
    /// them, and without its secrets.
    pub fn said(&self, text: &str) -> String {
        let mut text = readable(self.0.redact(text.to_owned()).as_bytes());
        text.truncate(text.floor_char_boundary(LONGEST));
        text
    }
}

impl ServerOutput {
    /// Takes what a server wrote, wherever its lines end.
    pub fn write(&self, source: Source, bytes: &[u8]) {
        self.0.write(source, bytes);
    }

    /// It writes no more: what has no line end yet is a line.
    pub fn end(&self) {
        self.0.end_call();
    }
}
