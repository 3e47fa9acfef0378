//! Connectors and formats as values: each describes its name, its roles, its options and its metadata. Every lookup of a name, an option or
//! a mode uses these descriptors, and there is no other list.

use crate::error::{Place, nearest};
use crate::option_spec::{FormatOf, Opt, OptionSpec, Role, Shown, Type};
use crate::{Error, Result, SqlType};
use std::collections::BTreeMap;
use std::time::Duration;

/// The changelog mode of a table: the changes that it emits or accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Changelog {
    /// Insertions only.
    InsertOnly,
    /// Upserts: rows that replace the previous one of their key, and deletions of keys.
    Upsert,
    /// All changes: insertions, updates and deletions.
    All,
    /// The mode of the table's format.
    OfFormat,
}

impl Changelog {
    /// The name of the mode.
    pub fn name(self) -> &'static str {
        match self {
            Changelog::InsertOnly => "insert-only",
            Changelog::Upsert => "upsert",
            Changelog::All => "all changes",
            Changelog::OfFormat => "as its format",
        }
    }
}

/// What a connector does with a primary key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PrimaryKey {
    /// It is optional.
    Optional,
    /// A table must have one.
    Required,
    /// It is optional; a sink without one uses the key of the query if its results change.
    OfQuery,
}

/// A metadata column: something about a record beside its fields, such as its offset.
#[derive(Debug, Clone, Copy)]
pub struct Metadata {
    /// Its name.
    pub key: &'static str,
    /// Its type.
    pub ty: fn() -> SqlType,
    /// Whether a sink writes it.
    pub writable: bool,
}

impl Metadata {
    /// Readable metadata.
    pub const fn read(key: &'static str, ty: fn() -> SqlType) -> Self {
        Metadata { key, ty, writable: false }
    }
    /// Metadata that can be read and written.
    pub const fn written(key: &'static str, ty: fn() -> SqlType) -> Self {
        Metadata { key, ty, writable: true }
    }
    /// The metadata in a list of pairs.
    pub const fn of<T: Copy, const N: usize>(all: &[(Metadata, T); N]) -> [Metadata; N] {
        let mut out = [all[0].0; N];
        let mut i = 0;
        while i < N {
            out[i] = all[i].0;
            i += 1;
        }
        out
    }
}

/// The kind of a descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DescriptorKind {
    /// A connector: where rows come from or go to.
    Connector,
    /// A format: how a record encodes a row.
    Format,
}

/// The description of a connector or a format, from which SQL, `weir describe`, error hints and the book's tables are made.
#[derive(Debug)]
pub struct Descriptor {
    /// Whether it is a connector or a format.
    pub kind: DescriptorKind,
    /// Its name.
    pub name: &'static str,
    /// What it does, in a few words.
    pub help: &'static str,
    /// The changelog mode of a source; none if it cannot be a source.
    pub reads: Option<Changelog>,
    /// The changelog mode of a sink; none if it cannot be a sink.
    pub writes: Option<Changelog>,
    /// Whether it can be a lookup table.
    pub looks_up: bool,
    /// Whether it is none if it has a primary key: then rows are joined with the versions of each key that have been read.
    pub versions_by_key: bool,
    /// Its options, in groups that it may share with others. Options of a format are named without the format's own name.
    pub options: &'static [&'static [OptionSpec]],
    /// Its metadata columns.
    pub metadata: &'static [Metadata],
    /// The prefix of the format's metadata columns (`value.`), if tables can have these.
    pub metadata_of_format: Option<&'static str>,
    /// What it does with a primary key.
    pub key: PrimaryKey,
    /// Whether a single row can fail, so that tables have `on-error`.
    pub rows_fail: bool,
    /// Whether a sink writes its dead letters itself, to a table of the same system.
    pub own_dead_letters: bool,
    /// The options with which a dead-letter table is read from its beginning to its present end; empty if it cannot be replayed.
    pub replayed_with: &'static [(&'static str, &'static str)],
    /// Whether a job may read a table that it writes, as it may a topic: the order between both is that of the log.
    pub read_while_written: bool,
    /// Whether each record of the format is a line of text.
    pub lines: bool,
    /// An example of a table's declaration. Tests compile it.
    pub example: &'static str,
}

