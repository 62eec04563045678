//! Builds the files and plans of one module: first every name, in the contract's order, then every
//! message.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use wit_parser::{Docs, Type, TypeDef, TypeDefKind, TypeId};

use super::{
    DeriveError, Derived, ServicePlan, Unmapped,
    exports::Export,
    file::{self, EnumFile, FileDraft},
    interfaces::{Interface, Survey},
    ledger::Ledger,
    message::{Built, Holds, Part, Scope},
    resource::{drop_key, key_of},
    streams::Signature,
    types::{Ty, Types},
};
use crate::{
    lock::{Locks, TypeKind, UNSPECIFIED},
    plan::{Action, EnumPlan, ExportPath, MethodPlan, ResponsePlan, Shape},
};

/// Fields, cases and values of a module together.
const MAX_MEMBERS: usize = 100_000;

pub(super) struct Builder<'a> {
    pub(super) types: &'a Types<'a>,
    live: Vec<TypeId>,
    locks: &'a Locks,
    packages: BTreeMap<String, Draft>,
    shapes: HashMap<TypeId, Shape>,
    members: usize,
}

struct Draft {
    ledger: Ledger,
    path: String,
    imports: BTreeSet<String>,
    named: HashMap<TypeId, Declared>,
}

enum Declared {
    Message(Built),
    Enum(EnumFile),
}

impl<'a> Builder<'a> {
    pub(super) fn new(types: &'a Types<'a>, live: Vec<TypeId>, locks: &'a Locks) -> Self {
        Self { types, live, locks, packages: BTreeMap::new(), shapes: HashMap::new(), members: 0 }
    }

