//! Bodies of functions: what translating them takes besides their length.

use wasmparser::{FunctionBody, Operator};

use super::{Outline, unreadable};
use crate::world::WorldError;

impl Outline {
    pub(super) fn body(&mut self, body: &FunctionBody<'_>) -> Result<(), WorldError> {
        let bytes = body.as_bytes().len() as u64;
        self.function_bytes.at_least(bytes)?;
        let mut locals = 0_u64;
        for group in body.get_locals_reader().map_err(unreadable)? {
            let (count, _) = group.map_err(unreadable)?;
            locals = locals.saturating_add(u64::from(count));
        }
        self.locals.at_least(locals)?;
        // A block takes two bytes and a target one: most bodies are too short to need reading.
        if bytes < self.br_table_targets.most.min(2 * self.blocks.most) {
            return Ok(());
        }
        let mut depth = 0_u64;
        for operator in body.get_operators_reader().map_err(unreadable)? {
            match operator.map_err(unreadable)? {
                Operator::Block { .. }
                | Operator::Loop { .. }
                | Operator::If { .. }
                | Operator::Try { .. }
                | Operator::TryTable { .. } => {
                    depth += 1;
                    self.blocks.at_least(depth)?;
                }
                Operator::End | Operator::Delegate { .. } => depth = depth.saturating_sub(1),
                Operator::BrTable { targets } => {
                    self.br_table_targets.at_least(u64::from(targets.len()))?;
                }
                _ => {}
            }
        }
        Ok(())
    }
}
