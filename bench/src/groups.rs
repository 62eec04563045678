//! How each group is measured.

mod auth;
mod bindings;
pub(crate) mod compute;
mod cpu_quota;
mod guests;
pub(crate) mod half_load;
mod instances;
pub(crate) mod lists;
pub(crate) mod native;
mod overload;
pub(crate) mod payloads;
mod published;
mod push;
pub(crate) mod ray;
mod resident;
mod streams;
pub(crate) mod unary;

use crate::{group::Group, record::Row, stage::Stage};

/// Measures the groups, in their own order.
pub(crate) async fn measure(groups: &[Group], stage: &mut Stage) -> anyhow::Result<Vec<Row>> {
    let mut rows = Vec::new();
    for group in Group::ALL.into_iter().filter(|group| groups.contains(group)) {
        rows.extend(match group {
            Group::Unary => unary::measure(stage).await?,
            Group::HalfLoad => half_load::measure(stage).await?,
            Group::Payloads => payloads::measure(stage).await?,
            Group::Lists => lists::measure(stage).await?,
            Group::Streams => streams::measure(stage).await?,
            Group::Instances => instances::measure(stage).await?,
            Group::Guests => guests::measure(stage).await?,
            Group::Compute => compute::measure(stage).await?,
            Group::Memory => resident::measure(stage).await?,
            Group::Push => push::measure(&stage.paths).await?,
            Group::Ray => ray::measure(stage).await?,
            Group::Native => native::measure(stage).await?,
            Group::CpuQuota => cpu_quota::measure(stage).await?,
            Group::Auth => auth::measure(stage).await?,
            Group::Bindings => bindings::measure(stage).await?,
            Group::Overload => overload::measure(stage).await?,
            // Measured below.
            Group::Modules | Group::Start => Vec::new(),
        });
    }
    // Publishing a thousand modules takes minutes: all that is measured of them is measured at once.
    if groups.iter().any(|group| published::GROUPS.contains(group)) {
        rows.extend(published::measure(stage, groups).await?);
    }
    Ok(rows)
}
