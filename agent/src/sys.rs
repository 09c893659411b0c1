//! System calls that nix has no function for: the only unsafe code of the agent.
#![allow(unsafe_code, reason = "raw system calls; each says why it is sound")]

use std::io;

/// Puts this thread, and all that it starts, under `SCHED_BATCH`.
///
/// # Errors
/// Those of sched_setscheduler(2), where a seccomp profile forbids it.
pub(crate) fn schedule_as_batch() -> io::Result<()> {
    const THIS_THREAD: libc::pid_t = 0;
    // The kernel's struct sched_param.
    let priority: libc::c_int = 0;
    // The system call itself: musl's function of that name always fails.
    // SAFETY: the kernel only reads the number, which lives until the call returns.
    let result = unsafe {
        libc::syscall(
            libc::SYS_sched_setscheduler,
            THIS_THREAD,
            libc::SCHED_BATCH,
            &raw const priority,
        )
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_of_a_batch_thread_are_batch() {
        let policy = || {
            let stat = std::fs::read_to_string("/proc/thread-self/stat").expect("a thread's stat");
            let (_, fields) = stat.rsplit_once(") ").expect("a command");
            // Field 41; the first two are cut off.
            fields.split(' ').nth(38).map(str::to_owned)
        };
        let started = std::thread::spawn(move || {
            schedule_as_batch().expect("a system call that anybody may make");
            std::thread::spawn(policy).join().expect("its policy")
        });
        let batch = Some(libc::SCHED_BATCH.to_string());
        assert_eq!(started.join().expect("its thread's policy"), batch);
    }
}
