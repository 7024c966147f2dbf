//! Memory that is fetched before it is looked at.

/// Has the processor fetch `value` into its cache while other events are handled: with tens of thousands of hosts nearly every
/// event is the first in a while to look at its host.
#[cfg(target_arch = "x86_64")]
#[inline]
pub(crate) fn prefetch<T>(value: &T) {
    use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
    let start = std::ptr::from_ref(value).cast::<i8>();
    let mut line = 0;
    while line < size_of::<T>() {
        #[expect(
            unsafe_code,
            reason = "a prefetch reads nothing, and the address is within a value that is borrowed"
        )]
        // SAFETY: see the reason; the offset is below the size of `T`.
        unsafe {
            _mm_prefetch::<_MM_HINT_T0>(start.add(line));
        }
        line += 64;
    }
}

#[cfg(not(target_arch = "x86_64"))]
pub(crate) fn prefetch<T>(_value: &T) {}
