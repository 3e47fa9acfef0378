//! What a script has declared: tables, views, functions, databases, settings.

use crate::forms::Forms;
use crate::hints::Hint;
use crate::places::place;
use crate::syntax::{CreateTable, WithOption};
use sqlparser::ast::{Ident, ObjectName, Query};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use weir_core::descriptor::{CONNECTOR, DEAD_LETTERS, LEGACY, OLDER_FORMAT, ON_ERROR, OnError, Registry, is_secret};
use weir_core::error::{Place, nearest};
use weir_core::{Error, Result, SqlType, secrets};
use weir_expr::{Expr, Function};
use weir_plan::{ErrorPolicy, Table, settings};

/// Takes the options of an error policy out of a table's or function's options.
pub(crate) fn error_policy(options: &mut BTreeMap<String, String>, default: OnError) -> Result<ErrorPolicy> {
    let dead_letters = options.remove(DEAD_LETTERS.key());
    let policy = options.remove(ON_ERROR.key());
    let policy = policy.map_or(Ok(default), |v| ON_ERROR.read(ON_ERROR.key(), &v))?;
    match (policy, &dead_letters) {
        (OnError::DeadLetter, None) => {
            Err(Error::script("'on-error' = 'dead-letter' needs 'dead-letter.table', the table that takes the records"))
        }
        (OnError::DeadLetter, _) | (_, None) => Ok(ErrorPolicy { policy, dead_letters }),
        _ => Err(Error::script("'dead-letter.table' goes with 'on-error' = 'dead-letter'")),
    }
}

/// The language of a function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "named after the languages")]
pub enum Language {
    Python,
    Rust,
    Wasm,
}

/// A declared function.
#[derive(Debug, Clone)]
pub struct FunctionSpec {
    /// The name that SQL calls it by.
    pub name: String,
    /// `module.function` or `function`.
    pub identifier: String,
    /// Its language.
    pub language: Language,
    /// The file or folder it is in.
    pub file: PathBuf,
    /// Its options.
    pub options: BTreeMap<String, String>,
    /// Where it was declared.
    pub place: Option<Place>,
    /// What becomes of rows that it fails on.
    pub on_error: ErrorPolicy,
}

/// A function of the user's, ready to be called.
pub trait UserFunction: Send + Sync {
    /// What arguments of these types are cast to, the result's type, and the function.
    ///
    /// # Errors
    /// When it does not take these arguments.
    fn bind(&self, args: &[SqlType]) -> Result<(Vec<SqlType>, SqlType, Arc<dyn Function>)>;
    /// Its signature, for DESCRIBE and SHOW.
    fn signature(&self) -> String;
}

/// Builds and loads functions of the user's.
pub trait FunctionLoader {
    /// Builds what is missing and loads a function.
    ///
    /// # Errors
    /// When a tool is missing, the build fails, or the component is not one.
    fn load(&self, spec: &FunctionSpec) -> Result<Arc<dyn UserFunction>>;
}

/// Of scripts that have no functions of their own: one that is declared is refused when it is called.
pub struct NoFunctions;

impl FunctionLoader for NoFunctions {
    fn load(&self, spec: &FunctionSpec) -> Result<Arc<dyn UserFunction>> {
        Err(Error::script(format!("the function '{}' cannot be loaded here", spec.name)))
    }
}

pub(crate) struct View {
    pub columns: Vec<Ident>,
    pub query: Box<Query>,
    /// The query as written.
    pub text: String,
    /// The catalog and the database that its names are in, where they do not say so.
    pub names_in: (String, String),
}

/// What was bound so far. What is shared counts for each reader, as its rows do.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Spent {
    pub expressions: usize,
    pub scans: usize,
}

impl Spent {
    /// What was bound since then.
    pub(crate) fn since(self, then: Spent) -> Spent {
        Spent { expressions: self.expressions - then.expressions, scans: self.scans - then.scans }
    }
}

