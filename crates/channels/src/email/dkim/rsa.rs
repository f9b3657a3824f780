//! Makes RSA keys, which *ring* reads and uses but does not make.
//!
//! Timing is no concern here: it runs once for a key, on our own random numbers, and answers nobody
//! who could measure it. *ring* checks the parts against each other, and a signature is made and
//! verified before the key is given out.

use num_bigint::BigUint;
use ring::{
    rand::{SecureRandom as _, SystemRandom},
    signature::{
        KeyPair as _, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RsaKeyPair, UnparsedPublicKey,
    },
};

use super::{DkimError, key::NewKey};

const BITS: u64 = 2048;
const EXPONENT: u32 = 65_537;
/// Rounds of Miller and Rabin's test. For random numbers of this size five leave an error below
/// 2^-100 (FIPS 186-5 table B.1); more cost little beside the search.
const ROUNDS: usize = 24;
/// A candidate is divided by the primes below this before it is tested.
const SMALL: u32 = 4_000;
/// How far the search goes from one random start.
const SPAN: u32 = 1 << 16;

/// A key of 2048 bits: its private half as PKCS #1, its public half as SubjectPublicKeyInfo.
pub(super) fn generate() -> Result<NewKey, DkimError> {
    let random = SystemRandom::new();
    let small = small_primes();
    let p = prime(&random, &small)?;
    let q = loop {
        let q = prime(&random, &small)?;
        // Primes near to each other could be found from their product.
        let distance = if p > q { &p - &q } else { &q - &p };
        if distance.bits() > BITS / 2 - 100 {
            break q;
        }
    };
    let private = private_key(&p.clone().max(q.clone()), &p.min(q))?;
    let inconsistent = DkimError::Generate("its parts do not fit");
    let Ok(pair) = RsaKeyPair::from_der(&private) else { return Err(inconsistent) };
    let public = pair.public_key().as_ref();
    let mut signature = vec![0; pair.public().modulus_len()];
    let signed = pair.sign(&RSA_PKCS1_SHA256, &random, b"itself", &mut signature);
    let verifier = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, public);
    if signed.is_err() || verifier.verify(b"itself", &signature).is_err() {
        return Err(inconsistent);
    }
    let public = public_key_info(public);
    Ok(NewKey { private, public })
}

fn random_number(random: &SystemRandom) -> Result<BigUint, DkimError> {
    let mut bytes = [0; BITS as usize / 16];
    random.fill(&mut bytes).map_err(|_| DkimError::Generate("no random numbers"))?;
    Ok(BigUint::from_bytes_be(&bytes))
}

fn small_primes() -> Vec<u32> {
    let mut found: Vec<u32> = Vec::new();
    for number in 3..SMALL {
        if number % 2 == 1 && found.iter().all(|prime| number % prime != 0) {
            found.push(number);
        }
    }
    found
}

/// A random prime of half the key's bits whose predecessor has no factor in common with the exponent.
fn prime(random: &SystemRandom, small: &[u32]) -> Result<BigUint, DkimError> {
    loop {
        let mut start = random_number(random)?;
        // The two highest bits, so that the product has all its bits; the lowest, so that it is odd.
        for bit in [BITS / 2 - 1, BITS / 2 - 2, 0] {
            start.set_bit(bit, true);
        }
        let rests: Vec<u32> = small.iter().map(|prime| rest(&start, *prime)).collect();
        for step in (0..SPAN).step_by(2) {
            let divides = |(prime, rest): (&u32, &u32)| (rest + step) % prime == 0;
            if small.iter().zip(&rests).any(divides) {
                continue;
            }
            let candidate = &start + step;
            if candidate.bits() != BITS / 2 || rest(&candidate, EXPONENT) == 1 {
                continue;
            }
            if is_prime(&candidate, random)? {
                return Ok(candidate);
            }
        }
    }
}

fn rest(number: &BigUint, divisor: u32) -> u32 {
    u32::try_from(number % divisor).unwrap_or_default()
}

