//! Reading kernel memory at offsets that the loader found.

use aya_ebpf::helpers::bpf_probe_read_kernel;
use core::ffi::c_void;

/// An object of the kernel.
pub type Object = *const c_void;

/// The member at `offset`. **None**: the memory could not be read.
#[inline(always)]
pub fn member<T>(object: Object, offset: u32) -> Option<T> {
    // SAFETY: the helper checks the address itself and fails in place of faulting; every `T` that
    // is asked for is plain numbers, for which any bytes are a value.
    unsafe { bpf_probe_read_kernel(object.byte_add(offset as usize).cast::<T>()) }.ok()
}

/// The object that the pointer at `offset` points to. **None**: null, or unreadable.
#[inline(always)]
pub fn follow(object: Object, offset: u32) -> Option<Object> {
    let address: u64 = member(object, offset)?;
    if address == 0 { None } else { Some(address as Object) }
}
