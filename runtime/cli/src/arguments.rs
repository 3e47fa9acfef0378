//! What the command line can say.

use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;

/// A stream processor in one binary: jobs in Flink's SQL, functions as sandboxed WebAssembly.
#[derive(Parser)]
#[command(name = "weir", version, about, after_help = EXIT_CODES)]
pub struct Arguments {
    #[command(subcommand)]
    pub command: Command,
    /// How messages on standard error are written.
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

/// The command that only weir itself calls.
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
    /// Say everything that is wrong with a script. Nothing that the script names is run.
    Check(CheckArguments),
    /// Show how a job would run. Nothing that the script names is run.
    Explain(ExplainArguments),
    /// Show connectors and formats with their options, and settings.
    Describe(DescribeArguments),
    /// Make, build, look into, test and time functions.
    Udf(UdfArguments),
    /// Write a job's state into a folder, running or not, to start from it elsewhere.
    Savepoint(SavepointArguments),
    /// Show the jobs that run on this machine.
    List(ListArguments),
    /// Have a running job finish its epoch and leave.
    Stop {
        #[command(flatten)]
        job: JobArgument,
    },
    /// Give operators of a running job other parallelisms.
    Scale(ScaleArguments),
    /// Show what a running job should change, to what, and why.
    Hints(HintsArguments),
    /// Watch a running job's operators.
    Top(TopArguments),
    /// Deal with records that failed and went to a table of dead letters.
    Dlq(Dlq),
    /// Look into, copy and drop the state of jobs.
    State(StateArguments),
    /// Write made-up input for the examples and benchmarks.
    Generate(GenerateArguments),
    /// Print completions for a shell.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Compile a function's component, as weir has it done in a process with limits.
    #[command(hide = true, name = COMPILE)]
    CompileFunction { from: PathBuf, to: PathBuf },
    /// Print the version.
    Version,
}

#[derive(Args, Clone)]
pub struct ScriptArguments {
    /// The script; - reads it from standard input.
    #[arg(value_name = "SCRIPT", required_unless_present = "file")]
    pub script: Option<PathBuf>,
    /// The same, by name: -f job.sql, -f -.
    #[arg(short, long = "file", value_name = "SCRIPT", conflicts_with = "script")]
    pub file: Option<PathBuf>,
    /// Settings from a file (TOML), which win over the script's SET.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// A setting; wins over the script's SET and over the file.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
}

#[derive(Args)]
pub struct RunArguments {
    #[command(flatten)]
    pub script: ScriptArguments,
    /// Start anew, whatever state there is.
    #[arg(long)]
    pub fresh: bool,
    /// Let go of the state of statements that are no longer there.
    #[arg(long)]
    pub allow_state_drop: bool,
    /// Start anew from a savepoint, as another timeline: what it has is the state to begin with.
    /// A file or object; or a folder or a bucket's prefix, of which the job's newest is taken.
    #[arg(long, value_name = "SAVEPOINT")]
    pub from: Option<String>,
    /// The folder for the state; .weir beside the script otherwise.
    #[arg(long, value_name = "FOLDER")]
    pub state: Option<PathBuf>,
    /// Serve metrics, health and an interface at this address, such as 127.0.0.1:9249. Changes want a token: that of WEIR_TOKEN, or one that is drawn into a file of the state folder.
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<String>,
    /// Change parallelisms by the hints while the job runs.
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
    /// A connector, a format, 'connectors', 'formats', 'tables', 'inserts' or 'functions' for the options of all of them, 'settings', or 'commands'.
    pub name: Option<String>,
    /// How it is written.
    #[arg(long, value_enum, default_value_t = Description::Text)]
    pub format: Description,
}

/// How a description is written.
#[derive(Clone, Copy, PartialEq, ValueEnum)]
pub enum Description {
    Text,
    Json,
    Markdown,
}

#[derive(Args)]
pub struct ListArguments {
    /// How it is written.
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
    /// An operator's name, as in `weir top`, and its subtasks; 'script' takes the script's number again.
    #[arg(required = true, value_name = "OPERATOR=N")]
    pub operators: Vec<String>,
}

#[derive(Args)]
pub struct HintsArguments {
    #[command(flatten)]
    pub job: JobArgument,
    /// How it is written.
    #[arg(long, value_enum, default_value_t = OutputFormat::Text)]
    pub format: OutputFormat,
}

