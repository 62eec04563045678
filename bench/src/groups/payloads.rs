//! Bytes into a module, out of it and both, by size.

use super::unary;
use crate::{
    group::Group,
    record::Row,
    stage::{Language, SHARING, Stage},
    subject::{Subject, closed_case},
    work::{Kind, Task, Way, Work},
};

/// The case of so many bytes.
pub(crate) fn case(bytes: u32, way: Way) -> String {
    format!("{} {}", size(bytes), way.name())
}

/// A power of two in its largest unit.
pub(super) fn size(bytes: u32) -> String {
    match (bytes >> 20, bytes >> 10) {
        (0, 0) => format!("{bytes} B"),
        (0, kib) => format!("{kib} KiB"),
        (mib, _) => format!("{mib} MiB"),
    }
}

pub(crate) async fn measure(stage: &mut Stage) -> anyhow::Result<Vec<Row>> {
    let mut subjects = unary::servers(stage).await?;
    subjects.push(Subject::typed(stage.typed(Language::Rust)?));
    let mut rows = Vec::new();
    for bytes in stage.plan.payloads.clone() {
        // Enough to keep the servers busy, and little enough that gigabytes are not on their way.
        let (callers, sharing) = if bytes < 1 << 20 { (16, SHARING) } else { (4, 1) };
        for way in Way::ALL {
            let work = Work::Transfer { kind: Kind::Bytes, way, count: bytes };
            let load = (Task::Call(work), stage.load(callers, sharing));
            let rounds = stage.plan.rounds;
            let case = case(bytes, way);
            rows.extend(closed_case(Group::Payloads, &case, &subjects, load, rounds).await?);
        }
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_short() {
        assert_eq!(case(1 << 10, Way::In), "1 KiB in");
        assert_eq!(case(16 << 20, Way::Echo), "16 MiB echo");
        assert_eq!(size(16), "16 B");
    }
}
