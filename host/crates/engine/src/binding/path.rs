//! The modules that a call came through.

use std::sync::Arc;

use roadstead_domain::{BindingProblem, ModuleName};

/// The modules that a call came through, outermost first. A module never stands there twice.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CallPath(Vec<Arc<str>>);

impl CallPath {
    /// The most modules that a call may have come through.
    pub const MOST: usize = 16;

    /// As `name@version`.
    pub fn modules(&self) -> &[Arc<str>] {
        &self.0
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The path of a call that `module`, to which this one led, makes of `target`.
    pub(super) fn through(
        &self,
        module: &Arc<str>,
        target: &ModuleName,
    ) -> Result<Self, BindingProblem> {
        let mut path = self.0.clone();
        path.push(Arc::clone(module));
        let waits = |module: &Arc<str>| {
            module.split_once('@').map_or(&**module, |(name, _)| name) == target.as_str()
        };
        if path.iter().any(waits) {
            let circle = path.iter().map(|module| &**module).chain([target.as_str()]);
            return Err(BindingProblem::Cycle(circle.collect::<Vec<_>>().join(" → ")));
        }
        if Self::MOST < path.len() {
            return Err(BindingProblem::Depth(Self::MOST));
        }
        Ok(Self(path))
    }
}

impl FromIterator<Arc<str>> for CallPath {
    fn from_iter<I: IntoIterator<Item = Arc<str>>>(modules: I) -> Self {
        Self(modules.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grown(modules: usize) -> CallPath {
        (0..modules).fold(CallPath::default(), |path, at| {
            let module = format!("m{at}@1.0.0").into();
            path.through(&module, &"other".parse().unwrap()).unwrap()
        })
    }

    #[test]
    fn a_path_has_so_many_modules_and_no_more() {
        let path = grown(CallPath::MOST);
        assert_eq!(path.modules().len(), 16);
        let last = "last@1.0.0".into();
        let further = path.through(&last, &"other".parse().unwrap());
        assert_eq!(further, Err(BindingProblem::Depth(16)));
    }

    #[test]
    fn a_module_that_waits_is_not_called_again_in_any_version() {
        let path = grown(3);
        let last = "last@1.0.0".into();
        for target in ["m0", "m2", "last"] {
            let found = path.through(&last, &target.parse().unwrap());
            let Err(BindingProblem::Cycle(text)) = found else { panic!("{found:?}") };
            assert_eq!(text, format!("m0@1.0.0 → m1@1.0.0 → m2@1.0.0 → last@1.0.0 → {target}"));
        }
        assert!(path.through(&last, &"m3".parse().unwrap()).is_ok());
    }
}
