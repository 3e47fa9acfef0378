//! The cache of a lookup join, with Flink's current options and those from before 1.16.

use crate::options::TableSpec;
use std::num::NonZeroUsize;
use std::time::Duration;
use weir_core::option_spec::{Opt, OptionSpec, Role};
use weir_core::{Result, choice, options};
use weir_operators::lookup::LookupCacheOptions;

choice! {
    enum Remembers { Nothing = "NONE", Part = "PARTIAL" }
}

const LOOKUP: &[Role] = &[Role::Lookup];

options! {
    /// The options of the lookup cache.
    pub(crate) OPTIONS:
    CACHE: Remembers = Opt::one_of("lookup.cache", "`PARTIAL` caches the rows of keys that were looked up, `NONE` caches nothing")
        .default("NONE").how().of(LOOKUP);
    MAX_ROWS: usize = Opt::whole(
        "lookup.partial-cache.max-rows",
        0,
        i64::MAX,
        "how many keys each subtask caches at most; by default 10000 with `PARTIAL`. Without `lookup.cache`, it turns the cache on",
    )
    .how().of(LOOKUP);
    AFTER_WRITE: Duration =
        Opt::duration("lookup.partial-cache.expire-after-write", "how long a key is cached after its lookup").how().of(LOOKUP);
    AFTER_ACCESS: Duration =
        Opt::duration("lookup.partial-cache.expire-after-access", "how long a key is cached after its last use").how().of(LOOKUP);
    MISSING: bool =
        Opt::boolean("lookup.partial-cache.caching-missing-key", "whether keys without a row are cached too; by default they are")
            .how().of(LOOKUP);
    OLD_ROWS: usize =
        Opt::whole("lookup.cache.max-rows", 0, i64::MAX, "the older name of `lookup.partial-cache.max-rows`").how().of(LOOKUP);
    OLD_TTL: Duration =
        Opt::duration("lookup.cache.ttl", "the older name of `lookup.partial-cache.expire-after-write`").how().of(LOOKUP);
    OLD_MISSING: bool =
        Opt::boolean("lookup.cache.caching-missing-key", "the older name of `lookup.partial-cache.caching-missing-key`")
            .default("true").how().of(LOOKUP);
}

/// Options that are accepted without effect.
pub(crate) const IDLE: &[OptionSpec] =
    &[OptionSpec::idle("lookup.async", "the keys of a batch are always looked up together").how().of(LOOKUP)];

/// The cache that a table's options ask for.
///
/// # Errors
/// If an option is invalid.
pub(crate) fn cache(table: &TableSpec) -> Result<LookupCacheOptions> {
    let rows = table.get(&MAX_ROWS)?.or(table.get(&OLD_ROWS)?);
    let rows = match table.get(&CACHE)? {
        None => rows,
        Some(Remembers::Nothing) => None,
        Some(Remembers::Part) => rows.or(Some(10_000)),
    };
    let max_rows = rows.and_then(NonZeroUsize::new);
    if max_rows.is_none() {
        let of_cache = [OLD_TTL.key(), OLD_MISSING.key(), AFTER_WRITE.key(), AFTER_ACCESS.key(), MISSING.key()];
        table.idle(&of_cache, "nothing is remembered without 'lookup.cache' = 'PARTIAL'");
    }
    Ok(LookupCacheOptions {
        max_rows,
        after_write: table.get(&AFTER_WRITE)?.or(table.get(&OLD_TTL)?),
        after_access: table.get(&AFTER_ACCESS)?,
        missing: table.get(&MISSING)?.map_or_else(|| table.value(&OLD_MISSING), Ok)?,
    })
}
