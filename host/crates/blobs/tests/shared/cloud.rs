//! Stores of clouds, each behind a server that speaks its language. Credentials come from the
//! environment, as they do for a host, so each suite runs in a process that has them.

use std::{
    fs,
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use roadstead_blobs::{Bucket, Place};

use crate::suite::{self, Ground};

/// Where a child process of these tests finds its store.
const ENDPOINT: &str = "ROADSTEAD_BLOBS_ENDPOINT";

/// A server that ends with this process, however it ends: a shell waits for its input to close.
pub(crate) struct Server {
    shell: Child,
    input: Option<ChildStdin>,
    pub(crate) endpoint: String,
    _directory: tempfile::TempDir,
}

impl Server {
    /// `arguments` may name the address as `{at}` and a directory as `{in}`.
    pub(crate) fn start(name: &str, arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir_all(directory.path().join("bucket")).unwrap();
        let at = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let fill = |text: &&str| {
            let text = text.replace("{at}", &at.to_string());
            text.replace("{in}", directory.path().to_str().unwrap())
        };
        let mut shell = Command::new("sh")
            .args(["-c", "\"$@\" & pid=$!; read -r _; kill -9 $pid; wait $pid", "sh"])
            .arg(program(name))
            .args(arguments.iter().map(fill))
            .envs(environment.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let input = shell.stdin.take();
        for _ in 0..1200 {
            if TcpStream::connect(at).is_ok() {
                let endpoint = format!("http://{at}");
                return Self { shell, input, endpoint, _directory: directory };
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        panic!("{name} does not listen on {at}");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.input.take());
        self.shell.wait().unwrap();
    }
}

/// A program that `tests/tools/install.sh` installs.
fn program(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../.tools/bin").join(name);
    assert!(path.exists(), "{} is missing: run tests/tools/install.sh", path.display());
    path
}

pub(crate) const WHO: [(&str, &str); 2] =
    [("AWS_ACCESS_KEY_ID", "host"), ("AWS_SECRET_ACCESS_KEY", "a-secret-of-the-host")];

pub(crate) fn s3() -> Server {
    let root = [("ROOT_ACCESS_KEY", WHO[0].1), ("ROOT_SECRET_KEY", WHO[1].1)];
    Server::start("versitygw", &["--port", "{at}", "--quiet", "posix", "{in}"], &root)
}

fn in_child(test: &str, endpoint: &str, environment: &[(&str, &str)]) {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(ENDPOINT, endpoint)
        .envs(environment.iter().copied())
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
    assert!(!text.contains(WHO[1].1), "no secret is printed");
}

/// The bucket of this process, a part of it for each call.
pub(crate) fn bucket() -> Option<Bucket> {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let part = COUNT.fetch_add(1, Ordering::Relaxed);
    Some(Bucket {
        name: "bucket".to_owned(),
        prefix: format!("hosts/{part}"),
        endpoint: Some(std::env::var(ENDPOINT).ok()?),
        allow_http: true,
    })
}

fn ground(place: impl Fn(Bucket) -> Place) -> impl Fn() -> Ground {
    move || Ground { place: place(bucket().unwrap()), directory: tempfile::tempdir().unwrap() }
}

#[test]
fn s3_is_a_place() {
    in_child("cloud::child_on_s3", &s3().endpoint, &WHO);
}

#[tokio::test(flavor = "multi_thread")]
async fn child_on_s3() {
    if bucket().is_none() {
        return;
    }
    suite::all(&ground(|bucket| Place::S3 { bucket, region: Some("us-east-1".to_owned()) })).await;
}

#[test]
fn google_cloud_storage_is_a_place() {
    let server = Server::start("fake-gcs-server", &["-at", "{at}"], &[]);
    // Whoever asks that server is welcome.
    let key = format!(
        r#"{{"gcs_base_url": "{}", "disable_oauth": true, "client_email": "",
            "private_key": "", "private_key_id": ""}}"#,
        server.endpoint
    );
    let who = [("GOOGLE_SERVICE_ACCOUNT_KEY", &*key)];
    in_child("cloud::child_on_google_cloud_storage", &server.endpoint, &who);
}

#[tokio::test(flavor = "multi_thread")]
async fn child_on_google_cloud_storage() {
    if bucket().is_none() {
        return;
    }
    suite::all(&ground(|bucket| Place::Gcs { bucket })).await;
}
