//! Finding a function in the libraries of the process by their symbol tables.
//!
//! Glibc before 2.34 keeps `dlsym` in a library of its own, which many programs do not load. Without it a hook could not
//! go on to the C library's function, and for names there is no system call to stand in.

use core::ffi::{CStr, c_char, c_int, c_void};
use core::ptr;

/// `ElfW(Phdr)`.
#[repr(C)]
struct ProgramHeader {
    kind: u32,
    flags: u32,
    offset: u64,
    address: usize,
    physical: usize,
    file_size: usize,
    memory_size: usize,
    align: usize,
}

/// The beginning of `struct dl_phdr_info`.
#[repr(C)]
struct Object {
    base: usize,
    name: *const c_char,
    headers: *const ProgramHeader,
    count: u16,
}

/// `ElfW(Dyn)`.
#[repr(C)]
struct Dynamic {
    tag: isize,
    value: usize,
}

/// `ElfW(Sym)`.
#[repr(C)]
struct Symbol {
    name: u32,
    info: u8,
    other: u8,
    section: u16,
    value: usize,
    size: usize,
}

const PT_LOAD: u32 = 1;
const PT_DYNAMIC: u32 = 2;
const DT_NULL: isize = 0;
const DT_STRTAB: isize = 5;
const DT_SYMTAB: isize = 6;
const DT_GNU_HASH: isize = 0x6fff_fef5;
const DT_VERSYM: isize = 0x6fff_fff0;
const STT_FUNC: u8 = 2;
/// A version that only programs linked long ago may use.
const HIDDEN: u16 = 0x8000;

type Visit = unsafe extern "C" fn(*const Object, usize, *mut c_void) -> c_int;
type Iterate = unsafe extern "C" fn(Visit, *mut c_void) -> c_int;

core::arch::global_asm!(".weak dl_iterate_phdr");

fn iterate() -> Option<Iterate> {
    let address: *const c_void;
    // SAFETY: reads the address of the weak symbol from the global offset table.
    unsafe {
        #[cfg(target_arch = "x86_64")]
        core::arch::asm!(
            "mov {}, qword ptr [rip + dl_iterate_phdr@GOTPCREL]",
            out(reg) address,
            options(nostack, pure, readonly, preserves_flags),
        );
        #[cfg(target_arch = "aarch64")]
        core::arch::asm!(
            "adrp {0}, :got:dl_iterate_phdr",
            "ldr {0}, [{0}, :got_lo12:dl_iterate_phdr]",
            out(reg) address,
            options(nostack, pure, readonly, preserves_flags),
        );
    }
    if address.is_null() {
        return None;
    }
    // SAFETY: a symbol of this name in any C library has this type.
    Some(unsafe { core::mem::transmute::<*const c_void, Iterate>(address) })
}

struct Search<'a> {
    name: &'a CStr,
    found: *mut c_void,
}

/// The first function of this name in another object than this library; null if there is none.
pub(crate) fn find(name: &CStr) -> *mut c_void {
    let mut search = Search {
        name,
        found: ptr::null_mut(),
    };
    if let Some(iterate) = iterate() {
        // SAFETY: `visit` gets the objects as the C library describes them, and the search back.
        unsafe { iterate(visit, (&raw mut search).cast()) };
    }
    search.found
}

/// # Safety
/// Called by `dl_iterate_phdr` with a [`Search`].
unsafe extern "C" fn visit(object: *const Object, _: usize, search: *mut c_void) -> c_int {
    // SAFETY: the C library's promise, and ours in `find`.
    unsafe {
        let search = &mut *search.cast::<Search<'_>>();
        let object = &*object;
        if object.headers.is_null() {
            return 0;
        }
        let headers = core::slice::from_raw_parts(object.headers, usize::from(object.count));
        let own = visit as *const () as usize;
        let is_ours = headers.iter().any(|header| {
            let start = object.base + header.address;
            header.kind == PT_LOAD && (start..start + header.memory_size).contains(&own)
        });
        let dynamic = headers.iter().find(|header| header.kind == PT_DYNAMIC);
        if let (false, Some(dynamic)) = (is_ours, dynamic) {
            let dynamic = ptr::with_exposed_provenance(object.base + dynamic.address);
            search.found = look_up(object.base, dynamic, search.name);
        }
        c_int::from(!search.found.is_null())
    }
}

/// # Safety
/// The dynamic section of an object that is loaded at `base`.
unsafe fn look_up(base: usize, dynamic: *const Dynamic, name: &CStr) -> *mut c_void {
    let (mut symbols, mut strings, mut hashes, mut versions) = (0, 0, 0, 0);
    let mut entry = dynamic;
    // SAFETY: the section ends with a null entry.
    unsafe {
        while (*entry).tag != DT_NULL {
            let place = match (*entry).tag {
                DT_SYMTAB => &mut symbols,
                DT_STRTAB => &mut strings,
                DT_GNU_HASH => &mut hashes,
                DT_VERSYM => &mut versions,
                _ => {
                    entry = entry.add(1);
                    continue;
                }
            };
            // Glibc has added the base already, others leave it to the reader.
            let value = (*entry).value;
            *place = if value < base { base + value } else { value };
            entry = entry.add(1);
        }
    }
    if symbols == 0 || strings == 0 || hashes == 0 {
        return ptr::null_mut();
    }
    let symbols = ptr::with_exposed_provenance::<Symbol>(symbols);
    let strings = ptr::with_exposed_provenance::<c_char>(strings);
    let versions = ptr::with_exposed_provenance::<u16>(versions);
    // SAFETY: the tables of a loaded object, which the loader itself reads in this way.
    unsafe {
        for index in candidates(ptr::with_exposed_provenance(hashes), hash(name)) {
            let symbol = &*symbols.add(index as usize);
            let hidden = !versions.is_null() && *versions.add(index as usize) & HIDDEN != 0;
            if symbol.section != 0
                && symbol.info & 15 == STT_FUNC
                && !hidden
                && CStr::from_ptr(strings.add(symbol.name as usize)) == name
            {
                return ptr::with_exposed_provenance_mut(base + symbol.value);
            }
        }
    }
    ptr::null_mut()
}

/// The hash of a name in `DT_GNU_HASH`.
fn hash(name: &CStr) -> u32 {
    name.to_bytes().iter().fold(5381, |hash: u32, &byte| {
        hash.wrapping_mul(33).wrapping_add(u32::from(byte))
    })
}

/// The symbols with this hash.
///
/// # Safety
/// The `DT_GNU_HASH` table of a loaded object.
unsafe fn candidates(table: *const u32, hash: u32) -> impl Iterator<Item = u32> {
    // SAFETY: four words, the filter of 64-bit words, the buckets, and a chain that ends with an odd hash.
    let (chain, first, start) = unsafe {
        let (buckets, first, filter) = (*table, *table.add(1), *table.add(2));
        let bucket = table.add(4 + 2 * filter as usize);
        let chain = bucket.add(buckets as usize);
        let start = match buckets {
            0 => 0,
            count => *bucket.add((hash % count) as usize),
        };
        (chain, first, start)
    };
    let mut next = Some(start).filter(|&start| start >= first && start != 0);
    core::iter::from_fn(move || {
        loop {
            let index = next?;
            // SAFETY: as above.
            let found = unsafe { *chain.add((index - first) as usize) };
            next = Some(index + 1).filter(|_| found & 1 == 0);
            if found | 1 == hash | 1 {
                return Some(index);
            }
        }
    })
}
