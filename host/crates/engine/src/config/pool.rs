//! The pool of instance slots: every knob of wasmtime's pooling allocator, and what it costs.
//!
//! The pool refuses nothing that admission let in: its totals are at least as large as what the
//! engine's own places add up to, so running out of places is always a named refusal.

use wasmtime::{Enabled, PoolingAllocationConfig};

use super::EngineConfig;

/// Elements that one table can have. 8 bytes of address space each, untouched until used.
pub(crate) const TABLE_ELEMENTS: u64 = 1 << 18;

/// Core instances, memories and tables that one component may have, whatever its spec says.
/// A Python component has 14 core instances.
pub(super) const PARTS_OF_A_COMPONENT: u64 = 1000;

/// Tables for each slot: linked components have a table or two for each of their parts.
pub(crate) const TABLES_PER_SLOT: u32 = 8;

/// Fibers for each slot: one runs the guest, the others are suspended calls between the components
/// that it consists of.
pub(crate) const STACKS_PER_SLOT: u32 = 4;

/// A component's bookkeeping on the heap; a Python one has 400 kB.
const CONTEXT_BYTES: usize = 4 << 20;

/// Pages that stay with a slot between instances, so that the next one faults less. What a small
/// module touches is kept, a large one's heap is given back to the system.
const KEEP_RESIDENT: usize = 256 << 10;

pub(super) fn config(settings: &EngineConfig, slots: u32) -> PoolingAllocationConfig {
    let parts = u32::try_from(PARTS_OF_A_COMPONENT).unwrap_or(u32::MAX);
    let mut pool = PoolingAllocationConfig::new();
    let places = places(slots, settings.guest_threads);
    // Counters alone: no memory is set aside for them.
    pool.total_component_instances(slots)
        .total_core_instances(slots.saturating_mul(parts))
        .max_core_instances_per_component(parts)
        .max_memories_per_component(parts)
        .max_tables_per_component(parts)
        .max_tables_per_module(parts)
        .max_memories_per_module(parts)
        // Upper bounds of what is allocated on the heap for an instance while it lives.
        .max_component_instance_size(CONTEXT_BYTES)
        .max_core_instance_size(CONTEXT_BYTES);
    // Address space: 4 GiB and guards a memory, 2 MiB a table, twice the stack a fiber.
    pool.total_memories(places)
        .max_memory_size(settings.slot_memory.as_usize())
        .total_tables(places.saturating_mul(TABLES_PER_SLOT))
        .table_elements(usize::try_from(TABLE_ELEMENTS).unwrap_or(usize::MAX))
        .total_stacks(places.saturating_mul(STACKS_PER_SLOT));
    // Resident memory of slots that nobody uses: each keeps this much, pages that were written are
    // found by one ioctl (Linux 6.7 and later) and cleared by hand.
    pool.linear_memory_keep_resident(KEEP_RESIDENT)
        .table_keep_resident(KEEP_RESIDENT)
        .pagemap_scan(Enabled::Auto)
        .async_stack_keep_resident(16 << 10)
        // Slots whose last module's image stays mapped, for the next instance of the same one.
        .max_unused_warm_slots(slots.min(100))
        // One system call resets several slots.
        .decommit_batch_size(wiped_at_once(slots));
    pool
}

/// Slots that one thread wipes together.
fn wiped_at_once(slots: u32) -> usize {
    usize::try_from(slots / 16).unwrap_or(1).clamp(1, 16)
}

/// Places of the pool. What a thread is wiping is neither taken nor free, and admission has it back
/// already: for each guest thread four threads, callers' and those in for others among them, may be
/// at it.
fn places(slots: u32, guest_threads: usize) -> u32 {
    let wiped = wiped_at_once(slots).saturating_mul(guest_threads).saturating_mul(4);
    slots.saturating_add(u32::try_from(wiped).unwrap_or(u32::MAX).min(slots))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pool_has_places_beyond_those_that_are_wiped() {
        assert_eq!(places(1000, 2), 1000 + 2 * 4 * 16);
        assert_eq!(places(1000, 64), 2000, "address space is finite");
        assert_eq!(places(16, 2), 16 + 8);
    }
}
