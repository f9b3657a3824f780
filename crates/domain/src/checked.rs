//! Texts that must pass a check: e-mail addresses, phone numbers, countries and languages.
//! Each function returns the normalised form or a sentence that says what was expected.

/// An e-mail address in the form it is looked up by: trimmed and lower case.
///
/// The check follows RFC 5321's shape (a dot-atom local part of at most 64 octets, a domain of
/// labels) and allows UTF-8 in both parts (RFC 6531); quoted local parts are refused.
pub fn email(text: &str) -> Result<String, String> {
    let fault = || "expected an address such as ann@example.com".to_owned();
    let address = text.trim().to_lowercase();
    let (local, domain) = address.rsplit_once('@').ok_or_else(fault)?;
    let local_ok = (1..=64).contains(&local.len())
        && !local.starts_with('.')
        && !local.ends_with('.')
        && !local.contains("..")
        && local.chars().all(is_local_char);
    let domain_ok = domain.len() <= 253
        && domain.contains('.')
        && domain.split('.').all(is_label)
        && !domain.rsplit('.').next().is_some_and(|tld| tld.bytes().all(|b| b.is_ascii_digit()));
    if local_ok && domain_ok { Ok(address) } else { Err(fault()) }
}

fn is_local_char(c: char) -> bool {
    c.is_alphanumeric() || "!#$%&'*+-/=?^_`{|}~.".contains(c)
}

fn is_label(label: &str) -> bool {
    (1..=63).contains(&label.len())
        && !label.starts_with('-')
        && !label.ends_with('-')
        && label.chars().all(|c| c.is_alphanumeric() || c == '-')
}

/// A phone number in E.164 form. Without a country code `region` (ISO 3166 alpha-2) is needed.
pub fn phone(text: &str, region: Option<&str>) -> Result<String, String> {
    let fault = || "expected a phone number with its country code, such as +31612345678".to_owned();
    // The library takes letters for digits ("1-800-FLOWERS"); in customer data they are mistakes.
    if text.len() > 40 || text.chars().any(char::is_alphabetic) {
        return Err(fault());
    }
    let text = text.trim().strip_prefix("00").map_or(text.trim().to_owned(), |t| format!("+{t}"));
    let region = region.and_then(|code| code.parse().ok());
    let number = phonenumber::parse(region, &text).map_err(|_| fault())?;
    if !phonenumber::is_valid(&number) {
        return Err(fault());
    }
    Ok(number.format().mode(phonenumber::Mode::E164).to_string())
}

/// A country as ISO 3166-1 alpha-2 in upper case.
pub fn country(text: &str) -> Result<String, String> {
    let code = text.trim().to_ascii_uppercase();
    if COUNTRIES.split(' ').any(|known| known == code) {
        Ok(code)
    } else {
        Err("expected a country code of two letters, such as NL".to_owned())
    }
}

/// A language tag: two or three letters, then optional subtags (BCP 47), as in `en` or `pt-BR`.
pub fn language(text: &str) -> Result<String, String> {
    let fault = || "expected a language code such as en or pt-BR".to_owned();
    let tag = text.trim().replace('_', "-");
    let mut parts = tag.split('-');
    let primary = parts.next().unwrap_or_default().to_ascii_lowercase();
    if !(2..=3).contains(&primary.len()) || !primary.bytes().all(|b| b.is_ascii_lowercase()) {
        return Err(fault());
    }
    let mut normal = primary;
    for part in parts {
        if !(2..=8).contains(&part.len()) || !part.bytes().all(|b| b.is_ascii_alphanumeric()) {
            return Err(fault());
        }
        normal.push('-');
        match part.len() {
            2 => normal.push_str(&part.to_ascii_uppercase()),
            _ => normal.push_str(&part.to_ascii_lowercase()),
        }
    }
    if normal.len() > 35 { Err(fault()) } else { Ok(normal) }
}

const COUNTRIES: &str = "AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI \
BJ BL BM BN BO BQ BR BS BT BV BW BY BZ CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE \
DJ DK DM DO DZ EC EE EG EH ER ES ET FI FJ FK FM FO FR GA GB GD GE GF GG GH GI GL GM GN GP GQ GR GS \
GT GU GW GY HK HM HN HR HT HU ID IE IL IM IN IO IQ IR IS IT JE JM JO JP KE KG KH KI KM KN KP KR KW \
KY KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK ML MM MN MO MP MQ MR MS MT MU MV MW \
MX MY MZ NA NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM PN PR PS PT PW PY QA RE RO \
RS RU RW SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ TC TD TF TG TH TJ TK TL TM \
TN TO TR TT TV TW TZ UA UG UM US UY UZ VA VC VE VG VI VN VU WF WS XK YE YT ZA ZM ZW";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for (text, expected) in [
            (" Ann@Example.com ", Some("ann@example.com")),
            ("o'neil+news@mail.example.co.uk", Some("o'neil+news@mail.example.co.uk")),
            ("jörg@bücher.example", Some("jörg@bücher.example")),
            ("ann", None),
            ("ann@", None),
            ("@example.com", None),
            ("ann@example", None),
            ("ann@exa mple.com", None),
            ("ann..b@example.com", None),
            ("a@b@example.com", None),
            ("ann@127.0.0.1", None),
            ("ann@-x.com", None),
            ("ann\r\n@example.com", None),
        ] {
            assert_eq!(email(text).ok().as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn phones() {
        for (text, region, expected) in [
            ("+31 6 12345678", None, Some("+31612345678")),
            ("0031612345678", None, Some("+31612345678")),
            ("06-12345678", Some("NL"), Some("+31612345678")),
            ("06-12345678", None, None),
            ("123", Some("US"), None),
            ("1-800-FLOWERS", Some("US"), None),
        ] {
            assert_eq!(phone(text, region).ok().as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn languages() {
        for (text, expected) in [
            ("EN", Some("en")),
            ("pt_br", Some("pt-BR")),
            ("zh-Hant", Some("zh-hant")),
            ("e", None),
            ("english please", None),
        ] {
            assert_eq!(language(text).ok().as_deref(), expected, "{text}");
        }
    }
}
