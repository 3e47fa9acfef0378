//! What the command line can say, from the declarations by which it is read.

use crate::arguments::{Arguments, Description};
use clap::{Arg, Command, CommandFactory};
use serde_json::{Value as Json, json};
use std::fmt::Write;

/// An argument of a command.
struct Argument {
    /// As it is written: `-o`, `--output FILE`.
    written: String,
    help: String,
    default: String,
    /// Whether it is known by its place.
    positional: bool,
}

/// A command that does something.
struct Leaf {
    /// Its words.
    name: String,
    help: String,
    arguments: Vec<Argument>,
}

/// All commands with their arguments.
pub fn shown(format: Description) -> String {
    let mut root = Arguments::command();
    root.build();
    let every: Vec<Argument> = root.get_arguments().filter(|a| a.is_global_set()).map(argument).collect();
    let mut all = vec![];
    leaves(&root, root.get_name(), &mut all);
    match format {
        Description::Markdown => markdown(&every, &all),
        Description::Text => all.iter().map(text).collect(),
        Description::Json => {
            let list: Vec<Json> = all.iter().map(|c| json_of(c, &every)).collect();
            serde_json::to_string_pretty(&list).unwrap_or_default() + "\n"
        }
    }
}

fn leaves(command: &Command, name: &str, all: &mut Vec<Leaf>) {
    let inner = command.get_subcommands().filter(|c| !c.is_hide_set() && c.get_name() != "help");
    for c in inner {
        let name = format!("{name} {}", c.get_name());
        if c.has_subcommands() {
            leaves(c, &name, all);
            continue;
        }
        let own = c.get_arguments().filter(|a| !a.is_global_set() && !a.is_hide_set());
        let own = own.filter(|a| !matches!(a.get_id().as_str(), "help" | "version"));
        let help = c.get_about().map(ToString::to_string).unwrap_or_default();
        all.push(Leaf { name, help, arguments: own.map(argument).collect() });
    }
}

fn argument(a: &Arg) -> Argument {
    let words: Vec<String> = a.get_possible_values().iter().map(|v| v.get_name().to_string()).collect();
    let takes = a.get_action().takes_values();
    let value = match a.get_value_names() {
        _ if !takes => String::new(),
        _ if !words.is_empty() && !a.is_positional() => words.join("|"),
        Some(names) => names.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
        None => a.get_id().as_str().to_uppercase(),
    };
    let long = a.get_long().map(|l| format!("--{l} {value}").trim_end().to_string());
    let spelled = a.get_short().map(|s| format!("-{s}")).into_iter().chain(long).collect::<Vec<_>>();
    let default = a.get_default_values().iter().map(|v| v.to_string_lossy()).collect::<Vec<_>>().join(" ");
    let help = a.get_help().map(ToString::to_string).unwrap_or_default();
    Argument {
        written: if a.is_positional() { value } else { spelled.join(", ") },
        help: help.split_whitespace().collect::<Vec<_>>().join(" "),
        default: if takes { default } else { String::new() },
        positional: a.is_positional(),
    }
}

/// A command with what it is given by place.
fn called(c: &Leaf) -> String {
    let places = c.arguments.iter().filter(|a| a.positional).map(|a| a.written.as_str());
    [c.name.as_str()].into_iter().chain(places).collect::<Vec<_>>().join(" ")
}

fn markdown(every: &[Argument], all: &[Leaf]) -> String {
    let cell = |t: &str| t.replace('|', "\\|");
    let code = |t: &str| t.split(", ").map(|t| format!("`{}`", cell(t))).collect::<Vec<_>>().join(", ");
    let mut out = "| command | what it does |\n|---|---|\n".to_string();
    for c in all {
        let _ = writeln!(out, "| `{}` | {} |", called(c), cell(&c.help));
    }
    let table = |arguments: &[&Argument], out: &mut String| {
        *out += "| argument | meaning | default |\n|---|---|---|\n";
        for a in arguments {
            let default = if a.default.is_empty() { String::new() } else { code(&a.default) };
            let _ = writeln!(out, "| {} | {} | {default} |", code(&a.written), cell(&a.help));
        }
    };
    out += "\n## Every command\n\n";
    table(&every.iter().collect::<Vec<_>>(), &mut out);
    for c in all.iter().filter(|c| !c.arguments.is_empty()) {
        let _ = write!(out, "\n## {}\n\n", c.name);
        table(&c.arguments.iter().collect::<Vec<_>>(), &mut out);
    }
    out
}

fn text(c: &Leaf) -> String {
    let mut out = format!("{}\n    {}\n", called(c), c.help);
    for a in &c.arguments {
        let default = if a.default.is_empty() { String::new() } else { format!(" (default {})", a.default) };
        let _ = writeln!(out, "    {}  {}{default}", a.written, a.help);
    }
    out
}

fn json_of(c: &Leaf, every: &[Argument]) -> Json {
    let arguments = c.arguments.iter().chain(every).map(|a| {
        json!({
            "argument": a.written,
            "help": a.help,
            "default": (!a.default.is_empty()).then_some(&a.default),
            "positional": a.positional,
        })
    });
    json!({"command": c.name, "help": c.help, "arguments": arguments.collect::<Vec<_>>()})
}
