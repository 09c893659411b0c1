//! `render`: one file as one process sees it.

use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result, bail};
use procview::file::File;

use super::{node, start_log};
use crate::args::{Log, Render};
use crate::serve::fs::{Caller, Fs, Kind, ROOT};

pub(super) fn render(arguments: Render) -> Result<()> {
    let Render { file, pid, node } = arguments;
    let _log = start_log(&Log::warnings());
    let (_, view) = node::open(&node)?;
    if !node.proc.join(pid.to_string()).exists() {
        bail!(
            "no process {pid} in {}: give its number in the host's pid namespace",
            node.proc.display()
        );
    }
    let fs = Fs::new(view, &File::ALL)?;
    let caller = Caller::Thread(pid);
    let path = file
        .parse::<File>()
        .map_or_else(|_| file.clone(), |file| file.path().to_owned());
    let mut ino = ROOT;
    let mut kind = Kind::Directory;
    for name in Path::new(&path).iter().filter(|name| *name != "/") {
        let name = name.to_str().unwrap_or_default();
        let entry = fs.lookup(&caller, ino, name).with_context(|| {
            format!("the view has no file {file}; it has {}", names(&File::ALL))
        })?;
        (ino, kind) = (entry.ino, entry.kind);
    }
    let mut out = std::io::stdout().lock();
    match kind {
        Kind::Directory => {
            for (name, _) in fs.entries(&caller, ino)? {
                writeln!(out, "{name}")?;
            }
        }
        Kind::Link => out.write_all(&fs.link_target(&caller, ino)?)?,
        Kind::File => {
            let handle = fs.open(&caller, ino, false)?;
            out.write_all(fs.read(&caller, ino, handle, 0, u32::MAX)?.as_bytes())?;
        }
    }
    Ok(())
}

fn names(files: &[File]) -> String {
    let names: Vec<_> = files.iter().map(|file| file.path()).collect();
    names.join(" ")
}
