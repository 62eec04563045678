//! Peers that cost more than they pay, frame by frame: how far each may go, and no further.

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use roadstead_domain::ByteSize;
use roadstead_gateway::{Ended, GatewayConfig, Refused};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use crate::{
    guest::{blob, path},
    raw::{self, chunks, connect, framed, refused, request, until},
    support::{Host, PATIENCE, call},
};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
const ENHANCE_YOUR_CALM: u8 = 11;

mod kind {
    pub(super) const DATA: u8 = 0;
    pub(super) const HEADERS: u8 = 1;
    pub(super) const PRIORITY: u8 = 2;
    pub(super) const RST_STREAM: u8 = 3;
    pub(super) const SETTINGS: u8 = 4;
    pub(super) const PING: u8 = 6;
    pub(super) const GOAWAY: u8 = 7;
    pub(super) const WINDOW_UPDATE: u8 = 8;
    pub(super) const CONTINUATION: u8 = 9;
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let [_, a, b, c] = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&[a, b, c, kind, flags][..], &stream.to_be_bytes(), payload].concat()
}

/// A header block without compression.
fn block(headers: &[(&str, &str)]) -> Vec<u8> {
    let string = |text: &str| [&[u8::try_from(text.len()).unwrap()][..], text.as_bytes()].concat();
    let line = |(name, value): &(&str, &str)| [&[0][..], &string(name), &string(value)].concat();
    headers.iter().flat_map(line).collect()
}

/// The headers of a call, which its body follows.
fn opened(stream: u32) -> Vec<u8> {
    let path = path("Add");
    let headers = [
        (":method", "POST"),
        (":scheme", "http"),
        (":authority", "localhost"),
        (":path", &path),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ];
    frame(kind::HEADERS, 4, stream, &block(&headers))
}

/// A peer that reads all it is sent, and keeps it.
struct Peer {
    write: tokio::net::tcp::OwnedWriteHalf,
    read: tokio::task::JoinHandle<Vec<u8>>,
}

impl Peer {
    async fn connect(address: SocketAddr) -> Self {
        let (mut read, mut write) = TcpStream::connect(address).await.unwrap().into_split();
        write.write_all(PREFACE).await.unwrap();
        let read = tokio::spawn(async move {
            let mut all = Vec::new();
            read.read_to_end(&mut all).await.ok();
            all
        });
        Self { write, read }
    }

    /// Sends until the host has had enough, for so many rounds at most; says after how many.
    async fn floods(&mut self, rounds: u32, mut round: impl FnMut(u32) -> Vec<u8>) -> u32 {
        for at in 0..rounds {
            if self.read.is_finished() || self.write.write_all(&round(at)).await.is_err() {
                return at;
            }
            tokio::task::yield_now().await;
        }
        rounds
    }

    /// The codes of the GOAWAYs that came before the end.
    async fn goaways(self) -> Vec<u8> {
        let all = timeout(PATIENCE, self.read).await.unwrap().unwrap();
        drop(self.write);
        let (mut rest, mut codes) = (&all[..], Vec::new());
        while let [0, a, b, kind, _, _, _, _, _, after @ ..] = rest {
            let length = usize::from(u16::from_be_bytes([*a, *b]));
            if *kind == kind::GOAWAY && after.len() >= 8 {
                codes.push(after[7]);
            }
            rest = after.get(length..).unwrap_or_default();
        }
        codes
    }
}

/// Floods a host and sees it hang up, while others are served.
async fn ends(what: &str, round: impl Fn(u32) -> Vec<u8>) {
    let host = Host::with_guest().await;
    let mut peer = Peer::connect(host.address).await;
    // What waits in buffers when the host hangs up is more than it has read.
    let sent = timeout(PATIENCE, peer.floods(1 << 20, round)).await.unwrap();
    assert!(sent < 1 << 20, "{what}: never ended");
    let codes = peer.goaways().await;
    assert!(codes.iter().all(|code| *code == ENHANCE_YOUR_CALM), "{what}: {codes:?}");
    until(|| host.counters.ended(Ended::Flood) == 1).await;
    let channel = host.channel().await;
    assert!(call(&channel, "Add", vec![]).await.is_ok(), "{what}");
    assert_eq!(host.counters.read().panics, 0);
    drop(channel);
    host.stop().await;
}

