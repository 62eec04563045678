//! The way to a server's socket. No link in its place is followed, and who listens on it is a
//! process of the server: a server leads its host to nothing but itself.

use std::{
    io,
    os::fd::{AsRawFd as _, OwnedFd},
};

use rustix::fs::{CWD, FileType, Mode, OFlags, fstat, openat};
use tokio::net::UnixStream;

use crate::{
    environment::{Home, SOCKET},
    seen::Seen,
};

/// Processes between one that listens and its server's first.
const GENERATIONS: usize = 1024;

/// A server's own directory, as it was when it was opened.
#[derive(Debug)]
pub(crate) struct Directory(OwnedFd);

/// Why there is no way to a server.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoWay {
    #[error("nobody listens on ROADSTEAD_SOCKET")]
    Nobody(#[from] io::Error),
    #[error("ROADSTEAD_SOCKET is not a socket")]
    NoSocket,
    #[error("a process that is not the server's listens on ROADSTEAD_SOCKET")]
    Stranger,
}

impl Directory {
    pub(crate) fn open(home: &Home) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(Self(openat(CWD, &home.0, flags, Mode::empty())?))
    }

    /// Connects to the socket, on which `first` or what it started must listen.
    pub(crate) async fn connect(&self, first: i32) -> Result<UnixStream, NoWay> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let socket = openat(&self.0, SOCKET, flags, Mode::empty()).map_err(io::Error::from)?;
        let status = fstat(&socket).map_err(io::Error::from)?;
        if FileType::from_raw_mode(status.st_mode) != FileType::Socket {
            return Err(NoWay::NoSocket);
        }
        // What was looked at, whatever lies there by now.
        let path = format!("/proc/self/fd/{}", socket.as_raw_fd());
        let stream = UnixStream::connect(path).await?;
        let listens = stream.peer_cred()?.pid();
        if listens.is_some_and(|pid| descends(pid, first)) {
            Ok(stream)
        } else {
            Err(NoWay::Stranger)
        }
    }
}

/// Whether a process is another one, or was started by it or by what it started.
fn descends(pid: i32, from: i32) -> bool {
    let parent = |pid: &i32| Seen::of(*pid).map(|seen| seen.parent);
    std::iter::successors(Some(pid), parent).take(GENERATIONS).any(|pid| pid == from)
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        os::unix::{fs::symlink, net::UnixListener},
        path::Path,
        process::{Child, Command},
    };

    use super::*;

    fn own() -> i32 {
        std::process::id().try_into().unwrap()
    }

    fn open(path: &Path) -> Directory {
        Directory::open(&Home(path.to_owned())).unwrap()
    }

    fn sleeper() -> Child {
        Command::new("sleep").arg("60").spawn().unwrap()
    }

    #[tokio::test]
    async fn a_socket_of_the_server_is_connected_to() {
        let home = tempfile::tempdir().unwrap();
        let directory = open(home.path());
        assert!(matches!(directory.connect(own()).await, Err(NoWay::Nobody(_))));
        let _listener = UnixListener::bind(home.path().join(SOCKET)).unwrap();
        directory.connect(own()).await.unwrap();
    }

    #[tokio::test]
    async fn what_is_not_a_socket_is_not_followed() {
        let (home, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let _listener = UnixListener::bind(other.path().join("other")).unwrap();
        let directory = open(home.path());
        let socket = home.path().join(SOCKET);
        symlink(other.path().join("other"), &socket).unwrap();
        assert!(matches!(directory.connect(own()).await, Err(NoWay::NoSocket)));
        fs::remove_file(&socket).unwrap();
        fs::write(&socket, "").unwrap();
        assert!(matches!(directory.connect(own()).await, Err(NoWay::NoSocket)));
    }

    #[tokio::test]
    async fn a_directory_that_is_changed_for_another_is_not_followed() {
        let (home, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let path = home.path().join("server");
        fs::create_dir(&path).unwrap();
        let directory = open(&path);
        let _listener = UnixListener::bind(other.path().join(SOCKET)).unwrap();
        fs::remove_dir(&path).unwrap();
        symlink(other.path(), &path).unwrap();
        assert!(matches!(directory.connect(own()).await, Err(NoWay::Nobody(_))));
        assert!(Directory::open(&Home(path)).is_err());
    }

    #[tokio::test]
    async fn a_socket_on_which_another_process_listens_is_refused() {
        let (home, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let _listener = UnixListener::bind(other.path().join("other")).unwrap();
        // No link by name: the socket itself, by a further one.
        fs::hard_link(other.path().join("other"), home.path().join(SOCKET)).unwrap();
        let directory = open(home.path());
        let mut server = sleeper();
        let first = server.id().try_into().unwrap();
        let refused = directory.connect(first).await;
        server.kill().unwrap();
        server.wait().unwrap();
        assert!(matches!(refused, Err(NoWay::Stranger)), "{refused:?}");
    }

    #[test]
    fn processes_descend_from_what_started_them() {
        let mut child = sleeper();
        let pid = child.id().try_into().unwrap();
        assert!(descends(pid, own()) && descends(own(), own()) && !descends(own(), pid));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!descends(pid, own()));
    }
}
