//! gRPC over HTTP/2, as far as a proxy needs it: messages behind their length, and the status at
//! the end.

mod body;
mod messages;
mod status;

pub(crate) use body::{Outgoing, Part};
pub(crate) use messages::{Broken, Messages};
pub(crate) use status::{Code, Status};
