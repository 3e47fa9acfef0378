//! The commands and arguments of the command line.

use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;

/// A stream processor in one binary: jobs in Flink's SQL, functions as sandboxed WebAssembly.
#[derive(Parser)]
#[command(name = "weir", version, about, after_help = EXIT_CODES)]
pub struct Arguments {
    #[command(subcommand)]
    pub command: Command,
    /// The format of messages on standard error.
    #[arg(long, global = true, value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
}

const EXIT_CODES: &str = "\
Exit codes:
  0   done, or stopped as asked
  2   the command line, the script or an option is wrong
  3   a record could not be read, evaluated or written
  4   a function trapped, broke a limit or the contract
  5   the state is in use, damaged or of another job
  6   a file, pipe or server failed, and restarts did not help
  7   a tool that builds functions is missing or failed
  70  a mistake in Weir itself
  130 left at once, at the second Ctrl-C";

/// An internal command, which only weir itself calls.
pub const COMPILE: &str = "compile-function";

#[derive(Clone, Copy, ValueEnum)]
pub enum LogFormat {
    Text,
    Json,
}

#[derive(Subcommand)]
pub enum Command {
    /// Run a job.
    Run(RunArguments),
    /// Check a script and report all errors, without running anything that it names.
    Check(CheckArguments),
    /// Show the plan of a job, without running anything that the script names.
    Explain(ExplainArguments),
    /// Describe connectors and formats with their options, and settings.
    Describe(DescribeArguments),
    /// Create, build, inspect, test and benchmark functions.
    Udf(UdfArguments),
    /// Write a savepoint of a job, running or stopped, from which a job can start elsewhere.
    Savepoint(SavepointArguments),
    /// Show the jobs that run on this machine.
    List(ListArguments),
    /// Stop a running job once it has finished its epoch.
    Stop {
        #[command(flatten)]
        job: JobArgument,
    },
    /// Change the parallelism of operators of a running job.
    Scale(ScaleArguments),
    /// Show advice for a running job: what to change, to which value, and why.
    Hints(HintsArguments),
    /// Watch the operators of a running job.
    Top(TopArguments),
    /// Handle dead letters: records that failed and were written to a dead-letter table.
    Dlq(Dlq),
    /// Show, export, import and drop the state of jobs.
    State(StateArguments),
    /// Generate input for the examples and benchmarks.
    Generate(GenerateArguments),
    /// Measure Weir on this machine.
    Bench(BenchArguments),
    /// Print the completion script for a shell.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Compile the component of a function, which weir does in a separate process with limits.
    #[command(hide = true, name = COMPILE)]
    CompileFunction { from: PathBuf, to: PathBuf },
    /// Print the version.
    Version,
}

#[derive(Args, Clone)]
pub struct ScriptArguments {
    /// The script's file; - reads it from standard input.
    #[arg(value_name = "SCRIPT", required_unless_present = "file")]
    pub script: Option<PathBuf>,
    /// The same as SCRIPT, as an option: -f job.sql, -f -.
    #[arg(short, long = "file", value_name = "SCRIPT", conflicts_with = "script")]
    pub file: Option<PathBuf>,
    /// A TOML file with settings, which override the script's SET.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// A setting, which overrides the script's SET and the --config file.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
}

#[derive(Args)]
pub struct RunArguments {
    #[command(flatten)]
    pub script: ScriptArguments,
    /// Discard the job's existing state.
    #[arg(long)]
    pub fresh: bool,
    /// Allow dropping the state of statements that are no longer there.
    #[arg(long)]
    pub allow_state_drop: bool,
    /// Start a new run from the state in a savepoint: a file or object. From a folder or bucket prefix, the job's newest one is used.
    #[arg(long, value_name = "SAVEPOINT")]
    pub from: Option<String>,
    /// The folder for the state; by default .weir beside the script.
    #[arg(long, value_name = "FOLDER")]
    pub state: Option<PathBuf>,
    /// Serve metrics, health and an HTTP interface at an address such as 127.0.0.1:9249. Changes need a token: that of WEIR_TOKEN, or a
    /// generated one in a file of the state folder.
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<String>,
    /// Change parallelisms while the job runs, as the hints advise.
    #[arg(long)]
    pub autoscale: bool,
}

