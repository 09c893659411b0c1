//! Every parser of a file of `/proc/<pid>`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use procview::parse;

fuzz_target!(|data: &[u8]| {
    for line in parse::cgroup_lines(data) {
        if let Some(container) = parse::container_path(line.path) {
            assert!(line.path.starts_with(container.path));
            assert_eq!(parse::container_path(container.path), Some(container));
            let again = parse::container_path_of(line.path, container.id);
            assert_eq!(again, Some(container));
            let outer = parse::outermost_container_path(line.path).expect("an outer one");
            assert!(container.path.starts_with(outer.path));
        }
        assert!(line.path.starts_with(parse::own_path(line.path)));
        let _ = line.has(b"memory");
    }
    let _ = parse::thread_stat(data);
    let _ = parse::innermost_pid(data);
});
