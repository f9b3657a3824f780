//! Invented people: the same ones for the same seed.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// What a country gives its people.
struct Country {
    code: &'static str,
    language: &'static str,
    phone: &'static str,
    /// How many digits follow, and what they start with.
    digits: (u32, &'static str),
    cities: &'static [&'static str],
    first_names: &'static [&'static str],
    last_names: &'static [&'static str],
}

const COUNTRIES: [Country; 5] = [
    Country {
        code: "NL",
        language: "nl",
        phone: "+31",
        digits: (7, "61"),
        cities: &["Amsterdam", "Utrecht", "Rotterdam", "Groningen", "Eindhoven", "Zwolle"],
        first_names: &[
            "Daan", "Sanne", "Bram", "Lotte", "Sem", "Fleur", "Thijs", "Anouk", "Jasper", "Maud",
            "Ruben", "Femke", "Koen", "Iris", "Niels", "Roos",
        ],
        last_names: &[
            "de Vries",
            "Jansen",
            "Bakker",
            "Visser",
            "van den Berg",
            "Mulder",
            "de Boer",
            "Dekker",
            "Hoekstra",
            "Kuipers",
            "Schouten",
            "van Leeuwen",
        ],
    },
    Country {
        code: "DE",
        language: "de",
        phone: "+49",
        digits: (8, "151"),
        cities: &["Berlin", "Hamburg", "München", "Köln", "Leipzig", "Stuttgart"],
        first_names: &[
            "Lukas",
            "Hannah",
            "Finn",
            "Mia",
            "Jonas",
            "Lea",
            "Paul",
            "Emma",
            "Felix",
            "Clara",
            "Maximilian",
            "Greta",
            "Jürgen",
            "Sabine",
            "Björn",
            "Käthe",
        ],
        last_names: &[
            "Müller",
            "Schmidt",
            "Schneider",
            "Fischer",
            "Weber",
            "Wagner",
            "Becker",
            "Schäfer",
            "Koch",
            "Richter",
            "Krüger",
            "Vogel",
        ],
    },
    Country {
        code: "GB",
        language: "en",
        phone: "+44",
        digits: (7, "771"),
        cities: &["London", "Bristol", "Leeds", "Glasgow", "Cardiff", "Norwich"],
        first_names: &[
            "Oliver", "Amelia", "George", "Isla", "Harry", "Ava", "Noah", "Freya", "Arthur",
            "Poppy", "Alfie", "Ivy", "Theo", "Florence", "Rhys", "Niamh",
        ],
        last_names: &[
            "Smith", "Jones", "Taylor", "Brown", "Williams", "Wilson", "Evans", "Walker", "O'Neil",
            "Hughes", "Green", "Hall",
        ],
    },
    Country {
        code: "FR",
        language: "fr",
        phone: "+33",
        digits: (6, "612"),
        cities: &["Paris", "Lyon", "Nantes", "Lille", "Toulouse", "Bordeaux"],
        first_names: &[
            "Léo", "Chloé", "Gabriel", "Manon", "Raphaël", "Camille", "Louis", "Inès", "Hugo",
            "Zoé", "Jules", "Élise", "Théo", "Juliette", "Noé", "Margaux",
        ],
        last_names: &[
            "Martin", "Bernard", "Dubois", "Moreau", "Laurent", "Lefèvre", "Girard", "Roux",
            "Fournier", "Mercier", "Lambert", "Faure",
        ],
    },
    Country {
        code: "ES",
        language: "es",
        phone: "+34",
        digits: (6, "612"),
        cities: &["Madrid", "Sevilla", "Valencia", "Bilbao", "Zaragoza", "Málaga"],
        first_names: &[
            "Mateo", "Lucía", "Hugo", "Martina", "Álvaro", "Paula", "Diego", "Carmen", "Iker",
            "Noa", "Javier", "Alba", "Íñigo", "Elena", "Raúl", "Nuria",
        ],
        last_names: &[
            "García",
            "Fernández",
            "López",
            "Martínez",
            "Sánchez",
            "Gómez",
            "Ruiz",
            "Moreno",
            "Álvarez",
            "Romero",
            "Navarro",
            "Núñez",
        ],
    },
];

const INTERESTS: [&str; 8] =
    ["coffee", "tea", "cycling", "hiking", "cooking", "garden", "reading", "travel"];
const PRODUCTS: [(&str, &str, i64); 10] = [
    ("Ethiopian filter coffee", "coffee", 1_290),
    ("Cold brew bottle", "coffee", 2_450),
    ("First flush Darjeeling", "tea", 1_650),
    ("Cast iron teapot", "tea", 4_900),
    ("Merino cycling jersey", "cycling", 7_900),
    ("Trail map set", "hiking", 1_990),
    ("Carbon steel pan", "cooking", 5_400),
    ("Herb garden kit", "garden", 2_900),
    ("Linen notebook", "reading", 1_200),
    ("Weekender bag", "travel", 11_900),
];

