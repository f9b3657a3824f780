//! The keys of a key file, and the file's text. Knows nothing of what they seal.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::links::hmac;

/// A short name of a master key, from which nobody learns the key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyId(pub(crate) [u8; 4]);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", u32::from_be_bytes(self.0))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// 32 random bytes. `Debug` is left out on purpose.
#[derive(Clone, PartialEq, Eq)]
pub struct MasterKey([u8; 32]);

impl MasterKey {
    pub fn new(bytes: [u8; 32]) -> MasterKey {
        MasterKey(bytes)
    }

    pub fn generate() -> MasterKey {
        MasterKey(rand::random())
    }

    pub fn id(&self) -> KeyId {
        let [a, b, c, d, ..] = hmac(&self.0, b"id of the key of secrets");
        KeyId([a, b, c, d])
    }

    pub(crate) fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// As a line of a key file: `key 1a2b3c4d` and the bytes in base 64.
    pub fn line(&self) -> String {
        format!("key {} {}", self.id(), STANDARD.encode(self.0))
    }
}

/// The keys of a key file: the first one seals, the others only open.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyRing(Vec<MasterKey>);

impl KeyRing {
    /// Of these keys, at least one.
    pub fn of(keys: Vec<MasterKey>) -> KeyRing {
        assert!(!keys.is_empty(), "a ring holds a key");
        KeyRing(keys)
    }

    pub fn keys(&self) -> &[MasterKey] {
        &self.0
    }

    pub fn id(&self) -> KeyId {
        self.0[0].id()
    }

    /// Reads a key file: 32 bytes as they are, or a line for each key. The error says what is wrong.
    pub fn parse(bytes: &[u8]) -> Result<KeyRing, String> {
        if let Ok(key) = <[u8; 32]>::try_from(bytes) {
            return Ok(KeyRing(vec![MasterKey(key)]));
        }
        let expected = "expected 32 bytes, or lines such as `key 1a2b3c4d` and the key in base 64";
        let text = std::str::from_utf8(bytes).map_err(|_| expected.to_owned())?;
        let mut keys: Vec<MasterKey> = Vec::new();
        for (at, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let key = read_line(line).map_err(|why| format!("line {}: {why}", at + 1))?;
            if keys.contains(&key) {
                return Err(format!("line {}: the key {} stands twice", at + 1, key.id()));
            }
            keys.push(key);
        }
        if keys.is_empty() {
            return Err(expected.to_owned());
        }
        Ok(KeyRing(keys))
    }

    /// As a key file holds it.
    pub fn text(&self) -> String {
        let mut text =
            "# The master key of Tidings. Who has it and the database reads every secret.\n\
                        # The first key seals, those below it only open what they sealed.\n"
                .to_owned();
        for key in &self.0 {
            text.push_str(&key.line());
            text.push('\n');
        }
        text
    }

    /// With a new key in front.
    pub fn with_new(&self) -> KeyRing {
        let mut keys = vec![MasterKey::generate()];
        keys.extend(self.0.iter().cloned());
        KeyRing(keys)
    }

    /// Without the keys that only open.
    pub fn first_alone(&self) -> KeyRing {
        KeyRing(vec![self.0[0].clone()])
    }
}

fn read_line(line: &str) -> Result<MasterKey, String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let ["key", id, text] = words[..] else {
        return Err("expected `key`, its id and the key in base 64".to_owned());
    };
    let bytes = STANDARD.decode(text).ok().and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
    let key = MasterKey(bytes.ok_or("the key is not 32 bytes in base 64")?);
    if key.id().to_string() != id {
        return Err(format!("this is not the key {id}; a character was lost or changed"));
    }
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_files_are_read_in_both_forms() {
        let one = KeyRing::parse(&[7; 32]).unwrap();
        assert!(one == KeyRing::of(vec![MasterKey::new([7; 32])]));
        let two = one.with_new();
        assert_eq!(two.keys()[1].id(), one.id());
        let read = KeyRing::parse(two.text().as_bytes()).unwrap();
        assert!(read == two);
        assert!(read.first_alone().keys().len() == 1 && read.first_alone().id() == two.id());
        let blanks = format!("\n#x\n  {}\t\r\n", two.keys()[0].line());
        assert!(KeyRing::parse(blanks.as_bytes()).unwrap() == two.first_alone());
    }

    #[test]
    fn a_damaged_key_file_is_told_plainly() {
        let key = MasterKey::new([7; 32]);
        let line = key.line();
        let bent = line.replacen("Bw", "Bx", 1);
        let twice = format!("{line}\n{line}\n");
        let short = format!("key {} Bwc=", key.id());
        for (text, expected) in [
            ("", "expected 32 bytes"),
            ("# nothing\n", "expected 32 bytes"),
            ("secret", "line 1: expected `key`"),
            (&bent, "line 1: this is not the key"),
            (&short, "line 1: the key is not 32 bytes"),
            (&twice, "line 2: the key"),
        ] {
            let why = KeyRing::parse(text.as_bytes()).err().expect("it is refused");
            assert!(why.contains(expected), "{why}");
        }
        assert!(KeyRing::parse(&[0xff; 31]).is_err());
        // The file names a key by its id alone, and no message holds the key.
        assert!(!KeyRing::parse(bent.as_bytes()).err().unwrap().contains("Bx"));
    }
}
