//! Dates, times and zones: text in and out, fields, floors.

use chrono::{Datelike, NaiveDate, NaiveDateTime, Offset, TimeZone, Timelike};
use weir_core::{Error, Result};

/// A session's time zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Zone {
    /// A zone of the IANA data base.
    Named(chrono_tz::Tz),
    /// A fixed distance from UTC in seconds.
    Fixed(i32),
}

impl Zone {
    /// UTC
    pub const UTC: Zone = Zone::Fixed(0);

    /// Reads `Europe/Berlin`, `UTC`, `GMT+08:00`, `+08:00`.
    ///
    /// # Errors
    /// For anything else.
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
            (h <= 18 && m < 60).then_some(Zone::Fixed(sign * (h * 3600 + m * 60)))
        };
        if text == "Z" || rest.is_empty() {
            return Ok(Zone::UTC);
        }
        fixed().ok_or_else(|| {
            Error::script(format!("unknown time zone '{text}'"))
                .hint("write it as 'Europe/Berlin', 'UTC' or 'GMT+08:00'")
        })
    }

    /// Seconds that local time is ahead of UTC at an instant.
    pub fn offset_at(&self, epoch_seconds: i64) -> i64 {
        match self {
            Zone::Fixed(s) => i64::from(*s),
            Zone::Named(tz) => match chrono::DateTime::from_timestamp(epoch_seconds, 0) {
                Some(t) => i64::from(tz.offset_from_utc_datetime(&t.naive_utc()).fix().local_minus_utc()),
                None => 0,
            },
        }
    }

    /// The same as Java's older classes have it, which know no local mean time: before 1900, and far
    /// ahead, today's standard time holds.
    pub fn clock_offset_at(&self, epoch_seconds: i64) -> i64 {
        use chrono_tz::OffsetComponents;
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

    /// Reads a zone as Java's older classes do: they have short names of their own, and what is none is UTC.
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

    /// An instant's local seconds.
    pub fn to_local(&self, epoch_seconds: i64) -> i64 {
        epoch_seconds + self.offset_at(epoch_seconds)
    }

    /// The instant of local seconds; in a gap the offset before it holds, in an overlap the earlier one, as in `java.time`.
    pub fn to_utc(&self, local_seconds: i64) -> i64 {
        self.instant(local_seconds, true)
    }

    /// The same with the later one in an overlap, as Java's older classes have it.
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

/// 1900-01-01T00:00Z, before which Java's older classes know no zones.
const YEAR_1900: i64 = -2_208_988_800;

/// Now: seconds since 1970-01-01T00:00Z and nanoseconds.
pub fn now() -> (i64, u32) {
    let now = chrono::Utc::now();
    (now.timestamp(), now.timestamp_subsec_nanos())
}

const DAY: i64 = 86_400;

/// Days since 1970-01-01 of a date, if there is such a date.
pub fn days(year: i32, month: u32, day: u32) -> Option<i32> {
    Some(NaiveDate::from_ymd_opt(year, month, day)?.num_days_from_ce() - 719_163)
}

/// The date of days since 1970-01-01.
pub fn date(days: i32) -> Option<NaiveDate> {
    NaiveDate::from_num_days_from_ce_opt(days.checked_add(719_163)?)
}

/// The date and time of local seconds.
pub fn date_time(seconds: i64, nanos: u32) -> Option<NaiveDateTime> {
    chrono::DateTime::from_timestamp(seconds, nanos).map(|t| t.naive_utc())
}

/// Digits without blanks around them.
fn strict(text: &str) -> Option<i64> {
    integer(text).filter(|_| text.trim() == text)
}

fn integer(text: &str) -> Option<i64> {
    let text = text.trim();
    (!text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok()).flatten()
}

/// Reads a date as Flink's CAST does: `2020-2-9`, `2020-02`, `2020`, with anything after a blank left out.
pub fn parse_date(text: &str) -> Option<i32> {
    let text = match text.find(' ') {
        Some(at) if at > 0 => &text[..at],
        _ => text,
    };
    let mut parts = text.splitn(3, '-');
    let year = integer(parts.next()?)?;
    let month = parts.next().map_or(Some(1), integer)?;
    let day = parts.next().map_or(Some(1), integer)?;
    if !(0..=9999).contains(&year) {
        return None;
    }
    days(year as i32, u32::try_from(month).ok()?, u32::try_from(day).ok()?)
}

/// Reads a time of day as Flink's CAST does, as milliseconds: `12`, `12:34`, `1:2:3.456`.
pub fn parse_time(text: &str) -> Option<i32> {
    let text = text.trim();
    let (clock, fraction) = text.split_once('.').unwrap_or((text, ""));
    let mut parts = clock.splitn(3, ':');
    let hour = integer(parts.next()?)?;
    let minute = parts.next().map_or(Some(0), integer)?;
    let second = parts.next().map_or(Some(0), integer)?;
    if hour > 23 || minute > 59 || second > 59 || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let millis: i64 = format!("{:0<3}", &fraction[..fraction.len().min(3)]).parse().unwrap_or(0);
    Some(((hour * 3600 + minute * 60 + second) * 1000 + millis) as i32)
}

/// Reads a timestamp as Flink's CAST does: a date, or a date, one blank, hours, minutes, seconds and up to nine digits.
/// Days past the end of their month become its last, and hour 24 the next day.
pub fn parse_timestamp(text: &str) -> Option<(i64, u32)> {
    let (date, clock) = match text.split_once(' ') {
        Some((d, c)) => (d, Some(c)),
        None => (text, None),
    };
    let mut parts = date.split('-');
    let (y, m, d) = (parts.next()?, parts.next()?, parts.next()?);
    let years = match y.strip_prefix('+') {
        Some(y) => (y.len() > 4).then_some(y)?,
        None => (y.len() == 4).then_some(y)?,
    };
    let short = |t: &str| (1..=2).contains(&t.len()) && t.trim() == t;
    if parts.next().is_some() || years.len() > 6 || years.trim() != years || !short(m) || !short(d) {
        return None;
    }
    let (y, m, d) = (integer(years)? as i32, integer(m)? as u32, integer(d)? as u32);
    if d == 0 || d > 31 {
        return None;
    }
    let day = (0..4).find_map(|back| days(y, m, d - back.min(d - 1)))?;
    let Some(clock) = clock else {
        return Some((i64::from(day) * DAY, 0));
    };
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, ""));
    let mut parts = clock.split(':');
    let (h, mi, s) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() || [h, mi, s].iter().any(|p| p.len() > 2 || p.trim() != *p) {
        return None;
    }
    let (h, mi, s) = (integer(h)?, integer(mi)?, integer(s)?);
    if fraction.len() > 9 || !fraction.bytes().all(|b| b.is_ascii_digit()) || mi > 59 || s > 59 {
        return None;
    }
    let nanos: u32 = format!("{fraction:0<9}").parse().ok()?;
    if h > 24 || (h == 24 && (mi, s, nanos) != (0, 0, 0)) {
        return None;
    }
    Some((i64::from(day) * DAY + h * 3600 + mi * 60 + s, nanos))
}

