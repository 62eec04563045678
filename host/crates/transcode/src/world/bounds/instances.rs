//! How many component instances an instance of a component consists of: those that it makes, those
//! that they make, and itself. Each may suspend a call on a stack of its own.

use wasmparser::{
    ComponentAlias, ComponentExternalKind, ComponentInstance, ComponentOuterAliasKind,
    ComponentTypeRef, Encoding, Parser, Payload,
};

use super::{WorldError, each, unreadable};

/// Of a component that is only known once it is handed over, which no toolchain makes: more than
/// any bound.
const UNKNOWN: u64 = u64::MAX;

/// A component that is being read.
#[derive(Default)]
struct Scope {
    /// What an instance of each component of its index space consists of.
    components: Vec<u64>,
    /// What its own instances consist of, together.
    instances: u64,
}

/// Counts after instantiation: a component that is instantiated twice counts twice.
pub(super) fn component_instances(component: &[u8]) -> Result<u64, WorldError> {
    // None is a core module, which has no components in it.
    let mut around: Vec<Option<Scope>> = Vec::new();
    let mut whole = 0;
    for payload in Parser::new(0).parse_all(component) {
        match payload.map_err(unreadable)? {
            Payload::Version { encoding, .. } => {
                around.push((encoding == Encoding::Component).then(Scope::default));
            }
            Payload::End(_) => {
                let Some(Some(scope)) = around.pop() else { continue };
                whole = scope.instances.saturating_add(1);
                if let Some(Some(outer)) = around.last_mut() {
                    outer.components.push(whole);
                }
            }
            payload => read(&payload, &mut around)?,
        }
    }
    Ok(whole)
}

fn read(payload: &Payload<'_>, around: &mut [Option<Scope>]) -> Result<(), WorldError> {
    match payload {
        Payload::ComponentAliasSection(section) => each(section, |alias| {
            let found = match alias {
                ComponentAlias::Outer {
                    kind: ComponentOuterAliasKind::Component,
                    count,
                    index,
                } => component(around, count, index),
                ComponentAlias::InstanceExport {
                    kind: ComponentExternalKind::Component, ..
                } => UNKNOWN,
                _ => return Ok(()),
            };
            add(around, found);
            Ok(())
        }),
        Payload::ComponentImportSection(section) => each(section, |import| {
            if let ComponentTypeRef::Component(_) = import.ty {
                add(around, UNKNOWN);
            }
            Ok(())
        }),
        Payload::ComponentExportSection(section) => each(section, |export| {
            if export.kind == ComponentExternalKind::Component {
                let found = component(around, 0, export.index);
                add(around, found);
            }
            Ok(())
        }),
        Payload::ComponentInstanceSection(section) => each(section, |instance| {
            if let ComponentInstance::Instantiate { component_index, .. } = instance {
                let found = component(around, 0, component_index);
                if let Some(Some(scope)) = around.last_mut() {
                    scope.instances = scope.instances.saturating_add(found);
                }
            }
            Ok(())
        }),
        _ => Ok(()),
    }
}

/// What an instance of a component of the scope `out` levels outside of the innermost consists of.
fn component(around: &[Option<Scope>], out: u32, index: u32) -> u64 {
    let (Ok(out), Ok(index)) = (usize::try_from(out), usize::try_from(index)) else {
        return UNKNOWN;
    };
    let scope = around.iter().rev().nth(out).and_then(Option::as_ref);
    scope.and_then(|scope| scope.components.get(index)).copied().unwrap_or(UNKNOWN)
}

fn add(around: &mut [Option<Scope>], component: u64) {
    if let Some(Some(scope)) = around.last_mut() {
        scope.components.push(component);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(text: &str) -> u64 {
        component_instances(&wat::parse_str(text).unwrap()).unwrap()
    }

    #[test]
    fn what_is_instantiated_twice_counts_twice() {
        assert_eq!(count("(component)"), 1);
        assert_eq!(count("(component (core module $m) (core instance (instantiate $m)))"), 1);
        assert_eq!(count("(component (component $c))"), 1);
        assert_eq!(
            count(
                "(component (component $c) (instance (instantiate $c)) (instance (instantiate $c)))"
            ),
            3
        );
        let twice = |inner: &str| {
            format!(
                "(component $c {inner}) (instance (instantiate $c)) (instance (instantiate $c))"
            )
        };
        assert_eq!(count(&format!("(component {})", twice(&twice(&twice(""))))), 15);
    }

    #[test]
    fn components_are_followed_through_scopes_and_exports() {
        let outer = "(component
            (component $two (component $one) (instance (instantiate $one)))
            (component $b (alias outer 1 $two (component $c)) (instance (instantiate $c)))
            (instance (instantiate $b)))";
        assert_eq!(count(outer), 4);
        let exported = "(component
            (component $one)
            (export $again \"c\" (component $one))
            (instance (instantiate $again)))";
        assert_eq!(count(exported), 2);
    }

    #[test]
    fn components_that_are_handed_over_count_as_too_many() {
        for handed in [
            "(component
                (component $maker (component $c) (export \"c\" (component $c)))
                (instance $made (instantiate $maker))
                (alias export $made \"c\" (component $c))
                (instance (instantiate $c)))",
            "(component
                (component $one)
                (component $taker (import \"c\" (component $c)) (instance (instantiate $c)))
                (instance (instantiate $taker (with \"c\" (component $one)))))",
        ] {
            assert_eq!(count(handed), u64::MAX, "{handed}");
        }
    }
}
