//! How the process deals with memory: the allocator, and when it may take huge pages.

use std::sync::atomic::{AtomicBool, Ordering};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// From so many bytes on, huge pages are worth having.
const LARGE: u64 = 64 << 20;

/// Settles how memory is held, at the start.
///
/// What was given back is kept for a second before the system gets it: batches come and go by the millisecond, and a page that comes
/// back is cleared first; `MIMALLOC_PURGE_DELAY` has the last word. Huge pages are left alone at first: twenty threads that
/// touch some kilobytes each of their own would have two megabytes each, three times what a small job takes otherwise.
pub fn settle() {
    /// mi_option_purge_delay, in milliseconds.
    const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;
    // SAFETY: the option is set by a function that may be called at any time.
    unsafe { libmimalloc_sys::mi_option_set_default(PURGE_DELAY, 1_000) };
    huge_pages(false);
}

/// To be called now and then while a job runs. At first, the system may have the pages of the program back that only the start
/// needed: reading a script goes through ten megabytes of it. Once the process is large, it may have huge pages: with them, a million
/// keys are found a tenth faster.
pub fn watch() {
    static STARTED: AtomicBool = AtomicBool::new(false);
    static ALLOWED: AtomicBool = AtomicBool::new(false);
    if !STARTED.swap(true, Ordering::Relaxed) {
        let_go_of_code();
    }
    if !ALLOWED.load(Ordering::Relaxed) && weir_core::metrics::resident() > LARGE {
        ALLOWED.store(true, Ordering::Relaxed);
        huge_pages(true);
    }
}

/// Takes the program's own code out of this process's memory; what runs comes back by itself, from the system's cache of the file.
fn let_go_of_code() {
    let Ok(maps) = std::fs::read_to_string("/proc/self/maps") else { return };
    let Ok(program) = std::env::current_exe() else { return };
    for line in maps.lines().filter(|l| program.to_str().is_some_and(|p| l.ends_with(p))) {
        let mut words = line.split(' ');
        let (Some(range), Some("r-xp")) = (words.next(), words.next()) else { continue };
        let number = |n: &str| usize::from_str_radix(n, 16).ok();
        if let Some((Some(from), Some(to))) = range.split_once('-').map(|(a, b)| (number(a), number(b))) {
            // SAFETY: a mapping of a file that nobody writes to: its pages are the same when they are read again.
            unsafe { libc::madvise(from as *mut libc::c_void, to - from, libc::MADV_DONTNEED) };
        }
    }
}

fn huge_pages(allowed: bool) {
    // SAFETY: a flag of this process is set, of which no memory's contents depend. Where the system does not know it, nothing happens.
    unsafe { libc::prctl(libc::PR_SET_THP_DISABLE, libc::c_ulong::from(!allowed), 0, 0, 0) };
}
