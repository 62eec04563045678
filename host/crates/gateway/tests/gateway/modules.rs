//! `roadstead.v1.ModuleService` through its generated client.

use roadstead_proto::v1::{
    CheckModuleResponse, DeleteModuleRequest, GetModuleProtosRequest, GetModuleRequest,
    ListModulesRequest, ListUsageRequest, PinModuleRequest, PushHeader, PushModuleRequest,
    SpecFormat, StreamLogsRequest, UnpinModuleRequest, WatchModulesRequest,
    module_service_client::ModuleServiceClient, progress::Phase, push_module_request::Message,
    push_module_response::Event,
};
use tonic::{Code, Request};

use crate::{
    guest::{SERVICE, component},
    support::{Host, PATIENCE, call, failure, outcome, push, push_messages},
};

fn named(name: &str) -> PushHeader {
    PushHeader { name: name.to_owned(), ..PushHeader::default() }
}

#[tokio::test]
async fn a_push_tells_its_progress_and_its_outcome() {
    let host = Host::start().await;
    let channel = host.channel().await;
    let bytes = component();
    let header = PushHeader { size: bytes.len() as u64, ..named("guest") };
    let events = push(channel.clone(), header, bytes.clone()).await.unwrap();
    let phases: Vec<Phase> = events
        .iter()
        .filter_map(|event| match &event.event {
            Some(Event::Progress(progress)) => Some(progress.phase()),
            _ => None,
        })
        .collect();
    assert_eq!(phases.first(), Some(&Phase::Receiving));
    assert!(phases.contains(&Phase::Compiling), "{phases:?}");
    let pushed = outcome(&events);
    assert!(pushed.created);
    let module = pushed.module.unwrap();
    assert_eq!((module.name.as_str(), module.version.as_str()), ("guest", "0.1.0"));
    assert_eq!(module.size, bytes.len() as u64);
    assert_eq!(module.services[0].name, SERVICE);
    assert_eq!(module.isolation, "sandbox");
    assert!(module.digest.starts_with("sha256:"));
    let spec: serde_json::Value = serde_json::from_str(&module.spec_json).unwrap();
    assert_eq!(spec["limits"]["memory"], "256Mi");
    let again = outcome(&push(channel, named("guest"), bytes).await.unwrap());
    assert!(!again.created);
    assert_eq!(again.module.unwrap().version, "0.1.0");
    host.stop().await;
}

#[tokio::test]
async fn usage_is_told_beside_what_is_granted() {
    let host = Host::start().await;
    host.push("free", "").await;
    host.push("capped", "quota: {cpu: 10m, borrow: false}").await;
    let mut client = ModuleServiceClient::new(host.channel().await);
    let all = client.list_usage(ListUsageRequest::default()).await.unwrap().into_inner();
    let cpu = |at: usize| all.modules[at].cpu.unwrap();
    assert_eq!(
        all.modules.iter().map(|one| one.name.as_str()).collect::<Vec<_>>(),
        ["capped", "free"]
    );
    assert_eq!((cpu(0).guaranteed_millicores, cpu(0).limit_millicores), (10, 10));
    assert_eq!((cpu(1).guaranteed_millicores, cpu(1).limit_millicores, cpu(1).weight), (0, 0, 100));
    assert_eq!(all.modules[1].memory.unwrap().instance_limit_bytes, 256 << 20);
    assert!(1000 <= all.host_millicores);
    let one = ListUsageRequest { name: "free".to_owned(), ..Default::default() };
    assert_eq!(client.list_usage(one).await.unwrap().into_inner().modules.len(), 1);
    let none = ListUsageRequest { name: "none".to_owned(), ..Default::default() };
    assert_eq!(client.list_usage(none).await.unwrap_err().code(), Code::NotFound);
    let more = yaml_header("greedy", &format!("quota: {{cpu: {}m}}", all.host_millicores - 9));
    let refused = push(host.channel().await, more, component()).await;
    assert_eq!(failure(refused), (Code::ResourceExhausted, "CPU_PROMISED".to_owned()));
    host.stop().await;
}

fn yaml_header(name: &str, spec: &str) -> PushHeader {
    PushHeader { spec: spec.to_owned(), spec_format: SpecFormat::Yaml.into(), ..named(name) }
}

