//! The hint LOOKUP of a SELECT: how its lookup joins look up. A lookup that finds no row can be repeated, for dimensions that arrive later than
//! the rows that name them. All lookups of a batch are one request anyway, so Flink's options of asynchronous lookups have no effect.

use crate::hints::{Hint, LOOKUP};
use crate::state_ttl::is_called;
use crate::syntax::WithOption;
use weir_core::error::{Place, nearest};
use weir_core::join::LookupRetry;
use weir_core::options::duration;
use weir_core::{Error, Result};

const TABLE: &str = "table";
const PREDICATE: &str = "retry-predicate";
const STRATEGY: &str = "retry-strategy";
const DELAY: &str = "fixed-delay";
const ATTEMPTS: &str = "max-attempts";
const RETRY: [&str; 4] = [PREDICATE, STRATEGY, DELAY, ATTEMPTS];
const ASYNCHRONOUS: [&str; 4] = ["async", "output-mode", "capacity", "timeout"];

/// What the hints of a SELECT say.
#[derive(Default)]
pub(crate) struct LookupHints(Vec<Entry>);

struct Entry {
    /// The name of a relation in FROM.
    table: String,
    retry: Option<LookupRetry>,
    place: Option<Place>,
    used: bool,
}

impl LookupHints {
    /// Reads the hints. Of several for a table, the last one counts.
    ///
    /// # Errors
    /// If an option is unknown, missing or wrong.
    pub fn read(hints: &[Hint]) -> Result<LookupHints> {
        Ok(LookupHints(hints.iter().rev().map(entry).collect::<Result<_>>()?))
    }

    /// How often lookups in a table are repeated, which is given by its alias or its full name.
    pub fn take(&mut self, table: &str) -> Option<LookupRetry> {
        let mut named = self.0.iter_mut().filter(|e| is_called(table, &e.table)).peekable();
        let retry = named.peek().and_then(|e| e.retry);
        named.for_each(|e| e.used = true);
        retry
    }

    /// The name of the hint, if one of them changes nothing.
    ///
    /// # Errors
    /// If a table that a hint names is not looked up in.
    pub fn idle(&self) -> Result<Option<&'static str>> {
        if let Some(e) = self.0.iter().find(|e| !e.used) {
            let wrong =
                Error::script(format!("the hint LOOKUP names '{}', in which this SELECT looks nothing up", e.table));
            return Err(wrong.hint("a table with an alias is named by its alias").at(e.place));
        }
        Ok(self.0.iter().any(|e| e.retry.is_none()).then_some(LOOKUP))
    }
}

fn entry(hint: &Hint) -> Result<Entry> {
    let known = || RETRY.into_iter().chain(ASYNCHRONOUS).chain([TABLE]);
    if let Some(o) = hint.options.iter().find(|o| !known().any(|k| k == o.key)) {
        let e = Error::script(format!("the hint LOOKUP has no option '{}'", o.key)).at(o.place);
        return Err(match nearest(&o.key, known()) {
            Some(near) => e.hint(format!("did you mean '{near}'?")),
            None => e.hint(format!("its options are {}", known().collect::<Vec<_>>().join(", "))),
        });
    }
    hint.options.iter().filter(|o| ASYNCHRONOUS.contains(&o.key.as_str())).try_for_each(asynchronous)?;
    let of = |key: &str| hint.options.iter().rev().find(|o| o.key == key);
    let needed = |key: &str| {
        let e = || Error::script(format!("the hint LOOKUP needs '{key}'")).at(hint.place);
        of(key).ok_or_else(|| match key {
            TABLE => e().hint("it names the table that is looked up in, or its alias"),
            _ => e().hint(format!("a retry needs all of {}", RETRY.join(", "))),
        })
    };
    let retry = match RETRY.iter().any(|key| of(key).is_some()) {
        false => None,
        true => {
            one_of(needed(PREDICATE)?, &["lookup_miss"])?;
            one_of(needed(STRATEGY)?, &["fixed_delay"])?;
            let delay = needed(DELAY)?;
            Some(LookupRetry {
                delay: duration(DELAY, &delay.value).map_err(|e| e.at(delay.place))?,
                attempts: positive(needed(ATTEMPTS)?)?,
            })
        }
    };
    Ok(Entry { table: needed(TABLE)?.value.clone(), retry, place: hint.place, used: false })
}

