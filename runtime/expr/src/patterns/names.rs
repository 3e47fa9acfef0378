//! The names of months, weekdays, day periods and time zones in US English.

use crate::time::Zone;
use chrono::{Offset, TimeZone};
use chrono_tz::{OffsetComponents, OffsetName};

pub(super) const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
pub(super) const DAYS: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];
pub(super) const QUARTERS: [&str; 4] = ["1st quarter", "2nd quarter", "3rd quarter", "4th quarter"];
pub(super) const HALVES: [&str; 2] = ["AM", "PM"];

/// The day period of a time of day, such as `in the morning`.
pub(super) fn day_period(hour: u32, minute: u32, narrow: bool) -> &'static str {
    match (hour, minute) {
        (0, 0) => {
            if narrow {
                "mi"
            } else {
                "midnight"
            }
        }
        (12, 0) => {
            if narrow {
                "n"
            } else {
                "noon"
            }
        }
        (6..12, _) => "in the morning",
        (12..18, _) => "in the afternoon",
        (18..21, _) => "in the evening",
        _ => "at night",
    }
}

/// Time zones: the abbreviations of standard time and summer time, the standard offset in hours, and the name. If there is summer time, the
/// name lacks the words that [`long_name`] appends.
const ZONES: [(&str, &str, f32, &str); 27] = [
    ("UTC", "", 0.0, "Coordinated Universal Time"),
    ("GMT", "", 0.0, "Greenwich Mean Time"),
    ("GMT", "BST", 0.0, "British"),
    ("WET", "WEST", 0.0, "Western European"),
    ("CET", "CEST", 1.0, "Central European"),
    ("EET", "EEST", 2.0, "Eastern European"),
    ("MSK", "MSD", 3.0, "Moscow"),
    ("SAST", "", 2.0, "South Africa Standard Time"),
    ("IST", "", 5.5, "India Standard Time"),
    ("PKT", "", 5.0, "Pakistan Standard Time"),
    ("WIB", "", 7.0, "Western Indonesia Time"),
    ("HKT", "", 8.0, "Hong Kong Standard Time"),
    ("SGT", "", 8.0, "Singapore Standard Time"),
    ("JST", "", 9.0, "Japan Standard Time"),
    ("KST", "", 9.0, "Korean Standard Time"),
    ("AWST", "", 8.0, "Australian Western Standard Time"),
    ("ACST", "ACDT", 9.5, "Australian Central"),
    ("AEST", "AEDT", 10.0, "Australian Eastern"),
    ("NZST", "NZDT", 12.0, "New Zealand"),
    ("NST", "NDT", -3.5, "Newfoundland"),
    ("AST", "ADT", -4.0, "Atlantic"),
    ("EST", "EDT", -5.0, "Eastern"),
    ("CST", "CDT", -6.0, "Central"),
    ("MST", "MDT", -7.0, "Mountain"),
    ("PST", "PDT", -8.0, "Pacific"),
    ("AKST", "AKDT", -9.0, "Alaska"),
    ("HST", "HDT", -10.0, "Hawaii-Aleutian"),
];

/// The full name of a zone, in standard time or summer time. `name` is complete if the zone has no summer time.
fn long_name(summer_short: &str, name: &str, summer: bool) -> String {
    if summer_short.is_empty() {
        return name.to_string();
    }
    let season = match (summer, name) {
        (false, _) => "Standard",
        (true, "British" | "Western European" | "Central European" | "Eastern European" | "Moscow") => "Summer",
        (true, _) => "Daylight",
    };
    format!("{name} {season} Time")
}

/// Formats an offset in seconds, such as `GMT+08:00`.
pub(super) fn gmt(offset: i64) -> String {
    let minutes = offset.abs() / 60;
    match offset {
        0 => "GMT".to_string(),
        _ => format!("GMT{}{:02}:{:02}", if offset < 0 { '-' } else { '+' }, minutes / 60, minutes % 60),
    }
}

/// The abbreviation of a zone at an instant, or its full name if `long`.
pub(super) fn zone(zone: &Zone, epoch_seconds: i64, long: bool) -> String {
    let tz = match zone {
        Zone::Fixed(0) => return if long { "Coordinated Universal Time" } else { "UTC" }.to_string(),
        Zone::Fixed(s) => return gmt(i64::from(*s)),
        Zone::Named(tz) => tz,
    };
    // Instead of local mean time, and in years that chrono cannot represent, the time of January 2024 is used.
    let winter = chrono::DateTime::from_timestamp(1_705_276_800, 0).unwrap_or_default();
    let t = chrono::DateTime::from_timestamp(epoch_seconds, 0).unwrap_or(winter);
    let mut at = tz.offset_from_utc_datetime(&t.naive_utc());
    if at.abbreviation() == Some("LMT") {
        at = tz.offset_from_utc_datetime(&winter.naive_utc());
    }
    let seconds = i64::from(at.fix().local_minus_utc());
    let short = at.abbreviation().unwrap_or_default().to_string();
    let summer = !at.dst_offset().is_zero();
    if !short.starts_with(|c: char| c.is_ascii_alphabetic()) {
        return gmt(seconds);
    }
    if !long {
        return short;
    }
    let hours = at.base_utc_offset().num_seconds() as f32 / 3600.0;
    let known = ZONES.iter().find(|(std, dst, h, _)| *h == hours && (if summer { *dst } else { *std }) == short);
    match known {
        Some((_, dst, _, name)) => long_name(dst, name, summer),
        None if short == "CST" => "China Standard Time".to_string(),
        None => gmt(seconds),
    }
}

/// Parses the name or abbreviation of a zone at the start of a text, in any case. Returns the offset in seconds, and the length of the name
/// in bytes. The names of the zone `own` take precedence.
pub(super) fn take_zone(text: &str, own: &Zone) -> Option<(i64, usize)> {
    let starts =
        |name: &str| !name.is_empty() && text.get(..name.len()).is_some_and(|head| head.eq_ignore_ascii_case(name));
    for at in [1_705_276_800, 1_720_915_200] {
        let (short, long) = (zone(own, at, false), zone(own, at, true));
        for name in [long, short] {
            if !name.starts_with("GMT") && starts(&name) {
                return Some((own.offset_at(at), name.len()));
            }
        }
    }
    let mut best: Option<(i64, usize)> = None;
    for (std, dst, hours, name) in ZONES {
        for summer in [false, true] {
            let short = if summer { dst } else { std };
            if short.is_empty() {
                continue;
            }
            let seconds = (hours * 3600.0) as i64 + if summer { 3600 } else { 0 };
            for name in [long_name(dst, name, summer), short.to_string()] {
                if starts(&name) && best.is_none_or(|(_, n)| name.len() > n) {
                    best = Some((seconds, name.len()));
                }
            }
        }
    }
    best
}