#[tokio::test]
async fn what_a_push_gets_wrong_is_named() {
    let host = Host::start().await;
    let channel = host.channel().await;
    let message = |message| PushModuleRequest { message: Some(message) };
    let header = |header| message(Message::Header(header));
    let chunk = |size: usize| message(Message::Chunk(vec![0; size].into()));
    let yaml = |spec: &str| PushHeader {
        spec: spec.to_owned(),
        spec_format: SpecFormat::Yaml.into(),
        ..named("guest")
    };
    let invalid = (Code::InvalidArgument, "BAD_INPUT".to_owned());
    for (what, requests, expected) in [
        ("nothing", vec![], invalid.clone()),
        ("no header", vec![chunk(1)], invalid.clone()),
        ("an empty message", vec![PushModuleRequest::default()], invalid.clone()),
        ("two headers", vec![header(named("a")), header(named("a"))], invalid.clone()),
        ("a bad name", vec![header(named("A B"))], invalid.clone()),
        ("a bad spec", vec![header(yaml("limits: {memry: 1}"))], invalid.clone()),
        (
            "a spec without a format",
            vec![header(PushHeader { spec: "name: a".into(), ..named("a") })],
            invalid.clone(),
        ),
        (
            "a bad version",
            vec![header(PushHeader { version: "one".into(), ..named("a") })],
            invalid.clone(),
        ),
        (
            "another size than announced",
            vec![header(PushHeader { size: 3, ..named("a") }), chunk(2)],
            invalid.clone(),
        ),
        ("a long chunk", vec![header(named("a")), chunk((1 << 20) + 1)], invalid.clone()),
        (
            "garbage",
            vec![header(named("a")), chunk(100)],
            (Code::InvalidArgument, "INVALID_COMPONENT".to_owned()),
        ),
        (
            "too much, announced",
            vec![header(PushHeader { size: 1 << 40, ..named("a") })],
            (Code::ResourceExhausted, "UPLOAD_LIMIT".to_owned()),
        ),
        (
            "too much",
            std::iter::once(header(named("a"))).chain((0..9).map(|_| chunk(1 << 20))).collect(),
            (Code::ResourceExhausted, "UPLOAD_LIMIT".to_owned()),
        ),
    ] {
        let refused = push_messages(channel.clone(), requests).await;
        assert_eq!(failure(refused), expected, "{what}");
    }
    let mut client = ModuleServiceClient::new(channel);
    let listed = client.list_modules(ListModulesRequest {}).await.unwrap().into_inner();
    assert!(listed.modules.is_empty());
    host.stop().await;
}

#[tokio::test]
async fn a_check_publishes_nothing() {
    let host = Host::start().await;
    let mut client = ModuleServiceClient::new(host.channel().await);
    let messages = [Message::Header(named("guest")), Message::Chunk(component().into())];
    let requests = messages.map(|message| PushModuleRequest { message: Some(message) });
    let checked = client.check_module(tokio_stream::iter(requests)).await.unwrap();
    let CheckModuleResponse { module, breaks } = checked.into_inner();
    assert_eq!(module.unwrap().services[0].name, SERVICE);
    assert!(breaks.is_empty());
    let listed = client.list_modules(ListModulesRequest {}).await.unwrap();
    assert!(listed.into_inner().modules.is_empty());
    host.stop().await;
}

#[tokio::test]
async fn versions_are_listed_pinned_and_deleted() {
    let host = Host::start().await;
    host.push("guest", "").await;
    host.push("guest", "limits: {input: 10}").await;
    let channel = host.channel().await;
    let mut client = ModuleServiceClient::new(channel.clone());
    let name = || "guest".to_owned();
    let get = GetModuleRequest { name: name() };
    let module = client.get_module(get).await.unwrap().into_inner().module.unwrap();
    let versions: Vec<&str> = module.versions.iter().map(|v| v.version.as_str()).collect();
    assert_eq!((versions, module.pinned.as_str()), (vec!["0.1.1", "0.1.0"], ""));

    let pin = PinModuleRequest { name: name(), version: "0.1.0".into() };
    let pinned = client.pin_module(pin).await.unwrap().into_inner().module.unwrap();
    assert_eq!(pinned.pinned, "0.1.0");
    let answer = call(&channel, "Add", vec![]).await.unwrap();
    assert_eq!(answer.metadata().get("roadstead-module").unwrap(), "guest@0.1.0");
    let delete = DeleteModuleRequest { name: name(), version: "0.1.0".into() };
    let refused = client.delete_module(delete.clone()).await;
    assert_eq!(failure(refused), (Code::FailedPrecondition, "PINNED".to_owned()));
    let unpin = UnpinModuleRequest { name: name() };
    let unpinned = client.unpin_module(unpin).await.unwrap().into_inner().module.unwrap();
    assert_eq!((unpinned.pinned.as_str(), unpinned.stats.unwrap().calls), ("", 1));

    let deleted = client.delete_module(delete.clone()).await.unwrap().into_inner();
    assert_eq!(deleted.deleted_versions, ["0.1.0"]);
    let gone = client.delete_module(delete).await;
    assert_eq!(failure(gone), (Code::NotFound, "NO_SUCH_VERSION".to_owned()));
    let all = DeleteModuleRequest { name: name(), version: String::new() };
    let deleted = client.delete_module(all).await.unwrap().into_inner();
    assert_eq!(deleted.deleted_versions, ["0.1.1"]);
    let gone = client.get_module(GetModuleRequest { name: name() }).await;
    assert_eq!(failure(gone), (Code::NotFound, "NO_SUCH_MODULE".to_owned()));
    host.stop().await;
}