/// Reads a timestamp as CAST and TO_TIMESTAMP do: as [`parse_timestamp`], from the year 1.
pub fn cast_timestamp(text: &str) -> Option<(i64, u32)> {
    const YEAR_1: i64 = -62_135_596_800;
    parse_timestamp(text).filter(|(s, _)| *s >= YEAR_1)
}

/// Reads a time of the day as CAST does: an offset behind it is added, digits past the third round it, and what is no digit
/// there counts as 0.
pub fn cast_time(text: &str) -> Option<i32> {
    let (clock, offset) = match text.find('-').or_else(|| text.find('+')) {
        Some(at) => {
            let sign = if text[at..].starts_with('-') { -1 } else { 1 };
            let (h, m) = text[at + 1..].split_once(':').unwrap_or((&text[at + 1..], "0"));
            (&text[..at], sign * (integer(h)? * 3_600_000 + integer(m)? * 60_000))
        }
        None => (text, 0),
    };
    let (clock, fraction) = match clock.split_once('.') {
        Some((c, f)) if c.matches(':').count() == 2 => (c, f.trim()),
        Some(_) => return None,
        None => (clock, ""),
    };
    let mut parts = clock.splitn(3, ':');
    let h = integer(parts.next()?)?;
    let m = parts.next().map_or(Some(0), integer)?;
    let s = parts.next().map_or(Some(0), integer)?;
    if h > 23 || m > 59 || s > 59 {
        return None;
    }
    let digit = |at: usize| fraction.bytes().nth(at).filter(u8::is_ascii_digit).map_or(0, |b| i64::from(b - b'0'));
    let millis = digit(0) * 100 + digit(1) * 10 + digit(2) + i64::from(digit(3) >= 5);
    let total = (h * 3600 + m * 60 + s) * 1000 + offset;
    // The last millisecond does not round up to a day that has 24 hours.
    let total = if total + millis == DAY * 1000 { total + 999 } else { total + millis };
    (0..DAY * 1000).contains(&total).then_some(total as i32)
}