impl Descriptor {
    /// A connector without any role.
    pub const CONNECTOR: Descriptor = Descriptor {
        kind: DescriptorKind::Connector,
        name: "",
        help: "",
        reads: None,
        writes: None,
        looks_up: false,
        versions_by_key: false,
        options: &[],
        metadata: &[],
        metadata_of_format: None,
        key: PrimaryKey::Optional,
        rows_fail: true,
        own_dead_letters: false,
        replayed_with: &[],
        read_while_written: false,
        lines: false,
        example: "",
    };
    /// A format that reads and writes insertions, each record a line of text.
    pub const FORMAT: Descriptor = Descriptor {
        kind: DescriptorKind::Format,
        reads: Some(Changelog::InsertOnly),
        writes: Some(Changelog::InsertOnly),
        lines: true,
        ..Self::CONNECTOR
    };

    /// All options.
    pub fn options(&self) -> impl Iterator<Item = &'static OptionSpec> {
        self.options.iter().flat_map(|group| group.iter())
    }

    /// The option with a name. An exact name takes precedence over a pattern such as `properties.*`.
    pub fn option(&self, key: &str) -> Option<&'static OptionSpec> {
        self.options().find(|o| o.key == key).or_else(|| self.options().find(|o| o.is(key)))
    }

    /// Whether it can have a role.
    pub fn is(&self, role: Role) -> bool {
        match role {
            Role::Source => self.reads.is_some(),
            Role::Sink => self.writes.is_some(),
            Role::Lookup => self.looks_up,
        }
    }
}

/// All connectors and formats: the one place where they are listed.
#[derive(Debug, Clone, Copy)]
pub struct Registry {
    /// The connectors.
    pub connectors: &'static [&'static Descriptor],
    /// The formats.
    pub formats: &'static [&'static Descriptor],
}

fn names<'a>(all: impl Iterator<Item = &'a &'static Descriptor>) -> String {
    all.map(|d| d.name).collect::<Vec<_>>().join(", ")
}

impl Registry {
    /// The connector with a name.
    pub fn connector(&self, name: &str) -> Option<&'static Descriptor> {
        self.connectors.iter().find(|d| d.name == name).copied()
    }

    /// The format with a name.
    pub fn format(&self, name: &str) -> Option<&'static Descriptor> {
        self.formats.iter().find(|d| d.name == name).copied()
    }

    /// The hint for a table without a connector.
    pub fn hint_of_connectors(&self) -> String {
        format!("add WITH ('connector' = 'filesystem', …); there are {}", names(self.connectors.iter()))
    }

    /// The connector and formats that a table's options name, for any role.
    ///
    /// # Errors
    /// If there is no connector or format with such a name.
    pub fn named(&self, table: &Given<'_>) -> Result<Described> {
        let wanted = table.options.get(CONNECTOR.key()).map_or("", String::as_str);
        let Some(connector) = self.connector(wanted) else {
            let e = Error::script(format!("there is no connector '{wanted}', which table '{}' asks for", table.name));
            let e = e.at(table.place_of(CONNECTOR.key()));
            return Err(match nearest(wanted, self.connectors.iter().map(|d| d.name)) {
                Some(n) => e.hint(format!("did you mean '{n}'?")),
                None => e.hint(format!("there are: {}", names(self.connectors.iter()))),
            });
        };
        let mut formats = vec![];
        for (key, of, wanted) in formats_of(connector, table.options) {
            let Some(format) = self.format(wanted) else {
                let e = Error::script(format!("there is no format '{wanted}', which table '{}' asks for", table.name));
                let e = e.at(table.place_of(key));
                let fits = |d: &&&'static Descriptor| d.lines || !of.lines;
                return Err(match nearest(wanted, self.formats.iter().filter(fits).map(|d| d.name)) {
                    Some(n) => e.hint(format!("did you mean '{n}'?")),
                    None => e.hint(format!("there are {}", names(self.formats.iter().filter(fits)))),
                });
            };
            formats.push((of, format));
        }
        Ok(Described { connector, formats })
    }

    /// The connector and formats of a table that are known. Unknown formats are left out.
    pub fn known(&self, options: &BTreeMap<String, String>) -> Option<Described> {
        let connector = self.connector(options.get(CONNECTOR.key())?)?;
        let formats = formats_of(connector, options).filter_map(|(_, of, f)| Some((of, self.format(f)?)));
        Some(Described { connector, formats: formats.collect() })
    }
}

