//! The `weir` command, and a way to run a job with functions of the caller's own.

#[macro_use]
mod output;
mod arguments;
mod assemble;
mod bench;
mod command_reference;
mod describe;
mod event_time;
mod functions;
mod generate;
mod handles;
mod job_commands;
mod listening;
mod local;
mod memory;
mod messages;
mod progress;
mod registry;
mod run;
mod running;
mod savepoints;
mod script;
mod state;
mod stop_at_end;
mod stored_state;
mod udf;

use arguments::{Arguments, Command, DlqCommand, LogFormat};
pub use assemble::{Assembled, ReadBy, assemble, assemble_reading};
use clap::{CommandFactory, Parser};
pub use functions::sandboxed;
pub use run::{Loading, run_with};
use std::io::IsTerminal;
use std::process::ExitCode;
use tracing_subscriber::EnvFilter;

/// The command: takes the process's arguments, gives its exit code.
pub fn command() -> ExitCode {
    memory::settle();
    handles::raise();
    let arguments = Arguments::parse();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn,weir=info"));
    let colours = std::io::stderr().is_terminal();
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(move || messages::LogLines { colours })
        .with_ansi(colours);
    match arguments.log_format {
        LogFormat::Text => logs.with_target(false).init(),
        LogFormat::Json => logs.json().init(),
    }
    // These write what the user asks for, where the user asks for it; all others write state.
    if !matches!(arguments.command, Command::Udf(_) | Command::Generate(_)) {
        weir_core::private::by_default();
    }
    weir_udf_host::compile_apart(arguments::COMPILE);
    let result = match arguments.command {
        Command::Run(a) => run::run(&a, &functions::sandboxed),
        Command::Check(a) => script::check(&a),
        Command::Explain(a) => script::explain(&a),
        Command::Describe(a) => describe::describe(&a),
        Command::Udf(a) => udf::run(&a),
        Command::Dlq(a) => match a.command {
            DlqCommand::Replay(r) => run::replay(&r, &functions::sandboxed),
        },
        Command::State(a) => state::run(&a),
        Command::Savepoint(a) => state::savepoint(&a),
        Command::List(a) => job_commands::list(&a),
        Command::Stop { job } => job_commands::stop(&job),
        Command::Scale(a) => job_commands::scale(&a),
        Command::Hints(a) => job_commands::hints(&a),
        Command::Top(a) => job_commands::top(&a),
        Command::Generate(a) => generate::run(&a),
        Command::Bench(a) => bench::run(&a.command),
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Arguments::command(), "weir", &mut std::io::stdout());
            Ok(())
        }
        Command::CompileFunction { from, to } => weir_udf_host::compile_file(&from, &to),
        Command::Version => {
            output::line(concat!("weir ", env!("CARGO_PKG_VERSION")));
            Ok(())
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            note!("error: {e}");
            ExitCode::from(e.kind.exit_code())
        }
    }
}
