//! `grpc.health.v1` per service and namespace.

use tonic::{Code, Request, Status, transport::Channel};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use crate::{
    guest::SERVICE,
    support::{Host, PATIENCE, failure},
};

async fn check(channel: &Channel, service: &str, namespace: &str) -> Result<ServingStatus, Status> {
    let mut request = Request::new(HealthCheckRequest { service: service.to_owned() });
    request.metadata_mut().insert("roadstead-namespace", namespace.parse().unwrap());
    let answer = HealthClient::new(channel.clone()).check(request).await?;
    Ok(answer.into_inner().status())
}

#[tokio::test]
async fn every_service_has_its_health() {
    let host = Host::with_guest().await;
    let channel = host.channel().await;
    for service in ["", SERVICE, "roadstead.v1.ModuleService", "grpc.health.v1.Health"] {
        let status = check(&channel, service, "default").await.unwrap();
        assert_eq!(status, ServingStatus::Serving, "{service}");
    }
    for (service, namespace) in [("no.such.Service", "default"), (SERVICE, "other")] {
        let checked = check(&channel, service, namespace).await;
        assert_eq!(failure(checked), (Code::NotFound, "NO_SUCH_SERVICE".to_owned()));
    }
    host.stop().await;
}

#[tokio::test]
async fn a_watch_tells_every_change_and_the_end() {
    let host = Host::start().await;
    let mut client = HealthClient::new(host.channel().await);
    let request = HealthCheckRequest { service: SERVICE.to_owned() };
    let mut watch = client.watch(request).await.unwrap().into_inner();
    let mut next = async || {
        let message = tokio::time::timeout(PATIENCE, watch.message()).await.unwrap().unwrap();
        message.map(|message| message.status())
    };
    assert_eq!(next().await, Some(ServingStatus::ServiceUnknown));
    host.push("guest", "").await;
    assert_eq!(next().await, Some(ServingStatus::Serving));
    let name = "guest".parse().unwrap();
    host.registry.delete(&Default::default(), &name, None).await.unwrap();
    assert_eq!(next().await, Some(ServingStatus::ServiceUnknown));
    host.push("guest", "").await;
    assert_eq!(next().await, Some(ServingStatus::Serving));
    let stopped = host.begin_stop();
    assert_eq!(next().await, Some(ServingStatus::NotServing));
    assert_eq!(next().await, None);
    stopped.await.unwrap();
}
