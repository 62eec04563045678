//! A world without code, as bytes: a WIT package in binary form that holds it and no other world.
//! It is what a native module is pushed as.

use wasmparser::Parser;
use wit_component::DecodedWasm;

use super::{
    World, WorldError,
    binary::{guarded, malformed},
    bounds,
};

impl World {
    /// The world as a WIT package in binary form, comments included.
    ///
    /// # Errors
    /// [`WorldError::Text`] for what that form cannot say.
    pub fn to_package(&self) -> Result<Vec<u8>, WorldError> {
        let lost = || WorldError::Text("the world has no package".to_owned());
        let mut resolve = self.resolve.clone();
        let world = resolve.worlds.get(self.world).ok_or_else(lost)?;
        let (name, package) = (world.name.clone(), world.package.ok_or_else(lost)?);
        let home = resolve.packages.get_mut(package).ok_or_else(lost)?;
        home.worlds.clear();
        home.worlds.insert(name, self.world);
        guarded(|| wit_component::encode(&resolve, package)).map_err(WorldError::Text)
    }

    /// Reads what [`World::to_package`] makes.
    ///
    /// # Errors
    /// [`WorldError`] for anything that is not a whole, valid package with one world.
    pub fn decode_package(package: &[u8]) -> Result<Self, WorldError> {
        if !Parser::is_component(package) {
            return Err(WorldError::NotPackage);
        }
        bounds::check(package)?;
        let decoded = guarded(|| wit_component::decode(package)).map_err(malformed)?;
        let DecodedWasm::WitPackage(resolve, package) = decoded else {
            return Err(WorldError::NotPackage);
        };
        let worlds = resolve.packages.get(package).map(|package| &package.worlds);
        let mut worlds = worlds.into_iter().flat_map(|worlds| worlds.values());
        match (worlds.next(), worlds.next()) {
            (Some(&world), None) => {
                Ok(Self { resolve, world, undeclared: Vec::new(), component_instances: 1 })
            }
            _ => Err(WorldError::NotPackage),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a panic is how a test reports")]

    use roadstead_domain::Version;

    use super::*;
    use crate::{Locks, derive};

    const WIT: &str = "/// A package.
package demo:math@0.2.0;
/// Numbers.
interface numbers {
    /// What went wrong.
    variant problem { shape(string), none }
    record pair { a: f64, b: option<u64> }
    /// Adds.
    add: func(pair: pair, values: list<f64>) -> result<f64, problem>;
    follow: async func(values: stream<u8>) -> stream<pair>;
}
interface unused { go: func(); }
world first { export numbers; }
world second { import unused; export numbers; export run: func(text: string) -> string; }";

    fn world(name: Option<&str>, wit: &str) -> World {
        World::from_wit(&[("math.wit".to_owned(), wit.to_owned())], name).unwrap()
    }

    #[test]
    fn a_package_says_all_that_the_text_says() {
        for name in ["first", "second"] {
            let text = world(Some(name), WIT);
            let read = World::decode_package(&text.to_package().unwrap()).unwrap();
            assert_eq!(read.name(), name);
            let derived = |world: &World| {
                derive(world, &"math".parse().unwrap(), &Version::first(), &Locks::default())
            };
            let (one, other) = (derived(&text).unwrap(), derived(&read).unwrap());
            assert_eq!((one.files, one.locks), (other.files, other.locks));
            let plans = |services: Vec<crate::ServicePlan>| -> Vec<_> {
                services.into_iter().flat_map(|service| service.methods).collect()
            };
            assert_eq!(plans(one.services), plans(other.services));
        }
    }

    #[test]
    fn interfaces_without_a_world_are_all_meant() {
        let text = world(None, "package demo:a; interface one { go: func(); }");
        let read = World::decode_package(&text.to_package().unwrap()).unwrap();
        assert_eq!(read.name(), "all-interfaces");
    }

    #[test]
    fn anything_else_is_refused() {
        let component = wat::parse_str("(component)").unwrap();
        let core = wat::parse_str("(module)").unwrap();
        let whole = world(Some("first"), WIT).to_package().unwrap();
        for bytes in [&component[..], &core, b"", b"text", &whole[..whole.len() / 2]] {
            assert!(World::decode_package(bytes).is_err());
        }
        assert_eq!(World::decode(&whole).unwrap_err(), WorldError::WitPackage);
    }
}
