//! Options as values, with their names, types, defaults and meanings. They are only read through constants of these types, so every option
//! that is read is described, and every one that is described is read.

use crate::error::{Place, nearest};
use crate::options::{boolean, bytes, duration};
use crate::{Error, Result};
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

/// The type of an option.
#[derive(Debug, Clone, Copy)]
pub enum Type {
    /// `true` or `false`.
    Boolean,
    /// A whole number, with its least and greatest value.
    Whole(i64, i64),
    /// A whole number from 0, or `infinite`.
    Attempts,
    /// A number, with its least and greatest value.
    Number(f64, f64),
    /// A duration such as `10 s`.
    Duration {
        /// Whether it may be 0.
        zero: bool,
    },
    /// A size such as `64mb`.
    Size,
    /// One ASCII character.
    Character,
    /// One of these words, in any case. Each is followed by its other spellings.
    OneOf(&'static [&'static [&'static str]]),
    /// Any text.
    Text,
    /// Texts separated by semicolons.
    List,
    /// The address of a server.
    Address,
    /// A format of records.
    Format(FormatOf),
    /// Texts with a further rule: its name, and a check that returns what is wrong with a text.
    Checked(&'static str, fn(&str) -> Result<()>),
}

/// Which records the format of an option is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FormatOf {
    /// The prefix of the format's options (`value.`), in front of the format's own name.
    pub prefix: &'static str,
    /// Whether it is for whole records or their values, rather than for their keys.
    pub value: bool,
    /// Whether records have to be lines.
    pub lines: bool,
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Type::Boolean => f.write_str("true or false"),
            Type::Whole(i64::MIN, i64::MAX) => f.write_str("a whole number"),
            Type::Whole(least, i64::MAX) => write!(f, "a whole number from {least}"),
            Type::Whole(least, most) => write!(f, "a whole number, {least} to {most}"),
            Type::Attempts => f.write_str("a whole number from 0, or infinite"),
            Type::Number(least, most) if *least == f64::MIN && *most == f64::MAX => f.write_str("a number"),
            Type::Number(f64::MIN_POSITIVE, f64::MAX) => f.write_str("a number above 0"),
            Type::Number(least, most) if *most == f64::MAX => write!(f, "a number from {least}"),
            Type::Number(least, most) => write!(f, "a number, {least} to {most}"),
            Type::Duration { zero: true } => f.write_str("a duration such as '10 s'"),
            Type::Duration { zero: false } => f.write_str("a duration such as '10 s', longer than nothing"),
            Type::Size => f.write_str("a size such as '64mb'"),
            Type::Character => f.write_str("one ASCII character"),
            Type::OneOf(words) => {
                for (i, w) in words.iter().enumerate() {
                    let before = if i == 0 {
                        ""
                    } else if i + 1 == words.len() {
                        " or "
                    } else {
                        ", "
                    };
                    write!(f, "{before}{}", w[0])?;
                }
                Ok(())
            }
            Type::Text => f.write_str("a text"),
            Type::List => f.write_str("texts with ; between them"),
            Type::Address => f.write_str("an address"),
            Type::Format(_) => f.write_str("a format"),
            Type::Checked(name, _) => f.write_str(name),
        }
    }
}

/// A parsed value of an option.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Parsed<'a> {
    /// Of [`Type::Boolean`].
    Boolean(bool),
    /// Of [`Type::Whole`], and of [`Type::Attempts`], where `u32::MAX` means `infinite`.
    Whole(i64),
    /// Of [`Type::Number`].
    Number(f64),
    /// Of [`Type::Duration`].
    Duration(Duration),
    /// Of [`Type::Size`], in bytes.
    Size(u64),
    /// Of [`Type::Character`].
    Character(u8),
    /// Of [`Type::OneOf`]: which one.
    Word(usize),
    /// Of all others.
    Text(&'a str),
}

