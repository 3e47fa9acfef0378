//! `weir describe`: what connectors, formats, settings and commands there are, from what they say of themselves.

use crate::arguments::{DescribeArguments, Description};
use crate::command_reference;
use crate::output::text;
use serde_json::{Value as Json, json};
use std::fmt::Write;
use weir_connectors::REGISTRY;
use weir_core::descriptor::{COMMON, Descriptor, DescriptorKind, FAILING, LEGACY, Metadata, WATERMARKS};
use weir_core::error::nearest;
use weir_core::function_options::FUNCTION;
use weir_core::option_spec::{OptionSpec, Role, Type};
use weir_core::{Error, Result};
use weir_plan::{INSERT, settings};

/// Options in groups, each with its title.
type Groups = &'static [(&'static str, &'static [OptionSpec])];

/// What can be described beside connectors and formats.
const LISTS: [(&str, Groups); 5] = [
    ("tables", &[("", COMMON), ("", WATERMARKS), ("", FAILING), ("", LEGACY)]),
    ("watermarks", &[("", WATERMARKS)]),
    ("inserts", &[("", INSERT)]),
    ("functions", &[("", FUNCTION), ("", FAILING)]),
    ("settings", settings::ALL),
];

/// The lists of descriptors.
const ALL: [(&str, &str, &[&Descriptor]); 2] =
    [("connectors", "Connectors", REGISTRY.connectors), ("formats", "Formats", REGISTRY.formats)];

/// What shows the commands.
const COMMANDS: &str = "commands";

/// Shows all, or what is of a name.
pub fn describe(a: &DescribeArguments) -> Result<()> {
    text(described(a.name.as_deref(), a.format)?);
    Ok(())
}

/// What there is of a name, or all.
///
/// # Errors
/// When there is nothing of that name.
pub fn described(name: Option<&str>, format: Description) -> Result<String> {
    let all = || ALL.into_iter().flat_map(|(_, _, all)| all.iter().copied());
    let Some(name) = name else {
        return Ok(list(&ALL, format));
    };
    if let Some(d) = all().find(|d| d.name == name) {
        return Ok(of_descriptor(d, format));
    }
    if let Some(one) = ALL.into_iter().find(|(n, ..)| *n == name) {
        return Ok(list(&[one], format));
    }
    if let Some((_, groups)) = LISTS.into_iter().find(|(n, _)| *n == name) {
        return Ok(of_groups(groups, format));
    }
    if name == COMMANDS {
        return Ok(command_reference::shown(format));
    }
    let lists = ALL.into_iter().map(|(n, ..)| n).chain(LISTS.into_iter().map(|(n, _)| n)).chain([COMMANDS]);
    let known: Vec<&str> = all().map(|d| d.name).chain(lists).collect();
    let e = Error::script(format!("there is no connector or format '{name}'"));
    Err(match nearest(name, known.iter().copied()) {
        Some(n) => e.hint(format!("did you mean '{n}'?")),
        None => e.hint(format!("there are: {}", known.join(", "))),
    })
}

/// Connectors and formats, a line each.
fn list(parts: &[(&str, &str, &'static [&'static Descriptor])], format: Description) -> String {
    let roles = |d: &Descriptor| Role::ALL.into_iter().filter(|r| d.is(*r)).map(Role::name).collect::<Vec<_>>();
    match format {
        Description::Json => pretty(&parts.iter().flat_map(|(_, _, all)| all.iter()).map(|d| json_of(d)).collect()),
        Description::Markdown => parts.iter().map(|(_, _, all)| table_of_all(all)).collect::<Vec<_>>().join("\n"),
        Description::Text => {
            let mut out = String::new();
            for (_, title, all) in parts {
                let _ = writeln!(out, "{title}:");
                for d in *all {
                    let what =
                        if d.kind == DescriptorKind::Connector { roles(d).join(", ") } else { changes(d).to_string() };
                    let _ = writeln!(out, "  {:<24} {what:<20} {}", d.name, d.help);
                }
                out.push('\n');
            }
            let lists = LISTS.map(|(name, _)| format!("'{name}'")).join(", ");
            out + "weir describe NAME shows the options of one, or of all of " + &lists + "\n"
        }
    }
}

