//! Compiles patterns of `DateTimeFormatter`.

use super::about;

/// A field of a timestamp.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TimeField {
    Era,
    Year,
    YearOfEra,
    WeekYear,
    DayOfYear,
    Month,
    Day,
    Quarter,
    Week,
    WeekOfMonth,
    /// Monday is 1.
    DayOfWeek,
    /// Sunday is 1.
    LocalDayOfWeek,
    DayOfWeekInMonth,
    /// AM is 0, PM is 1.
    Half,
    Hour,
    /// From 1 to 24.
    ClockHour,
    /// From 0 to 11.
    HourOfHalf,
    /// From 1 to 12.
    ClockHourOfHalf,
    Minute,
    Second,
    Nano,
    MilliOfDay,
    NanoOfDay,
    ModifiedJulianDay,
}

/// The number of fields.
pub(super) const FIELDS: usize = TimeField::ModifiedJulianDay as usize + 1;

/// When a number has a sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sign {
    /// A minus if it is negative.
    Normal,
    /// Never.
    No,
    /// A minus if it is negative, and a plus if it has more digits than the pattern has letters.
    Exceeds,
}

/// The length of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NameLength {
    Short,
    Full,
    Narrow,
}

/// How a number is parsed if other numbers directly follow or precede it. Java calls this adjacent value parsing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Adjacent {
    /// There are no adjacent numbers.
    None,
    /// The number has exactly its width.
    Fixed,
    /// The number leaves this many digits to the numbers that follow.
    Leaves(usize),
}

/// A part of a pattern.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum PatternItem {
    Text(String),
    Number {
        field: TimeField,
        min: usize,
        max: usize,
        sign: Sign,
        adjacent: Adjacent,
    },
    /// The last two digits of a year. A parsed year is between 2000 and 2099.
    TwoDigits {
        field: TimeField,
        adjacent: Adjacent,
    },
    /// This many digits of the fraction of a second.
    Fraction(usize, Adjacent),
    Name {
        field: TimeField,
        length: NameLength,
    },
    DayPeriod(NameLength),
    /// An offset from UTC. `none` is the text for UTC itself.
    Offset {
        style: OffsetStyle,
        none: &'static str,
    },
    /// An offset such as `GMT+8`, or `GMT+08:00` if `long`.
    GmtOffset {
        long: bool,
    },
    /// The identifier of a zone, or its name.
    Zone {
        id: bool,
    },
    /// An item that is padded on the left with blanks, to this many characters.
    Padded(usize, Box<PatternItem>),
    /// An optional section.
    Optional(Vec<PatternItem>),
}

/// The form of an offset from UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct OffsetStyle {
    pub colon: bool,
    pub minutes: OffsetPart,
    pub seconds: OffsetPart,
}

/// When a part of an offset is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OffsetPart {
    Never,
    /// If it is not zero.
    Some,
    Always,
}

/// A compiled pattern.
#[derive(Debug)]
pub(super) struct Formatter {
    pub items: Vec<PatternItem>,
}

/// A pattern that is being compiled, or an optional section of it.
#[derive(Default)]
struct Frame {
    items: Vec<PatternItem>,
    /// The index of the item that begins the current row of adjacent numbers.
    first: Option<usize>,
    /// The width to which the next item is padded.
    pad: Option<usize>,
}

impl Frame {
    fn push(&mut self, item: PatternItem) {
        let item = match self.pad.take() {
            Some(n) => PatternItem::Padded(n, Box::new(item)),
            None => item,
        };
        self.items.push(item);
        self.first = None;
    }

    /// Appends a number, which may be adjacent to the number before it.
    fn push_number(&mut self, mut item: PatternItem) {
        let padded = self.pad.is_some();
        let fixed = match &item {
            PatternItem::Number { min, max, sign: Sign::No, .. } if min == max => Some(*max),
            PatternItem::TwoDigits { .. } => Some(2),
            PatternItem::Fraction(digits, _) => Some(*digits),
            _ => None,
        };
        let before = self.first.take();
        if before.is_some() && fixed.is_some() {
            adjacent(&mut item, |_| Adjacent::Fixed);
        }
        self.push(item);
        self.first = match (before, fixed) {
            (Some(at), Some(width)) => {
                adjacent(&mut self.items[at], |a| match a {
                    Adjacent::Leaves(n) => Adjacent::Leaves(n + width),
                    _ => Adjacent::Leaves(width),
                });
                Some(at)
            }
            (Some(at), None) => {
                adjacent(&mut self.items[at], |a| if a == Adjacent::None { Adjacent::Fixed } else { a });
                (!padded).then_some(self.items.len() - 1)
            }
            (None, _) => (!padded).then_some(self.items.len() - 1),
        };
    }
}