#[tokio::test]
async fn protos_are_given_out() {
    let host = Host::with_guest().await;
    let mut client = ModuleServiceClient::new(host.channel().await);
    let asked = GetModuleProtosRequest { name: "guest".into(), version: String::new() };
    let protos = client.get_module_protos(asked).await.unwrap().into_inner();
    assert_eq!(protos.files[0].path, "demo/calc/ops/v0_1/ops.proto");
    assert!(protos.files[0].text.contains("rpc Add(AddRequest) returns (AddResponse);"));
    assert!(!protos.lock.is_empty());
    assert!(protos.plan.contains(r#""service":"demo.calc.ops.v0_1.Ops""#), "{}", protos.plan);
    host.stop().await;
}

#[tokio::test]
async fn answers_that_wait_for_one_another_all_come() {
    let host = Host::with_guest().await;
    let client = ModuleServiceClient::new(host.channel().await);
    let asked = (0..100).map(|_| {
        let mut client = client.clone();
        let request = GetModuleProtosRequest { name: "guest".into(), version: String::new() };
        async move { client.get_module_protos(request).await.unwrap().into_inner().files.len() }
    });
    let answered = tokio::time::timeout(PATIENCE, futures::future::join_all(asked)).await.unwrap();
    assert!(answered.iter().all(|files| *files > 0), "{answered:?}");
    drop(client);
    host.stop().await;
}

#[tokio::test]
async fn a_watch_shows_what_is_and_what_comes() {
    let host = Host::start().await;
    let channel = host.channel().await;
    let mut elsewhere = Request::new(WatchModulesRequest {});
    elsewhere.metadata_mut().insert("roadstead-namespace", "other".parse().unwrap());
    let mut client = ModuleServiceClient::new(channel);
    let mut other = client.watch_modules(elsewhere).await.unwrap().into_inner();
    let mut watch = client.watch_modules(WatchModulesRequest {}).await.unwrap().into_inner();
    let mut next = async || {
        let next = tokio::time::timeout(PATIENCE, watch.message()).await.unwrap();
        next.map(|message| message.unwrap().modules.len())
    };
    assert_eq!(next().await.unwrap(), 0);
    host.push("guest", "").await;
    assert_eq!(next().await.unwrap(), 1);
    let name = "guest".parse().unwrap();
    host.registry.delete(&Default::default(), &name, None).await.unwrap();
    assert_eq!(next().await.unwrap(), 0);
    assert!(other.message().await.unwrap().unwrap().modules.is_empty());
    let stopped = host.begin_stop();
    let ended = next().await.unwrap_err();
    assert_eq!(ended.code(), Code::Unavailable);
    // The other namespace heard nothing of it all.
    assert_eq!(failure(other.message().await), (Code::Unavailable, "DRAINING".to_owned()));
    stopped.await.unwrap();
}

#[tokio::test]
async fn logs_are_of_a_module_that_is_there() {
    let host = Host::with_guest().await;
    let mut client = ModuleServiceClient::new(host.channel().await);
    let asked = |name: &str, follow| StreamLogsRequest {
        name: name.into(),
        follow,
        ..StreamLogsRequest::default()
    };
    let absent = client.stream_logs(asked("absent", false)).await;
    assert_eq!(failure(absent.map(|_| ())), (Code::NotFound, "NO_SUCH_MODULE".to_owned()));
    let mut kept = client.stream_logs(asked("guest", false)).await.unwrap().into_inner();
    assert_eq!(kept.message().await.unwrap(), None);
    let mut followed = client.stream_logs(asked("guest", true)).await.unwrap().into_inner();
    let first = followed.message().await.unwrap().unwrap();
    assert!(first.live && first.lines.is_empty(), "{first:?}");
    let name = "guest".parse().unwrap();
    host.registry.engine().logs().forget(&Default::default(), &name);
    let ended = tokio::time::timeout(PATIENCE, followed.message()).await.unwrap();
    assert_eq!(ended.unwrap(), None);
    host.stop().await;
}