/// Connectors or formats as a table of the book.
fn table_of_all(all: &[&Descriptor]) -> String {
    let yes = |is: bool| if is { "yes" } else { "" };
    let connectors = all.iter().all(|d| d.kind == DescriptorKind::Connector);
    let mut out = match connectors {
        true => "| connector | source | sink | lookup | what it does |\n|---|---|---|---|---|\n",
        false => "| format | records | changes | what it is |\n|---|---|---|---|\n",
    }
    .to_string();
    for d in all {
        let _ = if connectors {
            let [source, sink, lookup] = Role::ALL.map(|r| yes(d.is(r)));
            writeln!(out, "| [{0}]({0}.md) | {source} | {sink} | {lookup} | {1} |", d.name, d.help)
        } else {
            let lines = if d.lines { "files, messages" } else { "messages" };
            writeln!(out, "| [{0}](#{0}) | {lines} | {1} | {2} |", d.name, changes(d), d.help)
        };
    }
    out
}

fn changes(d: &Descriptor) -> &'static str {
    d.reads.map_or("", |c| c.name())
}

/// The options of a descriptor: those that are only its own by their names, those of a format behind the format's.
fn options(d: &'static Descriptor) -> impl Iterator<Item = (String, &'static OptionSpec)> {
    d.options().map(|o| match d.kind {
        DescriptorKind::Connector => (o.key.to_string(), o),
        DescriptorKind::Format => (format!("{}.{}", d.name, o.key), o),
    })
}

fn of_descriptor(d: &'static Descriptor, format: Description) -> String {
    match format {
        Description::Json => pretty(&json_of(d)),
        Description::Markdown => {
            let mut out = table(options(d).collect());
            if !d.metadata.is_empty() {
                out += "\n| metadata | type | written by a sink |\n|---|---|---|\n";
                for m in d.metadata {
                    let written = if m.writable { "yes" } else { "" };
                    let _ = writeln!(out, "| `{}` | `{}` | {written} |", m.key, (m.ty)().kind);
                }
            }
            out
        }
        Description::Text => text_of(d),
    }
}

fn text_of(d: &'static Descriptor) -> String {
    let mut out = format!("{}: {}\n\n{};\n", d.name, d.help, d.example);
    if let Some(c) = d.reads {
        let _ = writeln!(out, "\nreads: {}", c.name());
    }
    if let Some(c) = d.writes {
        let _ = writeln!(out, "writes: {}", c.name());
    }
    if d.looks_up {
        let when = if d.versions_by_key { ", unless the table has a primary key" } else { "" };
        let _ = writeln!(out, "rows are looked up in it by key{when}");
    }
    if d.options().next().is_some() {
        out += "\nOptions:\n";
        options(d).for_each(|(key, o)| one(&key, o, &mut out));
    }
    if !d.metadata.is_empty() {
        out += "\nMetadata columns:\n";
        for m in d.metadata {
            let written = if m.writable { ", written by a sink" } else { "" };
            let _ = writeln!(out, "  {} {}{written}", m.key, (m.ty)().kind);
        }
    }
    out
}

/// An option, for people.
fn one(key: &str, o: &OptionSpec, out: &mut String) {
    let mut facts = vec![o.ty.to_string()];
    facts.extend(roles(o).map(|r| format!("of a {r}")));
    facts.extend(o.required.then(|| "required".to_string()));
    facts.extend(o.default.map(|d| format!("default '{d}'")));
    let _ = writeln!(out, "  {key}  ({})\n      {}", facts.join("; "), meaning(o));
}

fn roles(o: &OptionSpec) -> Option<String> {
    (!o.roles.is_empty()).then(|| o.roles.iter().map(|r| r.name()).collect::<Vec<_>>().join(", "))
}