/// Checks an option of asynchronous lookups.
fn asynchronous(o: &WithOption) -> Result<()> {
    match o.key.as_str() {
        "async" => one_of(o, &["true", "false"]),
        "output-mode" => one_of(o, &["ordered", "allow_unordered"]),
        "capacity" => positive(o).map(drop),
        _ => duration(&o.key, &o.value).map(drop).map_err(|e| e.at(o.place)),
    }
}

fn one_of(o: &WithOption, values: &[&str]) -> Result<()> {
    if values.iter().any(|v| v.eq_ignore_ascii_case(&o.value)) {
        return Ok(());
    }
    let e = format!("option '{}' of the hint LOOKUP is {}, not '{}'", o.key, values.join(" or "), o.value);
    Err(Error::script(e).at(o.place))
}

fn positive(o: &WithOption) -> Result<u32> {
    o.value.trim().parse().ok().filter(|n| *n > 0).ok_or_else(|| {
        let e = format!("option '{}' of the hint LOOKUP is a whole number from 1, not '{}'", o.key, o.value);
        Error::script(e).at(o.place)
    })
}

#[cfg(test)]
mod tests {
    use crate::testing::try_compile;
    use std::time::Duration;
    use weir_core::join::LookupRetry;
    use weir_plan::Plan;

    /// The retries of the lookups of a SELECT with this hint, from the last one to the first, and the hints that change nothing.
    fn retries(hint: &str) -> Result<(Vec<Option<LookupRetry>>, usize), String> {
        let dim = |name: &str| {
            format!(
                "CREATE TABLE {name} (id INT, v INT) WITH ('connector' = 'jdbc', 'url' = 'jdbc:mysql://x/y', 'table-name' = 'd');"
            )
        };
        let sql = format!(
            "{} {} CREATE VIEW o AS SELECT v AS id, PROCTIME() AS p FROM (VALUES (1)) AS t (v);
             SELECT /*+ {hint} */ o.id, b.v, dim.v FROM o JOIN bad FOR SYSTEM_TIME AS OF o.p AS b ON o.id = b.id
             LEFT JOIN dim FOR SYSTEM_TIME AS OF o.p ON o.id = dim.id;",
            dim("dim"),
            dim("bad")
        );
        let compiled = try_compile(&sql).map_err(|e| e.to_string())?;
        let mut found = vec![];
        compiled.inserts[0].plan.each(&mut |p| {
            if let Plan::Lookup { retry, .. } = p {
                found.push(*retry);
            }
        });
        Ok((found, compiled.idle_hints.len()))
    }

    #[test]
    fn each_table_has_its_own_retries() {
        let retry = |table: &str, delay: &str, attempts: u32| {
            format!(
                "LOOKUP('table' = '{table}', 'retry-predicate' = 'lookup_miss', 'retry-strategy' = 'fixed_delay',
                 'fixed-delay' = '{delay}', 'max-attempts' = '{attempts}')"
            )
        };
        let of = |millis: u64, attempts: u32| Some(LookupRetry { delay: Duration::from_millis(millis), attempts });
        let both = format!("{}, {}", retry("dim", "10 s", 3), retry("b", "5 ms", 1));
        assert_eq!(retries(&both), Ok((vec![of(10_000, 3), of(5, 1)], 0)));
        let again = format!("{} {}", retry("dim", "10 s", 3), retry("dim", "1 s", 2));
        assert_eq!(retries(&again), Ok((vec![of(1_000, 2), None], 0)));
        assert_eq!(retries("LOOKUP('table' = 'b', 'async' = 'true', 'capacity' = '10')"), Ok((vec![None, None], 1)));
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (hint, wanted) in [
            ("LOOKUP('table' = 'bad', 'async' = 'true')", "names 'bad', in which this SELECT looks nothing up"),
            ("LOOKUP('async' = 'true')", "needs 'table'"),
            ("LOOKUP('table' = 'b', 'max-attempts' = '3')", "needs 'retry-predicate'"),
            ("LOOKUP('table' = 'b', 'max-attempt' = '3')", "did you mean 'max-attempts'?"),
            ("LOOKUP('table' = 'b', 'output-mode' = 'any')", "is ordered or allow_unordered, not 'any'"),
            ("LOOKUP('table' = 'b', 'timeout' = 'long')", "a duration"),
            ("LOOKUP('table' = 'b', 'capacity' = '0')", "a whole number from 1"),
        ] {
            let found = retries(hint).expect_err(hint);
            assert!(found.contains(wanted), "{hint}: {found}");
        }
    }
}
