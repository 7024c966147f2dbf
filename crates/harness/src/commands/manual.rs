//! `harness completions` and `harness man`: what a shell and `man` are to know of this program, made of what the command line takes.

use std::io;

use clap::CommandFactory;

use super::print;
use crate::cli::{Cli, CompletionsArguments, ManArguments};
use crate::exit::{Exit, print_error};

pub(crate) fn completions(arguments: &CompletionsArguments) -> Exit {
    let mut text = Vec::new();
    clap_complete::generate(arguments.shell, &mut Cli::command(), PROGRAM, &mut text);
    print(&String::from_utf8_lossy(&text));
    Exit::Success
}

pub(crate) fn man(arguments: &ManArguments) -> Exit {
    let folder = &arguments.folder;
    match write(folder) {
        Ok(count) => {
            print(&format!("{count} pages are in {}\n", folder.display()));
            Exit::Success
        }
        Err(error) => {
            print_error(&format!("the pages are not in {}", folder.display()), &error);
            Exit::Failed
        }
    }
}

/// A page of the program, and one of each command that is shown.
fn write(folder: &std::path::Path) -> io::Result<usize> {
    std::fs::create_dir_all(folder)?;
    let mut program = Cli::command();
    program.build();
    let mut count = 0;
    let mut page = |name: &str, command: clap::Command| {
        let mut text = Vec::new();
        clap_mangen::Man::new(command).title(name).render(&mut text)?;
        count += 1;
        std::fs::write(folder.join(format!("{name}.1")), text)
    };
    page(PROGRAM, program.clone())?;
    for command in program.get_subcommands().filter(|command| !command.is_hide_set()) {
        page(&format!("{PROGRAM}-{}", command.get_name()), command.clone())?;
    }
    Ok(count)
}

const PROGRAM: &str = "harness";
