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

/// The member at `offset` of an object that the kernel vouches for: an argument of a tracepoint, or
/// what a helper made of one. A plain load, at a fifth of the price of [`member`]; the verifier
/// checks it against the kernel's types, and what cannot be read gives 0.
#[inline(always)]
pub fn trusted<T: Copy>(object: Object, offset: u32) -> T {
    // SAFETY: the kernel refuses the program unless there is a member of this size at this place,
    // and handles the fault itself. Every `T` that is asked for is plain numbers.
    unsafe { core::ptr::read_volatile(object.byte_add(offset as usize).cast::<T>()) }
}