/// The formats that options name, with the options.
fn formats_of<'a>(
    connector: &'static Descriptor,
    options: &'a BTreeMap<String, String>,
) -> impl Iterator<Item = (&'static str, FormatOf, &'a str)> {
    connector.options().filter_map(|o| match o.ty {
        Type::Format(of) => options.get(o.key).map(|f| (o.key, of, f.as_str())),
        _ => None,
    })
}

/// The declaration of a table.
#[derive(Debug, Clone, Copy)]
pub struct Given<'a> {
    /// Its name, for errors.
    pub name: &'a str,
    /// Its options.
    pub options: &'a BTreeMap<String, String>,
    /// The position of each option in the script.
    pub places: &'a BTreeMap<String, Place>,
    /// The position of the declaration in the script.
    pub place: Option<Place>,
}

impl Given<'_> {
    fn place_of(&self, key: &str) -> Option<Place> {
        self.places.get(key).copied().or(self.place)
    }
}

/// A table's connector and its formats.
#[derive(Debug, Clone)]
pub struct Described {
    /// The connector.
    pub connector: &'static Descriptor,
    formats: Vec<(FormatOf, &'static Descriptor)>,
}

impl Described {
    /// The format of whole records, or of their values.
    pub fn format(&self) -> Option<&'static Descriptor> {
        self.formats.iter().find(|(of, _)| of.value).map(|(_, f)| *f)
    }

    /// The changelog mode of the table as a source; none if it cannot be one.
    pub fn reads(&self) -> Option<Changelog> {
        self.mode(self.connector.reads?, |f| f.reads)
    }

    /// The changelog mode of the table as a sink; none if it cannot be one.
    pub fn writes(&self) -> Option<Changelog> {
        self.mode(self.connector.writes?, |f| f.writes)
    }

    fn mode(&self, own: Changelog, of: impl Fn(&Descriptor) -> Option<Changelog>) -> Option<Changelog> {
        match own {
            Changelog::OfFormat => of(self.format()?),
            Changelog::InsertOnly | Changelog::Upsert | Changelog::All => Some(own),
        }
    }

