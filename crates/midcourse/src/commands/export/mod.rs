//! `midcourse export`: what was made, in the formats of other tools.

mod pairs;
mod weights;

use anyhow::Result;

use crate::args::ExportCommand;

/// Runs the command.
pub(crate) fn run(command: &ExportCommand) -> Result<u8> {
    match command {
        ExportCommand::Pairs(args) => pairs::run(args),
        ExportCommand::Merged(args) => weights::merged(args),
        ExportCommand::Adapter(args) => weights::adapter(args),
    }
}
