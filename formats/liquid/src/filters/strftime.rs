//! Ruby's `strftime`: directives with the flags `-`, `_`, `0`, `^`, `#`, `:` and a width.

use std::fmt::Write;

use jiff::Zoned;
use jiff::civil::Weekday;

/// Wider fields than this are a mistake or an attack.
const MAX_WIDTH: usize = 64;

#[derive(Debug, Clone, Copy, Default)]
struct Flags {
    /// `-` none, `_` spaces, `0` zeros; the directive's own when absent.
    padding: Option<char>,
    upcase: bool,
    swapcase: bool,
    colons: usize,
    width: Option<usize>,
}

pub(super) fn strftime(moment: &Zoned, format: &str) -> String {
    let mut out = String::with_capacity(format.len() * 2);
    let mut rest = format;
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let (flags, length) = read_flags(&rest[1..]);
        let directive = rest[1 + length..].chars().next();
        let end = 1 + length + directive.map_or(0, char::len_utf8);
        if directive.is_none_or(|directive| !write_field(moment, directive, flags, &mut out)) {
            // An unknown directive stays as it is written.
            out.push_str(&rest[..end]);
        }
        rest = &rest[end..];
    }
    out.push_str(rest);
    out
}

fn read_flags(text: &str) -> (Flags, usize) {
    let mut flags = Flags::default();
    let mut length = 0;
    for character in text.chars() {
        match character {
            '-' | '_' => flags.padding = Some(character),
            '0' if flags.width.is_none() => flags.padding = Some('0'),
            '^' => flags.upcase = true,
            '#' => flags.swapcase = true,
            ':' => flags.colons += 1,
            '0'..='9' => {
                let digit = character as usize - '0' as usize;
                flags.width = Some((flags.width.unwrap_or(0) * 10 + digit).min(MAX_WIDTH));
            }
            _ => break,
        }
        length += 1;
    }
    (flags, length)
}

/// False for a directive that does not exist.
fn write_field(moment: &Zoned, directive: char, flags: Flags, out: &mut String) -> bool {
    if let Some((number, width, padding)) = number(moment, directive) {
        write_number(number, width, padding, flags, out);
        return true;
    }
    let text = match directive {
        'L' | 'N' => fraction(moment, directive, flags),
        'z' => return write_offset(moment, flags, out),
        _ => match words(moment, directive) {
            Some(text) => text,
            None => return false,
        },
    };
    let text = match directive {
        _ if flags.upcase => text.to_uppercase(),
        'p' if flags.swapcase => text.to_lowercase(),
        _ if flags.swapcase => text.to_uppercase(),
        _ => text,
    };
    if let Some(width) = flags.width.filter(|_| !matches!(directive, 'L' | 'N')) {
        let fill = if flags.padding == Some('0') { '0' } else { ' ' };
        (text.chars().count()..width).for_each(|_| out.push(fill));
    }
    out.push_str(&text);
    true
}

/// Directives that print a number, with their usual width and padding.
fn number(moment: &Zoned, directive: char) -> Option<(i64, usize, char)> {
    let hour = i64::from(moment.hour());
    let hour12 = if hour % 12 == 0 { 12 } else { hour % 12 };
    let day_of_year = i64::from(moment.day_of_year());
    let sunday_based = i64::from(moment.weekday().to_sunday_zero_offset());
    let monday_based = i64::from(moment.weekday().to_monday_zero_offset());
    let iso = moment.date().iso_week_date();
    Some(match directive {
        'Y' => (i64::from(moment.year()), 4, '0'),
        'C' => (i64::from(moment.year()).div_euclid(100), 2, '0'),
        'y' => (i64::from(moment.year()).rem_euclid(100), 2, '0'),
        'm' => (i64::from(moment.month()), 2, '0'),
        'd' => (i64::from(moment.day()), 2, '0'),
        'e' => (i64::from(moment.day()), 2, ' '),
        'j' => (day_of_year, 3, '0'),
        'H' => (hour, 2, '0'),
        'k' => (hour, 2, ' '),
        'I' => (hour12, 2, '0'),
        'l' => (hour12, 2, ' '),
        'M' => (i64::from(moment.minute()), 2, '0'),
        'S' => (i64::from(moment.second()), 2, '0'),
        's' => (moment.timestamp().as_second(), 1, '0'),
        'u' => (monday_based + 1, 1, '0'),
        'w' => (sunday_based, 1, '0'),
        'U' => ((day_of_year + 6 - sunday_based) / 7, 2, '0'),
        'W' => ((day_of_year + 6 - monday_based) / 7, 2, '0'),
        'G' => (i64::from(iso.year()), 4, '0'),
        'g' => (i64::from(iso.year()).rem_euclid(100), 2, '0'),
        'V' => (i64::from(iso.week()), 2, '0'),
        _ => return None,
    })
}

