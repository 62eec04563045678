//! What should become of the servers of one native module, from what is seen of them.
//!
//! Pure: nothing here reads a clock, talks to anyone or remembers anything. Whoever runs servers,
//! as processes or as pods, observes them, asks for a [`plan`], does what it says in its order, and
//! asks again when something changed or [`Plan::again`] has come.
//!
//! What holds whatever is observed: of a stateful module there are never two attempts at once, and
//! an attempt's epoch is claimed before it starts; a server that was not ready never keeps the one
//! that answers from answering; servers that fail are begun again ever more seldom.

mod desire;
mod judge;
mod moment;
mod observed;
mod plan;
mod restarts;
mod state;

pub use desire::{Demand, Wanted, target};
pub use judge::{late, stuck};
pub use moment::Moment;
pub use observed::{Attempt, Contract, End, Ended, Module, Progress};
pub use plan::{Action, Plan, Why, plan};
pub use restarts::{KEPT, Restarts};
pub use state::{Standing, State};
