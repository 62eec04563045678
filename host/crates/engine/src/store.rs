//! What belongs to one instance on the host's side.

use crate::capability::GuestCapabilities;

/// The data of a store: an instance's capabilities and the account of what it uses.
pub(crate) struct GuestState {
    pub(crate) capabilities: GuestCapabilities,
}