    /// The option with a name.
    pub fn option(&self, key: &str) -> Option<&'static OptionSpec> {
        let common = || COMMON.iter().chain(WATERMARKS).find(|o| o.key == key);
        let own = common().or_else(|| self.connector.options().find(|o| o.key == key));
        let of_format = || {
            self.formats.iter().find_map(|(of, f)| {
                let key = key.strip_prefix(of.prefix).unwrap_or(key);
                f.option(key.strip_prefix(f.name)?.strip_prefix('.')?)
            })
        };
        own.or_else(of_format).or_else(|| self.connector.option(key))
    }

    /// The names of all options.
    fn keys(&self) -> impl Iterator<Item = String> {
        let own = COMMON.iter().chain(WATERMARKS).chain(self.connector.options()).map(|o| o.key.to_string());
        own.chain(self.formats.iter().flat_map(|(of, f)| {
            let prefix = of.prefix;
            f.options().map(move |o| format!("{prefix}{}.{}", f.name, o.key))
        }))
    }

    /// Checks that a table supports a role, and checks its options for it.
    ///
    /// # Errors
    /// If it does not, or for the first option that is unknown, invalid or missing.
    pub fn check(&self, registry: Registry, table: &Given<'_>, role: Role) -> Result<()> {
        self.check_role(registry, table, role)?;
        for (key, value) in table.options {
            let at = table.place_of(key);
            let Some(option) = self.option(key) else {
                let name = self.connector.name;
                let e = format!("the connector '{name}' of table '{}' has no option '{key}'", table.name);
                let known: Vec<String> = self.keys().collect();
                let e = Error::script(e).at(at);
                return Err(match nearest(key, known.iter().map(String::as_str)) {
                    Some(n) => e.hint(format!("did you mean '{n}'?")),
                    None => e.hint(format!("it has: {}", known.join(", "))),
                });
            };
            if option.is_for(role) && option.idle.is_none() {
                option.parse(key, value).map_err(|e| e.at(at))?;
            }
        }
        let lacks = |key: String| {
            Err(Error::script(format!("table '{}' lacks the option '{key}'", table.name)).at(table.place))
        };
        let needed = |o: &&OptionSpec| o.required && o.is_for(role);
        if let Some(o) = self.connector.options().filter(needed).find(|o| !table.options.contains_key(o.key)) {
            return lacks(o.key.to_string());
        }
        for (of, f) in &self.formats {
            let key = |o: &OptionSpec| format!("{}.{}", f.name, o.key);
            let given =
                |k: &str| table.options.contains_key(k) || table.options.contains_key(&format!("{}{k}", of.prefix));
            if let Some(o) = f.options().filter(needed).find(|o| !given(&key(o))) {
                return lacks(format!("{}{}", of.prefix, key(o)));
            }
        }
        let mode = match role {
            Role::Source => self.reads(),
            Role::Sink => self.writes(),
            Role::Lookup => return Ok(()),
        };
        if mode.is_none() {
            // The role depends on the format.
            let format = self.connector.options().find(|o| matches!(o.ty, Type::Format(f) if f.value));
            return lacks(format.map_or_else(String::new, |o| o.key.to_string()));
        }
        Ok(())
    }

    /// Checks that the connector and the formats support a role.
    fn check_role(&self, registry: Registry, table: &Given<'_>, role: Role) -> Result<()> {
        let (name, what) = (self.connector.name, role.name());
        if !self.connector.is(role) {
            let e = Error::script(format!("the connector '{name}' of table '{}' is no {what}", table.name));
            let fitting = registry.connectors.iter().filter(|d| d.is(role));
            let e = e.at(table.place_of(CONNECTOR.key()));
            return Err(e.hint(format!("as a {what} there are: {}", names(fitting))));
        }
        // A lookup table is read.
        let role = if role == Role::Sink { Role::Sink } else { Role::Source };
        for (key, of, wanted) in formats_of(self.connector, table.options) {
            let fits = |d: &&&'static Descriptor| d.is(role) && (d.lines || !of.lines);
            if !registry.formats.iter().filter(fits).any(|d| d.name == wanted) {
                let e = Error::script(format!("the format {wanted} goes with messages, not with files"));
                let fitting = registry.formats.iter().filter(fits);
                return Err(e.at(table.place_of(key)).hint(format!("there are {}", names(fitting))));
            }
        }
        Ok(())
    }

    /// The metadata with a name.
    ///
    /// # Errors
    /// If the table has no metadata with that name.
    pub fn metadata(&self, key: &str) -> Result<&'static Metadata> {
        let of_format = || {
            let key = key.strip_prefix(self.connector.metadata_of_format?)?;
            self.format()?.metadata.iter().find(|m| m.key == key)
        };
        if let Some(m) = self.connector.metadata.iter().find(|m| m.key == key).or_else(of_format) {
            return Ok(m);
        }
        let mut known: Vec<String> = self.connector.metadata.iter().map(|m| m.key.to_string()).collect();
        if let (Some(prefix), Some(f)) = (self.connector.metadata_of_format, self.format()) {
            known.extend(f.metadata.iter().map(|m| format!("{prefix}{}", m.key)));
        }
        let e = Error::script(format!("there is no metadata '{key}'"));
        Err(match (known.is_empty(), nearest(key, known.iter().map(String::as_str))) {
            (true, _) => e.hint(format!("tables of '{}' have none", self.connector.name)),
            (false, Some(n)) => e.hint(format!("did you mean '{n}'?")),
            (false, None) => e.hint(format!("tables of '{}' have {}", self.connector.name, known.join(", "))),
        })
    }
}

crate::choice! {
    /// What happens to rows that fail.
    #[derive(Default, Hash)]
    pub enum OnError {
        /// The job ends.
        #[default]
        Fail = "fail",
        /// The row is skipped and counted.
        Skip = "skip",
        /// The value that failed becomes NULL.
        Null = "null",
        /// The row goes to the dead-letter table.
        DeadLetter = "dead-letter",
    }
}

crate::choice! {
    /// When a source emits watermarks.
    pub enum Emit {
        /// At an interval.
        OnPeriodic = "on-periodic",
        /// After each row that advances event time.
        OnEvent = "on-event",
    }
}

