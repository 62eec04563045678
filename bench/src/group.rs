//! The groups of rows, each a subcommand.

use clap::Subcommand;

use crate::figure;

/// What can be measured by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Subcommand)]
pub(crate) enum Group {
    /// Small unary calls, by the number of callers
    Unary,
    /// Latency of small unary calls that come at half of a server's capacity, whatever it answers
    HalfLoad,
    /// Bytes into a module, out of it and both, by size
    Payloads,
    /// Lists of records, texts and numbers into a module, out of it and both
    Lists,
    /// Streams of numbers and of bytes into a module, out of it and both
    Streams,
    /// What an instance of one's own for each call costs beside a used one
    Instances,
    /// Guests in several languages, beside native servers
    Guests,
    /// Work for the processor alone: what fuel and epochs cost
    Compute,
    /// Calls of modules taken at random, by their number
    Modules,
    /// Memory of published modules and of instances
    Memory,
    /// From the start of a host to the first answer, by the number of its modules
    Start,
    /// From the start of a push to the first answer
    Push,
    /// Ray's actors and tasks beside calls, one at a time and many in flight
    Ray,
    /// Native modules beside the same servers called directly, and from Python beside Ray's actors and
    /// JSON behind FastAPI; how long they take to come and to come back
    Native,
    /// How well quotas of processor time are kept, by modules that compete for two processors
    CpuQuota,
    /// What a flood of one module's calls leaves of its own answers and its neighbour's latency
    Overload,
    /// What it costs to ask who calls: small calls with a token, with a JSON Web Token, and of a host
    /// that does not ask
    Auth,
    /// Small calls that a module leaves to another one, beside the same calls made of that one
    Bindings,
}

impl Group {
    /// In the order in which they are measured.
    pub(crate) const ALL: [Self; 18] = [
        Self::Unary,
        Self::HalfLoad,
        Self::Payloads,
        Self::Lists,
        Self::Streams,
        Self::Instances,
        Self::Guests,
        Self::Compute,
        Self::Modules,
        Self::Memory,
        Self::Start,
        Self::Push,
        Self::Ray,
        Self::Native,
        Self::CpuQuota,
        Self::Overload,
        Self::Auth,
        Self::Bindings,
    ];

    /// The subcommand, and what records say.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Unary => "unary",
            Self::HalfLoad => "half-load",
            Self::Payloads => "payloads",
            Self::Lists => "lists",
            Self::Streams => "streams",
            Self::Instances => "instances",
            Self::Guests => "guests",
            Self::Compute => "compute",
            Self::Modules => "modules",
            Self::Memory => "memory",
            Self::Start => "start",
            Self::Push => "push",
            Self::Ray => "ray",
            Self::Native => "native",
            Self::CpuQuota => "cpu-quota",
            Self::Overload => "overload",
            Self::Auth => "auth",
            Self::Bindings => "bindings",
        }
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|group| group.name() == name)
    }

    /// The figure that ratios are made of.
    pub(crate) fn lead(self) -> &'static str {
        match self {
            Self::Unary
            | Self::Payloads
            | Self::Lists
            | Self::Guests
            | Self::Modules
            | Self::Ray
            | Self::Native => figure::CALLS,
            Self::Streams => figure::ITEMS,
            Self::HalfLoad => figure::P99,
            Self::Instances | Self::Auth | Self::Bindings => figure::SERVER,
            Self::Compute => figure::TIME,
            Self::Memory => figure::EACH,
            Self::Start => figure::LISTENING,
            Self::Push => figure::PUSH,
            Self::CpuQuota => figure::ERROR,
            Self::Overload => figure::OF_CAPACITY,
        }
    }

    /// The heading of the ratios; none where a case has nothing that the others are measured by.
    pub(crate) fn ratio(self) -> Option<&'static str> {
        match self {
            Self::Unary | Self::Payloads | Self::Lists | Self::Streams | Self::Guests => {
                Some("of native")
            }
            Self::HalfLoad => Some("p99, times native's"),
            Self::Instances => Some("times pooled"),
            Self::Auth => Some("times without"),
            Self::Bindings => Some("times direct"),
            Self::Compute => Some("times native"),
            Self::Modules => Some("of one module"),
            Self::Ray => Some("times Ray's actor"),
            Self::Native => Some("of the first"),
            Self::Memory | Self::Start | Self::Push | Self::CpuQuota | Self::Overload => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_group_has_a_name_of_its_own_and_a_leading_figure() {
        for group in Group::ALL {
            assert_eq!(Group::named(group.name()), Some(group));
            assert!(figure::ALL.iter().any(|figure| figure.key == group.lead()));
        }
        assert_eq!(Group::named("nothing"), None);
    }

    #[test]
    fn names_are_the_subcommands() {
        let command = Group::augment_subcommands(clap::Command::new("bench"));
        let names: Vec<_> =
            command.get_subcommands().map(|verb| verb.get_name().to_owned()).collect();
        assert_eq!(names, Group::ALL.map(Group::name));
    }
}
