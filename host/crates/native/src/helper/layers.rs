//! Which of the kernel's namespaces servers get here, as found by trying.

use std::{io, path::Path, process::Stdio};

use nix::sched::CloneFlags;
use serde::{Deserialize, Serialize};

use super::{INNER, OUTER, Order};

/// The namespaces of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Layers {
    /// Its own users, without which a plain user may have none of the others.
    pub user: bool,
    /// Its own view of files: read-only but for its directories, without the host's.
    pub mount: bool,
    /// Its own network, of which there is but loopback.
    pub net: bool,
    /// Its own processes, and a `/proc` of them.
    pub pid: bool,
}

impl Layers {
    /// From the most to the least that is tried.
    const CHOICES: [Self; 6] = [
        Self { user: true, mount: true, net: true, pid: true },
        Self { user: false, mount: true, net: true, pid: true },
        Self { user: true, mount: true, net: true, pid: false },
        Self { user: false, mount: true, net: true, pid: false },
        Self { user: true, mount: false, net: true, pid: false },
        Self { user: false, mount: false, net: true, pid: false },
    ];

    pub(crate) fn flags(self) -> CloneFlags {
        let mut flags = CloneFlags::empty();
        flags.set(CloneFlags::CLONE_NEWUSER, self.user);
        flags.set(CloneFlags::CLONE_NEWNS, self.mount);
        flags.set(CloneFlags::CLONE_NEWNET, self.net);
        flags.set(CloneFlags::CLONE_NEWPID, self.pid);
        flags.set(CloneFlags::CLONE_NEWIPC, self != Self::default());
        flags
    }

    /// In words.
    pub(crate) fn describe(self) -> String {
        let names = [
            (self.user, "users"),
            (self.mount, "files"),
            (self.net, "network"),
            (self.pid, "processes"),
        ];
        let names: Vec<_> = names.iter().filter(|(is, _)| *is).map(|(_, name)| *name).collect();
        if names.is_empty() {
            "no namespaces".to_owned()
        } else {
            format!("namespaces of its own ({})", names.join(", "))
        }
    }
}

/// Starts helpers with nothing to run until one can have the layers that it is told; blocks.
pub(crate) fn probe(order: &Order, write: impl Fn(&Order) -> io::Result<()>) -> Layers {
    for layers in Layers::CHOICES {
        let order = Order { layers, ..order.clone() };
        match write(&order).and_then(|()| holds(&order.file)) {
            Ok(()) => return layers,
            Err(error) => tracing::debug!(?layers, %error, "not confined so"),
        }
    }
    Layers::default()
}

fn holds(order: &Path) -> io::Result<()> {
    use std::io::Write as _;
    let mut child = std::process::Command::new("/proc/self/exe")
        .arg(OUTER)
        .arg(order)
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut stdin = child.stdin.take();
    // One that ended says why on standard error.
    let _heard = stdin.as_mut().is_some_and(|stdin| stdin.write_all(&[super::GO]).is_ok());
    let output = child.wait_with_output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(io::Error::other(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
}

/// What starts the second helper.
pub(super) fn inner(order: &Path) -> std::process::Command {
    let mut command = std::process::Command::new("/proc/self/exe");
    command.arg(INNER).arg(order).env_clear();
    command
}
