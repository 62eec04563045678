//! Whether what one component imports is what another module exports.

use std::{collections::HashSet, fmt};

use roadstead_domain::Version;

use crate::{FunctionShape, Interface, NamedType, TypeMember, TypeName, TypeRef};

/// The first difference between an import and what a module exports.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Misfit {
    #[error("it does not export `{0}`")]
    NoInterface(String),
    #[error("it has no function `{0}`")]
    NoFunction(String),
    #[error("`{function}`{place} is {ours} in the import, and {theirs} in what it exports")]
    Differs {
        function: String,
        /// Like `, parameter a, field x`.
        place: String,
        ours: String,
        theirs: String,
    },
}

/// Compares functions of two worlds. Types that were compared once are not compared again.
pub(super) struct Compare<'a> {
    ours: &'a [Interface],
    theirs: &'a [Interface],
    same: HashSet<TypeName>,
    place: Vec<String>,
}

/// What differs, as each side has it.
struct Differs {
    place: String,
    ours: String,
    theirs: String,
}

type Compared = Result<(), Differs>;

impl<'a> Compare<'a> {
    pub(super) fn new(ours: &'a [Interface], theirs: &'a [Interface]) -> Self {
        Self { ours, theirs, same: HashSet::new(), place: Vec::new() }
    }

    pub(super) fn function(
        &mut self,
        ours: &FunctionShape,
        theirs: &FunctionShape,
    ) -> Result<(), Misfit> {
        self.place.clear();
        let compared = self.members("parameter", &ours.params, &theirs.params);
        let compared = compared.and_then(|()| {
            self.at("result".to_owned(), |this| {
                this.optional(ours.result.as_ref(), theirs.result.as_ref())
            })
        });
        compared.map_err(|Differs { place, ours: one, theirs: other }| Misfit::Differs {
            function: ours.name.clone(),
            place,
            ours: one,
            theirs: other,
        })
    }

    /// Parameters, fields, cases or flags: the same names and types in the same order.
    fn members(&mut self, what: &str, ours: &[TypeMember], theirs: &[TypeMember]) -> Compared {
        let names = |members: &[TypeMember]| -> Vec<String> {
            members.iter().map(|member| member.name.clone()).collect()
        };
        let (our_names, their_names) = (names(ours), names(theirs));
        if our_names != their_names {
            let list = |names: &[String]| match names {
                [] => format!("without a {what}"),
                names => format!("of {what} {}", names.join(", ")),
            };
            return self.differs(list(&our_names), list(&their_names));
        }
        for (one, other) in ours.iter().zip(theirs) {
            let place = format!("{what} {}", one.name);
            self.at(place, |this| this.optional(one.ty.as_ref(), other.ty.as_ref()))?;
        }
        Ok(())
    }

    fn optional(&mut self, ours: Option<&TypeRef>, theirs: Option<&TypeRef>) -> Compared {
        match (ours, theirs) {
            (None, None) => Ok(()),
            (Some(ours), Some(theirs)) => self.ty(ours, theirs),
            (ours, theirs) => {
                let text = |ty: Option<&TypeRef>| match ty {
                    Some(ty) => Wit(ty).to_string(),
                    None => "nothing".to_owned(),
                };
                self.differs(text(ours), text(theirs))
            }
        }
    }

    fn ty(&mut self, ours: &TypeRef, theirs: &TypeRef) -> Compared {
        match (ours, theirs) {
            (TypeRef::Named(one), TypeRef::Named(other)) => self.named(one, other),
            (TypeRef::List(one), TypeRef::List(other))
            | (TypeRef::Option(one), TypeRef::Option(other)) => self.ty(one, other),
            (TypeRef::Map(key, one), TypeRef::Map(other_key, other)) if key == other_key => {
                self.ty(one, other)
            }
            (TypeRef::Tuple(one), TypeRef::Tuple(other)) if one.len() == other.len() => {
                one.iter().zip(other).try_for_each(|(one, other)| self.ty(one, other))
            }
            (
                TypeRef::Result { ok, error },
                TypeRef::Result { ok: other_ok, error: other_error },
            ) => {
                self.optional(ok.as_deref(), other_ok.as_deref())?;
                self.optional(error.as_deref(), other_error.as_deref())
            }
            (one, other) if one == other => Ok(()),
            (one, other) => self.differs(Wit(one).to_string(), Wit(other).to_string()),
        }
    }

