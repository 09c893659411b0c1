//! When a number in the view is the host's.

use std::collections::{BTreeMap, BTreeSet};

/// Smaller numbers are equal by chance.
pub(crate) const SMALLEST: u64 = 16;
/// Numbers from here on are looked for anywhere in the host's file.
pub(crate) const LARGE: u64 = 100_000;
/// Where the host's number moved at least so much, the view's must not follow.
pub(crate) const MOVED: u64 = 1000;
/// Lines that may be equal to the host's: constants of the machine, and of the file.
pub(crate) const ALLOWED: [&str; 4] = [
    "btime",
    "VmallocTotal",
    "Hugepagesize",
    "slabinfo - version",
];

/// A file of the view, read twice, and the host's, read before and after that.
#[derive(Debug)]
pub(crate) struct Check<'a> {
    pub(crate) file: &'a str,
    pub(crate) view: [String; 2],
    pub(crate) host: [String; 2],
}

/// What was found in a file.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// How many numbers were looked at.
    pub(crate) numbers: usize,
    /// How many of them are in lines that may be equal.
    pub(crate) allowed: usize,
    /// Those that are the host's, in words.
    pub(crate) leaks: Vec<String>,
}

/// Where a number is: its line's name, and which of the line's numbers it is.
type Place = (String, usize);

impl Check<'_> {
    /// Applies the rules.
    pub(crate) fn run(&self) -> Found {
        let [before, after] = self.view.each_ref().map(|text| places(self.file, text));
        let host = self.host.each_ref().map(|text| places(self.file, text));
        let anywhere: BTreeSet<u64> = host
            .iter()
            .flat_map(|places| places.values().copied())
            .collect();
        let mut found = Found::default();
        for (place, now) in &after {
            found.numbers += 1;
            if ALLOWED.contains(&place.0.as_str()) {
                found.allowed += 1;
                continue;
            }
            let mut leak = |rule: &str| {
                let (line, column) = (&place.0, place.1 + 1);
                found.leaks.push(format!("{line} {column}: {now}, {rule}"));
            };
            let there = host[0].get(place).zip(host[1].get(place));
            let moved = before
                .get(place)
                .map_or(0, |earlier| now.abs_diff(*earlier));
            if there.is_some_and(|(low, high)| {
                *now >= SMALLEST && (*low.min(high)..=*low.max(high)).contains(now)
            }) {
                leak("the host's in the same place");
            } else if *now >= LARGE && anywhere.contains(now) {
                leak("a number of the host's");
            } else if there.is_some_and(|(low, high)| {
                let host = low.abs_diff(*high);
                host >= MOVED && moved * 10 > host && !self.runs_by_itself(place)
            }) {
                leak("moves as the host's");
            }
        }
        found
    }

    /// Idle time, and in `uptime` all time.
    fn runs_by_itself(&self, place: &Place) -> bool {
        match self.file {
            "proc/uptime" => true,
            "proc/stat" => place.0.starts_with("cpu") && place.1 == 3,
            _ => false,
        }
    }
}

/// All numbers of a file. Decimals lose their point: 1.25 is 125.
fn places(file: &str, text: &str) -> BTreeMap<Place, u64> {
    let mut places = BTreeMap::new();
    for line in text.lines() {
        let mut words: Vec<_> = line
            .split(|letter: char| letter.is_whitespace() || ":=/".contains(letter))
            .filter(|word| !word.is_empty())
            .collect();
        if file == "proc/diskstats" {
            // Numbers of devices are names.
            words.drain(..2.min(words.len()));
        }
        let is_number = |word: &str| word.starts_with(|first: char| first.is_ascii_digit());
        let name: Vec<_> = words
            .iter()
            .copied()
            .take_while(|word| !is_number(word))
            .collect();
        let name = name.join(" ");
        let numbers = words
            .iter()
            .filter_map(|word| word.replace('.', "").parse().ok());
        for (column, number) in numbers.enumerate() {
            places.insert((name.clone(), column), number);
        }
    }
    places
}

/// `cpuinfo` of a machine of one CPU: its numbering, whatever the host's texts say.
pub(crate) fn one_cpu(cpuinfo: &str) -> Found {
    const EXPECTED: [(&str, &str); 6] = [
        ("processor", "0"),
        ("physical id", "0"),
        ("siblings", "1"),
        ("core id", "0"),
        ("cpu cores", "1"),
        ("apicid", "0"),
    ];
    let mut found = Found::default();
    let mut processors = 0;
    for line in cpuinfo.lines() {
        let (key, value) = line.split_once(':').unwrap_or((line, ""));
        let (key, value) = (key.trim(), value.trim());
        processors += usize::from(key == "processor");
        found.numbers += 1;
        match EXPECTED.iter().find(|(name, _)| *name == key) {
            Some((_, expected)) if value != *expected => {
                found.leaks.push(format!("{key}: {value}"));
            }
            Some(_) => {}
            None => found.allowed += 1,
        }
    }
    if processors != 1 {
        found.leaks.push(format!("{processors} processors"));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaks(file: &str, view: [&str; 2], host: [&str; 2]) -> Vec<String> {
        let check = Check {
            file,
            view: view.map(str::to_owned),
            host: host.map(str::to_owned),
        };
        check.run().leaks
    }

    #[test]
    fn each_rule_finds_what_it_is_for() {
        let host = [
            "ctxt 5000\nintr 10000000 7\n",
            "ctxt 9000\nintr 10002000 9\n",
        ];
        let same = leaks("proc/stat", ["ctxt 6000\n", "ctxt 6000\n"], host);
        assert_eq!(same, ["ctxt 1: 6000, the host's in the same place"]);
        let elsewhere = leaks("proc/stat", ["ctxt 0\n", "ctxt 10002000\n"], host);
        assert_eq!(elsewhere, ["ctxt 1: 10002000, a number of the host's"]);
        let moving = leaks("proc/stat", ["ctxt 10\n", "ctxt 500\n"], host);
        assert_eq!(moving, ["ctxt 1: 500, moves as the host's"]);
        let own = leaks(
            "proc/stat",
            ["ctxt 10\nintr 0 7\n", "ctxt 90\nintr 0 8\n"],
            host,
        );
        assert_eq!(own, [""; 0]);
    }

    #[test]
    fn decimals_devices_and_constants_are_understood() {
        let host = ["2.31 1.00 0.90 3/200 4000\n"; 2];
        let load = leaks("proc/loadavg", ["2.31 0.00 0.00 1/3 7\n"; 2], host);
        assert_eq!(load, [" 1: 231, the host's in the same place"]);
        let disk = ["8 0 sda 500 600\n"; 2];
        let found = leaks("proc/diskstats", ["8 0 sda 500 7\n"; 2], disk);
        assert_eq!(found, ["sda 1: 500, the host's in the same place"]);
        let constant = ["btime 1700000000\n"; 2];
        assert_eq!(leaks("proc/stat", constant, constant), [""; 0]);
    }

    #[test]
    fn cpuinfo_is_that_of_one_cpu() {
        let good = "processor\t: 0\nsiblings\t: 1\nmodel name\t: X 64\n";
        assert!(one_cpu(good).leaks.is_empty());
        assert_eq!(one_cpu(&good.repeat(2)).leaks, ["2 processors"]);
        assert_eq!(
            one_cpu("processor: 0\nsiblings: 8\n").leaks,
            ["siblings: 8"]
        );
    }
}