/// Everything declared so far.
pub struct Catalog {
    pub(crate) tables: BTreeMap<String, Arc<Table>>,
    /// Why tables of connectors or formats that there are not cannot be used. A script may declare them.
    pub(crate) unusable: BTreeMap<String, Error>,
    /// How each table was declared, whether it can be used or not.
    pub(crate) declared: BTreeMap<String, CreateTable>,
    /// Options given behind tables' names, by where those stand, and which of them were taken.
    pub(crate) hints: BTreeMap<Place, Hint>,
    pub(crate) hints_taken: BTreeSet<Place>,
    pub(crate) views: BTreeMap<String, Arc<View>>,
    pub(crate) functions: BTreeMap<String, (FunctionSpec, Option<Arc<dyn UserFunction>>)>,
    /// How much was bound.
    pub(crate) spent: Spent,
    /// How many relations have been given a number, by which those with several readers are known.
    pub(crate) numbered: usize,
    pub(crate) databases: Vec<String>,
    /// The catalog and the database that USE has named last.
    pub(crate) current: (String, String),
    /// Those of the view whose query is being bound.
    pub(crate) names_in: Option<(String, String)>,
    /// The settings.
    pub settings: BTreeMap<String, String>,
    /// The connectors and formats that there are.
    pub(crate) registry: Registry,
    /// The nodes that the trees of the script have placeholders for.
    pub(crate) forms: Forms,
}

impl Catalog {
    pub(crate) fn new(settings: BTreeMap<String, String>, registry: Registry, forms: Forms) -> Self {
        Catalog {
            tables: BTreeMap::new(),
            unusable: BTreeMap::new(),
            declared: BTreeMap::new(),
            hints: BTreeMap::new(),
            hints_taken: BTreeSet::new(),
            views: BTreeMap::new(),
            functions: BTreeMap::new(),
            spent: Spent::default(),
            numbered: 0,
            databases: vec!["default_catalog.default_database".to_string()],
            current: ("default_catalog".to_string(), "default_database".to_string()),
            names_in: None,
            settings,
            registry,
            forms,
        }
    }

    /// A name in full: catalog, database, name.
    pub(crate) fn full(&self, name: &ObjectName) -> Result<String> {
        let parts = idents(name);
        let (catalog, database) = self.names_in.as_ref().unwrap_or(&self.current);
        Ok(match parts.as_slice() {
            [t] => format!("{catalog}.{database}.{}", t.value),
            [d, t] => format!("{catalog}.{}.{}", d.value, t.value),
            [c, d, t] => format!("{}.{}.{}", c.value, d.value, t.value),
            _ => {
                return Err(Error::script(format!("a name has at most three parts: {name}")).at(place_of(name)));
            }
        })
    }

    /// A full name without what goes without saying.
    pub(crate) fn short(&self, full: &str) -> String {
        full.strip_prefix(&format!("{}.{}.", self.current.0, self.current.1)).unwrap_or(full).to_string()
    }

    /// Whether there is a table or a view of a full name.
    pub(crate) fn has(&self, full: &str) -> bool {
        self.declared.contains_key(full) || self.views.contains_key(full)
    }

    /// Takes a table out. Gives how it was declared, if there was one.
    pub(crate) fn remove_table(&mut self, full: &str) -> Option<CreateTable> {
        self.tables.remove(full);
        self.unusable.remove(full);
        self.declared.remove(full)
    }

    /// The hint behind a name.
    pub(crate) fn hint(&mut self, name: &ObjectName) -> Option<&Hint> {
        let at = idents(name).last().and_then(|i| place(i.span.start))?;
        let hint = self.hints.get(&at)?;
        self.hints_taken.insert(at);
        Some(hint)
    }

    /// A table with the options that a hint behind its name gives.
    pub(crate) fn hinted(&mut self, name: &ObjectName, table: Arc<Table>) -> Result<Arc<Table>> {
        let allowed = settings::HINTS.value(&self.settings)?;
        let registry = self.registry;
        let Some(hint) = self.hint(name) else { return Ok(table) };
        if !allowed {
            let e = Error::script("options in hints are switched off by 'table.dynamic-table-options.enabled'");
            return Err(e.at(hint.place));
        }
        let (mut options, places) = option_map(&hint.options, registry)?;
        let same = |k: &str| options.get(k).is_none_or(|v| table.options.get(k) == Some(v));
        if !same(CONNECTOR.key()) {
            return Err(Error::script("a hint cannot give a table another connector").at(hint.place));
        }
        let mut table = table.as_ref().clone();
        if options.contains_key(ON_ERROR.key()) || options.contains_key(DEAD_LETTERS.key()) {
            table.on_error = error_policy(&mut options, OnError::Fail).map_err(|e| e.at(hint.place))?;
        }
        table.options.extend(options);
        table.places.extend(places);
        table.described = registry.named(&table.given())?;
        Ok(Arc::new(table))
    }