    pub(super) fn build(
        mut self,
        services: &[Export<'_>],
        unmapped: Vec<Unmapped>,
    ) -> Result<Derived, DeriveError> {
        let names = self.name_everything(services)?;
        for id in self.live.clone() {
            if let Some(package) = self.types.home(id).map(|home| home.package.name.clone()) {
                self.named(&package, id)?;
            }
        }
        let mut files: BTreeMap<String, FileDraft> = BTreeMap::new();
        let mut plans = Vec::new();
        let mut served = Vec::new();
        for (service, name) in services.iter().zip(names) {
            let file = files.entry(service.package.name.clone()).or_default();
            if let Some(name) = name {
                plans.push(self.service(service, &name, file)?);
                served.push(service);
            }
        }
        let live = self.live.iter().filter_map(|id| Some((*id, self.shapes.get(id)?)));
        let survey = Survey::new(self.types, services);
        let interfaces = survey.interfaces(live, served.into_iter().zip(&plans));
        self.finish(files, plans, unmapped, interfaces)
    }

    /// Gives out names: services, then rpcs and their messages, then types, then enum values.
    fn name_everything(
        &mut self,
        services: &[Export<'_>],
    ) -> Result<Vec<Option<String>>, DeriveError> {
        let homes: Vec<_> = self.live.iter().filter_map(|id| self.types.home(*id)).collect();
        let packages = services.iter().map(|one| &one.package);
        for package in packages.chain(homes.iter().map(|home| &home.package)) {
            self.packages.entry(package.name.clone()).or_insert_with(|| Draft {
                ledger: Ledger::new(self.locks.get(&package.name).cloned().unwrap_or_default()),
                path: package.file.clone(),
                imports: BTreeSet::new(),
                named: HashMap::new(),
            });
        }
        let mut names = Vec::new();
        for service in services {
            let ledger = self.ledger(&service.package.name);
            let resource = service.resource.map(|resource| resource.wit_name);
            let has_rpcs = resource.is_some() || !service.functions.is_empty();
            names.push(has_rpcs.then(|| ledger.service(&service.wit_name, resource)));
        }
        for service in services {
            let ledger = self.ledger(&service.package.name);
            for function in &service.functions {
                ledger.method(&key_of(&function.name));
            }
            if let Some(resource) = service.resource {
                ledger.method(&drop_key(resource));
            }
        }
        for home in &homes {
            let kind = self.types.def(home.definition()).and_then(kind_of);
            if let Some(kind) = kind {
                self.ledger(&home.package.name).named_type(&home.wit_name, kind);
            }
        }
        for home in &homes {
            if let Some(TypeDef { kind: TypeDefKind::Enum(one), .. }) =
                self.types.def(home.definition())
            {
                self.spend(one.cases.len())?;
                let cases = one.cases.iter().map(|case| case.name.as_str());
                self.ledger(&home.package.name).values(&home.wit_name, cases)?;
            }
        }
        Ok(names)
    }

    fn service(
        &mut self,
        export: &Export<'_>,
        name: &str,
        file: &mut FileDraft,
    ) -> Result<ServicePlan, DeriveError> {
        let package = &export.package.name;
        let full_name = format!("{package}.{name}");
        file.begin_service(name, export.docs);
        let mut methods = Vec::new();
        let path = |function: &str| ExportPath {
            interface: export.interface.clone(),
            function: function.to_owned(),
        };
        for function in &export.functions {
            let key = key_of(&function.name);
            let rpc = self.ledger(package).method(&key);
            let signature = Signature::of(function, self.types).map_err(DeriveError::Invalid)?;
            let (request, params, input) = self.request(package, &key, &signature)?;
            let (response, response_plan) = self.response(package, &key, &signature)?;
            let streams = (input.is_some(), matches!(response_plan, ResponsePlan::Stream(_)));
            methods.push(Arc::new(MethodPlan {
                service: full_name.clone(),
                method: rpc.clone(),
                export: path(&function.name),
                action: Action::Call,
                request: params,
                input,
                response: response_plan,
            }));
            let docs = function.docs.contents.as_deref();
            file.add_method(&rpc, docs, request, response, streams);
        }
        if let Some(resource) = export.resource {
            let drop = path(&format!("[resource-drop]{}", resource.wit_name));
            methods.push(Arc::new(self.drop_method(package, &full_name, drop, resource, file)?));
        }
        Ok(ServicePlan { name: full_name, interface: export.interface.clone(), methods })
    }

    /// The shape of a named type, which is built on first use and imported by the package that
    /// uses it.
    pub(super) fn named(&mut self, user: &str, id: TypeId) -> Result<Shape, DeriveError> {
        let home = self.types.home(id).cloned().ok_or_else(lost_type)?;
        let package = &home.package.name;
        if package != user {
            self.import(user, &home.package.file);
        }
        if let Some(shape) = self.shapes.get(&id) {
            return Ok(shape.clone());
        }
        let def = self.types.def(id).ok_or_else(lost_type)?;
        let (shape, declared) = if let TypeDefKind::Enum(_) = def.kind {
            let (plan, one) = self.enumeration(package, &home.wit_name, def)?;
            (Shape::Enum(plan), Declared::Enum(one))
        } else {
            let built = self.named_message(package, &home.wit_name, def)?;
            (Shape::Message(Arc::clone(&built.plan)), Declared::Message(built))
        };
        self.shapes.insert(id, shape.clone());
        if let Some(draft) = self.packages.get_mut(package) {
            draft.named.insert(id, declared);
        }
        Ok(shape)
    }

    fn named_message(
        &mut self,
        package: &str,
        wit_name: &str,
        def: &TypeDef,
    ) -> Result<Built, DeriveError> {
        let kind = kind_of(def).ok_or_else(lost_type)?;
        let parts: Vec<Part<'_>> = match &def.kind {
            TypeDefKind::Record(one) => {
                one.fields.iter().map(|f| Part::field(&f.name, f.ty).docs(&f.docs)).collect()
            }
            TypeDefKind::Variant(one) => {
                one.cases.iter().map(|c| Part::case(&c.name, c.ty).docs(&c.docs)).collect()
            }
            TypeDefKind::Flags(one) => {
                let flag = |name| Part { wit_name: name, docs: None, holds: Holds::Flag };
                one.flags.iter().map(|f| flag(&f.name).docs(&f.docs)).collect()
            }
            TypeDefKind::Resource => {
                vec![Part { wit_name: "id", docs: None, holds: Holds::Id }]
            }
            _ => Vec::new(),
        };
        let name = self.ledger(package).named_type(wit_name, kind);
        let scope = Scope::top(package, wit_name.to_owned(), name);
        let mut built = self.message(&scope, kind, &parts)?;
        built.comments.extend(def.docs.contents.clone().map(|docs| (Vec::new(), docs)));
        Ok(built)
    }

    fn enumeration(
        &mut self,
        package: &str,
        wit_name: &str,
        def: &TypeDef,
    ) -> Result<(Arc<EnumPlan>, EnumFile), DeriveError> {
        let TypeDefKind::Enum(one) = &def.kind else { return Err(lost_type()) };
        let ledger = self.ledger(package);
        let lock = ledger.surface.types.get(wit_name).ok_or_else(lost_type)?;
        let cases = one.cases.iter().map(|case| (case.name.as_str(), &case.docs));
        let none = Docs::default();
        let mut values = Vec::new();
        let mut plan = Vec::new();
        for (case, docs) in std::iter::once((UNSPECIFIED, &none)).chain(cases) {
            let member = lock.members.get(case).ok_or_else(lost_type)?;
            let number = i32::try_from(member.number).unwrap_or(i32::MAX);
            values.push((member.name.clone(), number, docs.contents.clone()));
            if case != UNSPECIFIED {
                plan.push((number, case.to_owned()));
            }
        }
        let plan = EnumPlan::new(format!("{package}.{}", lock.name), plan);
        let removed = ledger.removed(wit_name);
        let docs = def.docs.contents.clone();
        Ok((Arc::new(plan), EnumFile::new(&lock.name, docs, values, &removed)))
    }

    fn finish(
        mut self,
        mut files: BTreeMap<String, FileDraft>,
        services: Vec<ServicePlan>,
        unmapped: Vec<Unmapped>,
        interfaces: Vec<Interface>,
    ) -> Result<Derived, DeriveError> {
        let mut locks = self.locks.clone();
        let mut surface = Locks::default();
        for id in &self.live {
            let Some(home) = self.types.home(*id) else { continue };
            let Some(draft) = self.packages.get_mut(&home.package.name) else { continue };
            let file = files.entry(home.package.name.clone()).or_default();
            match draft.named.remove(id) {
                Some(Declared::Message(built)) => file.add_type(built),
                Some(Declared::Enum(one)) => file.add_enum(one),
                None => {}
            }
        }
        let mut finished = Vec::new();
        for (package, draft) in self.packages {
            let Some(file) = files.remove(&package).filter(|file| !file.is_empty()) else {
                continue;
            };
            finished.push(file.finish(&package, draft.path, draft.imports));
            locks.insert(package.clone(), draft.ledger.union);
            surface.insert(package, draft.ledger.surface);
        }
        let files = file::in_order(finished)?;
        file::check(&files)?;
        Ok(Derived { files, services, interfaces, unmapped, locks, surface })
    }

    pub(super) fn ty(&self, ty: Type) -> Result<Ty<'a>, DeriveError> {
        self.types.ty(ty).ok_or_else(lost_type)
    }

