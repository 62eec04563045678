//! The messages of a method: its request or the stream of its requests, and the same the other way.

use std::sync::Arc;

use super::{
    DeriveError,
    build::{Builder, lost_type},
    message::{Built, Holds, Part, Scope},
    streams::{Output, Signature, StreamItem},
    types::Ty,
};
use crate::{
    lock::TypeKind,
    plan::{
        Body, CasePlan, ERROR, FieldPlan, ITEM, InputPlan, MessagePlan, OutputPlan, ResponsePlan,
        START, Shape,
    },
};

impl Builder<'_> {
    /// The message that callers send, the plan of the parameters in it, and the stream's.
    pub(super) fn request(
        &mut self,
        package: &str,
        key: &str,
        signature: &Signature<'_>,
    ) -> Result<(Built, Arc<MessagePlan>, Option<InputPlan>), DeriveError> {
        let params: Vec<_> =
            signature.params.iter().map(|(name, ty)| Part::field(name, *ty)).collect();
        let Some(input) = &signature.input else {
            let built = self.of_method(package, key, TypeKind::Request, &params)?;
            let params = Arc::clone(&built.plan);
            return Ok((built, params, None));
        };
        let start = Part { wit_name: START, docs: None, holds: Holds::Start(&params) };
        let parts = [start, Part::item(ITEM, input.item, true)];
        let built = self.of_method(package, key, TypeKind::RequestStream, &parts)?;
        let message = Arc::clone(&built.plan);
        let [start, item] = cases(&message)?;
        let (Some(Shape::Message(params)), Some(item)) = (start.payload, item.payload) else {
            return Err(lost_type());
        };
        let (position, settles) = (input.position, input.settles);
        Ok((built, params, Some(InputPlan { position, settles, message, item })))
    }

    /// The message that callers receive, and how it is made.
    pub(super) fn response(
        &mut self,
        package: &str,
        key: &str,
        signature: &Signature<'_>,
    ) -> Result<(Built, ResponsePlan), DeriveError> {
        let (item, error) = match signature.output {
            Output::One(ty) => return self.one_response(package, key, ty),
            Output::Items(item) => (item, None),
            Output::OrError(item, error) | Output::ThenError(item, error) => (item, Some(error)),
        };
        let (built, parts) = self.responses(package, key, item, error)?;
        let plan = match (signature.output, parts) {
            (Output::Items(_), Parts::Field(item)) => OutputPlan::Items(item),
            (Output::OrError(..), Parts::Cases([item, error])) => {
                OutputPlan::OrError { item, error }
            }
            (_, Parts::Cases([item, error])) => OutputPlan::ThenError { item, error },
            (_, Parts::Field(_)) => return Err(lost_type()),
        };
        Ok((built, ResponsePlan::Stream(plan)))
    }

    fn one_response(
        &mut self,
        package: &str,
        key: &str,
        ty: Option<wit_parser::Type>,
    ) -> Result<(Built, ResponsePlan), DeriveError> {
        let parts = match ty {
            None => Vec::new(),
            Some(ty) => match self.ty(ty)? {
                Ty::Result(ok, error) => vec![Part::case("ok", ok), Part::case(ERROR, error)],
                _ => vec![Part::field("value", ty)],
            },
        };
        let built = self.of_method(package, key, TypeKind::Response, &parts)?;
        let plan = match &built.plan.body {
            Body::Result { .. } => ResponsePlan::Result(Arc::clone(&built.plan)),
            Body::Fields(fields) => {
                fields.first().cloned().map_or(ResponsePlan::Empty, ResponsePlan::Value)
            }
            _ => ResponsePlan::Empty,
        };
        Ok((built, plan))
    }

    fn responses(
        &mut self,
        package: &str,
        key: &str,
        item: StreamItem,
        error: Option<Option<wit_parser::Type>>,
    ) -> Result<(Built, Parts), DeriveError> {
        let mut parts = vec![Part::item(ITEM, item, error.is_some())];
        parts.extend(error.map(|error| Part::case(ERROR, error)));
        let built = self.of_method(package, key, TypeKind::ResponseStream, &parts)?;
        let found = match &built.plan.body {
            Body::Fields(fields) => Parts::Field(fields.first().cloned().ok_or_else(lost_type)?),
            _ => Parts::Cases(cases(&built.plan)?),
        };
        Ok((built, found))
    }

    pub(super) fn of_method(
        &mut self,
        package: &str,
        key: &str,
        kind: TypeKind,
        parts: &[Part<'_>],
    ) -> Result<Built, DeriveError> {
        let (key, name) = self.ledger(package).method_message(key, kind);
        self.message(&Scope::top(package, key, name), kind, parts)
    }
}

/// What a stream's response message consists of.
enum Parts {
    Field(FieldPlan),
    Cases([CasePlan; 2]),
}

fn cases(message: &MessagePlan) -> Result<[CasePlan; 2], DeriveError> {
    match &message.body {
        Body::Variant(cases) => cases.clone().try_into().map_err(|_| lost_type()),
        _ => Err(lost_type()),
    }
}