/// Reads a timestamp, or a date alone, as Java's SQL classes do: hours, minutes and seconds past their ends are later ones,
/// and so are days past the end of their month.
pub fn parse_sql_timestamp(text: &str) -> Option<(i64, u32)> {
    let text = text.trim();
    let (date, clock) = match text.split_once(' ') {
        Some((d, c)) => (d, Some(c)),
        None => (text, None),
    };
    let parts: Vec<&str> = date.split('-').collect();
    let [y, m, d] = parts.as_slice() else { return None };
    if y.len() != 4 || !(1..=2).contains(&m.len()) || !(1..=2).contains(&d.len()) {
        return None;
    }
    let (y, m, d) = (strict(y)?, strict(m)?, strict(d)?);
    if !(1..=12).contains(&m) || !(1..=31).contains(&d) {
        return None;
    }
    let day = crate::patterns::sql_day(y, m, d)?;
    let Some(clock) = clock else {
        return Some((day * DAY, 0));
    };
    let (clock, fraction) = match clock.split_once('.') {
        Some((_, "")) => return None,
        Some((c, f)) => (c, f),
        None => (clock, ""),
    };
    if fraction.len() > 9 || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let nanos: u32 = format!("{fraction:0<9}").parse().ok()?;
    let parts: Vec<&str> = clock.split(':').collect();
    let [h, mi, s] = parts.as_slice() else { return None };
    let (h, mi, s) = (strict(h)?, strict(mi)?, strict(s)?);
    let of_day = h.checked_mul(3600)?.checked_add(mi.checked_mul(60)?)?.checked_add(s)?;
    Some(((day * DAY).checked_add(of_day)?, nanos))
}

/// A date's text; years beyond 9999 with a sign, as Java writes them.
pub fn date_text(days: i32) -> String {
    match date(days) {
        Some(d) if (0..=9999).contains(&d.year()) => {
            format!("{:04}-{:02}-{:02}", d.year(), d.month(), d.day())
        }
        Some(d) => format!("{:+05}-{:02}-{:02}", d.year(), d.month(), d.day()),
        None => days.to_string(),
    }
}

/// A time's text as CAST writes it: up to so many digits of the second, at least one where there may be any, and no zeros
/// behind.
pub fn cast_time_text(millis: i32, digits: u8) -> String {
    let text = time_text(millis, digits);
    match text.split_once('.') {
        Some((clock, fraction)) => {
            let kept = fraction.trim_end_matches('0');
            format!("{clock}.{}", if kept.is_empty() { "0" } else { kept })
        }
        None => text,
    }
}

