//! File handles: as many as the system lets the process have.

/// Raises the soft limit of open files to the hard one. The soft one is kept low for programs that use `select`; none does here, and
/// a job with many partitions, connections and parts needs more.
pub fn raise() {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: both calls are given a whole structure; where they fail the limit stays as it is.
    unsafe {
        if libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) == 0 && limit.rlim_cur < limit.rlim_max {
            limit.rlim_cur = limit.rlim_max;
            libc::setrlimit(libc::RLIMIT_NOFILE, &limit);
        }
    }
}