    pub(super) fn import(&mut self, package: &str, file: &str) {
        if let Some(draft) = self.packages.get_mut(package) {
            draft.imports.insert(file.to_owned());
        }
    }

    /// Every package in play has its ledger before the first message is built.
    pub(super) fn ledger(&mut self, package: &str) -> &mut Ledger {
        let draft = self.packages.entry(package.to_owned()).or_insert_with(|| Draft {
            ledger: Ledger::new(self.locks.get(package).cloned().unwrap_or_default()),
            path: String::new(),
            imports: BTreeSet::new(),
            named: HashMap::new(),
        });
        &mut draft.ledger
    }

    pub(super) fn spend(&mut self, members: usize) -> Result<(), DeriveError> {
        self.members = self.members.saturating_add(members).saturating_add(1);
        if self.members > MAX_MEMBERS {
            return Err(DeriveError::TooLarge(MAX_MEMBERS));
        }
        Ok(())
    }
}

/// A type that was found fit to be mapped and then was not there: cannot happen with a consistent
/// world, and is no reason to go down with one that is not.
pub(super) fn lost_type() -> DeriveError {
    DeriveError::Invalid("a type is used that the world does not define".to_owned())
}

fn kind_of(def: &TypeDef) -> Option<TypeKind> {
    match def.kind {
        TypeDefKind::Record(_) => Some(TypeKind::Record),
        TypeDefKind::Variant(_) => Some(TypeKind::Variant),
        TypeDefKind::Enum(_) => Some(TypeKind::Enum),
        TypeDefKind::Flags(_) => Some(TypeKind::Flags),
        TypeDefKind::Resource => Some(TypeKind::Handle),
        _ => None,
    }
}
