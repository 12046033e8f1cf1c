//! `tombolo completions` and `tombolo man`: what shells and people look up, made of the arguments themselves, so that it
//! names each command and flag that there is.

use std::io::Write as _;

use clap::CommandFactory as _;

use super::args::{Args, Completions, Man};
use crate::error::Error;

/// A script on stdout, for the shell that it is asked for.
pub(super) fn completions(args: &Completions) -> Result<(), Error> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Args::command(), "tombolo", &mut script);
    std::io::stdout().write_all(&script).map_err(Error::Output)
}

/// A page for each command in a folder.
pub(super) fn pages(args: &Man) -> Result<(), Error> {
    std::fs::create_dir_all(&args.folder)?;
    clap_mangen::generate_to(Args::command().disable_help_subcommand(true), &args.folder)?;
    let folder = args.folder.display();
    writeln!(std::io::stdout(), "the pages are in {folder}; tombolo.1 is the first").map_err(Error::Output)
}