crate::options! {
    /// The options of tables with a WATERMARK, whose rows have event time.
    pub WATERMARKS:
    /// When watermarks are emitted.
    pub WATERMARK_EMIT: Emit = Opt::one_of(
        "scan.watermark.emit.strategy",
        "when watermarks are emitted: `on-periodic` every `pipeline.auto-watermark-interval`, `on-event` after each row that advances \
         event time",
    )
    .default("on-periodic")
    .how()
    .of(&[Role::Source]);
    /// When a split is idle.
    pub WATERMARK_IDLE_TIMEOUT: Duration = Opt::duration(
        "scan.watermark.idle-timeout",
        "after this time without rows a split, such as a partition, is idle and no longer holds the watermark back; with 0 it never is. \
         By default `table.exec.source.idle-timeout`",
    )
    .how()
    .of(&[Role::Source]);
    /// The group of tables whose watermarks are aligned.
    pub ALIGNMENT_GROUP: String =
        Opt::text("scan.watermark.alignment.group", "the alignment group: a split of its tables pauses while others are too far behind")
            .how()
            .of(&[Role::Source]);
    /// How far ahead the watermark of a split may be.
    pub ALIGNMENT_DRIFT: Duration = Opt::duration(
        "scan.watermark.alignment.max-drift",
        "how far the watermark of a split may be ahead of the lowest one in its alignment group before the split pauses",
    )
    .how()
    .of(&[Role::Source]);
    /// How often the group's lowest watermark is read.
    pub ALIGNMENT_INTERVAL: Duration = Opt::duration(
        "scan.watermark.alignment.update-interval",
        "how often a source reads the lowest watermark of its alignment group",
    )
    .default("1 s")
    .how()
    .of(&[Role::Source]);
    /// Where late rows go.
    pub LATE_ROWS: String = Opt::text(
        "late-rows.table",
        "the table that receives the rows which a window or another event-time operator drops because they are late",
    )
    .how()
    .of(&[Role::Source]);
}

crate::options! {
    /// The options of every table.
    pub COMMON:
    /// The name of a table's connector.
    pub CONNECTOR: String = Opt::text("connector", "the connector that reads or writes the table").required().older(&["connector.type"]);
    /// The parallelism of a table's source or sink.
    pub PARALLELISM: usize = Opt::whole("parallelism", 1, 64, "how many subtasks the source or sink of the table has").how();
    /// The parallelism of the source.
    pub SCAN_PARALLELISM: usize =
        Opt::whole("scan.parallelism", 1, 64, "how many subtasks the source has, unless `parallelism` is given").how().of(&[Role::Source]);
    /// The parallelism of the sink.
    pub SINK_PARALLELISM: usize =
        Opt::whole("sink.parallelism", 1, 64, "how many subtasks the sink has, unless `parallelism` is given").how().of(&[Role::Sink]);
    /// Where matches go that are not complete in time.
    pub TIMED_OUT: String = Opt::text(
        "timed-out-matches.table",
        "the table that receives the partial matches of MATCH_RECOGNIZE which are not complete within the time of WITHIN",
    )
    .how()
    .of(&[Role::Source]);
}

crate::options! {
    /// The options of every table whose rows can fail alone, and of every function.
    pub FAILING:
    /// What happens to rows that fail.
    pub ON_ERROR: OnError = Opt::one_of(
        "on-error",
        "what happens to a row that fails: `fail` ends the job, `skip` drops the row and counts it, `null` makes the bad field NULL, \
         `dead-letter` writes the record to a table",
    )
    .default("fail")
    .how();
    /// Where dead letters go.
    pub DEAD_LETTERS: String = Opt::text("dead-letter.table", "the table that receives dead letters, if `on-error` is `dead-letter`").how();
}

/// What Flink's older dialect calls the option for a table's format.
pub const OLDER_FORMAT: &str = "format.type";

const OLDER: &str = "it belongs to Flink's older dialect, in which 'connector.type' names the connector";

/// The options of Flink's older dialect that have no effect.
pub const LEGACY: &[OptionSpec] = &[
    OptionSpec::idle("connector.property-version", OLDER),
    OptionSpec::idle("connector.version", OLDER),
    OptionSpec::idle("format.property-version", OLDER),
    OptionSpec::idle("format.derive-schema", OLDER),
    OptionSpec::idle("update-mode", OLDER),
];

/// Whether an option's value is a secret, which messages must not show.
pub fn is_secret(option: Option<&OptionSpec>, key: &str) -> bool {
    match option.map(|o| o.shown) {
        Some(Shown::Secret) => true,
        Some(Shown::Open | Shown::Host) => false,
        Some(Shown::Hidden) | None => crate::secrets::named_so(key),
    }
}