/// Miller and Rabin's test with random bases.
fn is_prime(number: &BigUint, random: &SystemRandom) -> Result<bool, DkimError> {
    let one = BigUint::from(1_u32);
    let before = number - 1_u32;
    let twos = before.trailing_zeros().unwrap_or_default();
    let odd = &before >> twos;
    'rounds: for _ in 0..ROUNDS {
        // From 2 to number - 2.
        let base = random_number(random)? % (number - 3_u32) + 2_u32;
        let mut power = base.modpow(&odd, number);
        if power == one || power == before {
            continue;
        }
        for _ in 1..twos {
            power = &power * &power % number;
            if power == before {
                continue 'rounds;
            }
        }
        return Ok(false);
    }
    Ok(true)
}

/// `RSAPrivateKey` of PKCS #1; `p` is the larger prime.
fn private_key(p: &BigUint, q: &BigUint) -> Result<Vec<u8>, DkimError> {
    let (p_less, q_less) = (p - 1_u32, q - 1_u32);
    let exponent = BigUint::from(EXPONENT);
    let no_inverse = || DkimError::Generate("its parts do not fit");
    let secret = exponent.modinv(&(&p_less * &q_less)).ok_or_else(no_inverse)?;
    let inverse = q.modinv(p).ok_or_else(no_inverse)?;
    let parts = [
        BigUint::from(0_u32),
        p * q,
        exponent,
        secret.clone(),
        p.clone(),
        q.clone(),
        &secret % p_less,
        &secret % q_less,
        inverse,
    ];
    let content: Vec<u8> = parts.iter().flat_map(integer).collect();
    Ok(tagged(0x30, &content))
}

/// `SubjectPublicKeyInfo` around a `RSAPublicKey`, which is what receivers expect in the record.
fn public_key_info(public: &[u8]) -> Vec<u8> {
    /// rsaEncryption, and no parameters.
    const ALGORITHM: [u8; 15] =
        [0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00];
    let bits: Vec<u8> = std::iter::once(0).chain(public.iter().copied()).collect();
    let content = [&ALGORITHM[..], &tagged(0x03, &bits)].concat();
    tagged(0x30, &content)
}

fn integer(number: &BigUint) -> Vec<u8> {
    let mut bytes = number.to_bytes_be();
    if bytes[0] >= 0x80 {
        bytes.insert(0, 0);
    }
    tagged(0x02, &bytes)
}

/// A DER value: tag, length, content.
fn tagged(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    let length = content.len().to_be_bytes();
    let significant = length.iter().position(|byte| *byte != 0).unwrap_or(length.len() - 1);
    let length = &length[significant..];
    if length.len() > 1 || length[0] >= 0x80 {
        out.push(0x80 | length.len() as u8);
    }
    out.extend_from_slice(length);
    out.extend_from_slice(content);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn primes_are_told_from_composites() {
        let random = SystemRandom::new();
        let check = |text: &str, expected: bool| {
            let number: BigUint = text.parse().expect("a number");
            assert_eq!(is_prime(&number, &random), Ok(expected), "{text}");
        };
        // 2^127 - 1 and 2^521 - 1; then a Carmichael number and products of primes.
        check("170141183460469231731687303715884105727", true);
        let mersenne = (BigUint::from(1_u32) << 521_u32) - 1_u32;
        check(&mersenne.to_string(), true);
        check("561", false);
        check("41041", false);
        check(&(&mersenne * 170_141_183_u32).to_string(), false);
        check(&(&mersenne * &mersenne).to_string(), false);
    }

    #[test]
    fn lengths_are_written_as_der_asks() {
        assert_eq!(tagged(2, &[5]), [2, 1, 5]);
        assert_eq!(tagged(4, &[0; 127])[..2], [4, 127]);
        assert_eq!(tagged(4, &[0; 128])[..3], [4, 0x81, 128]);
        assert_eq!(tagged(4, &[0; 300])[..4], [4, 0x82, 1, 44]);
        assert_eq!(integer(&BigUint::from(128_u32)), [2, 2, 0, 128]);
        assert_eq!(integer(&BigUint::from(0_u32)), [2, 1, 0]);
    }
}
