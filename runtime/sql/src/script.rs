//! Compiles a script's statements in order: declarations are added to the catalog, INSERTs and bare SELECTs to one job, and other
//! statements are answered at once.

use crate::budget::on_stack;
use crate::catalog::{
    Catalog, DeclaredFunction, FunctionLoader, FunctionSpec, Language, error_policy, idents, option_map, place_of,
    unknown_database,
};
use crate::hints::HintKind;
use crate::names::Binder;
use crate::statement::{Statements, nesting, parse_script};
use crate::syntax::{CreateFunction, Dropped, Statement};
use sqlparser::ast::{ObjectName, Query};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use weir_core::descriptor::{CONNECTOR, FAILING, Given, Registry};
use weir_core::error::Place;
use weir_core::function_options::FUNCTION;
use weir_core::option_spec::{Role, check_all};
use weir_core::{Error, Field, Result, Schema};
use weir_expr::time::Zone;
use weir_expr::{OnError, Session};
use weir_plan::{Format, Identity, Insert, Mode, OperatorUids, Plan, Table};
use weir_plan::{emit_early_and_late, explain, optimize, settings, share, with_several_readers};

/// A compiled script.
pub struct Compiled {
    /// The answers to SHOW, DESCRIBE and EXPLAIN, in order.
    pub answers: Vec<String>,
    /// The INSERTs, each compiled as if it were the only one.
    pub statements: Vec<Insert>,
    /// The INSERTs as one job that starts without state, in which common relations are shared. See [`share`] for a job that continues.
    pub inserts: Vec<Insert>,
    /// Every table, for dead letters.
    pub tables: BTreeMap<String, Arc<Table>>,
    /// The settings, by their current names. The words of choices are in lower case.
    pub settings: BTreeMap<String, String>,
    /// The runtime mode.
    pub mode: Mode,
    /// The accepted settings that have no effect.
    pub idle_settings: BTreeSet<String>,
    /// The accepted hints that have no effect.
    pub idle_hints: BTreeSet<&'static str>,
    /// The session.
    pub session: Arc<Session>,
}

/// Compiles a script. `base` is the folder to which its paths are relative. `registry` has the available connectors and formats.
///
/// # Errors
/// The first error in the script.
pub fn compile(
    sql: &str,
    base: &Path,
    settings: BTreeMap<String, String>,
    loader: &dyn FunctionLoader,
    registry: Registry,
) -> Result<Compiled> {
    let (compiled, mut errors) = on_stack(nesting(sql), || run(sql, base, settings, loader, registry, true));
    match (compiled, errors.is_empty()) {
        (Some(c), true) => Ok(c),
        (_, false) => Err(errors.remove(0)),
        (None, true) => Err(Error::internal("a script that neither compiles nor fails")),
    }
}

/// Finds all errors of a script: the first syntax error of every statement, and all binding errors.
pub fn diagnose(
    sql: &str,
    base: &Path,
    settings: BTreeMap<String, String>,
    loader: &dyn FunctionLoader,
    registry: Registry,
) -> (Option<Compiled>, Vec<Error>) {
    on_stack(nesting(sql), || run(sql, base, settings, loader, registry, false))
}

