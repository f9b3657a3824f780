//! Generated customers: always the same ones for the same numbers, with ten columns of the usual
//! kinds. Nothing here is kept in memory, so that a file of any size costs none.

use std::fmt::Write as _;
use std::io::{self, BufWriter, Write};
use std::path::Path;

/// The columns of the file, in their order.
pub const HEADER: &str =
    "external_id,email,first_name,last_name,country,city,birthday,score,revenue,newsletter";

/// The attributes behind the columns that are no identities: name, kind, scale.
pub const ATTRIBUTES: [(&str, &str, Option<u8>); 8] = [
    ("first_name", "text", None),
    ("last_name", "text", None),
    ("country", "country", None),
    ("city", "text", None),
    ("birthday", "date", None),
    ("score", "integer", None),
    ("revenue", "decimal", Some(2)),
    ("newsletter", "boolean", None),
];

const FIRST: [&str; 24] = [
    "Anna", "Ben", "Clara", "David", "Emma", "Finn", "Greta", "Hugo", "Ida", "Jonas", "Karin",
    "Luuk", "Marie", "Nils", "Olga", "Pieter", "Rosa", "Sven", "Tess", "Umberto", "Vera", "Wim",
    "Yara", "Zoë",
];
const LAST: [&str; 24] = [
    "Adler",
    "Bakker",
    "Costa",
    "Dubois",
    "Engel",
    "Ferrari",
    "García",
    "Hansen",
    "Ivanov",
    "Jansen",
    "Keller",
    "Lindqvist",
    "Meyer",
    "Nowak",
    "Olsen",
    "Peeters",
    "Rossi",
    "Schmidt",
    "Torres",
    "Urban",
    "Visser",
    "Weber",
    "Young",
    "Zimmermann",
];
const PLACES: [(&str, &str); 12] = [
    ("DE", "Berlin"),
    ("DE", "München"),
    ("NL", "Utrecht"),
    ("NL", "Rotterdam"),
    ("FR", "Lyon"),
    ("FR", "Paris"),
    ("SE", "Göteborg"),
    ("ES", "Sevilla"),
    ("IT", "Torino"),
    ("PL", "Kraków"),
    ("BE", "Gent"),
    ("GB", "Leeds"),
];

/// One customer of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    pub external_id: String,
    pub email: String,
    pub first_name: &'static str,
    pub last_name: &'static str,
    pub country: &'static str,
    pub city: &'static str,
    pub birthday: String,
    pub score: i64,
    /// In cents.
    pub revenue: i64,
    pub newsletter: bool,
}

/// A well-mixed number for a number (the finish of splitmix64).
pub fn mixed(number: u64) -> u64 {
    let mut x = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

fn pick<T: Copy>(list: &[T], bits: u64) -> T {
    list[usize::try_from(bits % list.len() as u64).unwrap_or_default()]
}

/// The customer with this number, from 0. Addresses come in no order, as in real files.
pub fn person(number: u64) -> Person {
    let bits = mixed(number);
    let (first_name, last_name) = (pick(&FIRST, bits), pick(&LAST, bits >> 8));
    let (country, city) = pick(&PLACES, bits >> 16);
    let (year, month, day) =
        (1940 + (bits >> 24) % 66, 1 + (bits >> 32) % 12, 1 + (bits >> 40) % 28);
    Person {
        external_id: external_id(number),
        email: format!("{:08x}.{number}@mail.example", bits >> 32),
        first_name,
        last_name,
        country,
        city,
        birthday: format!("{year:04}-{month:02}-{day:02}"),
        score: i64::try_from((bits >> 20) % 1_000).unwrap_or_default(),
        revenue: i64::try_from((bits >> 12) % 1_000_000).unwrap_or_default(),
        newsletter: bits & 1 == 1,
    }
}

/// The customer number of a customer.
pub fn external_id(number: u64) -> String {
    format!("K{number:09}")
}

/// Writes customers `0..rows` as CSV; gives the file's size in bytes.
pub fn write_csv(path: &Path, rows: u64) -> io::Result<u64> {
    write_csv_of(path, rows, person)
}

/// The same with customers as they are said to be.
pub fn write_csv_of(path: &Path, rows: u64, person: impl Fn(u64) -> Person) -> io::Result<u64> {
    let mut file = BufWriter::with_capacity(1 << 20, std::fs::File::create(path)?);
    writeln!(file, "{HEADER}")?;
    let mut line = String::new();
    for number in 0..rows {
        let p = person(number);
        line.clear();
        let written = writeln!(
            line,
            "{},{},{},{},{},{},{},{},{}.{:02},{}",
            p.external_id,
            p.email,
            p.first_name,
            p.last_name,
            p.country,
            p.city,
            p.birthday,
            p.score,
            p.revenue / 100,
            p.revenue % 100,
            p.newsletter
        );
        written.map_err(io::Error::other)?;
        file.write_all(line.as_bytes())?;
    }
    file.into_inner()?.sync_all()?;
    Ok(std::fs::metadata(path)?.len())
}