/// A time's text with this many digits of the second.
pub fn time_text(millis: i32, digits: u8) -> String {
    let s = millis / 1000;
    let base = format!("{:02}:{:02}:{:02}", s / 3600, s / 60 % 60, s % 60);
    with_fraction(base, (millis % 1000) as u32 * 1_000_000, digits)
}

fn with_fraction(base: String, nanos: u32, digits: u8) -> String {
    if digits == 0 {
        return base;
    }
    format!("{base}.{}", &format!("{nanos:09}")[..usize::from(digits.min(9))])
}

/// A timestamp's text as CAST writes it, with this many digits of the second.
pub fn timestamp_text(seconds: i64, nanos: u32, digits: u8) -> String {
    let days = seconds.div_euclid(DAY);
    let s = seconds.rem_euclid(DAY);
    let base = format!("{} {:02}:{:02}:{:02}", date_text(days as i32), s / 3600, s / 60 % 60, s % 60);
    with_fraction(base, nanos, digits)
}

/// A time of day as Java's `LocalTime` prints it: no seconds when zero, fractions in threes.
pub fn iso_time(seconds: i64, nanos: u32) -> String {
    let base = format!("{:02}:{:02}", seconds / 3600, seconds / 60 % 60);
    if seconds % 60 == 0 && nanos == 0 {
        return base;
    }
    format!("{base}:{:02}{}", seconds % 60, iso_fraction(nanos))
}

/// A fraction of a second as Java prints it: nothing, or 3, 6 or 9 digits.
pub fn iso_fraction(nanos: u32) -> String {
    match nanos {
        0 => String::new(),
        n if n % 1_000_000 == 0 => format!(".{:03}", n / 1_000_000),
        n if n % 1_000 == 0 => format!(".{:06}", n / 1_000),
        n => format!(".{n:09}"),
    }
}

/// A timestamp as Java's `LocalDateTime` prints it.
pub fn iso_timestamp(seconds: i64, nanos: u32) -> String {
    let days = seconds.div_euclid(DAY);
    format!("{}T{}", date_text(days as i32), iso_time(seconds.rem_euclid(DAY), nanos))
}

/// An instant as Java's `Instant` prints it.
pub fn iso_instant(seconds: i64, nanos: u32) -> String {
    let s = seconds.rem_euclid(DAY);
    format!(
        "{}T{:02}:{:02}:{:02}{}Z",
        date_text(seconds.div_euclid(DAY) as i32),
        s / 3600,
        s / 60 % 60,
        s % 60,
        iso_fraction(nanos)
    )
}

/// A unit of time, as in EXTRACT, FLOOR and TIMESTAMPDIFF.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "named after the units")]
pub enum Unit {
    Millennium,
    Century,
    Decade,
    Year,
    Quarter,
    Month,
    Week,
    Day,
    DayOfWeek,
    IsoDayOfWeek,
    DayOfYear,
    IsoYear,
    Hour,
    Minute,
    Second,
    Millisecond,
    Microsecond,
    Nanosecond,
    Epoch,
}

impl Unit {
    /// Reads a unit's name.
    pub fn parse(name: &str) -> Option<Unit> {
        let name = name.to_ascii_uppercase();
        let name = name.strip_prefix("SQL_TSI_").unwrap_or(&name);
        Some(match name {
            "MILLENNIUM" => Unit::Millennium,
            "CENTURY" => Unit::Century,
            "DECADE" => Unit::Decade,
            "YEAR" | "YEARS" => Unit::Year,
            "QUARTER" | "QUARTERS" => Unit::Quarter,
            "MONTH" | "MONTHS" => Unit::Month,
            "WEEK" | "WEEKS" => Unit::Week,
            "DAY" | "DAYS" => Unit::Day,
            "DOW" => Unit::DayOfWeek,
            "ISODOW" => Unit::IsoDayOfWeek,
            "DOY" => Unit::DayOfYear,
            "ISOYEAR" => Unit::IsoYear,
            "HOUR" | "HOURS" => Unit::Hour,
            "MINUTE" | "MINUTES" => Unit::Minute,
            "SECOND" | "SECONDS" => Unit::Second,
            "MILLISECOND" | "MILLISECONDS" => Unit::Millisecond,
            "MICROSECOND" | "MICROSECONDS" => Unit::Microsecond,
            "NANOSECOND" | "NANOSECONDS" => Unit::Nanosecond,
            "EPOCH" => Unit::Epoch,
            _ => return None,
        })
    }
}

