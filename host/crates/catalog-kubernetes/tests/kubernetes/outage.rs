//! Without the API server, and with one that has forgotten.

use roadstead_catalog::{Catalog, CatalogError, conformance::publication};
use roadstead_catalog_kubernetes::{KubernetesCatalog, OpenError};

use crate::{
    control_plane::{Cluster, until},
    fleet::{shows, versions},
};

#[tokio::test]
async fn hosts_serve_on_and_start_without_the_api_server() {
    let mut cluster = Cluster::take().await;
    let host = cluster.host().await;
    host.catalog.publish(publication("m", "0.1.0", "a")).await.unwrap();
    let before = host.catalog.snapshot().await.unwrap();
    let kept = host.directory.path().join("catalog.json");
    until("the state is on disk", || async {
        std::fs::read_to_string(&kept).is_ok_and(|text| text.contains("0.1.0"))
    })
    .await;
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = std::fs::metadata(&kept).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    cluster.stop_api();
    assert_eq!(host.catalog.snapshot().await.unwrap(), before);
    let error = host.catalog.publish(publication("m", "0.2.0", "b")).await.unwrap_err();
    assert!(matches!(error, CatalogError::Unavailable { .. }), "{error:?}");
    until("the loss is noticed", || async { !host.catalog.is_current() }).await;

    // A host that starts now knows what this one knew; one that never knew anything does not start.
    let again = KubernetesCatalog::open(cluster.settings(), kept).await.unwrap();
    let snapshot = again.snapshot().await.unwrap();
    assert_eq!((&snapshot.modules, &snapshot.locks), (&before.modules, &before.locks));
    assert_eq!(*again.watch().borrow(), snapshot.revision);
    let error = again.publish(publication("m", "0.2.0", "b")).await.unwrap_err();
    assert!(matches!(error, CatalogError::Unavailable { .. }), "{error:?}");
    let nothing = host.directory.path().join("nothing.json");
    let error = KubernetesCatalog::open(cluster.settings(), nothing).await.unwrap_err();
    assert!(matches!(error, OpenError::Unavailable { .. }), "{error:?}");

    cluster.start_api().await;
    for catalog in [&*host.catalog, &again] {
        until("the catalog is up to date again", || async { catalog.is_current() }).await;
    }
    again.publish(publication("m", "0.2.0", "b")).await.unwrap();
    shows(&host.catalog, "m", &["0.1.0", "0.2.0"]).await;
}

#[tokio::test]
async fn a_watch_that_lost_its_place_begins_again() {
    let mut cluster = Cluster::take().await;
    let host = cluster.host().await;
    host.catalog.publish(publication("m", "0.1.0", "a")).await.unwrap();
    host.catalog.publish(publication("m", "0.2.0", "b")).await.unwrap();
    assert_eq!(versions(&host.catalog, "m").await, ["0.1.0", "0.2.0"]);
    let before = *host.catalog.watch().borrow();
    cluster.stop_api();
    // Nobody can tell of this one any more: only a new list shows it.
    cluster.lose("/registry/roadstead.dev/moduleversions/default/m-0.1.0");
    cluster.start_api().await;
    shows(&host.catalog, "m", &["0.2.0"]).await;
    assert!(before < *host.catalog.watch().borrow());
    host.catalog.publish(publication("m", "0.3.0", "c")).await.unwrap();
    assert_eq!(versions(&host.catalog, "m").await, ["0.2.0", "0.3.0"]);
}
