use clap::Parser;
use procview_webhook::args::Cli;

fn main() -> anyhow::Result<()> {
    Cli::parse().run()
}
