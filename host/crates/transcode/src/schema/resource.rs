//! What resources add to a schema: their handles, and the method that drops one.

use std::sync::Arc;

use wit_parser::TypeId;

use super::{
    DeriveError,
    build::{Builder, lost_type},
    exports::Resource,
    file::FileDraft,
    message::{Holds, Part},
};
use crate::{
    lock::TypeKind,
    plan::{Action, Body, ExportPath, HandlePlan, MessagePlan, MethodPlan, ResponsePlan, Shape},
};

/// A function as the lock knows it: dots part what is nested there.
pub(super) fn key_of(function: &str) -> String {
    function.replace('.', "/")
}

pub(super) fn drop_key(resource: Resource<'_>) -> String {
    format!("[drop]{}", resource.wit_name)
}

impl Builder<'_> {
    /// The shape of a handle, which shares its message with all others of its resource.
    pub(super) fn handle(
        &mut self,
        user: &str,
        resource: TypeId,
        owned: bool,
    ) -> Result<Shape, DeriveError> {
        let Shape::Message(message) = self.named(user, resource)? else { return Err(lost_type()) };
        let Body::Fields(fields) = &message.body else { return Err(lost_type()) };
        let home = self.types.home(resource).cloned().ok_or_else(lost_type)?;
        let package = &home.package.name;
        let services = &self.ledger(package).union.resources;
        let service = services.get(&home.wit_name).ok_or_else(lost_type)?;
        let plan = HandlePlan {
            number: fields.first().ok_or_else(lost_type)?.number,
            resource: format!("{package}.{service}"),
            owned,
        };
        Ok(Shape::Message(Arc::new(MessagePlan::new(message.name.clone(), Body::Handle(plan)))))
    }

    /// Adds the method that drops a resource to the service that was begun last.
    pub(super) fn drop_method(
        &mut self,
        package: &str,
        service: &str,
        export: ExportPath,
        resource: Resource<'_>,
        file: &mut FileDraft,
    ) -> Result<MethodPlan, DeriveError> {
        let key = drop_key(resource);
        let method = self.ledger(package).method(&key);
        let handle = Part { wit_name: "self", docs: None, holds: Holds::Own(resource.id) };
        let request = self.of_method(package, &key, TypeKind::Request, &[handle])?;
        let response = self.of_method(package, &key, TypeKind::Response, &[])?;
        let plan = MethodPlan {
            service: service.to_owned(),
            method,
            export,
            action: Action::Drop,
            request: Arc::clone(&request.plan),
            input: None,
            response: ResponsePlan::Empty,
        };
        file.add_method(&plan.method, None, request, response, (false, false));
        Ok(plan)
    }
}