#[tokio::test]
async fn floods_of_frames_that_ask_for_nothing_end_the_connection() {
    let hundred = |frame: Vec<u8>| move |_| frame.repeat(100);
    ends("pings", hundred(frame(kind::PING, 0, 0, &[0; 8]))).await;
    ends("acknowledged pings", hundred(frame(kind::PING, 1, 0, &[0; 8]))).await;
    ends("settings", hundred(frame(kind::SETTINGS, 0, 0, &[]))).await;
    ends("priorities", hundred(frame(kind::PRIORITY, 0, 1, &[0, 0, 0, 0, 1]))).await;
    ends("unknown frames", hundred(frame(0x42, 0, 0, &[]))).await;
    ends("window updates", |at| {
        // Far from overflowing the window.
        let opened = if at == 0 { opened(1) } else { Vec::new() };
        [opened, frame(kind::WINDOW_UPDATE, 0, 1, &1_u32.to_be_bytes()).repeat(100)].concat()
    })
    .await;
}

#[tokio::test]
async fn floods_within_streams_end_the_connection() {
    ends("empty data", |at| {
        let opened = if at == 0 { opened(1) } else { Vec::new() };
        [opened, frame(kind::DATA, 0, 1, &[]).repeat(100)].concat()
    })
    .await;
    ends("continuations", |at| match at {
        0 => frame(kind::HEADERS, 0, 1, &block(&[(":method", "POST")])),
        _ => frame(kind::CONTINUATION, 0, 1, &[]),
    })
    .await;
    ends("headers beyond reason", |at| match at {
        0 => frame(kind::HEADERS, 0, 1, &block(&[(":method", "POST")])),
        _ => frame(kind::CONTINUATION, 0, 1, &block(&[("x", "y".repeat(100).as_str()); 100])),
    })
    .await;
}

#[tokio::test]
async fn streams_that_are_opened_and_reset_end_the_connection() {
    let pair = |at: u32| {
        let stream = at * 2 + 1;
        [opened(stream), frame(kind::RST_STREAM, 0, stream, &8_u32.to_be_bytes())].concat()
    };
    // All at once: the host has not looked at them.
    ends("rapid resets", |at| (at * 100..(at + 1) * 100).flat_map(pair).collect()).await;
    // One by one: it has.
    ends("steady resets", pair).await;
}

#[tokio::test]
async fn streams_beyond_those_allowed_are_refused_one_by_one() {
    let host = Host::with(GatewayConfig { streams: 4, ..GatewayConfig::default() }).await;
    host.push("guest", "").await;
    let before = host.counters.read().requests;
    let mut peer = Peer::connect(host.address).await;
    // Their messages never come, so the first four stay open.
    let sent = timeout(PATIENCE, peer.floods(1 << 16, |at| opened(at * 2 + 1))).await.unwrap();
    assert!(sent < 1 << 16);
    assert!(peer.goaways().await.iter().all(|code| *code == ENHANCE_YOUR_CALM));
    until(|| host.counters.ended(Ended::Flood) == 1).await;
    assert_eq!(host.counters.read().requests, before + 4);
    host.stop().await;
}

#[tokio::test]
async fn as_many_control_frames_as_a_clients_work_explains_are_taken() {
    let host = Host::with_guest().await;
    let mut peer = Peer::connect(host.address).await;
    let ping = frame(kind::PING, 0, 0, &[0; 8]);
    assert_eq!(peer.floods(90, |_| ping.repeat(100)).await, 90);
    // All streams at once given up by their caller, once.
    let cancelled = |at: u32| {
        let stream = at * 2 + 1;
        [opened(stream), frame(kind::DATA, 1, stream, &framed(&[]))].concat()
    };
    assert_eq!(peer.floods(400, cancelled).await, 400);
    until(|| host.stats("guest").calls == 400).await;
    assert_eq!(host.counters.ended(Ended::Flood), 0);
    assert!(!peer.read.is_finished());
    drop(peer);
    host.stop().await;
}