    fn named(&mut self, ours: &TypeName, theirs: &TypeName) -> Compared {
        let same_home = match (&ours.interface, &theirs.interface) {
            (Some(one), Some(other)) => same_track(one, other),
            (one, other) => one == other,
        };
        let found = (found(self.ours, ours), found(self.theirs, theirs));
        let (true, (Some(one), Some(other))) = (same_home && ours.name == theirs.name, found)
        else {
            return self.differs(full_name(ours), full_name(theirs));
        };
        if one.kind != other.kind {
            let kind = |ty: &NamedType| format!("a {:?}", ty.kind).to_lowercase();
            return self.differs(kind(one), kind(other));
        }
        if !self.same.insert(ours.clone()) {
            return Ok(());
        }
        let what = match one.kind {
            crate::NamedKind::Record => "field",
            crate::NamedKind::Flags => "flag",
            crate::NamedKind::Variant | crate::NamedKind::Enum | crate::NamedKind::Resource => {
                "case"
            }
        };
        self.at(format!("type {}", one.name), |this| {
            this.members(what, &one.members, &other.members)
        })
    }

    fn at(&mut self, place: String, compare: impl FnOnce(&mut Self) -> Compared) -> Compared {
        self.place.push(place);
        compare(self)?;
        self.place.pop();
        Ok(())
    }

    fn differs(&self, ours: String, theirs: String) -> Compared {
        let place = self.place.iter().map(|place| format!(", {place}")).collect();
        Err(Differs { place, ours, theirs })
    }
}

/// Whether two names are of one interface, in versions that can stand for each other.
pub(super) fn same_track(one: &str, other: &str) -> bool {
    let parts = |id: &str| {
        let (name, version) = id.split_once('@').map_or((id, None), |(name, v)| (name, Some(v)));
        let track = version.map(|version| match version.parse::<Version>() {
            Ok(version) => version.track().as_str().to_owned(),
            Err(_) => version.to_owned(),
        });
        (name.to_owned(), track)
    };
    one == other || parts(one) == parts(other)
}

fn found<'a>(interfaces: &'a [Interface], name: &TypeName) -> Option<&'a NamedType> {
    let home = interfaces.iter().find(|interface| interface.id == name.interface)?;
    home.types.iter().find(|ty| ty.name == name.name)
}

fn full_name(name: &TypeName) -> String {
    match &name.interface {
        Some(interface) => format!("{interface}.{}", name.name),
        None => name.name.clone(),
    }
}

/// A type as WIT writes it.
struct Wit<'a>(&'a TypeRef);

impl fmt::Display for Wit<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scalar = |scalar| format!("{scalar:?}").to_lowercase();
        match self.0 {
            TypeRef::Scalar(one) => f.write_str(&scalar(*one)),
            TypeRef::List(inner) => write!(f, "list<{}>", Wit(inner)),
            TypeRef::Option(inner) => write!(f, "option<{}>", Wit(inner)),
            TypeRef::Map(key, value) => write!(f, "map<{}, {}>", scalar(*key), Wit(value)),
            TypeRef::Tuple(types) => {
                let types: Vec<_> = types.iter().map(|ty| Wit(ty).to_string()).collect();
                write!(f, "tuple<{}>", types.join(", "))
            }
            TypeRef::Result { ok, error } => {
                let ok = ok.as_deref().map_or_else(|| "_".to_owned(), |ok| Wit(ok).to_string());
                match error {
                    Some(error) => write!(f, "result<{ok}, {}>", Wit(error)),
                    None => write!(f, "result<{ok}>"),
                }
            }
            TypeRef::Named(name) => f.write_str(&full_name(name)),
            TypeRef::Own(name) => write!(f, "own<{}>", full_name(name)),
            TypeRef::Borrow(name) => write!(f, "borrow<{}>", full_name(name)),
            TypeRef::Stream(item) => write!(f, "stream<{}>", Wit(item)),
            TypeRef::Future(Some(value)) => write!(f, "future<{}>", Wit(value)),
            TypeRef::Future(None) => f.write_str("future"),
        }
    }
}
