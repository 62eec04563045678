//! Connections that are held open keep nobody out.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::{
    fmt,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
};

use roadstead_metrics_port::{MetricsListener, Monitored};

#[derive(Clone)]
struct Ready;

impl Monitored for Ready {
    fn metrics(&self) -> Result<String, fmt::Error> {
        Ok("# EOF\n".to_owned())
    }

    fn unready(&self) -> Option<&'static str> {
        None
    }
}

fn ask(address: SocketAddr, path: &str) -> String {
    let mut tcp = TcpStream::connect(address).unwrap();
    write!(tcp, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    tcp.read_to_string(&mut answer).unwrap();
    answer
}

#[tokio::test]
async fn probes_are_answered_beside_half_sent_requests() {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let port = MetricsListener::bind(any, Ready).await.unwrap();
    let address = port.local_addr();
    let serving = tokio::spawn(port.serve());
    let asking = tokio::task::spawn_blocking(move || {
        let half_sent = || {
            let mut tcp = TcpStream::connect(address).unwrap();
            tcp.write_all(b"GET /metrics HTTP/1.1\r\n").unwrap();
            tcp
        };
        let held: Vec<_> = (0..100).map(|_| half_sent()).collect();
        for path in ["/healthz", "/readyz", "/metrics"] {
            assert!(ask(address, path).starts_with("HTTP/1.1 200"), "{path}");
        }
        drop(held);
        assert!(ask(address, "/other").starts_with("HTTP/1.1 404"));
    });
    asking.await.unwrap();
    serving.abort();
}
