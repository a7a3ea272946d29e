//! What makes the program at home in a shell: `vit-gpu completions` and `vit-gpu man`.

use std::io::{self, Write};
use std::path::PathBuf;

use clap::Command;
use clap_complete::Shell;

use super::{Ended, Outcome};

#[derive(clap::Args)]
pub struct Completions {
    /// The shell
    shell: Shell,
}

#[derive(clap::Args)]
pub struct Man {
    /// Write the pages of all commands to this folder, instead of the program's page to stdout
    #[arg(long, short, value_name = "DIR")]
    output: Option<PathBuf>,
}

/// Prints the script that completes the program's arguments.
pub fn completions(args: &Completions, mut command: Command) -> Ended {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, "vit-gpu", &mut script);
    io::stdout().write_all(&script)?;
    Ok(Outcome::Done)
}

/// Prints or writes manual pages.
pub fn man(args: &Man, command: Command) -> Ended {
    match &args.output {
        Some(folder) => {
            let written = std::fs::create_dir_all(folder).and_then(|()| clap_mangen::generate_to(command, folder));
            written.map_err(|source| vit_gpu::Error::Io { path: folder.clone(), source })?;
        }
        None => {
            let mut page = Vec::new();
            clap_mangen::Man::new(command).render(&mut page)?;
            io::stdout().write_all(&page)?;
        }
    }
    Ok(Outcome::Done)
}
