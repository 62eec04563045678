//! Names of objects: one for each version, whatever its text.

use roadstead_domain::{Digest, ModuleName, Version};

/// Hexadecimal digits in a name that stands for a version which no object can be named after.
const DIGITS: usize = 40;

/// The name of a version's object: `<module>-<version>`. Versions that Kubernetes would not take as
/// part of a name (upper case, odd dots and hyphens) stand there as `<module>-x<digits>`, where the
/// digits are of the version's SHA-256.
///
/// Different versions have different names: a module's name has no dot and a version begins with
/// digits and a dot, so the last hyphen before the first dot is where the version begins.
pub fn version_object(module: &ModuleName, version: &Version) -> String {
    let text = version.to_string();
    if is_subdomain(&text) {
        return format!("{module}-{text}");
    }
    let digits: String = Digest::of(text.as_bytes()).hex().chars().take(DIGITS).collect();
    format!("{module}-x{digits}")
}

/// What Kubernetes takes as the end of a name: lower-case labels that begin and end with a letter
/// or digit, and dots between them.
fn is_subdomain(text: &str) -> bool {
    text.split('.').all(|label| {
        let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        !label.is_empty()
            && label.bytes().all(allowed)
            && !label.starts_with('-')
            && !label.ends_with('-')
    })
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    fn object(module: &str, version: &str) -> String {
        version_object(&module.parse().unwrap(), &version.parse().unwrap())
    }

    #[test]
    fn versions_stand_in_the_name_where_they_can() {
        assert_eq!(object("reward", "0.3.0"), "reward-0.3.0");
        assert_eq!(object("text-stats", "1.0.0-rc.1"), "text-stats-1.0.0-rc.1");
        for odd in ["1.0.0-RC.1", "1.0.0-a.-b", "1.0.0--", "1.0.0-a-"] {
            let name = object("m", odd);
            assert!(name.starts_with("m-x") && is_subdomain(&name), "{name}");
        }
    }

    proptest! {
        #[test]
        fn names_are_valid_and_differ(
            all in prop::collection::vec(
                ("[a-z0-9]([a-z0-9-]{0,6}[a-z0-9])?", "[0-2]\\.[0-2]\\.[0-2](-[a-cA-C-]{1,3}(\\.[a-cA-C-]{1,2})?)?"),
                2..30,
            ),
        ) {
            let mut seen = HashMap::new();
            for (module, version) in all {
                let (Ok(module), Ok(version)) =
                    (module.parse::<ModuleName>(), version.parse::<Version>()) else { continue };
                let name = version_object(&module, &version);
                prop_assert!(is_subdomain(&name) && name.len() <= 253, "{}", name);
                let pair = (module, version);
                let before = seen.insert(name, pair.clone());
                prop_assert!(before.is_none_or(|before| before == pair));
            }
        }
    }
}
