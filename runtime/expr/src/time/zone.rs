//! Time zones as in `java.time`, and as in Java's older classes such as `java.util.TimeZone`.

use chrono::{Offset, TimeZone};
use chrono_tz::OffsetComponents;
use weir_core::{Error, Result};

/// A time zone, such as that of the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Zone {
    /// A zone of the IANA time zone database.
    Named(chrono_tz::Tz),
    /// A fixed offset from UTC in seconds. It is positive if local time is ahead of UTC.
    Fixed(i32),
}

impl Zone {
    /// UTC
    pub const UTC: Zone = Zone::Fixed(0);

    /// Parses a time zone in one of the forms `Europe/Berlin`, `UTC`, `GMT+08:00` and `+08:00`.
    ///
    /// # Errors
    /// If the text has another form, or there is no such zone.
    pub fn parse(text: &str) -> Result<Zone> {
        if let Ok(tz) = text.parse::<chrono_tz::Tz>() {
            return Ok(Zone::Named(tz));
        }
        let rest = text.strip_prefix("GMT").or_else(|| text.strip_prefix("UTC")).unwrap_or(text);
        let fixed = || {
            let (sign, rest) = match rest.as_bytes().first()? {
                b'+' => (1, &rest[1..]),
                b'-' => (-1, &rest[1..]),
                _ => return None,
            };
            let (h, m) = rest.split_once(':').unwrap_or((rest, "0"));
            let (h, m): (i32, i32) = (h.parse().ok()?, m.parse().ok()?);
            ((0..=18).contains(&h) && (0..60).contains(&m)).then(|| Zone::Fixed(sign * (h * 3600 + m * 60)))
        };
        if text == "Z" || rest.is_empty() {
            return Ok(Zone::UTC);
        }
        fixed().ok_or_else(|| {
            Error::script(format!("unknown time zone '{text}'"))
                .hint("write it as 'Europe/Berlin', 'UTC' or 'GMT+08:00'")
        })
    }

    /// The seconds by which local time is ahead of UTC at an instant. The instant is in seconds since 1970-01-01T00:00Z.
    pub fn offset_at(&self, epoch_seconds: i64) -> i64 {
        match self {
            Zone::Fixed(s) => i64::from(*s),
            Zone::Named(tz) => match chrono::DateTime::from_timestamp(epoch_seconds, 0) {
                Some(t) => i64::from(tz.offset_from_utc_datetime(&t.naive_utc()).fix().local_minus_utc()),
                None => 0,
            },
        }
    }

    /// The same for Java's older classes, which do not know local mean time. Before 1900, and in years that chrono cannot represent, it is
    /// the standard offset of January 2024.
    pub fn clock_offset_at(&self, epoch_seconds: i64) -> i64 {
        match self {
            Zone::Named(tz)
                if epoch_seconds < YEAR_1900 || chrono::DateTime::from_timestamp(epoch_seconds, 0).is_none() =>
            {
                let now = chrono::DateTime::from_timestamp(1_705_276_800, 0).unwrap_or_default();
                tz.offset_from_utc_datetime(&now.naive_utc()).base_utc_offset().num_seconds()
            }
            _ => self.offset_at(epoch_seconds),
        }
    }

    /// Parses a time zone as Java's older classes do. They know further short names. A text that is not a time zone means UTC.
    pub fn lenient(text: &str) -> Zone {
        const SHORT: [(&str, &str); 20] = [
            ("ACT", "Australia/Darwin"),
            ("AET", "Australia/Sydney"),
            ("AGT", "America/Argentina/Buenos_Aires"),
            ("ART", "Africa/Cairo"),
            ("AST", "America/Anchorage"),
            ("BET", "America/Sao_Paulo"),
            ("BST", "Asia/Dhaka"),
            ("CAT", "Africa/Harare"),
            ("CNT", "America/St_Johns"),
            ("CST", "America/Chicago"),
            ("CTT", "Asia/Shanghai"),
            ("EAT", "Africa/Addis_Ababa"),
            ("ECT", "Europe/Paris"),
            ("IET", "America/Indiana/Indianapolis"),
            ("IST", "Asia/Kolkata"),
            ("JST", "Asia/Tokyo"),
            ("NST", "Pacific/Auckland"),
            ("PNT", "America/Phoenix"),
            ("PST", "America/Los_Angeles"),
            ("VST", "Asia/Ho_Chi_Minh"),
        ];
        let name = SHORT.iter().find(|(short, _)| *short == text).map_or(text, |(_, name)| name);
        if let Ok(tz) = name.parse::<chrono_tz::Tz>() {
            return Zone::Named(tz);
        }
        match text.strip_prefix("GMT").map(|rest| (rest.len(), rest)) {
            Some((4..=5, rest)) if rest.is_ascii() && !rest.contains(':') => {
                let (hours, minutes) = rest.split_at(rest.len() - 2);
                Zone::parse(&format!("GMT{hours}:{minutes}")).unwrap_or(Zone::UTC)
            }
            Some((1.., _)) => Zone::parse(text).unwrap_or(Zone::UTC),
            _ => Zone::UTC,
        }
    }

    /// Converts an instant to local time. Both are in seconds since 1970-01-01T00:00.
    pub fn to_local(&self, epoch_seconds: i64) -> i64 {
        epoch_seconds + self.offset_at(epoch_seconds)
    }

    /// Converts local time to an instant, as `java.time` does. Both are in seconds since 1970-01-01T00:00. For a local time that the clock
    /// skips, the offset before the gap applies. For a local time that occurs twice, the result is the earlier instant.
    pub fn to_utc(&self, local_seconds: i64) -> i64 {
        self.instant(local_seconds, true)
    }

    /// The same for Java's older classes: for a local time that occurs twice, the result is the later instant.
    pub fn to_utc_late(&self, local_seconds: i64) -> i64 {
        if local_seconds < YEAR_1900 {
            return local_seconds - self.clock_offset_at(local_seconds);
        }
        self.instant(local_seconds, false)
    }

    fn instant(&self, local_seconds: i64, earlier: bool) -> i64 {
        match self {
            Zone::Fixed(s) => local_seconds - i64::from(*s),
            Zone::Named(tz) => {
                let Some(local) = chrono::DateTime::from_timestamp(local_seconds, 0).map(|t| t.naive_utc()) else {
                    return local_seconds;
                };
                match tz.offset_from_local_datetime(&local) {
                    chrono::LocalResult::Single(o) => local_seconds - i64::from(o.fix().local_minus_utc()),
                    chrono::LocalResult::Ambiguous(a, b) => {
                        let (a, b) = (a.fix().local_minus_utc(), b.fix().local_minus_utc());
                        local_seconds - i64::from(if earlier { a.max(b) } else { a.min(b) })
                    }
                    chrono::LocalResult::None => local_seconds - self.offset_at(local_seconds - 86_400),
                }
            }
        }
    }
}

/// 1900-01-01T00:00Z, in seconds since 1970. Java's older classes know no changes of a zone's offset before it.
const YEAR_1900: i64 = -2_208_988_800;