#[expect(clippy::too_many_lines, reason = "the steps from a text to a job, in their order")]
fn run(
    sql: &str,
    base: &Path,
    settings: BTreeMap<String, String>,
    loader: &dyn FunctionLoader,
    registry: Registry,
    stop: bool,
) -> (Option<Compiled>, Vec<Error>) {
    let mut errors = vec![];
    let mut given = BTreeMap::new();
    let mut idle = BTreeSet::new();
    for (k, v) in &settings {
        match settings::check(k, v) {
            Ok(s) if s.acts => {
                given.insert(s.key, s.value);
            }
            Ok(s) => {
                idle.insert(s.key);
            }
            Err(e) => return (None, vec![e]),
        }
    }
    let Statements { all: statements, forms, hints, idle_hints } = match parse_script(sql) {
        Ok(s) => s,
        Err(e) => return (None, vec![e]),
    };
    let fixed: BTreeSet<String> = given.keys().cloned().collect();
    let mut c = Compiler {
        sql,
        catalog: Catalog::new(given, registry, forms),
        loader,
        base,
        answers: vec![],
        inserts: vec![],
        in_set: false,
        fixed,
        idle,
    };
    // A statement with a syntax error would cause errors in others, so only this one is reported.
    if stop && let Some(p) = statements.iter().find(|p| p.statement.is_err()) {
        let e = p.statement.as_ref().err().cloned();
        return (None, e.into_iter().collect());
    }
    let mut hints = hints.into_iter().peekable();
    for p in statements {
        let mut own = vec![];
        while let Some(h) = hints.next_if(|h| h.target < p.end) {
            own.push((h.target, h.kind));
            c.catalog.hints.entry((h.target, h.kind)).or_default().push(h);
        }
        let done = p.statement.and_then(|s| c.statement(s)).and_then(|()| c.all_hints_used(&own));
        if let Err(e) = done {
            errors.push(e.at(Some(p.place)));
            if stop {
                return (None, errors);
            }
        }
    }
    if c.in_set {
        errors.push(Error::script("the statement set is never ended").hint("write END; after its last INSERT"));
    }
    if let Err(e) = c.check_cycles() {
        errors.push(e);
    }
    let session = match c.session() {
        Ok(s) => s,
        Err(e) => {
            errors.push(e);
            return (None, errors);
        }
    };
    let mode = match settings::mode(&c.catalog.settings) {
        Ok(mode) => mode,
        Err(e) => return (None, vec![e]),
    };
    errors.extend(grouped_map(&c.inserts).filter(|_| mode == Mode::Batch));
    if let Err(e) = emit_early_and_late(&mut c.inserts, &c.catalog.settings, mode) {
        errors.push(e);
    }
    name_statements(&mut c.inserts, mode, session.zone);
    let inserts = match share(&c.inserts, &c.catalog.settings, &OperatorUids::new()) {
        Ok(together) => together.inserts,
        Err(e) => {
            errors.push(e);
            return (None, errors);
        }
    };
    let compiled = Compiled {
        answers: c.answers,
        statements: c.inserts,
        inserts,
        tables: c.catalog.tables,
        settings: c.catalog.settings,
        mode,
        idle_settings: c.idle,
        idle_hints: idle_hints.into_iter().chain(c.catalog.idle_hints).collect(),
        session,
    };
    (Some(compiled), errors)
}

/// The error for a statement that groups by maps in batch mode, which Flink rejects as well.
fn grouped_map(inserts: &[Insert]) -> Option<Error> {
    let column = inserts.iter().find_map(|i| i.plan.grouped_map())?;
    let e = Error::script(format!("'{}' is {}, by which batch mode does not group", column.name, column.ty.kind));
    Some(e.hint("group by CAST(… AS STRING), or run in streaming mode"))
}

/// Assigns the identity of every statement once the whole script is read, because settings may be anywhere in it.
fn name_statements(inserts: &mut [Insert], mode: Mode, zone: Zone) {
    for at in 0..inserts.len() {
        let i = &inserts[at];
        if i.identity.uid().is_some() {
            continue;
        }
        let named =
            |twin| Identity::new(&i.table.name, i.fingerprint, mode == Mode::Batch && i.plan.aggregates(), zone, twin);
        let twins = (0..).take_while(|twin| inserts[..at].iter().any(|o| o.identity == named(*twin))).count();
        inserts[at].identity = named(twins);
    }
}

/// The connector that prints the rows of a bare SELECT.
const SHOWN_BY: &str = "print";

pub(crate) struct Compiler<'a> {
    /// The script.
    pub sql: &'a str,
    pub catalog: Catalog,
    pub loader: &'a dyn FunctionLoader,
    base: &'a Path,
    pub answers: Vec<String>,
    pub inserts: Vec<Insert>,
    in_set: bool,
    fixed: BTreeSet<String>,
    idle: BTreeSet<String>,
}