#[derive(Args)]
pub struct TopArguments {
    #[command(flatten)]
    pub job: JobArgument,
    /// Show it once and leave; so does a standard output that is no terminal.
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
    /// Feed a stopped job its dead letters again, each once. Nobody else who reads its topics sees them.
    Replay(ReplayArguments),
}

#[derive(Args)]
pub struct ReplayArguments {
    #[command(flatten)]
    pub script: ScriptArguments,
    /// The folder for the state; .weir beside the script otherwise.
    #[arg(long, value_name = "FOLDER")]
    pub state: Option<PathBuf>,
}

#[derive(Args)]
pub struct CheckArguments {
    #[command(flatten)]
    pub script: ScriptArguments,
    /// Build functions that are not built yet, which runs what their authors wrote for the build.
    #[arg(long)]
    pub build: bool,
}

#[derive(Args)]
pub struct ExplainArguments {
    #[command(flatten)]
    pub script: ScriptArguments,
    /// Build functions that are not built yet, which runs what their authors wrote for the build.
    #[arg(long)]
    pub build: bool,
    /// How it is written.
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
    /// Make a function to start from.
    New {
        /// Its name; a file or folder of this name is made here.
        name: String,
        /// The language that it is written in.
        #[arg(long, value_enum, default_value_t = SdkLanguage::Rust)]
        language: SdkLanguage,
    },
    /// Build a function into a component.
    Build {
        /// A .py file, a Rust crate's folder, or a .wasm.
        path: PathBuf,
        /// Where the component goes; NAME.wasm here otherwise.
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Show what a component offers.
    Inspect {
        /// A .py file, a Rust crate's folder, or a .wasm.
        path: PathBuf,
        /// A folder or file of assets, for a function that reads them when it is opened.
        #[arg(long, value_name = "PATH")]
        assets: Option<PathBuf>,
    },
    /// Call a function on lines of arguments (JSON arrays) from standard input, or on the cases of a file.
    Test {
        /// A .py file, a Rust crate's folder, or a .wasm.
        path: PathBuf,
        /// A file of cases, one a line: {"args": ["weir"], "result": "WEIR"}, or "error" with words of the message.
        #[arg(long, value_name = "FILE")]
        cases: Option<PathBuf>,
        /// Which function; needed when there are several.
        #[arg(long, value_name = "NAME")]
        function: Option<String>,
        /// A grant of host:port.
        #[arg(long, value_name = "HOST:PORT")]
        network: Option<String>,
        /// A folder or file of assets.
        #[arg(long, value_name = "PATH")]
        assets: Option<PathBuf>,
    },
    /// Time a function on lines of arguments (JSON arrays) from standard input.
    Bench {
        /// A .py file, a Rust crate's folder, or a .wasm.
        path: PathBuf,
        /// Which function; needed when there are several.
        #[arg(long, value_name = "NAME")]
        function: Option<String>,
        /// Rows to call it for.
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
    /// The folder that takes it, or a bucket's prefix: s3://bucket/prefix, gs://…, az://…
    pub target: String,
}

/// A job: its script, or the folder of its state.
#[derive(Args)]
pub struct JobArgument {
    /// The job's script, its state folder, or its name in ./.weir
    pub job: PathBuf,
}

#[derive(Subcommand)]
pub enum StateCommand {
    /// Show what state a job has.
    Show {
        #[command(flatten)]
        job: JobArgument,
    },
    /// Write a job's state as text.
    Export {
        #[command(flatten)]
        job: JobArgument,
        /// The file; standard output otherwise.
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Take state from an export.
    Import {
        #[command(flatten)]
        job: JobArgument,
        /// What `weir state export` has written.
        file: PathBuf,
    },
    /// Forget a job's state.
    Drop {
        #[command(flatten)]
        job: JobArgument,
        /// Only this operator's.
        #[arg(long, value_name = "UID")]
        operator: Option<String>,
    },
}

#[derive(Args)]
pub struct GenerateArguments {
    /// Rows to write.
    #[arg(long, default_value_t = 100_000, value_name = "N")]
    pub rows: u64,
    /// What the rows follow from.
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub seed: u64,
    /// One row in so many is broken; 0 = none.
    #[arg(long, default_value_t = 1000, value_name = "N")]
    pub broken: u64,
    /// The table of address ranges (CSV of first,last,region; may be gzipped); any address otherwise.
    #[arg(long, value_name = "FILE")]
    pub ranges: Option<PathBuf>,
    /// The file, packed when it ends in .gz; standard output otherwise.
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}
