//! Handles over gRPC: where they lead, and what is told of sessions.

use bytes::Bytes;
use roadstead_gateway::Monitored as _;
use roadstead_proto::v1::PushHeader;
use tonic::{Code, Request, Response, Status, client::Grpc, transport::Channel};

use crate::{
    guest::blob,
    support::{Host, call_with, failure, outcome, push},
};

/// Exports `demo:count/ops@0.1.0` with a resource that counts its calls.
pub(crate) const WAT: &str = r#"
(component
  (type $r (resource (rep i32)))
  (core func $new (canon resource.new $r))
  (core module $m
    (import "" "new" (func $new (param i32) (result i32)))
    (global $n (mut i32) (i32.const 0))
    (func (export "create") (result i32) (call $new (i32.const 1)))
    (func (export "next") (param i32) (result i32)
      (global.set $n (i32.add (global.get $n) (i32.const 1)))
      (global.get $n)))
  (core instance $i (instantiate $m (with "" (instance (export "new" (func $new))))))
  (func $create (result (own $r)) (canon lift (core func $i "create")))
  (func $next (param "self" (borrow $r)) (result u32) (canon lift (core func $i "next")))
  (component $named
    (import "r" (type $r (sub resource)))
    (import "create" (func $create (result (own $r))))
    (import "next" (func $next (param "self" (borrow $r)) (result u32)))
    (export $counter "counter" (type $r))
    (export "[constructor]counter" (func $create) (func (result (own $counter))))
    (export "[method]counter.next" (func $next)
      (func (param "self" (borrow $counter)) (result u32))))
  (instance $ops (instantiate $named
    (with "r" (type $r)) (with "create" (func $create)) (with "next" (func $next))))
  (export "demo:count/ops@0.1.0" (instance $ops)))
"#;

pub(crate) struct Client(pub(crate) Channel);

impl Client {
    pub(crate) async fn call(
        &self,
        method: &str,
        message: &[u8],
    ) -> Result<Response<Bytes>, Status> {
        self.call_at(&format!("/demo.count.ops.v0_1.OpsCounter/{method}"), message).await
    }

    pub(crate) async fn call_at(
        &self,
        path: &str,
        message: &[u8],
    ) -> Result<Response<Bytes>, Status> {
        let request = Request::new(Bytes::copy_from_slice(message));
        call_with(Grpc::new(self.0.clone()), path, request).await
    }

    /// A response with a handle in `value` is a request with that handle in `self`.
    pub(crate) async fn create(&self) -> Bytes {
        self.call("Create", b"").await.unwrap().into_inner()
    }

    /// What the counter says, and which version and instance answered.
    pub(crate) async fn next(&self, handle: &[u8]) -> (u8, String, String) {
        let answer = self.call("Next", handle).await.unwrap();
        let trailer =
            |name: &str| answer.metadata().get(name).unwrap().to_str().unwrap().to_owned();
        let (module, instance) = (trailer("roadstead-module"), trailer("roadstead-instance"));
        (answer.get_ref()[1], module, instance)
    }
}

pub(crate) async fn publish(host: &Host, name: &str, version: &str) {
    publish_over(host.channel().await, name, version).await;
}

pub(crate) async fn publish_over(channel: Channel, name: &str, version: &str) {
    let (name, version) = (name.to_owned(), version.to_owned());
    let header = PushHeader { name, version, ..PushHeader::default() };
    let padding = u8::try_from(header.version.len()).unwrap();
    // Other bytes, so that it is another component.
    let component = [wat::parse_str(WAT).unwrap(), vec![0, 2 + padding, 1, b'x']].concat();
    let component = [component, vec![0; usize::from(padding)]].concat();
    outcome(&push(channel, header, component).await.unwrap());
}

#[tokio::test]
async fn a_handle_leads_to_its_version_whatever_answers_by_now() {
    let host = Host::start().await;
    publish(&host, "count", "0.1.0").await;
    let client = Client(host.channel().await);
    let old = client.create().await;
    let said = |n, version: &str| (n, format!("count@{version}"), "session".to_owned());
    assert_eq!(client.next(&old).await, said(1, "0.1.0"));
    publish(&host, "count", "0.1.10").await;
    let new = client.create().await;
    assert_eq!(client.next(&new).await, said(1, "0.1.10"));
    assert_eq!(client.next(&old).await, said(2, "0.1.0"));
    // Two modules answer for the service, and a handle is of one.
    publish(&host, "other", "0.1.0").await;
    let ambiguous = failure(client.call("Create", b"").await);
    assert_eq!(ambiguous, (Code::FailedPrecondition, "AMBIGUOUS_MODULE".to_owned()));
    let without = failure(client.call("Next", b"").await);
    assert_eq!(without, (Code::FailedPrecondition, "AMBIGUOUS_MODULE".to_owned()));
    assert_eq!(client.next(&old).await, said(3, "0.1.0"));
    let text = host.monitor.metrics().unwrap();
    assert!(
        text.contains(
            "roadstead_module_sessions{namespace=\"default\",module=\"count\",version=\"0.1.10\"} 1"
        ),
        "{text}"
    );
    let (namespace, name) = (Default::default(), "count".parse().unwrap());
    let version = "0.1.0".parse().unwrap();
    host.registry.delete(&namespace, &name, Some(&version)).await.unwrap();
    let lost = failure(client.call("Next", &old).await);
    assert_eq!(lost, (Code::NotFound, "SESSION_LOST".to_owned()));
    assert_eq!(client.next(&new).await, said(2, "0.1.10"));
    host.registry.delete(&namespace, &name, None).await.unwrap();
    let lost = failure(client.call("Next", &new).await);
    assert_eq!(lost, (Code::NotFound, "SESSION_LOST".to_owned()));
    host.stop().await;
}

#[tokio::test]
async fn faults_of_handles_have_their_codes() {
    let host = Host::start().await;
    publish(&host, "count", "0.1.0").await;
    let client = Client(host.channel().await);
    let handle = client.create().await;
    let forged = failure(client.call("Next", &blob(&blob(b"forged"))).await);
    assert_eq!(forged, (Code::NotFound, "NO_SUCH_HANDLE".to_owned()));
    let missing = failure(client.call("Next", b"").await);
    assert_eq!(missing, (Code::InvalidArgument, "BAD_INPUT".to_owned()));
    assert!(client.call("Drop", &handle).await.unwrap().get_ref().is_empty());
    let dropped = failure(client.call("Drop", &handle).await);
    assert_eq!(dropped, (Code::NotFound, "NO_SUCH_HANDLE".to_owned()));
    host.stop().await;
}