fn write_number(number: i64, width: usize, padding: char, flags: Flags, out: &mut String) {
    let digits = number.unsigned_abs().to_string();
    let padding = flags.padding.unwrap_or(padding);
    let width = if padding == '-' { 0 } else { flags.width.unwrap_or(width) };
    let sign = usize::from(number < 0);
    let missing = width.saturating_sub(digits.len() + sign);
    if padding == '_' || padding == ' ' {
        (0..missing).for_each(|_| out.push(' '));
    }
    if number < 0 {
        out.push('-');
    }
    if padding == '0' {
        (0..missing).for_each(|_| out.push('0'));
    }
    out.push_str(&digits);
}

/// Milliseconds (`%L`) or nanoseconds (`%N`); a width says how many digits.
fn fraction(moment: &Zoned, directive: char, flags: Flags) -> String {
    let digits = format!("{:09}", moment.subsec_nanosecond());
    let wanted = flags.width.unwrap_or(if directive == 'L' { 3 } else { 9 });
    digits.chars().chain(std::iter::repeat('0')).take(wanted).collect()
}

/// `+0200`, `%:z` is `+02:00`, `%::z` is `+02:00:00`.
fn write_offset(moment: &Zoned, flags: Flags, out: &mut String) -> bool {
    let seconds = moment.offset().seconds();
    let (sign, size) = (if seconds < 0 { '-' } else { '+' }, seconds.unsigned_abs());
    let (hours, minutes, rest) = (size / 3600, size / 60 % 60, size % 60);
    // Writing to a String cannot fail.
    let _ = match flags.colons {
        0 => write!(out, "{sign}{hours:02}{minutes:02}"),
        1 => write!(out, "{sign}{hours:02}:{minutes:02}"),
        _ => write!(out, "{sign}{hours:02}:{minutes:02}:{rest:02}"),
    };
    true
}

fn words(moment: &Zoned, directive: char) -> Option<String> {
    let half = if moment.hour() < 12 { "AM" } else { "PM" };
    Some(match directive {
        'a' => weekday(moment)[..3].into(),
        'A' => weekday(moment).into(),
        'b' | 'h' => month(moment)[..3].into(),
        'B' => month(moment).into(),
        'p' => half.into(),
        'P' => half.to_lowercase(),
        'Z' => zone_name(moment),
        'n' => "\n".into(),
        't' => "\t".into(),
        '%' => "%".into(),
        'c' => strftime(moment, "%a %b %e %H:%M:%S %Y"),
        'x' | 'D' => strftime(moment, "%m/%d/%y"),
        'X' | 'T' => strftime(moment, "%H:%M:%S"),
        'F' => strftime(moment, "%Y-%m-%d"),
        'R' => strftime(moment, "%H:%M"),
        'r' => strftime(moment, "%I:%M:%S %p"),
        'v' => strftime(moment, "%e-%^b-%Y"),
        '+' => strftime(moment, "%a %b %e %H:%M:%S %Z %Y"),
        _ => return None,
    })
}

/// The zone's abbreviation; a bare offset has none.
fn zone_name(moment: &Zoned) -> String {
    let zone = moment.time_zone();
    if zone.iana_name().is_none() && *zone != jiff::tz::TimeZone::UTC {
        return String::new();
    }
    zone.to_offset_info(moment.timestamp()).abbreviation().to_owned()
}

fn weekday(moment: &Zoned) -> &'static str {
    match moment.weekday() {
        Weekday::Monday => "Monday",
        Weekday::Tuesday => "Tuesday",
        Weekday::Wednesday => "Wednesday",
        Weekday::Thursday => "Thursday",
        Weekday::Friday => "Friday",
        Weekday::Saturday => "Saturday",
        Weekday::Sunday => "Sunday",
    }
}

fn month(moment: &Zoned) -> &'static str {
    const NAMES: [&str; 12] = [
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
    // Months count from 1 to 12.
    NAMES[(moment.month() - 1) as usize]
}