    pub(crate) fn table(&self, name: &ObjectName) -> Result<&Arc<Table>> {
        let full = self.full(name)?;
        self.tables.get(&full).ok_or_else(|| self.unknown(name, &full))
    }

    /// What is said of a name that is no table or view, or a table that cannot be used.
    pub(crate) fn unknown(&self, name: &ObjectName, full: &str) -> Error {
        if let Some(e) = self.unusable.get(full) {
            return e.clone();
        }
        let known: Vec<String> = self.declared.keys().chain(self.views.keys()).map(|k| self.short(k)).collect();
        let e = Error::script(format!("there is no table or view '{}'", self.short(full))).at(place_of(name));
        match nearest(&self.short(full), known.iter().map(String::as_str)) {
            Some(n) => e.hint(format!("did you mean '{n}'?")),
            None if known.is_empty() => e.hint("no table has been declared so far"),
            None => e.hint(format!("there are: {}", known.join(", "))),
        }
    }

    /// Binds a call of a user's function, if there is one of that name.
    pub(crate) fn user_function(
        &mut self,
        name: &str,
        args: Vec<Expr>,
        loader: &dyn FunctionLoader,
    ) -> Result<std::result::Result<Expr, Vec<Expr>>> {
        let Some((spec, loaded)) = self.functions.get_mut(&name.to_ascii_lowercase()) else {
            return Ok(Err(args));
        };
        let function = match loaded {
            Some(f) => f.clone(),
            None => loaded.insert(loader.load(spec).map_err(|e| e.at(spec.place))?).clone(),
        };
        let types: Vec<SqlType> = args.iter().map(Expr::ty).collect();
        let (cast, ty, function) = function.bind(&types)?;
        let args = args.into_iter().zip(&cast).map(|(a, t)| weir_expr::functions::cast_to(a, t)).collect();
        Ok(Ok(Expr::Call { function, args, ty }))
    }
}

pub(crate) fn idents(name: &ObjectName) -> Vec<Ident> {
    name.0.iter().filter_map(|p| p.as_ident().cloned()).collect()
}

pub(crate) fn place_of(name: &ObjectName) -> Option<Place> {
    idents(name).first().and_then(|i| place(i.span.start))
}

pub(crate) fn unknown_database(c: &Catalog, name: &ObjectName) -> Error {
    let shown = idents(name).iter().map(|i| i.value.as_str()).collect::<Vec<_>>().join(".");
    let e = Error::script(format!("there is no database '{shown}'")).at(place_of(name));
    let known: Vec<&str> = c.databases.iter().map(|d| d.rsplit('.').next().unwrap_or(d)).collect();
    e.hint(format!("there are: {}; CREATE DATABASE makes one", known.join(", ")))
}

/// Options as a map, old spellings turned into today's.
pub(crate) fn option_map(
    options: &[WithOption],
    registry: Registry,
) -> Result<(BTreeMap<String, String>, BTreeMap<String, Place>)> {
    let mut map = BTreeMap::new();
    let mut places = BTreeMap::new();
    let names_connector = |o: &&WithOption| CONNECTOR.spec().older.contains(&o.key.as_str());
    let old = options.iter().find(names_connector).map(|o| o.value.as_str());
    let connector = old.and_then(|name| registry.connector(name));
    let renamed = |old: &str| {
        let now = connector.and_then(|c| c.options().find(|o| o.older.contains(&old)));
        now.map_or(old, |o| o.key).to_string()
    };
    let format = options.iter().find(|o| o.key == OLDER_FORMAT).map(|o| o.value.clone());
    for o in options {
        let value = crate::variables::fill(&o.value, o.place)?;
        let key = match o.key.as_str() {
            _ if names_connector(&o) => CONNECTOR.key().to_string(),
            k if old.is_some() && LEGACY.iter().any(|l| l.is(k)) => continue,
            OLDER_FORMAT => "format".to_string(),
            k => match (k.strip_prefix("format."), k.strip_prefix("connector."), &format) {
                (Some(rest), _, Some(f)) => format!("{f}.{rest}"),
                (_, Some(rest), _) if old.is_some() => renamed(rest),
                _ => k.to_string(),
            },
        };
        if map.insert(key.clone(), value).is_some() {
            return Err(Error::script(format!("option '{}' is given twice", o.key)).at(o.place));
        }
        if let Some(p) = o.place {
            places.insert(key, p);
        }
    }
    keep_secrets(&map, registry);
    if old == Some("kafka") && !map.contains_key("scan.startup.mode") {
        // As Flink did: where the group is, or else from now on.
        let group = map.contains_key("properties.group.id");
        let mode = if group { "group-offsets" } else { "latest-offset" };
        map.insert("scan.startup.mode".to_string(), mode.to_string());
        if group {
            map.entry("properties.auto.offset.reset".to_string()).or_insert_with(|| "latest".to_string());
        }
    }
    Ok((map, places))
}

