//! What one may do in a namespace.

use std::fmt;

use serde::Deserialize;

/// Each role may do what those before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Sees what there is: lists, descriptions, reflection, health, protos.
    Reader,
    /// Calls methods of modules.
    Caller,
    /// Changes modules and reads their logs.
    Publisher,
    /// Everything; in all namespaces, what concerns the host as a whole, too.
    Admin,
}

impl Role {
    pub const ALL: [Self; 4] = [Self::Reader, Self::Caller, Self::Publisher, Self::Admin];

    /// As a policy file has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Reader => "reader",
            Self::Caller => "caller",
            Self::Publisher => "publisher",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
