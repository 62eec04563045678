//! What a server says of its services: the files of `grpc.reflection`, within bounds.

use std::collections::{BTreeMap, BTreeSet};

use prost::Message as _;
use prost_types::FileDescriptorProto;
use roadstead_engine::Contract;

use crate::{
    link::{Link, Unanswered},
    messages::{Asked, ReflectionRequest, ReflectionResponse},
};

const V1: &str = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
const V1_ALPHA: &str = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo";

/// How long one question may take.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(5);
/// Bytes of one answer, and files in all.
const ANSWER: usize = 8 << 20;
const FILES: usize = 512;

/// The files with the services of a contract, and those that they import.
pub(crate) async fn files(
    link: &Link,
    contract: &Contract,
) -> Result<Vec<FileDescriptorProto>, Unanswered> {
    let mut found = BTreeMap::new();
    let mut path = V1;
    for service in &contract.services {
        let asked = || Asked::FileContainingSymbol(service.clone());
        let answer = match ask(link, path, asked()).await {
            Err(Unanswered::Unimplemented) if path == V1 => {
                path = V1_ALPHA;
                ask(link, path, asked()).await?
            }
            answer => answer?,
        };
        take(&mut found, answer)?;
    }
    while let Some(name) = missing(&found) {
        let answer = ask(link, path, Asked::FileByFilename(name.clone())).await?;
        take(&mut found, answer)?;
        if !found.contains_key(&name) {
            return Err(Unanswered::Broken(format!("it does not have `{name}`")));
        }
        if found.len() > FILES {
            return Err(Unanswered::Broken(format!("it has more than {FILES} files")));
        }
    }
    Ok(found.into_values().collect())
}

type Found = BTreeMap<String, FileDescriptorProto>;

/// A file that another imports. Those of protobuf itself are known.
fn missing(found: &Found) -> Option<String> {
    let wanted: BTreeSet<_> = found.values().flat_map(|file| &file.dependency).collect();
    let unknown = |name: &&&String| {
        !found.contains_key(name.as_str()) && !name.starts_with("google/protobuf/")
    };
    wanted.iter().find(unknown).map(|name| (*name).clone())
}

fn take(found: &mut Found, answer: ReflectionResponse) -> Result<(), Unanswered> {
    if let Some(error) = answer.error {
        // Not there: the comparison says what is missing.
        let not_found = 5;
        return if error.code == not_found {
            Ok(())
        } else {
            Err(Unanswered::Broken(format!("status {}: {}", error.code, error.text)))
        };
    }
    for bytes in answer.files.unwrap_or_default().files {
        let file = FileDescriptorProto::decode(bytes);
        let file = file.map_err(|error| Unanswered::Broken(error.to_string()))?;
        found.insert(file.name().to_owned(), file);
    }
    Ok(())
}

async fn ask(
    link: &Link,
    path: &'static str,
    asked: Asked,
) -> Result<ReflectionResponse, Unanswered> {
    link.ask(path, &ReflectionRequest { asked: Some(asked) }, PATIENCE, ANSWER).await
}