impl RunArguments {
    /// A script and the folder for its state, without options.
    pub fn new(script: ScriptArguments, state: Option<PathBuf>) -> RunArguments {
        let (fresh, allow_state_drop, autoscale) = (false, false, false);
        RunArguments { script, state, fresh, allow_state_drop, from: None, listen: None, autoscale }
    }
}

#[derive(Args)]
pub struct DescribeArguments {
    /// A connector or format; 'connectors' or 'formats' for a list; 'tables', 'inserts' or 'functions' for the options that all of them
    /// have; 'settings'; or 'commands'.
    pub name: Option<String>,
    /// The format of the output.
    #[arg(long, value_enum, default_value_t = Description::Text)]
    pub format: Description,
}

/// The format of a description.
#[derive(Clone, Copy, PartialEq, ValueEnum)]
pub enum Description {
    Text,
    Json,
    Markdown,
}

#[derive(Args)]
pub struct ListArguments {
    /// The format of the output.
    #[arg(long, value_enum, default_value_t = OutputFormat::Text)]
    pub format: OutputFormat,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
pub enum OutputFormat {
    Text,
    Json,
}

#[derive(Args)]
pub struct ScaleArguments {
    #[command(flatten)]
    pub job: JobArgument,
    /// An operator's name, as in `weir top`, and its number of subtasks; 'script' restores the script's number.
    #[arg(required = true, value_name = "OPERATOR=N")]
    pub operators: Vec<String>,
}

#[derive(Args)]
pub struct HintsArguments {
    #[command(flatten)]
    pub job: JobArgument,
    /// The format of the output.
    #[arg(long, value_enum, default_value_t = OutputFormat::Text)]
    pub format: OutputFormat,
}

#[derive(Args)]
pub struct TopArguments {
    #[command(flatten)]
    pub job: JobArgument,
    /// Print once and exit, which is also the default if standard output is not a terminal.
    #[arg(long)]
    pub once: bool,
}

#[derive(Args)]
pub struct Dlq {
    #[command(subcommand)]
    pub command: DlqCommand,
}

#[derive(Subcommand)]
pub enum DlqCommand {
    /// Feed a stopped job its dead letters again, each once. Other readers of its topics do not see them.
    Replay(ReplayArguments),
}

#[derive(Args)]
pub struct ReplayArguments {
    #[command(flatten)]
    pub script: ScriptArguments,
    /// The folder for the state; by default .weir beside the script.
    #[arg(long, value_name = "FOLDER")]
    pub state: Option<PathBuf>,
}

#[derive(Args)]
pub struct CheckArguments {
    #[command(flatten)]
    pub script: ScriptArguments,
    /// Build functions that are not built yet. A build runs code of the functions' authors.
    #[arg(long)]
    pub build: bool,
}

#[derive(Args)]
pub struct ExplainArguments {
    #[command(flatten)]
    pub script: ScriptArguments,
    /// Build functions that are not built yet. A build runs code of the functions' authors.
    #[arg(long)]
    pub build: bool,
    /// The format of the output.
    #[arg(long, value_enum, default_value_t = ExplainFormat::Text)]
    pub format: ExplainFormat,
}

#[derive(Clone, Copy, ValueEnum)]
pub enum ExplainFormat {
    Text,
    Json,
    Mermaid,
}

#[derive(Args)]
pub struct UdfArguments {
    #[command(subcommand)]
    pub command: UdfCommand,
}

#[derive(Subcommand)]
pub enum UdfCommand {
    /// Create a new function from a template.
    New {
        /// The function's name; a file or folder of this name is created in the current folder.
        name: String,
        /// The language of the function.
        #[arg(long, value_enum, default_value_t = SdkLanguage::Rust)]
        language: SdkLanguage,
    },
    /// Build a function into a component.
    Build {
        /// A .py file, a Rust crate's folder, or a .wasm.
        path: PathBuf,
        /// The file to write the component to; by default NAME.wasm in the current folder.
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Show the functions of a component.
    Inspect {
        /// A .py file, a Rust crate's folder, or a .wasm.
        path: PathBuf,
        /// A folder or file of assets, for a function that reads assets when it is opened.
        #[arg(long, value_name = "PATH")]
        assets: Option<PathBuf>,
    },
    /// Call a function on lines of arguments (JSON arrays) from standard input, or on the cases of a file.
    Test {
        /// A .py file, a Rust crate's folder, or a .wasm.
        path: PathBuf,
        /// A file with a test case per line: {"args": ["weir"], "result": "WEIR"}, or "error" with words of the message.
        #[arg(long, value_name = "FILE")]
        cases: Option<PathBuf>,
        /// The function's name; required if the component has several.
        #[arg(long, value_name = "NAME")]
        function: Option<String>,
        /// An address, as host:port, that the function may connect to.
        #[arg(long, value_name = "HOST:PORT")]
        network: Option<String>,
        /// A folder or file of assets.
        #[arg(long, value_name = "PATH")]
        assets: Option<PathBuf>,
    },
    /// Measure how fast a function is on lines of arguments (JSON arrays) from standard input.
    Bench {
        /// A .py file, a Rust crate's folder, or a .wasm.
        path: PathBuf,
        /// The function's name; required if the component has several.
        #[arg(long, value_name = "NAME")]
        function: Option<String>,
        /// How many rows to call the function for.
        #[arg(long, default_value_t = 1_000_000, value_name = "N")]
        rows: usize,
        /// A folder or file of assets.
        #[arg(long, value_name = "PATH")]
        assets: Option<PathBuf>,
    },
}

#[derive(Clone, Copy, ValueEnum)]
pub enum SdkLanguage {
    Rust,
    Python,
}

#[derive(Args)]
pub struct StateArguments {
    #[command(subcommand)]
    pub command: StateCommand,
}

#[derive(Args)]
pub struct SavepointArguments {
    #[command(flatten)]
    pub job: JobArgument,
    /// The folder or bucket prefix to write the savepoint to: a path, s3://bucket/prefix, gs://…, az://…
    pub target: String,
}

/// A job, by its script, its state folder or its name.
#[derive(Args)]
pub struct JobArgument {
    /// The job's script, its state folder, or its name in ./.weir
    pub job: PathBuf,
}

#[derive(Subcommand)]
pub enum StateCommand {
    /// Show the state that a job has.
    Show {
        #[command(flatten)]
        job: JobArgument,
    },
    /// Write a job's state as text.
    Export {
        #[command(flatten)]
        job: JobArgument,
        /// The file to write to; by default standard output.
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Import a job's state from an export.
    Import {
        #[command(flatten)]
        job: JobArgument,
        /// A file that `weir state export` has written.
        file: PathBuf,
    },
    /// Drop a job's state.
    Drop {
        #[command(flatten)]
        job: JobArgument,
        /// Drop the state of this operator only, by its uid.
        #[arg(long, value_name = "UID")]
        operator: Option<String>,
    },
}

#[derive(Args)]
pub struct BenchArguments {
    #[command(subcommand)]
    pub command: BenchCommand,
}

#[derive(Subcommand)]
pub enum BenchCommand {
    /// Run the queries of the Nexmark benchmark, each in a process of its own, and show what each took.
    Nexmark(NexmarkArguments),
}

#[derive(Args)]
pub struct NexmarkArguments {
    /// The queries to run, q0 to q23; by default all of them.
    #[arg(long, value_name = "QUERIES", value_delimiter = ',')]
    pub queries: Vec<String>,
    /// How many events each query reads.
    #[arg(long, default_value_t = 2_000_000, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub events: u64,
    /// Events per second of event time, which decides how many events a window has.
    #[arg(long, default_value_t = 10_000, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub rate: u64,
    /// The number of subtasks of each operator.
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=64))]
    pub parallelism: u64,
    /// A setting for all queries.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// A folder for scripts, messages, state and results, which are kept; by default a temporary one.
    #[arg(long, value_name = "FOLDER")]
    pub work: Option<PathBuf>,
    /// Print the scripts instead of running them.
    #[arg(long)]
    pub print: bool,
    /// The format of the output.
    #[arg(long, value_enum, default_value_t = OutputFormat::Text)]
    pub format: OutputFormat,
}

#[derive(Args)]
pub struct GenerateArguments {
    /// How many rows to write.
    #[arg(long, default_value_t = 100_000, value_name = "N")]
    pub rows: u64,
    /// The seed of the random values; the same seed gives the same rows.
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub seed: u64,
    /// One row in N is broken; 0 means none.
    #[arg(long, default_value_t = 1000, value_name = "N")]
    pub broken: u64,
    /// A table of address ranges to draw addresses from (CSV of first,last,region, may be gzipped); by default any address.
    #[arg(long, value_name = "FILE")]
    pub ranges: Option<PathBuf>,
    /// The file to write to, compressed if its name ends in .gz; by default standard output.
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}