impl Compiler<'_> {
    fn session(&self) -> Result<Arc<Session>> {
        self.catalog.session()
    }

    #[expect(clippy::too_many_lines, reason = "one flat match, an arm a statement")]
    fn statement(&mut self, s: Statement) -> Result<()> {
        match s {
            Statement::CreateTable(t) => self.create_table(t),
            Statement::CreateFunction(f) => self.create_function(f),
            Statement::CreateView { name, columns, query, text, if_not_exists } => {
                let full = self.free(&name, if_not_exists)?;
                let Some(full) = full else { return Ok(()) };
                self.create_view(full, columns, query, text)
            }
            Statement::CreateDatabase { name, if_not_exists } => {
                let full = self.database(&name);
                if self.catalog.databases.contains(&full) {
                    return if if_not_exists { Ok(()) } else { Err(exists("database", &name)) };
                }
                self.catalog.databases.push(full);
                Ok(())
            }
            Statement::Use { name, catalog } => {
                if catalog {
                    let wanted = name.to_string().replace('`', "");
                    if wanted != self.catalog.current.0 {
                        return Err(Error::script(format!("there is no catalog '{wanted}'")).at(place_of(&name)));
                    }
                    return Ok(());
                }
                let full = self.database(&name);
                if !self.catalog.databases.contains(&full) {
                    return Err(unknown_database(&self.catalog, &name));
                }
                if let Some((c, d)) = full.split_once('.') {
                    self.catalog.current = (c.to_string(), d.to_string());
                }
                Ok(())
            }
            Statement::Drop { what, name, if_exists } => self.drop(what, &name, if_exists),
            Statement::Describe(name) => {
                let lines: Vec<String> = self.describe(&name)?.iter().map(|(n, ty)| format!("{n}\t{ty}")).collect();
                self.answers.push(lines.join("\n"));
                Ok(())
            }
            Statement::Alter { view, name, if_exists, change } => self.alter(view, &name, if_exists, change),
            Statement::Show(show) => self.show(show),
            Statement::ShowCreate { name, view } => self.show_create(&name, view),
            Statement::Set { key, value } => {
                let value = crate::variables::fill(&value, None)?;
                let s = settings::check(&key, &value)?;
                // Settings on the command line override those of the script.
                if !s.acts {
                    self.idle.insert(s.key);
                } else if !self.fixed.contains(&s.key) {
                    self.catalog.settings.insert(s.key, s.value);
                }
                Ok(())
            }
            Statement::ShowSettings => {
                let lines: Vec<String> = self.catalog.settings.iter().map(|(k, v)| format!("'{k}' = '{v}'")).collect();
                self.answers.push(lines.join("\n"));
                Ok(())
            }
            Statement::Reset(key) => {
                match key {
                    Some(k) => {
                        let key = settings::check_name(&k)?;
                        if !self.fixed.contains(key) {
                            self.catalog.settings.remove(key);
                        }
                    }
                    None => {
                        let fixed = &self.fixed;
                        self.catalog.settings.retain(|k, _| fixed.contains(k));
                    }
                }
                Ok(())
            }
            Statement::Explain(inner) => {
                let mode = settings::mode(&self.catalog.settings)?;
                let before = self.inserts.len();
                self.statement(*inner)?;
                let mut explained: Vec<Insert> = self.inserts.drain(before..).collect();
                emit_early_and_late(&mut explained, &self.catalog.settings, mode)?;
                let explained = share(&explained, &self.catalog.settings, &OperatorUids::new())?.inserts;
                self.answers.push(explain(&explained, mode, Format::Text).trim_end().to_string());
                Ok(())
            }
            Statement::Insert(i) => self.insert(i),
            Statement::Query(q) => self.select(&q),
            Statement::BeginSet(first) => {
                self.in_set = true;
                first.map_or(Ok(()), |s| self.statement(*s))
            }
            Statement::EndSet if !self.in_set => Err(Error::script("END without EXECUTE STATEMENT SET")),
            Statement::EndSet => {
                self.in_set = false;
                Ok(())
            }
        }
    }

    pub(crate) fn database(&self, name: &ObjectName) -> String {
        match idents(name).as_slice() {
            [d] => format!("{}.{}", self.catalog.current.0, d.value),
            parts => parts.iter().map(|p| p.value.as_str()).collect::<Vec<_>>().join("."),
        }
    }

    pub(crate) fn free(&self, name: &ObjectName, if_not_exists: bool) -> Result<Option<String>> {
        let full = self.catalog.full(name)?;
        let database = full.rsplit_once('.').map_or("", |(d, _)| d);
        if !self.catalog.databases.iter().any(|d| d == database) {
            let e =
                Error::script(format!("there is no database '{}'", database.rsplit('.').next().unwrap_or(database)));
            return Err(e.at(place_of(name)).hint("CREATE DATABASE makes one"));
        }
        if self.catalog.has(&full) {
            return if if_not_exists { Ok(None) } else { Err(exists("table or view", name)) };
        }
        Ok(Some(full))
    }

    fn drop(&mut self, what: Dropped, name: &ObjectName, if_exists: bool) -> Result<()> {
        let full = self.catalog.full(name)?;
        let found = match what {
            Dropped::Table => self.catalog.remove_table(&full).is_some(),
            Dropped::View => self.catalog.views.remove(&full).is_some(),
            Dropped::Function => {
                let key = idents(name).last().map(|i| i.value.to_ascii_lowercase()).unwrap_or_default();
                self.catalog.functions.remove(&key).is_some()
            }
            Dropped::Database => {
                let database = self.database(name);
                let before = self.catalog.databases.len();
                self.catalog.databases.retain(|d| *d != database);
                before != self.catalog.databases.len()
            }
        };
        if found || if_exists {
            return Ok(());
        }
        Err(Error::script(format!("there is no {what} '{name}'")).at(place_of(name)))
    }

    fn create_function(&mut self, f: CreateFunction) -> Result<()> {
        let name = idents(&f.name).last().map(|i| i.value.clone()).unwrap_or_default();
        let at = place_of(&f.name);
        let key = name.to_ascii_lowercase();
        if self.catalog.functions.contains_key(&key) {
            return if f.if_not_exists { Ok(()) } else { Err(exists("function", &f.name)) };
        }
        let Some((file, file_at)) = f.file else {
            let e = Error::script(format!("function '{name}' says nothing about its file")).at(at);
            return Err(e.hint("add USING FILE 'udf/name.py' (a .py, a .wasm or a folder with a Rust crate)"));
        };
        let file = crate::variables::fill(&file, file_at)?;
        let path = self.base.join(&file);
        let language = match f.language.as_deref() {
            Some("PYTHON") => Language::Python,
            Some("RUST") => Language::Rust,
            Some("WASM" | "WEBASSEMBLY") => Language::Wasm,
            Some(other) => {
                let e = Error::script(format!("functions in {other} are not supported")).at(at);
                return Err(e.hint("there are PYTHON, RUST and WASM (any language that compiles to a component)"));
            }
            None => match path.extension().and_then(|e| e.to_str()) {
                Some("py") => Language::Python,
                Some("wasm") => Language::Wasm,
                _ => Language::Rust,
            },
        };
        if !path.exists() {
            let e = Error::script(format!("the file of function '{name}' is not there: {}", path.display()));
            return Err(e.at(file_at).hint("a relative path starts from the script's folder"));
        }
        let (mut options, places) = option_map(&f.options, self.catalog.registry)?;
        check_all(&format!("the function '{name}'"), &[FUNCTION, FAILING], &options, &places)?;
        let on_error = error_policy(&mut options, OnError::Fail).map_err(|e| e.at(at))?;
        let spec = FunctionSpec { name, identifier: f.identifier, language, file: path, options, place: at, on_error };
        self.catalog.functions.insert(key, DeclaredFunction::new(spec));
        Ok(())
    }

    /// Rejects options after names that are not tables.
    fn all_hints_used(&self, hints: &[(Place, HintKind)]) -> Result<()> {
        match hints.iter().find(|h| !self.catalog.hints_taken.contains(h)) {
            Some(h) => Err(crate::hints::unused(self.catalog.hints.get(h).and_then(|h| h.first()))),
            None => Ok(()),
        }
    }

    /// Adds a statement to the job, with its uid if it has one.
    pub(crate) fn finish(&mut self, table: Arc<Table>, plan: Plan, uid: Option<String>) -> Result<()> {
        let session = self.session()?;
        self.check_tables(&table, &plan)?;
        let plan = with_several_readers(plan);
        let fingerprint = weir_plan::fingerprint(&table, &plan);
        let computed = || Identity::new(&table.name, fingerprint, false, session.zone, 0);
        let identity = uid.map_or_else(computed, Identity::Given);
        let plan = optimize(plan, &session)?;
        self.inserts.push(Insert { table, plan, identity, fingerprint });
        Ok(())
    }

    /// Checks the tables of a statement for their roles.
    fn check_tables(&self, sink: &Table, plan: &Plan) -> Result<()> {
        let registry = self.catalog.registry;
        let mut checked = Ok(());
        plan.each(&mut |p| {
            if checked.is_ok() {
                checked = p.table().map_or(Ok(()), |(table, role)| table.check(registry, role));
            }
        });
        checked.and_then(|()| sink.check(registry, Role::Sink))
    }

    fn select(&mut self, q: &Query) -> Result<()> {
        let plan = Binder::new(&mut self.catalog, self.loader).query(q)?;
        let n = self.inserts.len();
        // All columns are nullable, since the rows are only printed.
        let fields = plan.schema().fields.iter().map(|f| Field::new(f.name.clone(), f.ty.clone().nullable(true)));
        let schema = Schema::new(fields.collect());
        let options = BTreeMap::from([(CONNECTOR.key().to_string(), SHOWN_BY.to_string())]);
        let name = format!("select_{n}");
        let given = Given { name: &name, options: &options, places: &BTreeMap::new(), place: None };
        let described = self.catalog.registry.named(&given)?;
        let table = Arc::new(Table {
            name: format!("default_catalog.default_database.{name}"),
            columns: schema.fields.iter().map(|f| (f.clone(), None)).collect(),
            metadata: vec![None; schema.len()],
            written: (0..schema.len()).collect(),
            physical: schema,
            primary_key: vec![],
            partitioned_by: vec![],
            described,
            options,
            places: BTreeMap::new(),
            place: None,
            on_error: Default::default(),
            event_time: None,
        });
        self.finish(table, plan, None)
    }

    /// Rejects a table that one statement writes and another one reads, unless it is a log: there would be no order between them.
    fn check_cycles(&self) -> Result<()> {
        let mut sources = BTreeSet::new();
        for i in &self.inserts {
            i.plan.each(&mut |p| {
                if let Some((table, Role::Source)) = p.table() {
                    sources.insert(&table.name);
                }
            });
        }
        match self.inserts.iter().find(|i| sources.contains(&i.table.name) && !i.table.read_while_written()) {
            Some(i) => Err(Error::script(format!(
                "table '{}' is both written and read in this script",
                self.catalog.short(&i.table.name)
            ))
            .at(i.table.place)
            .hint("all INSERTs of a script run as one job, at the same time; use a view, a topic, or a second script")),
            None => Ok(()),
        }
    }
}

pub(crate) fn exists(what: &str, name: &ObjectName) -> Error {
    let at: Option<Place> = place_of(name);
    Error::script(format!("there is a {what} '{name}' already")).at(at).hint("use IF NOT EXISTS, or DROP it first")
}