/// One invented order, in cents.
pub struct Order {
    pub key: String,
    pub product: &'static str,
    pub category: &'static str,
    pub total_cents: i64,
    pub status: &'static str,
    /// How many hours before now it was placed.
    pub hours_ago: i64,
}

/// One invented customer with what they bought.
pub struct Person {
    pub number: String,
    pub first_name: &'static str,
    pub last_name: &'static str,
    pub language: &'static str,
    pub country: &'static str,
    pub city: &'static str,
    pub email: Option<String>,
    pub phone: Option<String>,
    pub birthday: String,
    pub points: i64,
    pub newsletter: bool,
    pub interests: Vec<&'static str>,
    pub consent: Option<bool>,
    pub joined_days_ago: i64,
    pub orders: Vec<Order>,
}

fn pick<'l, T>(random: &mut StdRng, list: &'l [T]) -> &'l T {
    &list[random.random_range(0..list.len())]
}

/// People without end, the same ones for the same seed.
pub fn people(seed: u64) -> impl Iterator<Item = Person> {
    let mut random = StdRng::seed_from_u64(seed);
    (0_u32..).map(move |index| person(&mut random, index))
}

fn person(random: &mut StdRng, index: u32) -> Person {
    let country = pick(random, &COUNTRIES);
    let first_name = *pick(random, country.first_names);
    let last_name = *pick(random, country.last_names);
    let has_mail = random.random_range(0..100) < 96;
    let email = has_mail.then(|| {
        format!(
            "{}.{}{index}@{}.example",
            plain(first_name),
            plain(last_name),
            country.code.to_lowercase()
        )
    });
    let phone = (random.random_range(0..100) < 40).then(|| {
        let (count, start) = country.digits;
        let digits = random.random_range(10_u32.pow(count - 1)..10_u32.pow(count));
        format!("{}{start}{digits}", country.phone)
    });
    let interests: Vec<&'static str> =
        INTERESTS.iter().copied().filter(|_| random.random_range(0..4) == 0).collect();
    let city = *pick(random, country.cities);
    let orders = orders(random, index);
    let points = orders.iter().map(|order| order.total_cents / 100).sum::<i64>()
        + random.random_range(0..50);
    Person {
        number: format!("C{:06}", 100_000 + index),
        first_name,
        last_name,
        language: country.language,
        country: country.code,
        city,
        email,
        phone,
        birthday: format!(
            "{}-{:02}-{:02}",
            random.random_range(1948..2007),
            random.random_range(1..=12),
            random.random_range(1..=28)
        ),
        points,
        newsletter: random.random_range(0..2) == 0,
        interests,
        // Most said yes, some took it back, some never said anything.
        consent: match random.random_range(0..100) {
            0..88 => Some(true),
            88..93 => Some(false),
            _ => None,
        },
        joined_days_ago: random.random_range(1..1_500),
        orders,
    }
}

fn orders(random: &mut StdRng, index: u32) -> Vec<Order> {
    let count = match random.random_range(0..10) {
        0..4 => 0,
        4..7 => 1,
        7..9 => random.random_range(2..4),
        _ => random.random_range(4..9),
    };
    (0..count)
        .map(|nth| {
            let (product, category, price) = *pick(random, &PRODUCTS);
            Order {
                key: format!("O{index:05}-{nth}"),
                product,
                category,
                total_cents: price * random.random_range(1..4),
                status: if random.random_range(0..12) == 0 { "returned" } else { "paid" },
                hours_ago: random.random_range(1..24 * 200),
            }
        })
        .collect()
}

/// A name in the letters that addresses are usually made of.
fn plain(name: &str) -> String {
    name.to_lowercase()
        .chars()
        .filter_map(|c| match c {
            'a'..='z' => Some(c),
            'á' | 'à' | 'ä' => Some('a'),
            'é' | 'è' | 'ë' => Some('e'),
            'í' | 'ï' => Some('i'),
            'ó' | 'ö' => Some('o'),
            'ú' | 'ü' => Some('u'),
            'ñ' => Some('n'),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidings_domain::checked;

    #[test]
    fn people_are_the_same_each_time_and_their_data_is_valid() {
        let mails = |seed| people(seed).take(500).map(|p| p.email).collect::<Vec<_>>();
        assert_eq!(mails(7), mails(7));
        assert_ne!(mails(7), mails(8));
        for person in people(7).take(2_000) {
            if let Some(email) = &person.email {
                assert_eq!(checked::email(email).as_ref(), Ok(email));
            }
            if let Some(phone) = &person.phone {
                assert_eq!(checked::phone(phone, None).as_ref(), Ok(phone), "{}", person.country);
            }
            assert!(checked::country(person.country).is_ok());
            assert!(checked::language(person.language).is_ok());
        }
    }
}
