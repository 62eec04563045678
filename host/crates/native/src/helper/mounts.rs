//! A server's view of files: the machine's, read-only, without the host's directories and sockets,
//! with a `/dev` of harmless devices, and its own directories to write.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io,
    os::fd::AsRawFd as _,
    path::{Path, PathBuf},
};

use nix::mount::{MsFlags, mount};

use super::{Order, about};

const DEVICES: [&str; 5] = ["null", "zero", "full", "random", "urandom"];
/// Of graphics processors, where the spec asks for one.
const ACCELERATORS: [&str; 4] = ["nvidia", "dri", "kfd", "accel"];
const TEMPORARY: [&str; 2] = ["/tmp", "/var/tmp"];
const SHARED_MEMORY: &str = "size=64m,mode=1777";
const SMALL: &str = "size=64k,mode=755";

pub(super) fn cut(order: &Order) -> io::Result<()> {
    bind_flags(Path::new("/"), MsFlags::MS_REC | MsFlags::MS_PRIVATE).map_err(about("/"))?;
    // Opened before what is around them is hidden.
    let own = order.own.iter().map(|path| Ok((path.clone(), File::open(path)?)));
    let own: Vec<(PathBuf, File)> = own.collect::<io::Result<_>>()?;
    let temporary = File::open(&order.temporary).map_err(about("the temporary directory"))?;
    let working = File::open(&order.working).map_err(about(order.working.display()))?;
    let devices = devices(order.devices);
    let mut writable = BTreeSet::new();
    if order.layers.pid {
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
        filesystem("proc", Path::new("/proc"), flags, "").map_err(about("/proc"))?;
    }
    let hidden: BTreeSet<_> =
        order.hidden.iter().filter_map(|path| fs::canonicalize(path).ok()).collect();
    for path in hidden.iter().filter(|path| path.is_dir()) {
        tmpfs(path, SMALL).map_err(about(path.display()))?;
    }
    for path in TEMPORARY.iter().filter_map(|path| fs::canonicalize(path).ok()) {
        if writable.insert(path.clone()) {
            bind(&temporary, &path)?;
        }
    }
    dev(&devices, &mut writable)?;
    // Before its own directories, which may lie within.
    if !order.working.is_dir() {
        fs::create_dir_all(&order.working).map_err(about(order.working.display()))?;
        bind(&working, &order.working)?;
    }
    for (path, file) in &own {
        fs::create_dir_all(path).map_err(about(path.display()))?;
        bind(file, path)?;
        writable.insert(path.clone());
    }
    read_only(&writable)
}

/// A small file system in memory.
fn tmpfs(path: &Path, options: &str) -> io::Result<()> {
    filesystem("tmpfs", path, MsFlags::MS_NOSUID | MsFlags::MS_NODEV, options)
}

fn filesystem(kind: &str, path: &Path, flags: MsFlags, options: &str) -> io::Result<()> {
    Ok(mount(Some(kind), path, Some(kind), flags, Some(options))?)
}

fn bind(file: &File, path: &Path) -> io::Result<()> {
    let from = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
    let flags = MsFlags::MS_BIND | MsFlags::MS_REC;
    mount(Some(&from), path, None::<&str>, flags, None::<&str>).map_err(about(path.display()))
}

fn bind_flags(path: &Path, flags: MsFlags) -> io::Result<()> {
    Ok(mount(None::<&str>, path, None::<&str>, flags, None::<&str>)?)
}

/// The devices that are let through, opened where they are.
fn devices(accelerators: bool) -> Vec<(PathBuf, File)> {
    let mut names: Vec<String> = DEVICES.map(str::to_owned).to_vec();
    if accelerators && let Ok(all) = fs::read_dir("/dev") {
        let all = all.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        names.extend(all.filter(|name| ACCELERATORS.iter().any(|one| name.starts_with(one))));
    }
    let open = |name: String| {
        use std::os::unix::fs::OpenOptionsExt as _;
        let path = Path::new("/dev").join(name);
        let file = fs::OpenOptions::new().read(true).custom_flags(libc::O_PATH).open(&path).ok()?;
        Some((path, file))
    };
    names.into_iter().filter_map(open).collect()
}

