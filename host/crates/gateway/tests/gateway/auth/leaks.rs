//! What callers learn of namespaces that are not theirs: nothing.

use super::{Guarded, named};
use crate::{
    guest::{self, SERVICE},
    raw::framed,
    sessions,
};

#[tokio::test]
async fn a_foreign_namespace_answers_as_one_that_does_not_exist() {
    let host = Guarded::start().await;
    host.publish("team-b", "secret-module", &guest::component()).await;
    let modules = "/roadstead.v1.ModuleService";
    let asked = [
        (guest::path("Add"), vec![]),
        (format!("/{SERVICE}/NoSuchMethod"), vec![]),
        ("/no.such.Service/Method".to_owned(), vec![]),
        (format!("{modules}/ListModules"), vec![]),
        (format!("{modules}/GetModule"), named("secret-module")),
        (format!("{modules}/GetModule"), named("absent")),
        (format!("{modules}/GetModuleProtos"), named("secret-module")),
        (format!("{modules}/DeleteModule"), named("secret-module")),
        (format!("{modules}/StreamLogs"), named("secret-module")),
        ("/grpc.health.v1.Health/Check".to_owned(), named(SERVICE)),
        ("/grpc.health.v1.Health/Check".to_owned(), named("no.such.Service")),
        ("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo".to_owned(), vec![0x3a, 0]),
    ];
    for (path, message) in asked {
        let here = host.ask("publisher", "team-b", &path, &message).await;
        let nowhere = host.ask("publisher", "team-z", &path, &message).await;
        assert_eq!(here.0, 7, "{path}: {here:?}");
        let same = (here.0, here.1.clone(), here.2.replace("team-b", "team-z"));
        assert_eq!(same, nowhere, "{path}");
        assert!(!here.2.contains("secret"), "{path}: {here:?}");
    }
    host.host.stop().await;
}

#[tokio::test]
async fn reflection_and_lists_show_the_callers_namespace_alone() {
    let host = Guarded::start().await;
    host.publish("team-a", "mine", &guest::component()).await;
    host.publish("team-b", "secret-module", &wat::parse_str(sessions::WAT).unwrap()).await;
    let list = vec![framed(&[0x3a, 0])];
    let by_symbol = |symbol: &str| {
        let asked = [&[0x22, u8::try_from(symbol.len()).unwrap()][..], symbol.as_bytes()].concat();
        vec![framed(&asked)]
    };
    let reflection = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
    let (_, listed) = host.send("reader", "team-a", reflection, list.clone()).await;
    let listed = String::from_utf8_lossy(&listed).into_owned();
    assert!(listed.contains(SERVICE) && !listed.contains("demo.count"), "{listed}");
    let hidden = by_symbol("demo.count.ops.v0_1.OpsCounter");
    let (_, found) = host.send("reader", "team-a", reflection, hidden.clone()).await;
    assert!(String::from_utf8_lossy(&found).contains("no service or type"), "{found:?}");
    let (_, found) = host.send("other", "team-b", reflection, hidden).await;
    assert!(!String::from_utf8_lossy(&found).contains("no service or type"));

    let usage = "/roadstead.v1.ModuleService/ListUsage";
    for (path, message) in [(usage, vec![framed(b"")]), (usage, vec![framed(&named("mine"))])] {
        let (_, told) = host.send("reader", "team-a", path, message).await;
        let told = String::from_utf8_lossy(&told).into_owned();
        assert!(told.contains("mine") && !told.contains("secret"), "{told}");
    }
    // A call of another's service finds nothing, by name or without.
    let foreign = "/demo.count.ops.v0_1.OpsCounter/Create";
    let (code, reason, _) = host.ask("caller", "team-a", foreign, b"").await;
    assert_eq!((code, reason.as_str()), (12, "NO_SUCH_SERVICE"));
    host.host.stop().await;
}

#[tokio::test]
async fn a_session_belongs_to_whom_it_was_given() {
    let host = Guarded::start().await;
    host.publish("team-a", "count", &wat::parse_str(sessions::WAT).unwrap()).await;
    let path = |method: &str| format!("/demo.count.ops.v0_1.OpsCounter/{method}");
    let (said, body) = host.send("caller", "team-a", &path("Create"), vec![framed(b"")]).await;
    assert_eq!(said.0, 0, "{said:?}");
    let handle = body.slice(5..);
    for who in ["bob", "publisher", "root"] {
        for method in ["Next", "Drop"] {
            let (code, reason, text) = host.ask(who, "team-a", &path(method), &handle).await;
            assert_eq!((code, reason.as_str()), (5, "NO_SUCH_HANDLE"), "{who}: {text}");
        }
    }
    assert_eq!(host.ask("caller", "team-a", &path("Next"), &handle).await.0, 0);
    assert_eq!(host.ask("caller", "team-a", &path("Drop"), &handle).await.0, 0);
    host.host.stop().await;
}

#[tokio::test]
async fn pooled_instances_are_of_one_caller_where_the_spec_says_so() {
    let host = Guarded::start().await;
    let spec = "instances: {policy: pooled, share: caller}";
    let header = roadstead_proto::v1::PushHeader {
        name: "guest".into(),
        spec: spec.into(),
        spec_format: roadstead_proto::v1::SpecFormat::Yaml.into(),
        ..Default::default()
    };
    host.push("team-a", header, &guest::component()).await;
    let origin = async |who: &str| {
        let response = host.open(who, "team-a", &guest::path("Add"), vec![framed(b"")]).await;
        let (_, _, trailers) = crate::raw::whole(response).await;
        trailers["roadstead-instance"].to_str().unwrap().to_owned()
    };
    assert_eq!(origin("caller").await, "fresh");
    assert_eq!(origin("caller").await, "warm");
    assert_eq!(origin("bob").await, "fresh");
    assert_eq!(origin("bob").await, "warm");
    host.host.stop().await;
}
