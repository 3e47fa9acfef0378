//! The declarations of a script: tables, views, functions, databases and settings.

use crate::forms::Forms;
use crate::hints::{Hint, HintKind, STATE_TTL};
use crate::lookup_hint::LookupHints;
use crate::places::place;
use crate::state_ttl::StateTtl;
use crate::syntax::{CreateTable, WithOption};
use sqlparser::ast::{Ident, ObjectName, Query};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use weir_core::descriptor::{CONNECTOR, DEAD_LETTERS, LEGACY, OLDER_FORMAT, ON_ERROR, OnError, Registry, is_secret};
use weir_core::error::{Place, nearest};
use weir_core::{Error, Result, SqlType, secrets};
use weir_expr::{Expr, Function, Session};
use weir_plan::{ErrorPolicy, Table, settings};

/// Removes the options of the error policy from those of a table or function, and parses them.
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
    /// The name of the function in SQL.
    pub name: String,
    /// `module.function` or `function`.
    pub identifier: String,
    /// Its language.
    pub language: Language,
    /// The file or folder of the function.
    pub file: PathBuf,
    /// Its options.
    pub options: BTreeMap<String, String>,
    /// The position of the declaration in the script.
    pub place: Option<Place>,
    /// The handling of rows on which the function fails.
    pub on_error: ErrorPolicy,
}

/// A loaded user-defined function.
pub trait UserFunction: Send + Sync {
    /// Binds a call. Returns the types to which the arguments are cast, the type of the result, and the function.
    ///
    /// # Errors
    /// If the function does not accept these arguments.
    fn bind(&self, args: &[SqlType]) -> Result<(Vec<SqlType>, SqlType, Arc<dyn Function>)>;
    /// Its signature, for DESCRIBE and SHOW.
    fn signature(&self) -> String;
}

/// A declared function, and what is known of its use.
pub(crate) struct DeclaredFunction {
    pub spec: FunctionSpec,
    loaded: Option<Arc<dyn UserFunction>>,
    /// Its bindings, by the types of the arguments. Calls with the same types are of the same function, so that statements can share them.
    bound: Vec<(Vec<SqlType>, BoundFunction)>,
}

/// A function, bound to types of arguments.
#[derive(Clone)]
struct BoundFunction {
    /// The types to which the arguments are cast.
    cast: Vec<SqlType>,
    ty: SqlType,
    function: Arc<dyn Function>,
}

impl DeclaredFunction {
    /// A function that has not been called yet.
    pub fn new(spec: FunctionSpec) -> DeclaredFunction {
        DeclaredFunction { spec, loaded: None, bound: vec![] }
    }

    /// Binds a call, given the types of its arguments. The first call loads the function.
    fn bind(&mut self, types: Vec<SqlType>, loader: &dyn FunctionLoader) -> Result<BoundFunction> {
        if let Some((_, bound)) = self.bound.iter().find(|(known, _)| *known == types) {
            return Ok(bound.clone());
        }
        let loaded = match &self.loaded {
            Some(f) => f,
            None => self.loaded.insert(loader.load(&self.spec).map_err(|e| e.at(self.spec.place))?),
        };
        let (cast, ty, function) = loaded.bind(&types)?;
        let bound = BoundFunction { cast, ty, function };
        self.bound.push((types, bound.clone()));
        Ok(bound)
    }
}

/// Builds and loads user-defined functions.
pub trait FunctionLoader {
    /// Builds what is missing and loads a function.
    ///
    /// # Errors
    /// If a tool is missing, the build fails, or the result is not a valid component.
    fn load(&self, spec: &FunctionSpec) -> Result<Arc<dyn UserFunction>>;
}

/// A loader for scripts without user-defined functions. A declared function is rejected when it is called.
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
    /// The default catalog and database of the names in the query.
    pub names_in: (String, String),
}

/// How much was bound so far. A shared relation counts once for each reader.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Spent {
    pub expressions: usize,
    pub scans: usize,
}

impl Spent {
    /// How much was bound since `then`.
    pub(crate) fn since(self, then: Spent) -> Spent {
        Spent { expressions: self.expressions - then.expressions, scans: self.scans - then.scans }
    }
}

/// All declarations so far.
pub struct Catalog {
    pub(crate) tables: BTreeMap<String, Arc<Table>>,
    /// The errors of tables with unknown connectors or formats. A script may declare such tables, but not use them.
    pub(crate) unusable: BTreeMap<String, Error>,
    /// The declaration of each table, whether it can be used or not.
    pub(crate) declared: BTreeMap<String, CreateTable>,
    /// The hints, by the position of what they belong to, and the hints that were used.
    pub(crate) hints: BTreeMap<(Place, HintKind), Vec<Hint>>,
    pub(crate) hints_taken: BTreeSet<(Place, HintKind)>,
    /// The names of hints that turned out to have no effect.
    pub(crate) idle_hints: BTreeSet<&'static str>,
    pub(crate) views: BTreeMap<String, Arc<View>>,
    pub(crate) functions: BTreeMap<String, DeclaredFunction>,
    /// How much was bound.
    pub(crate) spent: Spent,
    /// The number of relations that have received an id, because they may have several readers.
    pub(crate) numbered: usize,
    pub(crate) databases: Vec<String>,
    /// The current catalog and database, as set by USE.
    pub(crate) current: (String, String),
    /// The default catalog and database of the view whose query is being bound.
    pub(crate) names_in: Option<(String, String)>,
    /// The settings.
    pub settings: BTreeMap<String, String>,
    /// The available connectors and formats.
    pub(crate) registry: Registry,
    /// The nodes for which the script's syntax trees have placeholders.
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
            idle_hints: BTreeSet::new(),
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