/// A field of a local timestamp.
///
/// As in Flink, time before 1970 is cut towards 1970, and what is less than a day is negative there.
pub fn extract(unit: Unit, seconds: i64, nanos: u32) -> Option<i64> {
    let millis = seconds.checked_mul(1000)?.checked_add(i64::from(nanos / 1_000_000))?;
    let below = i64::from(nanos % 1_000_000);
    let day = calendar_day(seconds, nanos);
    let t = date_time(day * DAY, 0)?;
    Some(match unit {
        Unit::Millennium => i64::from((t.year() - 1).div_euclid(1000) + 1),
        Unit::Century => i64::from((t.year() - 1).div_euclid(100) + 1),
        Unit::Decade => i64::from(t.year().div_euclid(10)),
        Unit::Year => i64::from(t.year()),
        Unit::Quarter => i64::from((t.month() - 1) / 3 + 1),
        Unit::Month => i64::from(t.month()),
        Unit::Week => i64::from(t.iso_week().week()),
        Unit::Day => i64::from(t.day()),
        Unit::DayOfWeek => i64::from(t.weekday().num_days_from_sunday() + 1),
        Unit::IsoDayOfWeek => i64::from(t.weekday().number_from_monday()),
        Unit::DayOfYear => i64::from(t.ordinal()),
        Unit::IsoYear => i64::from(t.iso_week().year()),
        Unit::Hour => millis % 86_400_000 / 3_600_000,
        Unit::Minute => millis % 3_600_000 / 60_000,
        Unit::Second => millis % 60_000 / 1_000,
        Unit::Millisecond => millis % 1_000,
        Unit::Microsecond => millis % 1_000 * 1_000 + below / 1_000,
        Unit::Nanosecond => millis % 1_000 * 1_000_000 + below,
        Unit::Epoch => millis / 1_000,
    })
}

/// The day of a timestamp as Flink's calendar functions take it: cut towards 1970, so that a time of day before 1970 counts
/// for the day after.
pub fn calendar_day(seconds: i64, nanos: u32) -> i64 {
    let millis = seconds * 1000 + i64::from(nanos / 1_000_000);
    millis / (DAY * 1000)
}

/// The begin of the unit that a local timestamp lies in.
pub fn floor(unit: Unit, seconds: i64, nanos: u32) -> Option<(i64, u32)> {
    let t = date_time(calendar_day(seconds, nanos) * DAY, 0)?;
    let first = |y: i32, m: u32| days(y, m, 1).map(|d| (i64::from(d) * DAY, 0));
    let down = |step: i64| Some((seconds.div_euclid(step) * step, 0));
    match unit {
        Unit::Millennium => first((t.year() - 1).div_euclid(1000) * 1000 + 1, 1),
        Unit::Century => first((t.year() - 1).div_euclid(100) * 100 + 1, 1),
        Unit::Decade => first(t.year().div_euclid(10) * 10, 1),
        Unit::Year => first(t.year(), 1),
        Unit::Quarter => first(t.year(), (t.month() - 1) / 3 * 3 + 1),
        Unit::Month => first(t.year(), t.month()),
        Unit::Week => {
            let day = calendar_day(seconds, nanos);
            Some(((day - i64::from(t.weekday().num_days_from_sunday())) * DAY, 0))
        }
        Unit::Day => down(DAY),
        Unit::Hour => down(3600),
        Unit::Minute => down(60),
        Unit::Second => Some((seconds, 0)),
        Unit::Millisecond => Some((seconds, nanos / 1_000_000 * 1_000_000)),
        _ => Some((seconds, nanos)),
    }
}

