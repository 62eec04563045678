//! What holds for native modules, whatever runs them.

pub(crate) mod calls;
pub(crate) mod lies;
pub(crate) mod life;
pub(crate) mod state;