fn meaning(o: &OptionSpec) -> String {
    o.idle.map_or_else(|| o.help.to_string(), |why| format!("accepted, and has no effect: {why}"))
}

fn of_groups(groups: Groups, format: Description) -> String {
    let named = |all: &'static [OptionSpec]| all.iter().map(|o| (o.key.to_string(), o));
    match format {
        Description::Json => {
            pretty(&groups.iter().flat_map(|(_, all)| named(all)).map(|(k, o)| option_json(&k, o)).collect())
        }
        Description::Markdown => {
            // Those of no title are one table.
            let part = |groups: &[(&str, &'static [OptionSpec])]| {
                let title = groups.first().map_or("", |(title, _)| title);
                let head = if title.is_empty() { String::new() } else { format!("## {title}\n\n") };
                head + &table(groups.iter().flat_map(|(_, all)| named(all)).collect())
            };
            groups.chunk_by(|a, b| a.0 == b.0).map(part).collect::<Vec<_>>().join("\n")
        }
        Description::Text => {
            let mut out = String::new();
            for (title, all) in groups {
                if !title.is_empty() {
                    let _ = writeln!(out, "{title}:");
                }
                named(all).for_each(|(key, o)| one(&key, o, &mut out));
            }
            out
        }
    }
}

/// Options as a table of the book.
fn table(all: Vec<(String, &OptionSpec)>) -> String {
    if all.is_empty() {
        return "It has no options.\n".to_string();
    }
    let of_roles = all.iter().any(|(_, o)| !o.roles.is_empty());
    let (head, line) = if of_roles { (" role |", "---|") } else { ("", "") };
    let mut out = format!("| option |{head} value | meaning | default |\n|---|{line}---|---|---|\n");
    let cell = |t: &str| t.replace('|', "\\|");
    for (key, o) in all {
        let role = if of_roles { format!(" {} |", roles(o).unwrap_or_default()) } else { String::new() };
        let value = match o.ty {
            _ if o.idle.is_some() => String::new(),
            Type::OneOf(words) => words.iter().map(|w| format!("`{}`", w[0])).collect::<Vec<_>>().join(", "),
            ty => ty.to_string(),
        };
        let default = match (o.default, o.required) {
            (Some(""), _) => "empty".to_string(),
            (Some(d), _) => format!("`{d}`"),
            (None, true) => "required".to_string(),
            (None, false) => String::new(),
        };
        let _ = writeln!(out, "| `{key}` |{role} {} | {} | {} |", cell(&value), cell(&meaning(o)), cell(&default));
    }
    out
}

fn option_json(key: &str, o: &OptionSpec) -> Json {
    json!({
        "name": key,
        "type": o.ty.to_string(),
        "help": meaning(o),
        "default": o.default,
        "required": o.required,
        "secret": weir_core::descriptor::is_secret(Some(o), key),
        "identifies-state": o.decides,
        "roles": o.roles.iter().map(|r| r.name()).collect::<Vec<_>>(),
        "acts": o.idle.is_none(),
        "older-names": o.older,
    })
}

fn json_of(d: &'static Descriptor) -> Json {
    let metadata = |m: &Metadata| json!({"name": m.key, "type": (m.ty)().to_string(), "writable": m.writable});
    json!({
        "name": d.name,
        "help": d.help,
        "roles": Role::ALL.into_iter().filter(|r| d.is(*r)).map(Role::name).collect::<Vec<_>>(),
        "reads": d.reads.map(|c| c.name()),
        "writes": d.writes.map(|c| c.name()),
        "options": options(d).map(|(k, o)| option_json(&k, o)).collect::<Vec<_>>(),
        "metadata": d.metadata.iter().map(metadata).collect::<Vec<_>>(),
        "example": d.example,
    })
}

fn pretty(json: &Json) -> String {
    serde_json::to_string_pretty(json).unwrap_or_default() + "\n"
}