/// Notes the values of options that hold secrets, so that no message shows them.
fn keep_secrets(options: &BTreeMap<String, String>, registry: Registry) {
    let described = registry.known(options);
    for (key, value) in options {
        let option = described.as_ref().and_then(|d| d.option(key));
        // Short ones, and those that stand openly in another option, are words that messages need.
        let elsewhere = || options.iter().any(|(k, v)| !k.eq_ignore_ascii_case(key) && v.contains(value.as_str()));
        if is_secret(option, key) && value.len() >= 8 && !elsewhere() {
            secrets::keep(value, "****");
        }
        let login = value.split_once("://").and_then(|(_, rest)| rest.rsplit_once('@')).map(|(login, _)| login);
        if let Some((_, password)) = login.and_then(|l| l.split_once(':')) {
            secrets::keep(password, "****");
        }
        for part in value.split(['?', '&', ';']).filter_map(|p| p.split_once('=')) {
            if part.0.ends_with("password") && part.1.len() >= 8 {
                secrets::keep(part.1, "****");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{compiled, try_compile};

    const UNKNOWN: &str = "CREATE TABLE x (a INT) WITH ('connector' = 'pulsar', 'topic' = 't');";

    #[test]
    fn a_table_of_no_connector_is_told_where_it_is_used() {
        // It may stand there, be listed, copied, changed and taken away.
        let c = compiled(&format!(
            "{UNKNOWN} SHOW TABLES; CREATE TABLE y WITH ('connector' = 'datagen') LIKE x (EXCLUDING OPTIONS);
             ALTER TABLE x RENAME TO z; DROP TABLE z; SHOW TABLES; SELECT a FROM y;"
        ));
        assert_eq!(c.answers, ["x", "y"]);
        let changed = "ALTER TABLE x RESET ('topic'); ALTER TABLE x SET ('connector' = 'datagen'); SELECT a FROM x;";
        compiled(&format!("{UNKNOWN} {changed}"));
        for used in ["SELECT a FROM x", "DESCRIBE x", "INSERT INTO x VALUES (1)", "SHOW CREATE TABLE x"] {
            let e = try_compile(&format!("{UNKNOWN} {used};")).map(|_| ()).expect_err("an error").to_string();
            assert!(e.contains("there is no connector 'pulsar', which table 'x' asks for"), "{used}: {e}");
        }
        let twice = try_compile(&format!("{UNKNOWN} {UNKNOWN}")).map(|_| ()).expect_err("an error").to_string();
        assert!(twice.contains("there is a table or view 'x' already"), "{twice}");
    }

    #[test]
    fn what_brings_changes_is_never_unknown() {
        for (options, words) in [
            ("'connector' = 'filesystem', 'path' = 'x', 'format' = 'cvs'", "did you mean 'csv'?"),
            (
                "'connector' = 'kafka', 'topic' = 't', 'properties.bootstrap.servers' = 'b:1'",
                "lacks the option 'format'",
            ),
        ] {
            let script = format!("CREATE TABLE x (a INT) WITH ({options}); SELECT a FROM x;");
            let e = try_compile(&script).map(|_| ()).expect_err("an error").to_string();
            assert!(e.contains(words), "{options}: {e}");
        }
    }
}