fn adjacent(item: &mut PatternItem, f: impl Fn(Adjacent) -> Adjacent) {
    if let PatternItem::Number { adjacent: a, .. }
    | PatternItem::TwoDigits { adjacent: a, .. }
    | PatternItem::Fraction(_, a) = item
    {
        *a = f(*a);
    }
}

impl Formatter {
    /// Compiles a pattern. The error is a message for the user.
    pub(super) fn new(pattern: &str) -> Result<Formatter, String> {
        let mut frames = vec![Frame::default()];
        let chars: Vec<char> = pattern.chars().collect();
        let wrong = |at: usize, why: &str| about(pattern, &format!("{why} (character {})", at + 1));
        let mut at = 0;
        while at < chars.len() {
            let c = chars[at];
            let depth = frames.len();
            let Some(frame) = frames.last_mut() else { break };
            match c {
                'A'..='Z' | 'a'..='z' => {
                    let start = at;
                    let run = |from: usize| chars[from..].iter().take_while(|x| **x == chars[from]).count();
                    let (mut letter, mut n) = (c, run(at));
                    at += n;
                    if letter == 'p' {
                        if !chars.get(at).is_some_and(char::is_ascii_alphabetic) {
                            return Err(wrong(start, "'p' fills up a letter behind it, and there is none"));
                        }
                        frame.pad = Some(n);
                        (letter, n) = (chars[at], run(at));
                        at += n;
                    }
                    field(frame, letter, n).map_err(|why| wrong(start, &why))?;
                }
                '\'' => {
                    let start = at;
                    let mut text = String::new();
                    loop {
                        at += 1;
                        match chars.get(at) {
                            Some('\'') if chars.get(at + 1) == Some(&'\'') => {
                                at += 1;
                                text.push('\'');
                            }
                            Some('\'') => break,
                            Some(c) => text.push(*c),
                            None => return Err(wrong(start, "a quote opens and is not closed")),
                        }
                    }
                    frame.push(PatternItem::Text(if text.is_empty() { "'".to_string() } else { text }));
                    at += 1;
                }
                '[' => {
                    frame.first = None;
                    frames.push(Frame::default());
                    at += 1;
                }
                ']' if depth == 1 => return Err(wrong(at, "']' closes nothing")),
                ']' => {
                    close(&mut frames);
                    at += 1;
                }
                '{' | '}' | '#' => return Err(wrong(at, &format!("'{c}' is reserved; write it in quotes"))),
                c => {
                    frame.push(PatternItem::Text(c.to_string()));
                    at += 1;
                }
            }
        }
        while frames.len() > 1 {
            close(&mut frames);
        }
        Ok(Formatter { items: frames.pop().map(|f| f.items).unwrap_or_default() })
    }
}

fn close(frames: &mut Vec<Frame>) {
    let inner = frames.pop().map(|f| f.items).unwrap_or_default();
    if let (Some(outer), false) = (frames.last_mut(), inner.is_empty()) {
        outer.push(PatternItem::Optional(inner));
    }
}