/// The begin of the next unit, or of the unit itself where the time lies on its first day: as in Flink, what is longer than
/// a day is rounded by the day alone.
pub fn ceil(unit: Unit, seconds: i64, nanos: u32) -> Option<(i64, u32)> {
    let low = floor(unit, seconds, nanos)?;
    let months =
        |n| if low.0 == calendar_day(seconds, nanos) * DAY { Some(low) } else { Some((add_months(low.0, n)?, 0)) };
    let up = |step: i64| if low == (seconds, nanos) { Some(low) } else { Some((low.0 + step, 0)) };
    match unit {
        Unit::Millennium => Some((add_months(low.0, 12_000)?, 0)),
        Unit::Century => Some((add_months(low.0, 1_200)?, 0)),
        Unit::Decade => Some((add_months(low.0, 120)?, 0)),
        Unit::Year => months(12),
        Unit::Quarter => months(3),
        Unit::Month => months(1),
        Unit::Week if low.0 == calendar_day(seconds, nanos) * DAY => Some(low),
        Unit::Week => Some((low.0 + 7 * DAY, 0)),
        Unit::Day => up(DAY),
        Unit::Hour => up(3600),
        Unit::Minute => up(60),
        Unit::Second => up(1),
        _ => Some((seconds, nanos)),
    }
}

/// Local seconds some months later; the day is kept, or the month's last.
pub fn add_months(seconds: i64, months: i64) -> Option<i64> {
    let t = date_time(seconds, 0)?;
    let month = i64::from(t.year()) * 12 + i64::from(t.month0()) + months;
    let (y, m) = (i32::try_from(month.div_euclid(12)).ok()?, month.rem_euclid(12) as u32 + 1);
    let day = (0..4).find_map(|back| days(y, m, t.day() - back))?;
    Some(i64::from(day) * DAY + seconds.rem_euclid(DAY))
}

/// Whole months from one local timestamp to another, counted by adding months to the earlier: a month's last day is a month
/// after any day that the month has not.
fn months_between(from: (i64, u32), to: (i64, u32)) -> Option<i64> {
    fn days_apart(from: i64, to: i64) -> Option<i64> {
        if to < from {
            return days_apart(to, from).map(|m| -m);
        }
        let mut m = (to - from) / 31;
        while months_later(from, m)? < to && months_later(from, m + 1)? <= to {
            m += 1;
        }
        Some(m)
    }
    let (day, end) = (from.0.div_euclid(DAY), to.0.div_euclid(DAY));
    let m = days_apart(day, end)?;
    let clock = |t: (i64, u32)| (t.0.rem_euclid(DAY), t.1);
    Some(if months_later(day, m)? == end && clock(to) < clock(from) { m - 1 } else { m })
}

fn months_later(day: i64, months: i64) -> Option<i64> {
    add_months(day * DAY, months).map(|s| s.div_euclid(DAY))
}

/// Whole units from one local timestamp to another.
pub fn difference(unit: Unit, from: (i64, u32), to: (i64, u32)) -> Option<i64> {
    let nanos = (i128::from(to.0) - i128::from(from.0)) * 1_000_000_000 + i128::from(to.1) - i128::from(from.1);
    let months = || months_between(from, to);
    let per = |n: i128| i64::try_from(nanos / n).ok();
    match unit {
        Unit::Year => months().map(|m| m / 12),
        Unit::Quarter => months().map(|m| m / 3),
        Unit::Month => months(),
        Unit::Week => per(7 * 86_400_000_000_000),
        Unit::Day => per(86_400_000_000_000),
        Unit::Hour => per(3_600_000_000_000),
        Unit::Minute => per(60_000_000_000),
        Unit::Second => per(1_000_000_000),
        Unit::Millisecond => per(1_000_000),
        Unit::Microsecond => per(1_000),
        Unit::Nanosecond => per(1),
        _ => None,
    }
}
