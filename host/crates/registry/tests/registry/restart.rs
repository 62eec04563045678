//! What a restart finds: everything, and no reason to compile.

use std::{collections::BTreeMap, fs, path::PathBuf, time::SystemTime};

use roadstead_domain::{Fault, Namespace};
use roadstead_registry::{PushError, PushRequest};

use crate::harness::{Host, OPS, add, calc, engine, functions, module, named, versioned};

fn compiled(host: &Host) -> BTreeMap<PathBuf, SystemTime> {
    let modified = |path: PathBuf| {
        let time = fs::metadata(&path).unwrap().modified().unwrap();
        (path, time)
    };
    let files = host.files().into_iter();
    files.filter(|path| path.extension().is_some_and(|e| e == "code")).map(modified).collect()
}

#[tokio::test]
async fn everything_serves_again_without_compiling() {
    let host = Host::new().await;
    host.push("m", &calc(0)).await.unwrap();
    host.push("m", &calc(1)).await.unwrap();
    host.push("other", &functions(&[("mul", "u32", 7), ("add", "u32", 7)])).await.unwrap();
    host.registry
        .pin(&Namespace::default(), &module("m"), Some(&"0.1.0".parse().unwrap()))
        .await
        .unwrap();
    let before = compiled(&host);
    let (files, revision) = (host.files(), host.registry.routes().revision());
    let protos = host.registry.protos(&Namespace::default(), &module("other"), None).unwrap();
    let reflected = host.registry.routes().files(&Namespace::default());
    assert_eq!(before.len(), 3);

    let host = host.restarted().await;
    assert_eq!(host.files(), files);
    let routes = host.registry.routes();
    assert_eq!(routes.revision(), revision);
    assert_eq!(routes.files(&Namespace::default()), reflected);
    let again = host.registry.protos(&Namespace::default(), &module("other"), None).unwrap();
    assert_eq!(again, protos);
    let answer = async |wanted: &str| add(&host.resolve(OPS, Some(wanted)).unwrap(), 2, 3).await;
    assert_eq!(answer("m").await, 5);
    assert_eq!(answer("m@0.1.1").await, 6);
    assert_eq!(answer("other").await, 12);
    assert_eq!(compiled(&host), before, "nothing was compiled again");
    // Versions go on where they were, and compatibility is judged as before.
    assert_eq!(host.push("m", &calc(5)).await.unwrap().record.version.to_string(), "0.1.2");
    assert!(host.push("other", &functions(&[("add", "u32", 0)])).await.is_err());
}

#[tokio::test]
async fn bad_code_is_compiled_again_and_never_run() {
    let host = Host::new().await;
    let mut paths: Vec<PathBuf> = Vec::new();
    for more in 0..4_u32 {
        host.push_as(versioned("m", &format!("0.1.{more}")), &calc(more)).await.unwrap();
        paths.push(compiled(&host).into_keys().find(|path| !paths.contains(path)).unwrap());
    }
    let path = |more: usize| paths[more].clone();
    // Tampered with, cut off, taken from another component, gone.
    let mut bytes = fs::read(path(0)).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    // The running host has mapped the files: they are replaced, as no process may write to them.
    let replace = |path: PathBuf, bytes: &[u8]| {
        fs::remove_file(&path).unwrap();
        fs::write(path, bytes).unwrap();
    };
    replace(path(0), &bytes);
    replace(path(1), &bytes[..middle]);
    replace(path(2), &fs::read(path(3)).unwrap());
    replace(path(2).with_extension("sig"), &fs::read(path(3).with_extension("sig")).unwrap());
    fs::remove_file(path(3)).unwrap();
    let host = host.restarted().await;
    for more in 0..4_u32 {
        let live = host.resolve(OPS, Some(&format!("m@0.1.{more}"))).unwrap();
        assert_eq!(add(&live, 2, 3).await, 5 + u64::from(more));
    }
    let again = compiled(&host);
    assert_eq!(again.len(), 4);
    let host = host.restarted().await;
    assert_eq!(host.call().await, 8);
    assert_eq!(compiled(&host), again, "what was compiled again was kept");
}