fn dev(devices: &[(PathBuf, File)], writable: &mut BTreeSet<PathBuf>) -> io::Result<()> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC;
    filesystem("tmpfs", Path::new("/dev"), flags, SMALL).map_err(about("/dev"))?;
    for (path, file) in devices {
        if file.metadata()?.is_dir() {
            fs::create_dir(path)?;
        } else {
            File::create(path)?;
        }
        bind(file, path)?;
        // Reading alone is no use of a device.
        writable.insert(path.clone());
    }
    let links = [("fd", ""), ("stdin", "/0"), ("stdout", "/1"), ("stderr", "/2")];
    for (name, rest) in links {
        let target = format!("/proc/self/fd{rest}");
        std::os::unix::fs::symlink(target, Path::new("/dev").join(name))?;
    }
    let shared = PathBuf::from("/dev/shm");
    fs::create_dir(&shared)?;
    tmpfs(&shared, SHARED_MEMORY).map_err(about("/dev/shm"))?;
    writable.insert(shared);
    Ok(())
}

/// Everything else can only be read from now on.
fn read_only(writable: &BTreeSet<PathBuf>) -> io::Result<()> {
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    let mounts: BTreeSet<_> = mounts.lines().filter_map(mounted).collect();
    for (path, flags) in mounts {
        let is_device = |own: &&PathBuf| own.starts_with("/dev") && path.starts_with(own);
        if writable.contains(&path) || writable.iter().any(|own| is_device(&own)) {
            continue;
        }
        let flags = flags | MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY;
        match bind_flags(&path, flags) {
            Ok(()) => {}
            // Another mount lies over it, or it cannot be reached.
            Err(error) if is_covered(&error) => {}
            Err(error) => return Err(about(format!("make {} read-only", path.display()))(error)),
        }
    }
    Ok(())
}

fn is_covered(error: &io::Error) -> bool {
    let code = error.raw_os_error();
    [libc::ENOENT, libc::EACCES, libc::ENOTDIR, libc::EINVAL].iter().any(|one| code == Some(*one))
}

/// Where something is mounted, and with which flags, of a line of `mountinfo`.
fn mounted(line: &str) -> Option<(PathBuf, MsFlags)> {
    let mut words = line.split(' ').skip(4);
    let (path, options) = (words.next()?, words.next()?);
    let flags = options.split(',').fold(MsFlags::empty(), |flags, option| {
        flags
            | match option {
                "nosuid" => MsFlags::MS_NOSUID,
                "nodev" => MsFlags::MS_NODEV,
                "noexec" => MsFlags::MS_NOEXEC,
                "noatime" => MsFlags::MS_NOATIME,
                "nodiratime" => MsFlags::MS_NODIRATIME,
                "relatime" => MsFlags::MS_RELATIME,
                _ => MsFlags::empty(),
            }
    });
    Some((PathBuf::from(unescaped(path)), flags))
}

/// Blanks and the like stand there as octal numbers.
fn unescaped(path: &str) -> String {
    let codes = [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")];
    codes.iter().fold(path.to_owned(), |path, (code, plain)| path.replace(code, plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_mountinfo_tells_where_and_how() {
        let line = "36 35 98:0 /a /mnt/two\\040words rw,nosuid,noatime master:1 - ext3 /dev/r rw";
        let (path, flags) = mounted(line).unwrap();
        assert_eq!(path, Path::new("/mnt/two words"));
        assert_eq!(flags, MsFlags::MS_NOSUID | MsFlags::MS_NOATIME);
        assert_eq!(mounted("36 35 98:0"), None);
    }
}
