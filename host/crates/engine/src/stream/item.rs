//! Items of streams and futures whose types are known only at run time.
//!
//! wasmtime gives out readers and takes writers of Rust types alone, and knows how to lift and
//! lower a dynamic value only as a parameter or result. [`Item`] closes that gap: it claims no size
//! of its own, so that wasmtime leaves finding each item in the guest's memory to it, and walks
//! the types of the component at hand. It stands on what wasmtime's macros stand on, so an upgrade
//! of wasmtime may ask for changes here; tests with real guests hold it to its word.

use std::{cell::Cell, mem::MaybeUninit};

use wasmtime::{
    Result, ValRaw, bail,
    component::{
        __internal::{CanonicalAbiInfo, InstanceType, InterfaceType, LiftContext, LowerContext},
        ComponentType, Lift, Lower, Val,
    },
};

use super::{lift, lower};

/// One item, whatever its type.
pub(crate) struct Item(pub(crate) Val);

thread_local! {
    /// Which item of a read is lifted next: as items have no size, each is handed the place of the
    /// first.
    static NEXT: Cell<usize> = const { Cell::new(0) };
}

/// Says that the items which are lifted now on this thread are those of a new read.
pub(crate) fn begin_read() {
    NEXT.set(0);
}

const NEVER_FLAT: &str = "items of streams lie in memory";

// SAFETY: nothing here relies on the type check, which `Item` cannot make without the type: each
// access to the guest's memory is by a checked slice. `Lower` is an array of `ValRaw`.
#[expect(unsafe_code, reason = "the trait is the only way to make readers of any type")]
unsafe impl ComponentType for Item {
    type Lower = [ValRaw; 0];

    const ABI: CanonicalAbiInfo = CanonicalAbiInfo::ZERO;

    fn typecheck(_: &InterfaceType, _: &InstanceType<'_>) -> Result<()> {
        Ok(())
    }
}

// SAFETY: as above; memory that was lifted is copied.
#[expect(unsafe_code, reason = "as above")]
unsafe impl Lift for Item {
    fn linear_lift_from_flat(
        _: &mut LiftContext<'_>,
        _: InterfaceType,
        _: &Self::Lower,
    ) -> Result<Self> {
        bail!(NEVER_FLAT)
    }

    fn linear_lift_from_memory(
        cx: &mut LiftContext<'_>,
        ty: InterfaceType,
        bytes: &[u8],
    ) -> Result<Self> {
        let first = bytes.as_ptr().addr().saturating_sub(cx.memory().as_ptr().addr());
        let at = NEXT.replace(NEXT.get().saturating_add(1));
        let (size, align) = layout(cx.types.canonical_abi(&ty))?;
        let Some(start) = at.checked_mul(size).and_then(|skip| skip.checked_add(first)) else {
            bail!("items beyond the end of memory")
        };
        if !start.is_multiple_of(align) {
            bail!("items that are not aligned")
        }
        lift::value_at(cx, ty, start).map(Self)
    }
}

// SAFETY: as above; whatever lies in the guest's memory is the guest's own.
#[expect(unsafe_code, reason = "as above")]
unsafe impl Lower for Item {
    fn linear_lower_to_flat<T>(
        &self,
        _: &mut LowerContext<'_, T>,
        _: InterfaceType,
        _: &mut MaybeUninit<Self::Lower>,
    ) -> Result<()> {
        bail!(NEVER_FLAT)
    }

    fn linear_lower_to_memory<T>(
        &self,
        cx: &mut LowerContext<'_, T>,
        ty: InterfaceType,
        offset: usize,
    ) -> Result<()> {
        lower::value(cx, ty, offset, &self.0)
    }

    fn linear_store_list_to_memory<T>(
        cx: &mut LowerContext<'_, T>,
        ty: InterfaceType,
        offset: usize,
        items: &[Self],
    ) -> Result<()> {
        let (size, align) = layout(cx.types.canonical_abi(&ty))?;
        if !offset.is_multiple_of(align) {
            bail!("room for items that is not aligned")
        }
        for (at, item) in items.iter().enumerate() {
            let Some(place) = at.checked_mul(size).and_then(|skip| skip.checked_add(offset)) else {
                bail!("room for items beyond the end of memory")
            };
            item.linear_lower_to_memory(cx, ty, place)?;
        }
        Ok(())
    }
}

/// Size and alignment in a 32-bit memory.
pub(super) fn layout(abi: &CanonicalAbiInfo) -> Result<(usize, usize)> {
    Ok((usize::try_from(abi.size32)?, usize::try_from(abi.align32)?.max(1)))
}

/// What so many flags take.
pub(super) fn flag_bytes(count: usize) -> usize {
    match count {
        0 => 0,
        1..=8 => 1,
        9..=16 => 2,
        _ => count.div_ceil(32).saturating_mul(4),
    }
}