/// Appends the item of a letter that occurs `n` times in a row.
#[expect(clippy::too_many_lines, reason = "one flat match, an arm a letter")]
fn field(frame: &mut Frame, letter: char, n: usize) -> Result<(), String> {
    use TimeField as F;
    let counts = |allowed: &[usize]| match allowed.contains(&n) {
        true => Ok(()),
        false => Err(match allowed {
            [only] => format!("'{letter}' stands {only} time{}, not {n}", if *only == 1 { "" } else { "s" }),
            [.., last] => format!("'{letter}' stands at most {last} times in a row here, not {n}"),
            [] => format!("'{letter}' cannot stand here"),
        }),
    };
    let number = |field: F, min: usize, max: usize, sign: Sign| PatternItem::Number {
        field,
        min,
        max,
        sign,
        adjacent: Adjacent::None,
    };
    // A single letter stands for any number of digits, `n` letters stand for exactly `n` digits.
    let plain = |field: F| if n == 1 { number(field, 1, 19, Sign::Normal) } else { number(field, n, n, Sign::No) };
    let length = match n {
        4 => NameLength::Full,
        5 => NameLength::Narrow,
        _ => NameLength::Short,
    };
    match letter {
        'u' | 'y' => {
            let f = if letter == 'u' { F::Year } else { F::YearOfEra };
            counts(&(1..=19).collect::<Vec<_>>())?;
            frame.push_number(match n {
                2 => PatternItem::TwoDigits { field: f, adjacent: Adjacent::None },
                _ => number(f, n, 19, if n < 4 { Sign::Normal } else { Sign::Exceeds }),
            });
        }
        'Y' => {
            counts(&(1..=19).collect::<Vec<_>>())?;
            frame.push_number(match n {
                2 => PatternItem::TwoDigits { field: F::WeekYear, adjacent: Adjacent::None },
                _ => number(F::WeekYear, n, 19, if n < 4 { Sign::Normal } else { Sign::Exceeds }),
            });
        }
        'M' | 'L' | 'Q' | 'q' | 'E' | 'e' | 'c' => {
            counts(if letter == 'c' { &[1, 3, 4, 5] } else { &[1, 2, 3, 4, 5] })?;
            let f = match letter {
                'M' | 'L' => F::Month,
                'Q' | 'q' => F::Quarter,
                _ => F::DayOfWeek,
            };
            match letter {
                'e' | 'c' if n < 3 => frame.push_number(number(F::LocalDayOfWeek, n, 2, Sign::No)),
                'E' => frame.push(PatternItem::Name { field: f, length }),
                _ if n < 3 => frame.push_number(plain(f)),
                _ => frame.push(PatternItem::Name { field: f, length }),
            }
        }
        'G' => {
            counts(&[1, 2, 3, 4, 5])?;
            frame.push(PatternItem::Name { field: F::Era, length });
        }
        'a' => {
            counts(&[1])?;
            frame.push(PatternItem::Name { field: F::Half, length: NameLength::Short });
        }
        'B' => {
            counts(&[1, 4, 5])?;
            frame.push(PatternItem::DayPeriod(length));
        }
        'S' => {
            counts(&(1..=9).collect::<Vec<_>>())?;
            frame.push_number(PatternItem::Fraction(n, Adjacent::None));
        }
        'F' => {
            counts(&[1])?;
            frame.push_number(plain(F::DayOfWeekInMonth));
        }
        'd' | 'h' | 'H' | 'k' | 'K' | 'm' | 's' => {
            counts(&[1, 2])?;
            frame.push_number(plain(match letter {
                'd' => F::Day,
                'h' => F::ClockHourOfHalf,
                'H' => F::Hour,
                'k' => F::ClockHour,
                'K' => F::HourOfHalf,
                'm' => F::Minute,
                _ => F::Second,
            }));
        }
        'D' => {
            counts(&[1, 2, 3])?;
            frame.push_number(if n == 1 { plain(F::DayOfYear) } else { number(F::DayOfYear, n, 3, Sign::No) });
        }
        'W' => {
            counts(&[1])?;
            frame.push_number(number(F::WeekOfMonth, 1, 2, Sign::No));
        }
        'w' => {
            counts(&[1, 2])?;
            frame.push_number(number(F::Week, n, 2, Sign::No));
        }
        'A' | 'n' | 'N' | 'g' => {
            counts(&(1..=19).collect::<Vec<_>>())?;
            let f = match letter {
                'A' => F::MilliOfDay,
                'n' => F::Nano,
                'N' => F::NanoOfDay,
                _ => F::ModifiedJulianDay,
            };
            frame.push_number(number(f, n, 19, if letter == 'g' { Sign::Normal } else { Sign::No }));
        }
        'V' => {
            counts(&[2])?;
            frame.push(PatternItem::Zone { id: true });
        }
        'v' => {
            counts(&[1, 4])?;
            frame.push(PatternItem::Zone { id: false });
        }
        'z' => {
            counts(&[1, 2, 3, 4])?;
            frame.push(PatternItem::Zone { id: false });
        }
        'O' => {
            counts(&[1, 4])?;
            frame.push(PatternItem::GmtOffset { long: n == 4 });
        }
        'Z' => {
            counts(&[1, 2, 3, 4, 5])?;
            let style = |colon, seconds| OffsetStyle { colon, minutes: OffsetPart::Always, seconds };
            frame.push(match n {
                4 => PatternItem::GmtOffset { long: true },
                5 => PatternItem::Offset { style: style(true, OffsetPart::Some), none: "Z" },
                _ => PatternItem::Offset { style: style(false, OffsetPart::Never), none: "+0000" },
            });
        }
        'X' | 'x' => {
            counts(&[1, 2, 3, 4, 5])?;
            let style = OffsetStyle {
                colon: n == 3 || n == 5,
                minutes: if n == 1 { OffsetPart::Some } else { OffsetPart::Always },
                seconds: if n >= 4 { OffsetPart::Some } else { OffsetPart::Never },
            };
            let none = match (letter, n) {
                ('X', _) => "Z",
                (_, 1) => "+00",
                (_, 2 | 4) => "+0000",
                _ => "+00:00",
            };
            frame.push(PatternItem::Offset { style, none });
        }
        c => return Err(format!("the letter '{c}' stands for nothing; write text in quotes")),
    }
    Ok(())
}
