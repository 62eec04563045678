//! Reflection, both versions, live and per namespace.

use prost::Message as _;
use prost_types::FileDescriptorProto;
use tonic::{Code, Request, transport::Channel};

use crate::{
    guest::SERVICE,
    raw::{chunks, connect, framed, refused, request},
    support::Host,
};

macro_rules! version {
    ($version:ident) => {
        mod $version {
            use tonic_reflection::pb::$version::{
                ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
                server_reflection_request::MessageRequest,
                server_reflection_response::MessageResponse,
            };

            use super::*;

            async fn ask(
                channel: &Channel,
                namespace: &str,
                asked: Vec<MessageRequest>,
            ) -> Vec<MessageResponse> {
                let requests = asked.into_iter().map(|asked| ServerReflectionRequest {
                    host: "h".into(),
                    message_request: Some(asked),
                });
                let requests: Vec<_> = requests.collect();
                let mut request = Request::new(tokio_stream::iter(requests.clone()));
                request.metadata_mut().insert("roadstead-namespace", namespace.parse().unwrap());
                let mut client = ServerReflectionClient::new(channel.clone());
                let answers = client.server_reflection_info(request).await.unwrap();
                let mut answers = answers.into_inner();
                let mut all = Vec::new();
                while let Some(answer) = answers.message().await.unwrap() {
                    assert_eq!(answer.original_request.as_ref(), requests.get(all.len()));
                    assert_eq!(answer.valid_host, "h");
                    all.push(answer.message_response.unwrap());
                }
                all
            }

            async fn services(channel: &Channel, namespace: &str) -> Vec<String> {
                let all = MessageRequest::ListServices(String::new());
                match ask(channel, namespace, vec![all]).await.remove(0) {
                    MessageResponse::ListServicesResponse(list) => {
                        list.service.into_iter().map(|service| service.name).collect()
                    }
                    other => panic!("{other:?}"),
                }
            }

            fn files(answer: &MessageResponse) -> Vec<FileDescriptorProto> {
                match answer {
                    MessageResponse::FileDescriptorResponse(found) => found
                        .file_descriptor_proto
                        .iter()
                        .map(|bytes| FileDescriptorProto::decode(&**bytes).unwrap())
                        .collect(),
                    other => panic!("{other:?}"),
                }
            }

            #[tokio::test]
            async fn a_module_is_seen_the_moment_it_is_published() {
                let host = Host::start().await;
                let channel = host.channel().await;
                let before = services(&channel, "default").await;
                assert!(before.contains(&"roadstead.v1.ModuleService".to_owned()));
                assert!(!before.contains(&SERVICE.to_owned()));
                host.push("guest", "").await;
                assert!(services(&channel, "default").await.contains(&SERVICE.to_owned()));
                assert!(!services(&channel, "other").await.contains(&SERVICE.to_owned()));
                let name = "guest".parse().unwrap();
                host.registry.delete(&Default::default(), &name, None).await.unwrap();
                assert_eq!(services(&channel, "default").await, before);
                host.stop().await;
            }

            #[tokio::test]
            async fn many_may_ask_at_once() {
                let host = Host::with_guest().await;
                let channel = host.channel().await;
                let asked = (0..50).map(|_| services(&channel, "default"));
                for found in futures::future::join_all(asked).await {
                    assert!(found.contains(&SERVICE.to_owned()));
                }
                host.stop().await;
            }

            #[tokio::test]
            async fn files_and_symbols_are_found_or_are_not() {
                let host = Host::with_guest().await;
                let channel = host.channel().await;
                let path = "demo/calc/ops/v0_1/ops.proto".to_owned();
                let asked = vec![
                    MessageRequest::FileByFilename(path.clone()),
                    MessageRequest::FileContainingSymbol(format!("{SERVICE}.Add")),
                    MessageRequest::FileContainingSymbol("demo.calc.ops.v0_1.AddRequest.a".into()),
                    MessageRequest::FileByFilename("google/protobuf/empty.proto".into()),
                    MessageRequest::FileContainingSymbol("grpc.health.v1.Health".into()),
                ];
                let answers = ask(&channel, "default", asked).await;
                for answer in &answers[..3] {
                    assert_eq!(files(answer)[0].name(), path);
                }
                for answer in &answers[3..] {
                    assert!(!files(answer).is_empty());
                }
                let message = "demo.calc.ops.v0_1.AddRequest".to_owned();
                let asked = vec![
                    MessageRequest::FileByFilename("no.proto".into()),
                    MessageRequest::FileContainingSymbol("no.Symbol".into()),
                    MessageRequest::FileContainingExtension(extension(&message)),
                    MessageRequest::AllExtensionNumbersOfType("no.Message".into()),
                    MessageRequest::AllExtensionNumbersOfType(message.clone()),
                ];
                let answers = ask(&channel, "default", asked).await;
                for answer in &answers[..4] {
                    let MessageResponse::ErrorResponse(error) = answer else {
                        panic!("{answer:?}")
                    };
                    assert_eq!(error.error_code, Code::NotFound as i32);
                }
                let MessageResponse::AllExtensionNumbersResponse(none) = &answers[4] else {
                    panic!("{answers:?}")
                };
                assert_eq!((&none.base_type_name, none.extension_number.len()), (&message, 0));
                host.stop().await;
            }

            #[tokio::test]
            async fn a_request_that_asks_nothing_is_refused() {
                let host = Host::start().await;
                let nothing = tokio_stream::iter([ServerReflectionRequest::default()]);
                let mut client = ServerReflectionClient::new(host.channel().await);
                let mut answers =
                    client.server_reflection_info(nothing).await.unwrap().into_inner();
                let status = answers.message().await.unwrap_err();
                assert_eq!(status.code(), Code::InvalidArgument);
                host.stop().await;
            }

            fn extension(message: &str) -> tonic_reflection::pb::$version::ExtensionRequest {
                tonic_reflection::pb::$version::ExtensionRequest {
                    containing_type: message.to_owned(),
                    extension_number: 1,
                }
            }
        }
    };
}

version!(v1);
version!(v1alpha);

#[tokio::test]
async fn a_question_that_does_not_decode_is_the_askers_fault() {
    let host = Host::start().await;
    let mut client = connect(&host).await;
    for version in ["v1", "v1alpha"] {
        let mut garbage = request("Add", chunks(vec![framed(&[0xff; 4])]));
        let path = format!("grpc.reflection.{version}.ServerReflection/ServerReflectionInfo");
        *garbage.uri_mut() = format!("http://localhost/{path}").parse().unwrap();
        let (code, reason, text) = refused(&mut client, garbage).await;
        assert_eq!((code, reason.as_str()), (Code::InvalidArgument as i32, "BAD_INPUT"), "{text}");
    }
    host.stop().await;
}
