//! The counters in `/proc/stat`, `/proc/uptime` and `/proc/diskstats`.

/// The counters of a file, line by line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Counters(Vec<(String, Vec<u64>)>);

/// Those of `text`. Numbers that may fall in the kernel's own files, such as I/O in flight, are left out;
/// so are lines without a counter.
pub(crate) fn parse(file: &str, text: &[u8]) -> Counters {
    let text = String::from_utf8_lossy(text);
    let lines = text.lines().filter_map(|line| {
        let words: Vec<_> = line.split_whitespace().collect();
        match (file, &words[..]) {
            ("proc/uptime", times) => {
                let hundredths = times.iter().map(|time| time.replace('.', ""));
                Some(("uptime".to_owned(), numbers(hundredths)))
            }
            ("proc/stat", ["procs_running" | "procs_blocked" | "btime", ..]) => None,
            ("proc/stat", [name, counters @ ..]) => Some(((*name).to_owned(), numbers(counters))),
            ("proc/diskstats", [major, minor, name, counters @ ..]) => {
                let counters = counters.iter().enumerate();
                let counters = counters.filter(|(field, _)| *field != 8);
                let name = format!("{major}:{minor} {name}");
                Some((name, numbers(counters.map(|(_, counter)| counter))))
            }
            _ => None,
        }
    });
    Counters(lines.collect())
}

/// What is no number is 0, and therefore a step back.
fn numbers(words: impl IntoIterator<Item = impl AsRef<str>>) -> Vec<u64> {
    let words = words.into_iter();
    words
        .map(|word| word.as_ref().parse().unwrap_or(0))
        .collect()
}

impl Counters {
    fn line(&self, name: &str) -> Option<&[u64]> {
        let line = self.0.iter().find(|(other, _)| other == name);
        line.map(|(_, counters)| counters.as_slice())
    }

    /// How many lines there are.
    pub(crate) fn lines(&self) -> usize {
        self.0.len()
    }

    /// Whether all lines' sums grew, but for those that are 0 all the time; a new line grew.
    pub(crate) fn grew_since(&self, earlier: &Self) -> bool {
        let sum = |counters: Option<&[u64]>| counters.map_or(0, |counters| counters.iter().sum());
        let grew = |(name, counters): &(String, Vec<u64>)| {
            let now: u64 = sum(Some(counters));
            now == 0 || now > sum(earlier.line(name))
        };
        !self.0.is_empty() && self.0.iter().all(grew)
    }

    /// Each counter that is below its value in `earlier`, in words. A line that is not there is none.
    pub(crate) fn steps_back(&self, earlier: &Self) -> Vec<String> {
        let mut steps = Vec::new();
        for (name, before) in &earlier.0 {
            let Some(now) = self.line(name) else {
                continue;
            };
            for (field, before) in before.iter().enumerate() {
                let now = now.get(field).copied().unwrap_or(0);
                if now < *before {
                    steps.push(format!("{name}, field {}: {before}, then {now}", field + 1));
                }
            }
        }
        steps
    }

    /// The higher of both in each counter; lines of either.
    pub(crate) fn merged(&self, mut new: Self) -> Self {
        for (name, counters) in &self.0 {
            match new.0.iter_mut().find(|(other, _)| other == name) {
                Some((_, newer)) => {
                    for (new, old) in newer.iter_mut().zip(counters) {
                        *new = (*new).max(*old);
                    }
                }
                None => new.0.push((name.clone(), counters.clone())),
            }
        }
        new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_that_falls_is_found_also_after_its_line_was_away() {
        let stat = |text: &str| parse("proc/stat", text.as_bytes());
        let first = stat("cpu 9 9\ncpu0 4 4\ncpu1 5 5\nprocs_running 7\n");
        let second = stat("cpu 9 9\ncpu0 9 4\nprocs_running 1\n");
        assert!(second.steps_back(&first).is_empty());
        let seen = first.merged(second);
        let third = stat("cpu 9 8\ncpu0 9 4\ncpu1 4 5\n");
        assert_eq!(
            third.steps_back(&seen),
            ["cpu, field 2: 9, then 8", "cpu1, field 1: 5, then 4"]
        );
        assert!(!seen.grew_since(&first));
        assert!(stat("cpu 9 10\ncpu0 0 0\n").grew_since(&stat("cpu 9 9\n")));
    }

    #[test]
    fn times_and_disks_have_counters() {
        let uptime = |text: &str| parse("proc/uptime", text.as_bytes());
        let steps = uptime("10.00 1.99\n").steps_back(&uptime("9.99 2.00\n"));
        assert_eq!(steps, ["uptime, field 2: 200, then 199"]);
        let disks = |text: &str| parse("proc/diskstats", text.as_bytes());
        let before = disks("8 0 sda 1 2 3 4 5 6 7 8 9 10 11\n");
        // Requests in flight may become less.
        let after = disks("8 0 sda 1 2 3 4 5 6 7 8 0 10 11\n");
        assert!(after.steps_back(&before).is_empty());
        assert_eq!(disks("").steps_back(&before), [""; 0]);
    }
}