    /// The full name: catalog, database and name.
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

    /// A full name without the current catalog and database.
    pub(crate) fn short(&self, full: &str) -> String {
        full.strip_prefix(&format!("{}.{}.", self.current.0, self.current.1)).unwrap_or(full).to_string()
    }

    /// Whether there is a table or view with this full name.
    pub(crate) fn has(&self, full: &str) -> bool {
        self.declared.contains_key(full) || self.views.contains_key(full)
    }

    /// Removes a table, and returns its declaration if it exists.
    pub(crate) fn remove_table(&mut self, full: &str) -> Option<CreateTable> {
        self.tables.remove(full);
        self.unusable.remove(full);
        self.declared.remove(full)
    }

    /// The hint after a name.
    pub(crate) fn hint(&mut self, name: &ObjectName) -> Option<&Hint> {
        let at = idents(name).last().and_then(|i| place(i.span.start))?;
        self.hints_at(at, HintKind::Options).first()
    }

    /// The hints of a kind that belong to what is at a position.
    fn hints_at(&mut self, at: Place, kind: HintKind) -> &[Hint] {
        self.hints_taken.insert((at, kind));
        self.hints.get(&(at, kind)).map(Vec::as_slice).unwrap_or_default()
    }

    /// The times to live that hints behind the SELECT at this position give.
    ///
    /// # Errors
    /// If a value is no duration.
    pub(crate) fn state_ttl(&mut self, select: Option<Place>) -> Result<StateTtl> {
        let mut out = StateTtl::default();
        let hints = select.map(|at| self.hints_at(at, HintKind::StateTtl)).unwrap_or_default();
        // The last value of a name counts.
        for o in hints.iter().flat_map(|h| &h.options) {
            let ttl = weir_core::options::duration(STATE_TTL, &o.value).map_err(|e| e.at(o.place))?;
            out.set(&o.key, ttl.as_millis() as u64, o.place);
        }
        Ok(out)
    }

    /// What hints behind the SELECT at this position say about its lookup joins.
    ///
    /// # Errors
    /// If an option is unknown or wrong.
    pub(crate) fn lookup_hints(&mut self, select: Option<Place>) -> Result<LookupHints> {
        LookupHints::read(select.map(|at| self.hints_at(at, HintKind::Lookup)).unwrap_or_default())
    }

    /// Applies the options of a hint after the name of a table.
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

    /// The session that the settings define.
    pub(crate) fn session(&self) -> Result<Arc<Session>> {
        Ok(Arc::new(Session { zone: settings::zone(&self.settings)? }))
    }

    pub(crate) fn table(&self, name: &ObjectName) -> Result<&Arc<Table>> {
        let full = self.full(name)?;
        self.tables.get(&full).ok_or_else(|| self.unknown(name, &full))
    }

    /// The error for a name that is not a table or view, or for a table that cannot be used.
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

    /// Binds a call of a user-defined function, if there is one with this name.
    pub(crate) fn user_function(
        &mut self,
        name: &str,
        args: Vec<Expr>,
        loader: &dyn FunctionLoader,
    ) -> Result<std::result::Result<Expr, Vec<Expr>>> {
        let Some(declared) = self.functions.get_mut(&name.to_ascii_lowercase()) else {
            return Ok(Err(args));
        };
        let types: Vec<SqlType> = args.iter().map(Expr::ty).collect();
        let BoundFunction { cast, ty, function } = declared.bind(types, loader)?;
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

/// Converts options to a map. Old spellings are replaced by current ones.
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
        // As in Flink: from the offsets of the group if there is one, otherwise from the latest offset.
        let group = map.contains_key("properties.group.id");
        let mode = if group { "group-offsets" } else { "latest-offset" };
        map.insert("scan.startup.mode".to_string(), mode.to_string());
        if group {
            map.entry("properties.auto.offset.reset".to_string()).or_insert_with(|| "latest".to_string());
        }
    }
    Ok((map, places))
}

/// Registers the values of secret options, so that no message shows them.
fn keep_secrets(options: &BTreeMap<String, String>, registry: Registry) {
    let described = registry.known(options);
    for (key, value) in options {
        let option = described.as_ref().and_then(|d| d.option(key));
        // Short values, and those that are part of another option, are words that messages need.
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
