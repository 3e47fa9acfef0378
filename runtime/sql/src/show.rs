//! SHOW and DESCRIBE: show the declarations of a script in its own syntax, without secrets.

use crate::catalog::{place_of, unknown_database};
use crate::expressions::built_in_names;
use crate::names::Binder;
use crate::places::excerpt;
use crate::script::Compiler;
use crate::syntax::{ColumnKind, Listed, Show, WithOption};
use sqlparser::ast::ObjectName;
use weir_core::descriptor::FAILING;
use weir_core::option_spec::{OptionSpec, Shown};
use weir_core::types::quoted;
use weir_core::{Error, Result, Schema};
use weir_plan::Table;

/// SQL's LIKE: `%` matches any text, `_` any character, and a backslash escapes the next character.
fn like(pattern: &[char], text: &[char]) -> bool {
    match pattern {
        [] => text.is_empty(),
        ['%', rest @ ..] => (0..=text.len()).any(|n| like(rest, &text[n..])),
        ['\\', c, rest @ ..] => text.first() == Some(c) && like(rest, &text[1..]),
        ['_', rest @ ..] => !text.is_empty() && like(rest, &text[1..]),
        [c, rest @ ..] => text.first() == Some(c) && like(rest, &text[1..]),
    }
}

/// An option's value without secrets: variables are shown by name, addresses without credentials. Values of unknown options are hidden.
fn open(option: Option<&OptionSpec>, value: &str) -> String {
    let variable = value.strip_prefix("${").and_then(|v| v.strip_suffix('}')).is_some_and(|n| !n.contains(['{', '}']));
    match option.map_or(Shown::Secret, |o| o.shown) {
        _ if variable => value.to_string(),
        Shown::Secret | Shown::Hidden => "****".to_string(),
        shown if value.contains("://") => address(value, shown == Shown::Host),
        Shown::Open | Shown::Host => value.to_string(),
    }
}

/// An address without its user, its parameters and, for a webhook, its path, since these can grant access.
fn address(url: &str, hide_path: bool) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_string() };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    if rest[end..].contains('@') {
        // The `@` may be part of a password.
        return format!("{scheme}://****");
    }
    let (host, mut path) = rest.split_at(end);
    let host = match host.rsplit_once('@') {
        Some((_, host)) => format!("****@{host}"),
        None => host.to_string(),
    };
    let cut = path.find(['?', '#', ';']);
    if let Some(at) = cut {
        path = &path[..at];
    }
    let path = if hide_path && path.len() > 1 { "/****" } else { path };
    format!("{scheme}://{host}{path}{}", if cut.is_some() { "?****" } else { "" })
}

