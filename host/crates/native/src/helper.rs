//! The host's own executable under two verbs that no help mentions, between the host and a server.
//!
//! The first ([`outer`]) leaves the host's session, enters the server's control group and
//! namespaces, and starts the second in them. The second ([`inner`]) cuts the view of files down,
//! gives up every privilege, starts the server and stays as its `init`: it passes on the wish to
//! end, takes in what the server leaves behind, and ends all of it with itself. Both end with the
//! host, be it killed.

mod inner;
mod layers;
mod loopback;
mod mounts;
mod order;
mod outer;

use std::io::{self, Write as _};

pub use layers::Layers;
pub(crate) use layers::probe;
pub(crate) use order::Order;

pub(crate) const OUTER: &str = "native-server";
pub(crate) const INNER: &str = "native-init";

/// What the host writes to the helper's standard input, whose end is the host's end.
pub(crate) const GO: u8 = b'g';
pub(crate) const TERM: u8 = b't';

/// Nothing could be started; standard error says why.
const FAILED: u8 = 70;

/// The exit status of this process, if it was started as a helper. Goes before everything else in
/// `main`: it must have no threads yet.
pub fn entry() -> Option<u8> {
    let mut arguments = std::env::args_os().skip(1);
    let verb = arguments.next()?;
    let run = match verb.to_str()? {
        OUTER => outer::run,
        INNER => inner::run,
        _ => return None,
    };
    let order = arguments.next().ok_or_else(|| io::Error::other("this verb is for the host alone"));
    Some(match order.and_then(|path| Order::read(path.as_ref())).and_then(|order| run(&order)) {
        Ok(status) => status,
        Err(error) => {
            // Where nobody listens, the exit status has to do.
            let _said = writeln!(io::stderr(), "roadstead: start the server: {error}").is_ok();
            FAILED
        }
    })
}

/// An error that says what it was about.
pub(crate) fn about<E: Into<io::Error>>(
    what: impl std::fmt::Display,
) -> impl FnOnce(E) -> io::Error {
    move |error| {
        let error = error.into();
        io::Error::new(error.kind(), format!("{what}: {error}"))
    }
}
