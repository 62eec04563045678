//! What can go wrong with a call that a module makes through a binding.

use std::fmt;

use super::Fault;

/// How a call through a binding failed, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BindingFault {
    /// The bindings that lead there from the module that was called, in that order; never none.
    pub hops: Vec<BindingHop>,
    pub problem: BindingProblem,
}

/// One binding on the way of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BindingHop {
    /// The interface that is imported, as WIT names it.
    pub import: String,
    /// The module that serves it, as `name` or `name@version`.
    pub target: String,
}

/// Why a call through a binding came to nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BindingProblem {
    /// There is no such module, or no such version of it.
    #[error("not ready: {0}")]
    Absent(String),
    /// It exports other functions or types than are imported.
    #[error("it does not fit: {0}")]
    Mismatch(String),
    /// The target waits for this very call: the modules on the way, outermost first.
    #[error("the bindings lead in a circle: {0}")]
    Cycle(String),
    #[error("the call came through {0} modules, which is the most there may be")]
    Depth(usize),
    /// What the target answered.
    #[error("{0}")]
    Fault(Fault),
}

impl fmt::Display for BindingFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for BindingHop { import, target } in &self.hops {
            write!(f, "binding of `{import}` to `{target}`: ")?;
        }
        self.problem.fmt(f)
    }
}

impl BindingFault {
    /// The `reason` of `google.rpc.ErrorInfo`.
    pub fn reason(&self) -> &'static str {
        match self.problem {
            BindingProblem::Absent(_) => "BINDING_ABSENT",
            BindingProblem::Mismatch(_) => "BINDING_MISMATCH",
            BindingProblem::Cycle(_) => "BINDING_CYCLE",
            BindingProblem::Depth(_) => "BINDING_DEPTH",
            BindingProblem::Fault(_) => "BINDING_FAULT",
        }
    }

    /// Whether it is the called module's own binding that leads nowhere.
    pub(super) fn blames_version(&self) -> bool {
        let leads_somewhere =
            matches!(self.problem, BindingProblem::Fault(_) | BindingProblem::Depth(_));
        self.hops.len() == 1 && !leads_somewhere
    }
}

impl Fault {
    /// The fault of a call through a binding, for who called the module that has it.
    pub fn through(hop: BindingHop, problem: BindingProblem) -> Self {
        let (mut hops, problem) = match problem {
            BindingProblem::Fault(Self::Binding(inner)) => (inner.hops, inner.problem),
            problem => (Vec::new(), problem),
        };
        hops.insert(0, hop);
        Self::Binding(Box::new(BindingFault { hops, problem }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_failed_behind_bindings_says_the_way() {
        let hop = |import: &str, target: &str| BindingHop {
            import: import.to_owned(),
            target: target.to_owned(),
        };
        let inner = Fault::through(hop("b:b/b", "b"), BindingProblem::Absent("no b".to_owned()));
        let outer = Fault::through(hop("a:a/a", "a@1.0.0"), BindingProblem::Fault(inner));
        assert_eq!(
            outer.to_string(),
            "binding of `a:a/a` to `a@1.0.0`: binding of `b:b/b` to `b`: not ready: no b"
        );
    }
}
