//! The well-behaved container.

use std::fmt;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

/// Its memory limit.
pub(crate) const MEMORY: u64 = 64 << 20;

const READS: usize = 10_000;

/// The slowest of all readings, of the view and, in turn with them, of the kernel's own files.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Slowest {
    pub(crate) view: Duration,
    pub(crate) native: Duration,
}

impl Slowest {
    /// Reads the files below `view` again and again; each has to be whole and the container's own.
    pub(crate) fn measure(view: &Path) -> Result<Self> {
        let mut slowest = Self {
            view: Duration::ZERO,
            native: Duration::ZERO,
        };
        let files = [
            "proc/meminfo",
            "proc/stat",
            "proc/cpuinfo",
            "proc/uptime",
            "proc/loadavg",
        ];
        let shown = files.map(|file| view.join(file));
        let natives = files.map(|file| Path::new("/").join(file));
        for turn in 0..READS {
            let index = turn % files.len();
            let begin = Instant::now();
            let text = fs::read_to_string(&shown[index])?;
            slowest.view = slowest.view.max(begin.elapsed());
            let begin = Instant::now();
            fs::read(&natives[index])?;
            slowest.native = slowest.native.max(begin.elapsed());
            let begins = match files[index] {
                "proc/meminfo" => format!("MemTotal:{:>15} kB\n", MEMORY >> 10),
                "proc/stat" => "cpu  ".to_owned(),
                "proc/cpuinfo" => "processor\t: 0\n".to_owned(),
                _ => String::new(),
            };
            ensure!(
                text.starts_with(&begins) && text.ends_with('\n'),
                "{}: {text}",
                files[index]
            );
        }
        Ok(slowest)
    }

    /// From what is printed of it.
    pub(crate) fn parse(output: &str) -> Result<Self> {
        let line = output
            .lines()
            .find_map(|line| line.strip_prefix("slowest read "));
        let mut words = line.with_context(|| output.to_owned())?.split(' ');
        let mut micros = || {
            let word = words.find(|word| word.bytes().all(|byte| byte.is_ascii_digit()));
            anyhow::Ok(Duration::from_micros(word.context("a time")?.parse()?))
        };
        Ok(Self {
            view: micros()?,
            native: micros()?,
        })
    }
}

impl fmt::Display for Slowest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "slowest read {} us of {READS}, of procfs {} us",
            self.view.as_micros(),
            self.native.as_micros()
        )
    }
}
