//! Bodies in pieces, packed and plain, too long and too slow.

use http_body_util::{Full, StreamBody};
use roadstead_domain::ByteSize;

use super::*;
use crate::frame;

fn budget() -> Budget {
    Budget::new(ByteSize::mib(1))
}

fn framed(packed: bool, message: &[u8]) -> Bytes {
    let length = u32::try_from(message.len()).unwrap();
    [&frame::header(packed, length)[..], message].concat().into()
}

async fn grpc(body: Bytes, limit: u64, packing: Packing) -> Result<Bytes, Fault> {
    let message = grpc_message(Full::new(body), limit, packing, &budget()).await;
    message.map(|message| message.bytes)
}

async fn whole(body: Bytes, limit: u64, packing: Packing) -> Result<Bytes, Fault> {
    let message = whole_body(Full::new(body), limit, packing, &budget()).await;
    message.map(|message| message.bytes)
}

#[tokio::test]
async fn plain_and_packed_messages() {
    let text = Bytes::from(vec![b'x'; 9000]);
    let packed = gzip::pack(&text).unwrap();
    assert_eq!(grpc(framed(false, &text), 9000, Packing::Plain).await.unwrap(), text);
    assert_eq!(grpc(framed(false, &text), 9000, Packing::Gzip).await.unwrap(), text);
    assert_eq!(grpc(framed(true, &packed), 9000, Packing::Gzip).await.unwrap(), text);
    assert_eq!(whole(packed.clone(), 9000, Packing::Gzip).await.unwrap(), text);
    assert_eq!(whole(text.clone(), 9000, Packing::Plain).await.unwrap(), text);
    let unnamed = grpc(framed(true, &packed), 9000, Packing::Plain).await.unwrap_err();
    assert!(unnamed.to_string().contains("grpc-encoding"));
}

#[tokio::test]
async fn the_limit_holds_for_what_comes_and_for_what_is_unpacked() {
    let bomb = gzip::pack(&vec![0; 8 << 20]).unwrap();
    let limit = 64 << 10;
    let over = Err(Fault::limit(LimitKind::Input, limit, None));
    assert_eq!(grpc(framed(true, &bomb), limit, Packing::Gzip).await, over);
    assert_eq!(whole(bomb, limit, Packing::Gzip).await, over);
    let long = Bytes::from(vec![0; 100]);
    let over = Err(Fault::limit(LimitKind::Input, 99, Some(100)));
    assert_eq!(whole(long.clone(), 99, Packing::Plain).await, over);
    assert_eq!(grpc(framed(false, &long), 99, Packing::Plain).await, over);
    assert!(whole(long, 100, Packing::Plain).await.is_ok());
}

#[tokio::test]
async fn a_body_of_unknown_length_is_counted_as_it_comes() {
    let chunks = |count: usize| {
        StreamBody::new(futures::stream::iter((0..count).map(|_| {
            Ok::<_, std::io::Error>(http_body::Frame::data(Bytes::from_static(b"0123456789")))
        })))
    };
    let budget = budget();
    let fits = whole_body(chunks(10), 100, Packing::Plain, &budget).await.unwrap();
    assert_eq!(fits.bytes.len(), 100);
    let over = whole_body(chunks(11), 100, Packing::Plain, &budget).await.unwrap_err();
    assert_eq!(over, Fault::limit(LimitKind::Input, 100, None));
}

#[tokio::test]
async fn a_caller_that_goes_away_cancels() {
    let broken = StreamBody::new(futures::stream::iter([Err::<http_body::Frame<Bytes>, _>(
        std::io::Error::from(std::io::ErrorKind::ConnectionReset),
    )]));
    let gone = grpc_message(broken, 10, Packing::Plain, &budget()).await.unwrap_err();
    assert_eq!(gone, Fault::Cancelled);
}

#[tokio::test(start_paused = true)]
async fn a_slow_sender_meets_its_deadline_or_the_hosts_patience() {
    let most = Duration::from_secs(30);
    for (timeout, deadline) in [(None, most), (Some("100m"), Duration::from_millis(100))] {
        let mut headers = HeaderMap::new();
        if let Some(timeout) = timeout {
            headers.insert("grpc-timeout", timeout.parse().unwrap());
        }
        let patience = Patience::of_grpc(&headers).unwrap();
        let never = std::future::pending();
        let late = in_time::<Message>(never, &patience, most).await.unwrap_err();
        assert_eq!(late, Fault::Deadline(deadline));
    }
}

#[test]
fn encodings_by_name() {
    let headers = |value: &str| {
        let mut headers = HeaderMap::new();
        headers.insert("accept-encoding", value.parse().unwrap());
        headers
    };
    for (list, expected) in [
        ("gzip", true),
        ("identity, deflate, gzip", true),
        ("br;q=1.0, gzip;q=0.8", true),
        ("gzip;q=0", false),
        ("xgzip", false),
        ("", false),
    ] {
        assert_eq!(accepts_gzip(&headers(list), "accept-encoding"), expected, "{list}");
    }
    assert_eq!(Packing::of(&headers("gzip"), "accept-encoding"), Ok(Packing::Gzip));
    assert_eq!(Packing::of(&headers("identity"), "accept-encoding"), Ok(Packing::Plain));
    assert_eq!(Packing::of(&headers("br"), "accept-encoding"), Err(UnknownPacking));
    assert_eq!(Packing::of(&HeaderMap::new(), "accept-encoding"), Ok(Packing::Plain));
}
