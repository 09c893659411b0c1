use clap::Parser;

fn main() -> anyhow::Result<()> {
    procview_agent::args::Cli::parse().run()
}