#[tokio::test]
async fn code_of_another_engine_is_swept() {
    let host = Host::new().await;
    host.push("m", &calc(0)).await.unwrap();
    let files = host.files();
    let foreign = host.data.join("compiled/another-engine");
    fs::create_dir(&foreign).unwrap();
    fs::write(foreign.join("x.code"), b"code").unwrap();
    let host = host.restarted().await;
    assert_eq!(host.files(), files);
    assert!(host.data.join("compiled").join(engine().fingerprint()).is_dir());
}

#[tokio::test]
async fn a_version_with_lost_parts_says_so_and_the_others_serve() {
    let host = Host::new().await;
    host.push("m", &calc(0)).await.unwrap();
    host.push("other", &calc(1)).await.unwrap();
    // Its interface is lost: the component itself still tells it.
    let lost = host.resolve(OPS, Some("m")).unwrap();
    let interface = lost.record().interface;
    let component = lost.record().component;
    assert_ne!(interface, component, "the interface is kept apart");
    drop(lost);
    fs::remove_file(host.data.join("blobs/interfaces").join(interface.hex())).unwrap();
    let host = host.restarted().await;
    assert_eq!(add(&host.resolve(OPS, Some("m")).unwrap(), 2, 3).await, 5);
    // Now that is lost too.
    fs::write(host.data.join("blobs/components").join(component.hex()), b"damaged").unwrap();
    let host = host.restarted().await;
    let live = host.resolve(OPS, Some("m")).unwrap();
    assert!(matches!(live.module().err(), Some(Fault::NotReady(_))));
    assert_eq!(add(&host.resolve(OPS, Some("other")).unwrap(), 2, 3).await, 6);
    assert_eq!(host.versions("m"), ["0.1.0"]);
    // What its callers rely on is still in the lock.
    let error = host.push("m", &functions(&[("mul", "u32", 0)])).await.unwrap_err();
    assert!(matches!(&error, PushError::Breaks(breaks) if breaks.len() == 1), "{error}");
    assert!(host.push("m", &functions(&[("add", "u32", 7), ("mul", "u32", 0)])).await.is_ok());
}

#[tokio::test]
async fn comments_from_wit_files_reach_the_protos_and_survive() {
    let host = Host::new().await;
    let text = "package demo:calc@0.1.0;
        interface ops {
            /// Adds two numbers.
            add: func(a: u32, b: u32) -> u32;
        }
        world calc { export ops; }";
    let wit = vec![("calc.wit".to_owned(), text.to_owned())];
    let request = PushRequest { wit: wit.clone(), ..named("m") };
    host.push_as(request.clone(), &calc(0)).await.unwrap();
    let comment = "// Adds two numbers.";
    let protos = |host: &Host| {
        let protos = host.registry.protos(&Namespace::default(), &module("m"), None).unwrap();
        protos.files[0].1.clone()
    };
    assert!(protos(&host).contains(comment), "{}", protos(&host));
    let host = host.restarted().await;
    assert!(protos(&host).contains(comment));
    assert!(!host.push_as(request, &calc(0)).await.unwrap().created);
    assert!(!host.push("m", &calc(0)).await.unwrap().created, "without comments: nothing new");
    let other = vec![("calc.wit".to_owned(), text.replace("two", "both"))];
    let request = PushRequest { wit: other, ..named("m") };
    let pushed = host.push_as(request, &calc(0)).await.unwrap();
    assert_eq!((pushed.created, pushed.record.version.to_string()), (true, "0.1.1".to_owned()));
    assert!(protos(&host).contains("Adds both numbers"));
    let bad = PushRequest { wit: vec![("a.wit".to_owned(), "{".to_owned())], ..named("m") };
    let error = host.push_as(bad, &calc(3)).await.unwrap_err();
    assert!(matches!(error, PushError::Invalid(_)), "{error}");
}