/// A Rust type that an option can be read as.
pub trait FromParsed: Sized {
    /// Converts a parsed value; none if the option has another type.
    fn from_parsed(value: Parsed<'_>) -> Option<Self>;
}

macro_rules! from_parsed {
    ($($ty:ty: $($pattern:pat => $value:expr),+;)+) => {$(
        impl FromParsed for $ty {
            fn from_parsed(value: Parsed<'_>) -> Option<Self> {
                match value {
                    $($pattern => $value,)+
                    _ => None,
                }
            }
        }
    )+};
}
from_parsed! {
    bool: Parsed::Boolean(b) => Some(b);
    u32: Parsed::Whole(n) => n.try_into().ok();
    i64: Parsed::Whole(n) => Some(n);
    u64: Parsed::Whole(n) => n.try_into().ok(), Parsed::Size(n) => Some(n);
    usize: Parsed::Whole(n) => n.try_into().ok(), Parsed::Size(n) => n.try_into().ok();
    f64: Parsed::Number(n) => Some(n);
    Duration: Parsed::Duration(d) => Some(d);
    u8: Parsed::Character(c) => Some(c);
    String: Parsed::Text(t) => Some(t.to_string());
    Vec<String>: Parsed::Text(t) =>
        Some(t.split(';').map(|t| t.trim().to_string()).filter(|t| !t.is_empty()).collect());
}

/// A choice among words. [`choice!`](crate::choice) implements it.
pub trait Choice: FromParsed + 'static {
    /// The words. Each is followed by its other spellings.
    const WORDS: &'static [&'static [&'static str]];
}

/// Declares an enum whose values an option names by words: `Word = "word" | "other-spelling"`.
#[macro_export]
macro_rules! choice {
    ($(#[$meta:meta])* $vis:vis enum $name:ident {
        $($(#[$of:meta])* $variant:ident = $word:literal $(| $other:literal)*),+ $(,)?
    }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        $vis enum $name { $($(#[$of])* $variant),+ }

        impl $crate::option_spec::FromParsed for $name {
            fn from_parsed(value: $crate::option_spec::Parsed<'_>) -> Option<Self> {
                match value {
                    $crate::option_spec::Parsed::Word(at) => [$($name::$variant),+].get(at).copied(),
                    _ => None,
                }
            }
        }

        impl $crate::option_spec::Choice for $name {
            const WORDS: &'static [&'static [&'static str]] = &[$(&[$word $(, $other)*]),+];
        }
    };
}

/// Declares options as constants, and a list of all of them. The compiler warns of an option that nobody reads.
///
/// # Examples
/// ```
/// use std::collections::BTreeMap;
/// use weir_core::option_spec::Opt;
///
/// weir_core::choice! {
///     /// What is done with what does not fit.
///     enum Fit { Cut = "cut" | "truncate", Refuse = "refuse" }
/// }
/// weir_core::options! {
///     /// What a connector can be told.
///     OPTIONS:
///     ROWS: i64 = Opt::whole("rows", 1, 1000, "how many rows there are").default("10");
///     FIT: Fit = Opt::one_of("fit", "what becomes of long texts").default("refuse");
/// }
///
/// let given = BTreeMap::from([("fit".to_string(), "truncate".to_string())]);
/// assert_eq!(ROWS.value(&given)?, 10);
/// assert!(matches!(FIT.value(&given)?, Fit::Cut));
/// assert_eq!(OPTIONS.len(), 2);
/// let wrong = BTreeMap::from([("fit".to_string(), "cutt".to_string())]);
/// assert_eq!(FIT.value(&wrong).unwrap_err().hint.as_deref(), Some("did you mean 'cut'?"));
/// # Ok::<(), weir_core::Error>(())
/// ```
#[macro_export]
macro_rules! options {
    ($(#[$meta:meta])* $vis:vis $list:ident:
        $($(#[$of:meta])* $own:vis $name:ident: $ty:ty = $spec:expr;)+) => {
        $($(#[$of])* $own const $name: $crate::option_spec::Opt<$ty> = $spec;)+
        $(#[$meta])*
        $vis const $list: &[$crate::option_spec::OptionSpec] = &[$({
            const OPTION: $crate::option_spec::Opt<$ty> = $spec;
            OPTION.spec()
        }),+];
    };
}

/// Who may see an option's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shown {
    /// Anybody.
    Open,
    /// Nobody.
    Secret,
    /// Nobody by SHOW CREATE and `weir describe`. Messages show it, unless the option's name says that it is a secret.
    Hidden,
    /// Only the host of an address is shown.
    Host,
}

/// The role of a table in a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It is read.
    Source,
    /// It is written.
    Sink,
    /// Rows are looked up in it.
    Lookup,
}

impl Role {
    /// All, in the order in which they are shown.
    pub const ALL: [Role; 3] = [Role::Source, Role::Sink, Role::Lookup];

    /// The name of the role.
    pub fn name(self) -> &'static str {
        match self {
            Role::Source => "source",
            Role::Sink => "sink",
            Role::Lookup => "lookup",
        }
    }
}

/// The description of an option.
#[derive(Debug, Clone, Copy)]
pub struct OptionSpec {
    /// Its name. `#` stands for a column or a part of one, `*` at the end for anything.
    pub key: &'static str,
    /// Its type.
    pub ty: Type,
    /// What it means.
    pub help: &'static str,
    /// Its default.
    pub default: Option<&'static str>,
    /// Whether it must be given.
    pub required: bool,
    /// Who may see it.
    pub shown: Shown,
    /// Whether it decides which rows a table has. If so, changing it makes a different statement, with state of its own.
    pub decides: bool,
    /// The roles that it applies to; empty for all.
    pub roles: &'static [Role],
    /// If it is accepted only because Flink has it: why it has no effect here.
    pub idle: Option<&'static str>,
    /// Older spellings.
    pub older: &'static [&'static str],
}

impl OptionSpec {
    /// Creates an option.
    pub const fn new(key: &'static str, ty: Type, help: &'static str) -> Self {
        OptionSpec {
            key,
            ty,
            help,
            default: None,
            required: false,
            shown: Shown::Open,
            decides: true,
            roles: &[],
            idle: None,
            older: &[],
        }
    }

    /// Creates an option of Flink that has no effect here, with the reason.
    pub const fn idle(key: &'static str, why: &'static str) -> Self {
        OptionSpec { idle: Some(why), ..Self::new(key, Type::Text, why) }
    }

    /// Restricts the option to these roles.
    pub const fn of(self, roles: &'static [Role]) -> Self {
        OptionSpec { roles, ..self }
    }

    /// Marks the option as one that does not decide which rows a table has, but how the table is reached, or how fast.
    pub const fn how(self) -> Self {
        OptionSpec { decides: false, ..self }
    }

    /// Makes the option mandatory.
    pub const fn required(self) -> Self {
        OptionSpec { required: true, ..self }
    }

    /// Sets who may see the value.
    pub const fn shown(self, shown: Shown) -> Self {
        OptionSpec { shown, ..self }
    }

    /// Sets older spellings.
    pub const fn older(self, older: &'static [&'static str]) -> Self {
        OptionSpec { older, ..self }
    }

    /// Whether the option applies to a role.
    pub fn is_for(&self, role: Role) -> bool {
        self.roles.is_empty() || self.roles.contains(&role)
    }

    /// Whether a key matches the option's name.
    pub fn is(&self, key: &str) -> bool {
        match (self.key.strip_suffix('*'), self.key.split_once('#')) {
            (Some(begin), _) => key.strip_prefix(begin).is_some_and(|rest| !rest.is_empty()),
            (_, Some((begin, end))) => {
                let inner = key.strip_prefix(begin).and_then(|k| k.strip_suffix(end));
                inner.is_some_and(|i| !i.is_empty())
            }
            _ => key == self.key,
        }
    }

    /// Whether the name is a pattern.
    pub fn is_pattern(&self) -> bool {
        self.key.contains(['*', '#'])
    }

    /// Parses a value that was given as `key`.
    ///
    /// # Errors
    /// If the value does not have the option's type, or is out of range.
    pub fn parse<'a>(&self, key: &str, text: &'a str) -> Result<Parsed<'a>> {
        let wrong = || Error::script(format!("option '{key}' is {}, not '{text}'", self.ty));
        let value = text.trim();
        let whole = |least: i64, most: i64| {
            let n = value.parse::<i64>().ok().filter(|n| (least..=most).contains(n));
            n.map(Parsed::Whole).ok_or_else(wrong)
        };
        Ok(match self.ty {
            Type::Boolean => Parsed::Boolean(boolean(key, value).map_err(|_| wrong())?),
            Type::Whole(least, most) => whole(least, most)?,
            Type::Attempts if value.eq_ignore_ascii_case("infinite") => Parsed::Whole(i64::from(u32::MAX)),
            Type::Attempts => whole(0, i64::from(u32::MAX))?,
            Type::Number(least, most) => {
                let n = value.parse::<f64>().ok().filter(|n| (least..=most).contains(n));
                Parsed::Number(n.ok_or_else(wrong)?)
            }
            Type::Duration { zero } => {
                let d = duration(key, value).ok().filter(|d| zero || !d.is_zero());
                Parsed::Duration(d.ok_or_else(wrong)?)
            }
            Type::Size => Parsed::Size(bytes(key, value).map_err(|_| wrong())?),
            Type::Character => Parsed::Character(character(text).ok_or_else(wrong)?),
            Type::OneOf(words) => {
                let at = words.iter().position(|all| all.iter().any(|w| w.eq_ignore_ascii_case(value)));
                Parsed::Word(at.ok_or_else(|| match nearest(value, words.iter().map(|all| all[0])) {
                    Some(n) => wrong().hint(format!("did you mean '{n}'?")),
                    None => wrong(),
                })?)
            }
            Type::Text | Type::List | Type::Address | Type::Format(_) => Parsed::Text(text),
            Type::Checked(_, check) => {
                check(text).map_err(|e| e.context(format!("option '{key}'")))?;
                Parsed::Text(text)
            }
        })
    }
}

/// Checks options that do not belong to a table.
///
/// # Errors
/// For the first option that is unknown or invalid. `what` describes their owner.
pub fn check_all(
    what: &str,
    known: &[&[OptionSpec]],
    given: &BTreeMap<String, String>,
    places: &BTreeMap<String, Place>,
) -> Result<()> {
    let all = || known.iter().flat_map(|group| group.iter());
    for (key, value) in given {
        let at = places.get(key).copied();
        let Some(option) = all().find(|o| o.is(key)) else {
            let e = Error::script(format!("{what} has no option '{key}'")).at(at);
            return Err(match nearest(key, all().map(|o| o.key)) {
                Some(n) => e.hint(format!("did you mean '{n}'?")),
                None => e.hint(format!("it has: {}", all().map(|o| o.key).collect::<Vec<_>>().join(", "))),
            });
        };
        option.parse(key, value).map_err(|e| e.at(at))?;
    }
    Ok(())
}

/// Parses a character: the character itself, `\t`, `\\` or `\u` with four hexadecimal digits.
fn character(text: &str) -> Option<u8> {
    let code = text.strip_prefix("\\u").filter(|d| d.len() == 4).and_then(|d| u8::from_str_radix(d, 16).ok());
    match (code, text) {
        (Some(c), _) => Some(c).filter(u8::is_ascii),
        (_, "\\t") => Some(b'\t'),
        (_, "\\\\") => Some(b'\\'),
        (_, t) => <[u8; 1]>::try_from(t.as_bytes()).ok().map(|[b]| b).filter(u8::is_ascii),
    }
}

/// An option whose value is a `T`.
#[derive(Debug)]
pub struct Opt<T> {
    spec: OptionSpec,
    of: PhantomData<fn() -> T>,
}

impl<T> Opt<T> {
    const fn new(key: &'static str, ty: Type, help: &'static str) -> Self {
        Opt { spec: OptionSpec::new(key, ty, help), of: PhantomData }
    }
    const fn with(spec: OptionSpec) -> Self {
        Opt { spec, of: PhantomData }
    }
    /// The description of the option.
    pub const fn spec(&self) -> OptionSpec {
        self.spec
    }
    /// The name of the option.
    pub const fn key(&self) -> &'static str {
        self.spec.key
    }
    /// Sets the default.
    pub const fn default(self, default: &'static str) -> Self {
        Self::with(OptionSpec { default: Some(default), ..self.spec })
    }
    /// Makes the option mandatory.
    pub const fn required(self) -> Self {
        Self::with(self.spec.required())
    }
    /// See [`OptionSpec::how`].
    pub const fn how(self) -> Self {
        Self::with(self.spec.how())
    }
    /// Sets who may see the value.
    pub const fn shown(self, shown: Shown) -> Self {
        Self::with(self.spec.shown(shown))
    }
    /// Restricts the option to these roles.
    pub const fn of(self, roles: &'static [Role]) -> Self {
        Self::with(self.spec.of(roles))
    }
    /// Sets older spellings.
    pub const fn older(self, older: &'static [&'static str]) -> Self {
        Self::with(self.spec.older(older))
    }
}

impl<T: FromParsed> Opt<T> {
    /// A whole number within a range.
    pub const fn whole(key: &'static str, least: i64, most: i64, help: &'static str) -> Self {
        Self::new(key, Type::Whole(least, most), help)
    }

    /// A size in bytes.
    pub const fn size(key: &'static str, help: &'static str) -> Self {
        Self::new(key, Type::Size, help)
    }

    /// Parses a value that was given as `key`.
    ///
    /// # Errors
    /// If the value is invalid.
    pub fn read(&self, key: &str, text: &str) -> Result<T> {
        T::from_parsed(self.spec.parse(key, text)?)
            .ok_or_else(|| Error::internal(format!("the option '{key}' is not read as what it is")))
    }

    /// The value among the given options, if it is given.
    ///
    /// # Errors
    /// If the value is invalid.
    pub fn given(&self, options: &BTreeMap<String, String>) -> Result<Option<T>> {
        options.get(self.spec.key).map(|text| self.read(self.spec.key, text)).transpose()
    }

    /// The value among the given options, or the default.
    ///
    /// # Errors
    /// If the value is invalid, or is not given and has no default.
    pub fn value(&self, options: &BTreeMap<String, String>) -> Result<T> {
        let key = self.spec.key;
        match options.get(key).map(String::as_str).or(self.spec.default) {
            Some(text) => self.read(key, text),
            None => Err(Error::script(format!("the option '{key}' is missing"))),
        }
    }
}

impl Opt<bool> {
    /// `true` or `false`.
    pub const fn boolean(key: &'static str, help: &'static str) -> Self {
        Self::new(key, Type::Boolean, help)
    }
}

impl Opt<u32> {
    /// A number of attempts. The maximum value means that there is no limit.
    pub const fn attempts(key: &'static str, help: &'static str) -> Self {
        Self::new(key, Type::Attempts, help)
    }
}

impl Opt<f64> {
    /// A number within a range.
    pub const fn number(key: &'static str, least: f64, most: f64, help: &'static str) -> Self {
        Self::new(key, Type::Number(least, most), help)
    }
}

impl Opt<Duration> {
    /// A duration.
    pub const fn duration(key: &'static str, help: &'static str) -> Self {
        Self::new(key, Type::Duration { zero: true }, help)
    }
    /// A duration that is greater than zero.
    pub const fn some_time(key: &'static str, help: &'static str) -> Self {
        Self::new(key, Type::Duration { zero: false }, help)
    }
}

impl Opt<u8> {
    /// A character.
    pub const fn character(key: &'static str, help: &'static str) -> Self {
        Self::new(key, Type::Character, help)
    }
}

impl Opt<String> {
    /// A text.
    pub const fn text(key: &'static str, help: &'static str) -> Self {
        Self::new(key, Type::Text, help)
    }
    /// An address.
    pub const fn address(key: &'static str, help: &'static str) -> Self {
        Self::new(key, Type::Address, help)
    }
    /// The name of a format.
    pub const fn format(key: &'static str, of: FormatOf, help: &'static str) -> Self {
        Self::new(key, Type::Format(of), help)
    }
    /// A text that `check` has to accept. `called` is the name of its rule, for messages.
    pub const fn checked(
        key: &'static str,
        called: &'static str,
        check: fn(&str) -> Result<()>,
        help: &'static str,
    ) -> Self {
        Self::new(key, Type::Checked(called, check), help)
    }
}

impl Opt<Vec<String>> {
    /// Texts separated by semicolons.
    pub const fn list(key: &'static str, help: &'static str) -> Self {
        Self::new(key, Type::List, help)
    }
}

impl<T: Choice> Opt<T> {
    /// One of some words.
    pub const fn one_of(key: &'static str, help: &'static str) -> Self {
        Self::new(key, Type::OneOf(T::WORDS), help)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    crate::choice! {
        enum Colour { Red = "red", Blue = "blue" | "azure" }
    }
    crate::options! {
        ALL:
        COLOUR: Colour = Opt::one_of("colour", "of the paint").default("Azure");
        LAYERS: u32 = Opt::whole("layers", 1, 9, "how often it is painted").required();
        DRIES: Duration = Opt::some_time("dries", "how long it dries");
        EDGE: u8 = Opt::character("edge", "where it ends");
        WIDTH: i64 = Opt::whole("field.#.width", 0, 5, "of a field");
    }

    fn given(all: &[(&str, &str)]) -> BTreeMap<String, String> {
        all.iter().map(|(k, v)| ((*k).to_string(), (*v).to_string())).collect()
    }

    fn told<T: std::fmt::Debug>(read: Result<T>) -> String {
        read.map_or_else(|e| e.to_string(), |v| panic!("{v:?} was taken"))
    }

    #[test]
    fn values_are_read_by_their_types() {
        let none = given(&[]);
        assert_eq!(COLOUR.value(&none).ok(), Some(Colour::Blue));
        assert_eq!(COLOUR.given(&none).ok(), Some(None));
        assert_eq!(COLOUR.value(&given(&[("colour", "RED")])).ok(), Some(Colour::Red));
        assert_eq!(LAYERS.value(&given(&[("layers", " 3 ")])).ok(), Some(3));
        assert_eq!(DRIES.value(&given(&[("dries", "2 h")])).ok(), Some(Duration::from_secs(7_200)));
        assert_eq!(EDGE.read("edge", "\\t").ok(), Some(b'\t'));
        assert_eq!(EDGE.read("edge", "\\u0001").ok(), Some(1));
        assert_eq!(WIDTH.read("field.a.width", "5").ok(), Some(5));
        assert_eq!(
            ALL.iter().map(|o| o.key).collect::<Vec<_>>(),
            ["colour", "layers", "dries", "edge", "field.#.width"]
        );
    }

    #[test]
    fn what_is_wrong_is_told() {
        let told_of = |key: &'static str, value: &str| {
            let spec = ALL.iter().find(|o| o.is(key)).expect("an option");
            told(spec.parse(key, value))
        };
        assert_eq!(
            told_of("colour", "bleu"),
            "option 'colour' is red or blue, not 'bleu'\n  hint: did you mean 'blue'?"
        );
        assert_eq!(told_of("layers", "10"), "option 'layers' is a whole number, 1 to 9, not '10'");
        assert_eq!(
            told_of("dries", "0 s"),
            "option 'dries' is a duration such as '10 s', longer than nothing, not '0 s'"
        );
        assert_eq!(told_of("edge", "ab"), "option 'edge' is one ASCII character, not 'ab'");
        assert_eq!(told(LAYERS.value(&given(&[]))), "the option 'layers' is missing");
    }

    #[test]
    fn patterns_stand_for_columns() {
        let width = WIDTH.spec();
        assert!(width.is("field.a.width") && width.is("field.a.b.width") && width.is_pattern());
        assert!(!width.is("field..widths") && !width.is("field.width") && !width.is("width"));
        let any = OptionSpec::new("properties.*", Type::Text, "");
        assert!(any.is("properties.x") && !any.is("properties."));
    }
}
