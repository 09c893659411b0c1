//! Every parser of a file of `/proc/<pid>`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use procview::parse;
use procview_agent::view::{container_path, runtime_id};

fuzz_target!(|data: &[u8]| {
    for line in parse::cgroup_lines(data) {
        let path = container_path(line.path);
        assert!(line.path.starts_with(path));
        // Cutting twice cuts no more, but for systemd's own scope in a scope of its own.
        let again = container_path(path);
        assert!(again == path || path.ends_with(b"/init.scope"));
        let _ = line.has(b"memory");
    }
    let _ = runtime_id(data);
    let _ = parse::thread_stat(data);
    let _ = parse::innermost_pid(data);
});