#[tokio::test]
async fn pings_do_not_keep_a_response_that_nobody_reads() {
    let write_timeout = Duration::from_millis(300);
    let host = Host::with(GatewayConfig { write_timeout, ..GatewayConfig::default() }).await;
    host.push("guest", "").await;
    let mut peer = Peer::connect(host.address).await;
    let mut send = async |bytes: Vec<u8>| peer.write.write_all(&bytes).await.unwrap();
    // No window for any stream, and a call whose answer needs one.
    send(frame(kind::SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0])).await;
    send(opened(1)).await;
    send(frame(kind::DATA, 1, 1, &framed(&[8, 1]))).await;
    until(|| host.stats("guest").calls == 1).await;
    let pings = async {
        loop {
            send(frame(kind::PING, 0, 0, &[0; 8])).await;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let given_up = until(|| host.counters.read().open_requests == 0);
    let began = tokio::time::Instant::now();
    tokio::select! { () = given_up => {}, () = pings => {} }
    // Ten patiences is what a client gets that reads at all.
    assert!(began.elapsed() < write_timeout * 10, "{:?}", began.elapsed());
    drop(peer);
    host.stop().await;
}

#[tokio::test]
async fn connections_beyond_those_of_a_peer_are_told_so_and_closed() {
    for (config, why, says) in [
        (
            GatewayConfig { connections_per_peer: 2, ..GatewayConfig::default() },
            Ended::PeerFull,
            "from this address",
        ),
        (
            GatewayConfig { connections: 2, ..GatewayConfig::default() },
            Ended::HostFull,
            "this host",
        ),
    ] {
        let host = Host::with(config).await;
        let held = [TcpStream::connect(host.address).await, TcpStream::connect(host.address).await];
        until(|| host.counters.read().open == 2).await;
        let mut third = TcpStream::connect(host.address).await.unwrap();
        let mut said = Vec::new();
        timeout(PATIENCE, third.read_to_end(&mut said)).await.unwrap().ok();
        assert!(String::from_utf8_lossy(&said).contains(says), "{said:?}");
        assert_eq!(host.counters.ended(why), 1);
        drop(held);
        until(|| host.counters.read().open == 0).await;
        let mut again = TcpStream::connect(host.address).await.unwrap();
        again.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
        let mut buffer = [0; 512];
        let read = timeout(PATIENCE, again.read(&mut buffer)).await.unwrap().unwrap();
        assert!(buffer[..read].starts_with(b"HTTP/1.1 405"));
        drop(again);
        host.stop().await;
    }
}

#[tokio::test]
async fn requests_beyond_those_of_a_peer_are_refused_and_others_go_on() {
    let host = Host::with(GatewayConfig { requests: 8, ..GatewayConfig::default() }).await;
    host.push("guest", "limits: {fuel_per_call: 9_000_000_000_000, deadline: 1h}").await;
    let channel = host.channel().await;
    let spinning: Vec<_> = (0..4)
        .map(|_| {
            let channel = channel.clone();
            tokio::spawn(async move { call(&channel, "Spin", vec![]).await })
        })
        .collect();
    until(|| host.counters.read().open_requests == 4).await;
    // Another connection of the same address has no places of its own.
    let mut client = connect(&host).await;
    let (code, reason, text) = refused(&mut client, request("Add", chunks(vec![]))).await;
    assert_eq!((code, reason.as_str()), (8, "OVERLOADED"), "{text}");
    assert!(text.contains("this address"), "{text}");
    assert_eq!(host.counters.refused(Refused::Overloaded), 1);
    spinning.iter().for_each(tokio::task::JoinHandle::abort);
    until(|| host.counters.read().open_requests == 0).await;
    assert!(call(&channel, "Add", vec![]).await.is_ok());
    drop((client, channel));
    host.stop().await;
}

#[tokio::test]
async fn headers_have_a_length() {
    let config = GatewayConfig { headers: ByteSize::kib(4), ..GatewayConfig::default() };
    let host = Host::with(config).await;
    let mut client = connect(&host).await;
    for (size, refused) in [(2 << 10, false), (5 << 10, true)] {
        let mut request = request("Add", chunks(vec![framed(&[])]));
        request.headers_mut().insert("x-long", "y".repeat(size).parse().unwrap());
        match client.send_request(request).await {
            Ok(response) => assert_eq!(response.status() == 431, refused, "{response:?}"),
            Err(error) => assert!(refused, "{error}"),
        }
    }
    drop(client);
    host.stop().await;
}

#[tokio::test]
async fn a_message_beyond_a_connections_share_is_not_asked_for_again() {
    let message_budget = ByteSize::mib(4);
    let host = Host::with(GatewayConfig { message_budget, ..GatewayConfig::default() }).await;
    host.push("guest", "").await;
    let mut client = connect(&host).await;
    let long = framed(&blob(&vec![7; 1500 << 10]));
    // By its length alone, before it is sent.
    for sent in [long.clone(), Bytes::copy_from_slice(&long[..10])] {
        let request = request("Echo", chunks(vec![sent]));
        let (code, reason, text) = refused(&mut client, request).await;
        assert_eq!((code, reason.as_str()), (9, "NEVER_FITS"), "{text}");
        assert!(text.contains("1Mi"), "{text}");
    }
    let fits = framed(&blob(&vec![7; 900 << 10]));
    let response = client.send_request(request("Echo", chunks(vec![fits]))).await.unwrap();
    assert_eq!(raw::whole(response).await.2["grpc-status"], "0");
    drop(client);
    host.stop().await;
}

#[tokio::test]
async fn http_1_requests_that_never_become_whole_are_hung_up_on() {
    let receive_timeout = Duration::from_millis(300);
    let host = Host::with(GatewayConfig { receive_timeout, ..GatewayConfig::default() }).await;
    for start in ["", "POST", "PRI * HTTP/2.0\r\n", "POST / HTTP/1.1\r\nhost: localhost\r\n"] {
        let (mut read, mut write) = TcpStream::connect(host.address).await.unwrap().into_split();
        write.write_all(start.as_bytes()).await.unwrap();
        // A byte now and then does not help.
        let trickle = async {
            let mut rest = if start.ends_with('\n') { "x: ".chars() } else { "".chars() };
            loop {
                tokio::time::sleep(receive_timeout / 10).await;
                let next = rest.next().unwrap_or('y');
                if start.len() > 20 && write.write_all(&[next as u8]).await.is_err() {
                    return;
                }
            }
        };
        let mut said = Vec::new();
        let hung_up = timeout(PATIENCE, read.read_to_end(&mut said));
        tokio::select! { ended = hung_up => drop(ended.unwrap()), () = trickle => {} }
    }
    until(|| host.counters.read().open == 0).await;
    host.stop().await;
}

#[tokio::test]
async fn pipelined_and_malformed_http_1_requests_are_answered_or_hung_up_on() {
    let host = Host::start().await;
    let get = "GET / HTTP/1.1\r\nhost: localhost\r\n\r\n";
    let last = "GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    let lines = "x: y\r\n".repeat(101);
    let chunked = "POST / HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n";
    for (sent, answers) in [
        (format!("{}{last}", get.repeat(999)), 1000),
        (format!("GET / HTTP/1.1\r\n{lines}\r\n"), 1),
        (format!("GET / HTTP/1.1\r\nx: {}\r\n\r\n", "y".repeat(100 << 10)), 1),
        (format!("GET /{} HTTP/1.1\r\n\r\n", "y".repeat(100 << 10)), 1),
        (format!("{chunked}0\r\n{lines}\r\n"), 1),
        ("GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n".to_owned(), 1),
        ("GET / HTTP/1.1\r\nhost: \u{0}\r\n\r\n".to_owned(), 1),
        ("GET / HTTP/1.1\r\nhost: [::1\r\n\r\n".to_owned(), 1),
        ("POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: -1\r\n\r\n".to_owned(), 1),
    ] {
        let mut tcp = TcpStream::connect(host.address).await.unwrap();
        let mut said = Vec::new();
        let (mut read, mut write) = tcp.split();
        let writing = async {
            write.write_all(sent.as_bytes()).await.ok();
            // Whoever asks for more than one answer waits for them.
            if answers == 1 {
                write.shutdown().await.ok();
            }
        };
        let (_, read) = tokio::join!(writing, timeout(PATIENCE, read.read_to_end(&mut said)));
        read.unwrap().ok();
        let said = String::from_utf8_lossy(&said);
        let got = said.matches("HTTP/1.1 4").count();
        assert!(got == answers || (answers == 1 && got == 0), "{got}: {sent:.60}: {said:.200}");
    }
    assert_eq!(host.counters.read().panics, 0);
    host.stop().await;
}

#[tokio::test]
async fn tls_handshakes_that_stall_are_given_up() {
    let (_, tls) = crate::life::certificate();
    let receive_timeout = Duration::from_millis(200);
    let config = GatewayConfig { tls: Some(tls), receive_timeout, ..GatewayConfig::default() };
    let host = Host::with(config).await;
    for start in [&b""[..], b"\x16\x03\x01\x02\0\x01", b"GET / HTTP/1.1\r\n\r\n"] {
        let mut tcp = TcpStream::connect(host.address).await.unwrap();
        tcp.write_all(start).await.unwrap();
        timeout(PATIENCE, tcp.read_to_end(&mut Vec::new())).await.unwrap().ok();
    }
    until(|| host.counters.ended(Ended::Handshake) == 3).await;
    host.stop().await;
}
