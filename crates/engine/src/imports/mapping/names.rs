//! What people call columns, in the languages our users write headers in.

/// A header reduced to what is said: lower case letters and digits without accents.
pub fn normalised(header: &str) -> String {
    header.chars().flat_map(char::to_lowercase).flat_map(plain).collect()
}

/// A header as a name that templates can speak of: `Date of birth` is `date_of_birth`.
pub fn snake(header: &str) -> String {
    let mut name = String::new();
    let mut gap = false;
    for c in header.chars().flat_map(char::to_lowercase) {
        let mut letters = plain(c).peekable();
        if letters.peek().is_none() {
            gap = true;
            continue;
        }
        if gap && !name.is_empty() {
            name.push('_');
        }
        gap = false;
        name.extend(letters);
    }
    name.chars().take(100).collect()
}

/// A letter without its accent, or nothing where it is no letter or digit.
fn plain(c: char) -> impl Iterator<Item = char> {
    let text: &'static str = match c {
        'à' | 'á' | 'â' | 'ã' | 'å' | 'ā' | 'ą' => "a",
        'ä' | 'æ' => "ae",
        'ç' | 'ć' | 'č' => "c",
        'è' | 'é' | 'ê' | 'ë' | 'ė' | 'ę' | 'ě' => "e",
        'ì' | 'í' | 'î' | 'ï' => "i",
        'ł' => "l",
        'ñ' | 'ń' => "n",
        'ò' | 'ó' | 'ô' | 'õ' => "o",
        'ö' | 'ø' | 'œ' => "oe",
        'ś' | 'š' => "s",
        'ß' => "ss",
        'ù' | 'ú' | 'û' => "u",
        'ü' => "ue",
        'ý' | 'ÿ' => "y",
        'ź' | 'ż' | 'ž' => "z",
        _ => "",
    };
    let own = (text.is_empty() && c.is_alphanumeric()).then_some(c);
    text.chars().chain(own)
}

/// The identity that a header names.
pub fn identity(header: &str) -> Option<&'static str> {
    find(IDENTITIES, header)
}

/// The idea behind a header, the same in every language: `Voornaam` is `first_name`.
pub fn concept(header: &str) -> Option<&'static str> {
    find(CONCEPTS, header)
}

/// Whether a header is the key of a table: `order id` for the table `orders`.
pub fn is_key_of(header: &str, table: &str) -> bool {
    let (header, table) = (normalised(header), normalised(table));
    let singular = table.strip_suffix('s').unwrap_or(&table);
    let rest = header.strip_prefix(&table).or_else(|| header.strip_prefix(singular));
    let keys = ["id", "key", "nr", "no", "number", "nummer", "code", "reference"];
    rest.is_some_and(|rest| keys.contains(&rest))
}

fn find(list: &[(&'static str, &str)], header: &str) -> Option<&'static str> {
    let name = normalised(header);
    let name = name.strip_prefix("customer").filter(|rest| rest.len() > 3).unwrap_or(&name);
    let mut known = list.iter().filter(|(_, names)| names.split(' ').any(|one| one == name));
    known.next().map(|(meaning, _)| *meaning)
}

const IDENTITIES: &[(&str, &str)] = &[
    (
        "email",
        "email emailaddress emailaddr mail mailaddress emailadres mailadres emailadresse mailadresse \
         epost epostadresse epostadress epostadresse courriel adressemail adresseemail adresemail \
         correo correoelectronico direccionemail indirizzoemail postaelettronica saehkoeposti \
         primaryemail contactemail useremail",
    ),
    (
        "external_id",
        "externalid originalid userid memberid membernumber contactid subscriberid clientid \
         clientnumber clientno customerid customernumber customerno customernr customercode custid \
         custno number nummer klantnummer klantnr klantid klantcode relatienummer lidnummer \
         kundennummer kundennr kundenid kundnummer kundnr kundenummer kundenr kundeid numeroclient \
         numclient idclient codeclient numerocliente idcliente codicecliente codigocliente \
         asiakasnumero",
    ),
    (
        "phone",
        "phone phonenumber phoneno telephone telephonenumber tel telnr telno mobile mobilephone \
         mobilenumber mobileno cell cellphone cellnumber gsm gsmnummer telefoon telefoonnummer \
         telefoonnr mobiel mobielnummer mobielenummer telefon telefonnummer telefonnr handy \
         handynummer mobil mobilnummer mobilnr mobiltelefon telefono movil numerodetelephone \
         numerotelephone telephoneportable portable cellulare puhelin puhelinnumero msisdn",
    ),
];

const CONCEPTS: &[(&str, &str)] = &[
    (
        "first_name",
        "firstname givenname forename voornaam roepnaam vorname prenom nombre foernamn fornavn nome \
         etunimi",
    ),
    (
        "last_name",
        "lastname surname familyname achternaam familienaam nachname familienname nom nomdefamille \
         apellido apellidos efternamn etternavn efternavn cognome sukunimi",
    ),
    (
        "birth_date",
        "birthdate dateofbirth dob birthday geboortedatum geburtsdatum geburtstag datedenaissance \
         fechadenacimiento foedelsedatum foedselsdato foedselsdag datadinascita syntymaeaika",
    ),
    ("country", "country countrycode countryiso land landcode laendercode pays pais paese maa"),
    (
        "language",
        "language languagecode lang locale taal taalcode sprache sprachcode langue idioma spraak \
         sprak sprog lingua kieli",
    ),
    ("city", "city town plaats woonplaats stad stadt ort ville ciudad localidad citta by kaupunki"),
    (
        "postal_code",
        "postalcode postcode zip zipcode plz postleitzahl codepostal codigopostal postnummer \
         postnr cap postinumero",
    ),
    ("gender", "gender sex geslacht geschlecht sexe sexo genre koen kjoenn koenn sesso sukupuoli"),
    ("street", "street streetaddress address addressline1 straat adres strasse adresse rue calle"),
    ("company", "company companyname organisation organization bedrijf firma entreprise empresa"),
];