impl Compiler<'_> {
    /// The columns of a table or view.
    pub(crate) fn schema_of(&mut self, name: &ObjectName) -> Result<Schema> {
        let full = self.catalog.full(name)?;
        if let Some(v) = self.catalog.views.get(&full).cloned() {
            return Ok(Binder::new(&mut self.catalog, self.loader).view(&v)?.schema().clone());
        }
        let table = self.catalog.table(name)?.clone();
        Ok(Binder::new(&mut self.catalog, self.loader).scan(&table)?.schema().clone())
    }

    pub(crate) fn describe(&mut self, name: &ObjectName) -> Result<Vec<(String, String)>> {
        let schema = self.schema_of(name)?;
        Ok(schema.fields.iter().map(|f| (f.name.clone(), f.ty.to_string())).collect())
    }

    pub(crate) fn show(&mut self, show: Show) -> Result<()> {
        let mut lines = self.listed(&show)?;
        if let Some((pattern, negated, any_case)) = &show.like {
            let chars = |s: &str| -> Vec<char> {
                if *any_case { s.to_lowercase().chars().collect() } else { s.chars().collect() }
            };
            // Consecutive `%` are merged, so that the search is fast.
            let mut pattern = chars(pattern);
            pattern.dedup_by(|a, b| *a == '%' && *b == '%');
            lines.retain(|(n, _)| like(&pattern, &chars(n)) != *negated);
        }
        self.answers.push(lines.into_iter().map(|(_, l)| l).collect::<Vec<_>>().join("\n"));
        Ok(())
    }

    /// The lines to show, each with the name that LIKE matches.
    fn listed(&mut self, show: &Show) -> Result<Vec<(String, String)>> {
        let database = self.listed_database(show)?;
        let inside = |k: &String| k.strip_prefix(&format!("{database}.")).map(str::to_string);
        let c = &self.catalog;
        let own = || c.functions.values().map(|f| f.spec.name.clone());
        let names: Vec<String> = match &show.what {
            Listed::Columns(of) => {
                let columns = self.describe(of)?.into_iter();
                return Ok(columns.map(|(n, ty)| (n.clone(), format!("{n}\t{ty}"))).collect());
            }
            Listed::Tables => {
                let mut names: Vec<String> = c.declared.keys().chain(c.views.keys()).filter_map(inside).collect();
                names.sort();
                names
            }
            Listed::Views => c.views.keys().filter_map(inside).collect(),
            Listed::Databases => c.databases.iter().map(|d| d.rsplit('.').next().unwrap_or(d).to_string()).collect(),
            Listed::Catalogs | Listed::CurrentCatalog => vec![c.current.0.clone()],
            Listed::CurrentDatabase => vec![c.current.1.clone()],
            Listed::UserFunctions => own().collect(),
            Listed::Functions => built_in_names().map(str::to_string).chain(own()).collect(),
        };
        Ok(names.into_iter().map(|n| (n.clone(), n)).collect())
    }

    /// The database whose content is listed: the one after FROM, or the current one.
    fn listed_database(&self, show: &Show) -> Result<String> {
        let c = &self.catalog;
        let Some(name) = &show.of else { return Ok(format!("{}.{}", c.current.0, c.current.1)) };
        match show.what {
            Listed::Tables | Listed::Views | Listed::Functions => {
                let full = self.database(name);
                if c.databases.contains(&full) { Ok(full) } else { Err(unknown_database(c, name)) }
            }
            // There is only one catalog.
            Listed::Databases => Ok(String::new()),
            Listed::UserFunctions
            | Listed::Catalogs
            | Listed::CurrentCatalog
            | Listed::CurrentDatabase
            | Listed::Columns(_) => Err(Error::script(format!("SHOW {} takes no FROM", show.what)).at(place_of(name))),
        }
    }

    pub(crate) fn show_create(&mut self, name: &ObjectName, view: bool) -> Result<()> {
        let full = self.catalog.full(name)?;
        if let Some(v) = self.catalog.views.get(&full).cloned() {
            if !view {
                let e = Error::script(format!("'{}' is a view", self.catalog.short(&full))).at(place_of(name));
                return Err(e.hint("SHOW CREATE VIEW shows it"));
            }
            let columns: Vec<String> =
                self.schema_of(name)?.fields.iter().map(|f| format!("  {}", quoted(&f.name))).collect();
            self.answers.push(format!("CREATE VIEW {full} (\n{}\n)\nAS {}", columns.join(",\n"), v.text));
            return Ok(());
        }
        let table = self.catalog.table(name)?.clone();
        if view {
            let e = Error::script(format!("'{}' is a table", self.catalog.short(&full))).at(place_of(name));
            return Err(e.hint("SHOW CREATE TABLE shows it"));
        }
        let text = self.create_text(&full, &table);
        self.answers.push(text);
        Ok(())
    }

    fn create_text(&self, full: &str, table: &Table) -> String {
        let Some(declared) = self.catalog.declared.get(full) else { return String::new() };
        let mut parts: Vec<String> = vec![];
        for (c, (f, _)) in declared.columns.iter().zip(&table.columns) {
            let name = quoted(&f.name);
            parts.push(match &c.kind {
                ColumnKind::Physical(_) => format!("  {name} {}", f.ty),
                ColumnKind::Computed(_, text) => format!("  {name} AS {}", excerpt(self.sql, *text)),
                ColumnKind::Metadata { key, is_virtual, .. } => {
                    let from = key.as_ref().map_or(String::new(), |k| format!(" FROM '{}'", k.replace('\'', "''")));
                    format!("  {name} {} METADATA{from}{}", f.ty, if *is_virtual { " VIRTUAL" } else { "" })
                }
            });
        }
        let names = |of: &[sqlparser::ast::Ident]| {
            of.iter().map(|i| quoted(&i.value).to_string()).collect::<Vec<_>>().join(", ")
        };
        if let Some(w) = &declared.watermark {
            parts.push(format!("  WATERMARK FOR {} AS {}", quoted(&w.column.value), excerpt(self.sql, w.text)));
        }
        if !declared.primary_key.is_empty() {
            parts.push(format!("  PRIMARY KEY ({}) NOT ENFORCED", names(&declared.primary_key)));
        }
        let by = match declared.partitioned_by.is_empty() {
            true => String::new(),
            false => format!(" PARTITIONED BY ({})", names(&declared.partitioned_by)),
        };
        let spec = |key: &str| table.option(key).or_else(|| FAILING.iter().find(|o| o.key == key));
        let shown = |o: &WithOption| format!("  '{}' = '{}'", o.key, open(spec(&o.key), &o.value).replace('\'', "''"));
        let mut options: Vec<String> = declared.options.iter().map(shown).collect();
        options.sort();
        format!("CREATE TABLE {full} (\n{}\n){by} WITH (\n{}\n)", parts.join(",\n"), options.join(",\n"))
    }
}

#[cfg(test)]
mod tests {
    use super::{address, like, open};

    #[test]
    fn patterns() {
        let is = |p: &str, t: &str| like(&p.chars().collect::<Vec<_>>(), &t.chars().collect::<Vec<_>>());
        assert!(is("a%", "abc") && is("%", "") && is("_b_", "abc") && is("a\\_c", "a_c"));
        assert!(!is("a", "abc") && !is("a\\_c", "abc"));
    }

    #[test]
    fn only_what_is_known_to_be_open_is_shown() {
        assert_eq!(
            address("jdbc:postgresql://me:pw@host:5432/db?user=a&password=b", false),
            "jdbc:postgresql://****@host:5432/db?****"
        );
        assert_eq!(address("https://hooks.example.com/services/T0/B0/xyz", true), "https://hooks.example.com/****");
        let shown = |connector: &str, key: &str, value: &str| {
            open(weir_connectors::REGISTRY.connector(connector).and_then(|c| c.option(key)), value)
        };
        assert_eq!(shown("webhook", "url", "http://h/${SECRET}"), "http://h/****");
        assert_eq!(shown("webhook", "headers.Authorization", "Bearer abc"), "****");
        assert_eq!(shown("webhook", "headers.Authorization", "${T}"), "${T}");
        assert_eq!(shown("jdbc", "lookup.password", "abc"), "****");
        assert_eq!(shown("jdbc", "password", "abc"), "****");
        assert_eq!(shown("kafka", "properties.sasl.password", "abc"), "****");
        assert_eq!(shown("kafka", "topic", "orders"), "orders");
    }
}
