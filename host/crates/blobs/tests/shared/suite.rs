//! What holds for every place: blobs and code of one host are the other's, nothing foreign is used,
//! and nothing goes that is needed.

use std::{
    collections::{BTreeMap, HashSet},
    fs,
    io::{Read as _, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use futures::TryStreamExt as _;
use object_store::{ObjectStore, ObjectStoreExt as _, path::Path as Key, prefix::PrefixStore};
use roadstead_blobs::{BlobError, BlobStore, Kind, Place, SharedConfig};
use roadstead_domain::{ByteSize, Digest};

const KEY: [u8; 32] = [7; 32];
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A place for one test, and where its hosts keep what is theirs.
pub(crate) struct Ground {
    pub(crate) place: Place,
    pub(crate) directory: tempfile::TempDir,
}

impl Ground {
    /// A host of the pool `pool`.
    fn host(&self, name: &str) -> BlobStore {
        self.with(name, "pool", KEY, DAY)
    }

    fn with(&self, name: &str, pool: &str, key: [u8; 32], grace: Duration) -> BlobStore {
        let (place, pool) = (self.place.clone(), pool.to_owned());
        let config = SharedConfig { place, pool, key, cache: ByteSize::mib(64), grace };
        BlobStore::open_shared(&self.directory.path().join(name), config).unwrap()
    }

    /// What the pool shares, object by object.
    fn objects(&self) -> Arc<dyn ObjectStore> {
        Arc::new(PrefixStore::new(self.place.open().unwrap(), "pool"))
    }

    async fn names(&self, directory: &str) -> Vec<Key> {
        let prefix = Key::from(directory);
        let listed: Vec<_> = self.objects().list(Some(&prefix)).try_collect().await.unwrap();
        listed.into_iter().map(|object| object.location).collect()
    }

    async fn write(&self, key: &Key, bytes: impl Into<Bytes>) {
        self.objects().put(key, bytes.into().into()).await.unwrap();
    }
}

/// All of them, one after the other.
pub(crate) async fn all(ground: &dyn Fn() -> Ground) {
    what_one_host_stores_another_has(&ground()).await;
    damaged_blobs_are_never_used_and_stored_again(&ground()).await;
    code_is_used_only_with_the_pools_signature_for_it(&ground()).await;
    copies_serve_on(&ground()).await;
    little_code_is_kept_here(&ground()).await;
    what_nothing_names_goes_after_a_grace(&ground()).await;
    what_is_stored_while_others_sweep_stays(&ground()).await;
    code_of_engines_that_nobody_runs_goes(&ground()).await;
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}

fn compile(store: &BlobStore, component: Digest, code: &[u8]) {
    compile_for(store, "engine", component, code);
}

fn compile_for(store: &BlobStore, engine: &str, component: Digest, code: &[u8]) {
    let staged = store.code().stage().unwrap();
    staged.file().write_all(code).unwrap();
    store.code().put(engine, component, staged).unwrap();
    store.share_code(engine, component).unwrap();
}

fn fetched(store: &BlobStore, component: Digest) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    store.fetch_code("engine", component).unwrap()?.read_to_end(&mut bytes).unwrap();
    Some(bytes)
}

async fn what_one_host_stores_another_has(ground: &Ground) {
    let (one, other) = (ground.host("one"), ground.host("other"));
    for kind in Kind::ALL {
        let text = Bytes::from(format!("{kind:?}"));
        let digest = one.put(kind, text.clone()).await.unwrap().digest();
        assert_eq!(other.get(kind, digest).await.unwrap(), text);
        assert_eq!(other.read_blocking(kind, digest).unwrap(), text);
    }
    let component = Digest::of(b"component");
    assert_eq!(fetched(&other, component), None);
    // More than one part, so that it goes and comes in pieces.
    let code = vec![3; 20 << 20];
    compile(&one, component, &code);
    assert_eq!(fetched(&other, component).unwrap(), code);
    other.code().open("engine", component).unwrap();
    let stranger = ground.with("stranger", "another", KEY, DAY);
    let error = stranger.get(Kind::Lock, Digest::of(b"Lock")).await.unwrap_err();
    assert!(matches!(error, BlobError::Missing(_)), "pools are apart: {error}");
}

async fn damaged_blobs_are_never_used_and_stored_again(ground: &Ground) {
    let (one, other) = (ground.host("one"), ground.host("other"));
    let bytes = Bytes::from_static(b"bytes");
    let digest = one.put(Kind::Component, bytes.clone()).await.unwrap().digest();
    ground.write(&ground.names("components").await[0], "bites").await;
    let error = other.get(Kind::Component, digest).await.unwrap_err();
    assert!(matches!(error, BlobError::Damaged(_)), "{error}");
    one.put(Kind::Component, bytes.clone()).await.unwrap();
    assert_eq!(other.get(Kind::Component, digest).await.unwrap(), bytes);
    // One that reads is enough, wherever it stands.
    ground.write(&Key::from(format!("components/{}/new", digest.hex())), "bites").await;
    assert_eq!(other.get(Kind::Component, digest).await.unwrap(), bytes);
}

async fn code_is_used_only_with_the_pools_signature_for_it(ground: &Ground) {
    let (one, other) = (ground.host("one"), ground.host("other"));
    let foreign = ground.with("foreign", "pool", [8; 32], DAY);
    let (component, another) = (Digest::of(b"component"), Digest::of(b"another"));
    compile(&one, component, b"machine code");
    let key = ground.names("compiled").await.remove(0);
    let whole = ground.objects().get(&key).await.unwrap().bytes().await.unwrap();
    let local = ground.directory.path().join("other");
    for (what, bytes) in [
        ("changed", [&whole[..whole.len() - 1], b"E"].concat()),
        ("cut", whole[..whole.len() - 1].to_vec()),
        ("longer", [&whole[..], b"."].concat()),
        ("unsigned", whole[32..].to_vec()),
        ("without code", whole[..32].to_vec()),
        ("half a signature", whole[..16].to_vec()),
        ("empty", Vec::new()),
    ] {
        ground.write(&key, bytes).await;
        assert_eq!(fetched(&other, component), None, "{what}");
        assert_eq!(files(&local.join("compiled")), Vec::<PathBuf>::new(), "{what}");
        assert_eq!(files(&local.join("staging")), Vec::<PathBuf>::new(), "{what}");
    }
    ground.write(&key, whole.clone()).await;
    assert_eq!(fetched(&foreign, component), None, "another pool's key");
    let place = format!("compiled/engine/{}", another.hex());
    ground.write(&Key::from(place), whole.clone()).await;
    assert_eq!(fetched(&other, another), None, "another component's code");
    let place = format!("compiled/another/{}", component.hex());
    ground.write(&Key::from(place), whole).await;
    assert!(other.fetch_code("another", component).unwrap().is_none(), "another engine's code");
    assert_eq!(fetched(&other, component).unwrap(), b"machine code");
    compile(&foreign, component, b"foreign code");
    fs::remove_dir_all(local.join("compiled/engine")).unwrap();
    assert_eq!(fetched(&other, component), None, "a foreign host's code");
}

/// What a host has read once it has without the store, but for components.
async fn copies_serve_on(ground: &Ground) {
    let (one, other) = (ground.host("one"), ground.host("other"));
    let text = |kind: Kind| Bytes::from(format!("{kind:?}"));
    for kind in Kind::ALL {
        let digest = one.put(kind, text(kind)).await.unwrap().digest();
        other.get(kind, digest).await.unwrap();
    }
    for kind in Kind::ALL {
        for key in ground.names(&format!("{}s", format!("{kind:?}").to_lowercase())).await {
            ground.objects().delete(&key).await.unwrap();
        }
        for key in ground.names("wit").await {
            ground.objects().delete(&key).await.unwrap();
        }
        let read = other.get(kind, Digest::of(&text(kind))).await;
        assert_eq!(read.is_ok(), kind != Kind::Component, "{kind:?}");
    }
    // From its copy, what the store has lost is stored there anew.
    let lock = Digest::of(&text(Kind::Lock));
    drop(other.renew(Kind::Lock, lock).await.unwrap());
    let third = ground.host("third");
    assert_eq!(third.get(Kind::Lock, lock).await.unwrap(), text(Kind::Lock));
    third.renew(Kind::Component, Digest::of(b"nowhere")).await.unwrap_err();
}

async fn little_code_is_kept_here(ground: &Ground) {
    let (one, data) = (ground.host("one"), ground.directory.path().join("small"));
    let components = [Digest::of(b"0"), Digest::of(b"1"), Digest::of(b"2")];
    for component in components {
        compile(&one, component, &[1; 40]);
    }
    let config = SharedConfig {
        place: ground.place.clone(),
        pool: "pool".to_owned(),
        key: KEY,
        cache: ByteSize(100),
        grace: DAY,
    };
    let small = BlobStore::open_shared(&data, config).unwrap();
    let here = |index: usize| small.code().contains("engine", components[index]);
    let fetch = |index: usize| fetched(&small, components[index]).unwrap();
    let mapped = fetch(0);
    fetch(1);
    // The time that is noted goes on between them, however coarse the file system's clock is.
    tokio::time::sleep(Duration::from_millis(50)).await;
    small.code().open("engine", components[0]).unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(fetch(2), mapped);
    assert_eq!([here(0), here(1), here(2)], [true, false, true], "what was used last stays");
    assert_eq!(files(&data.join("compiled")).len(), 4, "signatures go with their code");
    compile(&one, Digest::of(b"large"), &[1; 101]);
    assert_eq!(fetched(&small, Digest::of(b"large")), None, "more than may be kept");
}

async fn sweep(host: &BlobStore, referenced: &[Digest]) -> usize {
    let sweep = host.begin_shared_sweep(Duration::ZERO).await.unwrap().unwrap();
    sweep.finish(&referenced.iter().copied().collect()).await.unwrap()
}

async fn put(host: &BlobStore, text: &str) -> Digest {
    host.put(Kind::Component, Bytes::from(text.to_owned())).await.unwrap().digest()
}

async fn what_nothing_names_goes_after_a_grace(ground: &Ground) {
    let patient = ground.host("one");
    patient.mark_engine("engine").await.unwrap();
    let (needed, garbage) = (put(&patient, "needed").await, put(&patient, "garbage").await);
    compile(&patient, needed, b"code");
    compile(&patient, garbage, b"code");
    for _ in 0..3 {
        assert_eq!(sweep(&patient, &[needed]).await, 0, "the grace is obeyed");
    }
    patient.get(Kind::Component, garbage).await.unwrap();
    assert!(patient.begin_shared_sweep(DAY).await.unwrap().is_none(), "others looked just now");

    let notes = Key::from("sweep/unnamed.json");
    let read = ground.objects().get(&notes).await.unwrap().bytes().await.unwrap();
    let noted: BTreeMap<String, i64> = serde_json::from_slice(&read).unwrap();
    assert_eq!(noted.len(), 2, "the garbage and its code: {noted:?}");
    // What was noted and is named again begins anew.
    assert_eq!(sweep(&patient, &[needed, garbage]).await, 0);
    let read = ground.objects().get(&notes).await.unwrap().bytes().await.unwrap();
    assert_eq!(read, "{}");

    // A second object of what is needed is one too many.
    put(&patient, "needed").await;
    assert_eq!(ground.names("components").await.len(), 3);
    assert_eq!(sweep(&patient, &[needed]).await, 0);
    let read = ground.objects().get(&notes).await.unwrap().bytes().await.unwrap();
    let mut noted: BTreeMap<String, i64> = serde_json::from_slice(&read).unwrap();
    assert_eq!(noted.len(), 3, "the garbage, its code and the older of two: {noted:?}");
    noted.values_mut().for_each(|since| *since -= 24 * 60 * 60);
    ground.write(&notes, serde_json::to_vec(&noted).unwrap()).await;
    // Code has one name: who stored it last began its grace.
    assert_eq!(sweep(&patient, &[needed]).await, 2);
    let fresh = ground.host("fresh");
    assert_eq!(fresh.get(Kind::Component, needed).await.unwrap(), "needed");
    let error = fresh.get(Kind::Component, garbage).await.unwrap_err();
    assert!(matches!(error, BlobError::Missing(_)), "{error}");
    assert_eq!(fetched(&fresh, garbage).unwrap(), b"code");
}

async fn what_is_stored_while_others_sweep_stays(ground: &Ground) {
    // Without any grace, so that nothing but the order keeps it.
    let sweeper = ground.with("one", "pool", KEY, Duration::ZERO);
    let pusher = ground.host("other");
    let digest = put(&pusher, "again").await;
    let held_up = sweeper.begin_shared_sweep(Duration::ZERO).await.unwrap().unwrap();
    // Another host stores it again, and whoever asked for it is told that it is stored. The first
    // one wakes up long after, knowing nothing of it.
    put(&pusher, "again").await;
    assert_eq!(held_up.finish(&HashSet::new()).await.unwrap(), 1);
    assert_eq!(ground.host("third").get(Kind::Component, digest).await.unwrap(), "again");
    // And while two sweep at once.
    let one = sweeper.begin_shared_sweep(Duration::ZERO).await.unwrap().unwrap();
    let other = sweeper.begin_shared_sweep(Duration::ZERO).await.unwrap().unwrap();
    put(&pusher, "again").await;
    one.finish(&HashSet::new()).await.unwrap();
    other.finish(&HashSet::new()).await.unwrap();
    assert_eq!(ground.host("fourth").get(Kind::Component, digest).await.unwrap(), "again");
    // A new object of what goes on being needed is not what an older look would delete.
    let look = sweeper.begin_shared_sweep(Duration::ZERO).await.unwrap().unwrap();
    drop(pusher.renew(Kind::Component, digest).await.unwrap());
    look.finish(&HashSet::from([digest])).await.unwrap();
    assert_eq!(ground.host("fifth").get(Kind::Component, digest).await.unwrap(), "again");
}

async fn code_of_engines_that_nobody_runs_goes(ground: &Ground) {
    let host = ground.host("one");
    let soon = ground.with("other", "pool", KEY, Duration::ZERO);
    let component = Digest::of(b"component");
    host.mark_engine("engine").await.unwrap();
    compile_for(&host, "engine", component, b"code");
    compile_for(&host, "older", component, b"code");
    assert_eq!(sweep(&host, &[component]).await, 0);
    assert_eq!(ground.names("compiled").await.len(), 2);
    // Without a grace no mark is young enough; with one, that of the engine in use is.
    let notes = Key::from("sweep/unnamed.json");
    let read = ground.objects().get(&notes).await.unwrap().bytes().await.unwrap();
    let text = String::from_utf8(read.to_vec()).unwrap();
    assert!(text.contains("compiled/older/") && !text.contains("compiled/engine/"), "{text}");
    assert_eq!(sweep(&soon, &[component]).await, 3, "both codes and the engine's mark");
}
