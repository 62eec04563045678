//! The contract's whole example, byte for byte.

use roadstead_transcode::Locks;

use crate::support::{derived_with, paths, text, unmapped, world};

pub(crate) const HARBOUR: &str = include_str!("golden/harbour.wit");
const SHAPES: &str = "acme/harbour/shapes/v1/shapes.proto";
const MANIFEST: &str = "acme/harbour/manifest/v1/manifest.proto";

#[test]
fn the_example_of_the_contract() {
    let derived = derived_with(&world(HARBOUR), &Locks::default());
    assert_eq!(paths(&derived), [SHAPES, MANIFEST]);
    assert_eq!(text(&derived, SHAPES), include_str!("golden/shapes.proto"));
    assert_eq!(text(&derived, MANIFEST), include_str!("golden/manifest.proto"));
    assert_eq!(derived.locks.to_text(), include_str!("golden/roadstead.lock"));
    assert!(derived.unmapped.is_empty(), "{:?}", unmapped(&derived));
}
