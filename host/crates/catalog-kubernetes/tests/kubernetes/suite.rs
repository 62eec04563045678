//! The suite that every catalog passes.

use roadstead_catalog::conformance;

use crate::control_plane::Cluster;

macro_rules! suite {
    ($($check:ident),* $(,)?) => {
        $(#[tokio::test]
        async fn $check() {
            let cluster = Cluster::take().await;
            let host = cluster.host().await;
            conformance::$check(&*host.catalog).await;
        })*
    };
}

suite!(
    publishes,
    versions_are_immutable,
    chooses_the_next_version,
    a_name_is_native_or_not,
    deletes,
    pins,
    locks_move_with_versions,
    namespaces_are_apart,
);

#[tokio::test]
async fn rollouts_are_kept() {
    let cluster = Cluster::take().await;
    let host = cluster.host().await;
    assert!(conformance::rollouts(&*host.catalog).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_publications_get_one_order() {
    let cluster = Cluster::take().await;
    let host = cluster.host().await;
    conformance::concurrent_publications_get_one_order(host.catalog.clone()).await;
}
